"""Disaster recovery rehearsed on folders, by the commands of docs/nodes.md as an operator types them."""

from __future__ import annotations

import secrets
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from ca_bridge.ceremony import journal
from ca_bridge.ceremony.journal import INBOX, OUTBOX, Journal
from ca_bridge.crypto.between import NodeKeys
from ca_bridge.errors import CrosshallError, FederationError
from ca_bridge.settings import load_settings
from ca_bridge.store import migrate
from ca_bridge.trust.bundle import read_bundle, refresh_manifest
from crosshall.agents import own_role
from nodes.drafts import sign_draft
from nodes.identity import read_node_keys
from nodes.keys import load_key
from nodes.online import Online
from nodes.publish import Publisher
from nodes.repository import Repository
from tests.unit.crosshall.land import CITY, COUNTY, OTHER, SECRET, Land, inside, spoken

SOURCE_DENY = '[[deny]]\nwhy = "test"\ndomain = "{domain}"\n'


def code_of(land: Land, folder: Path, *words: object) -> str:
    """The code under which a command is refused."""
    with pytest.raises(CrosshallError) as caught:
        land.at(folder, *words)
    return caught.value.code


def deny(land: Land, name: str) -> None:
    """The province refuses something, at once."""
    file = land.province / "bundle" / "denials" / f"{name}.toml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(SOURCE_DENY.format(domain="mo"))
    refresh_manifest(land.province / "bundle", land.clock())
    land.office("federation", "publish", "bundle")
    land.clock.pass_(seconds=61)


def refuse(land: Land, folder: Path, name: str, domain: str = CITY) -> None:
    """A node refuses something of its namespace, by the role key in `folder`."""
    with inside(folder):
        role = own_role(load_settings(Path("node.toml")))
        assert role is not None
        role.refuse({f"{name}.toml": SOURCE_DENY.format(domain=domain).encode()})


def collect(land: Land, folder: Path) -> str:
    """The province takes what the node in `folder` has refused."""
    land.clock.pass_(seconds=61)
    return land.office("federation", "collect", f"file:{folder / 'federation' / 'public'}/")


def denials(land: Land, name: str) -> int:
    """How many tables of denials are in force at a node."""
    return len(read_bundle(land.node(name) / "bundle").denials)


def keys_of(folder: Path) -> NodeKeys:
    """A node's two keys."""
    return read_node_keys(folder / "state" / "keys")


class TestNode:
    """A node's machine."""

    def test_lost_with_a_backup(self, land: Land) -> None:
        """`restore`, and it goes on: keys, person key, what it held of the bundle."""
        land.bring_in(CITY)
        city, key = land.node(CITY), land.person_key(CITY)
        (city / "secret").write_text(f"{SECRET}\n")
        land.at(city, "backup", land.folder / "city.backup", "--passphrase-file", "secret")
        deny(land, "since")
        shutil.rmtree(city)
        land.at(land.folder, "restore", "city.backup", city, "--passphrase-file", land.province / "secret")
        assert land.person_key(CITY) == key
        land.sync(CITY)
        assert denials(land, CITY) == 1

    def test_lost_without_a_backup(self, land: Land) -> None:
        """Removed and admitted anew: another person key, though it was only lost; nothing else stands in its way."""
        land.bring_in(CITY)
        key = land.person_key(CITY)
        shutil.rmtree(land.node(CITY))
        land.office("node", "remove", CITY)
        land.sign()
        land.bring_in(CITY)
        assert land.person_key(CITY) != key
        land.sync(CITY)

    def test_stolen(self, land: Land) -> None:
        """Cut off everywhere; what it did is listed; back with a new epoch, and the thief's keys count nowhere."""
        land.bring_in(CITY)
        land.bring_in(OTHER)
        refuse(land, land.node(CITY), "own")
        assert "gd.guangzhou" in collect(land, land.node(CITY))
        self._signed_in(land)
        thief, person_key = land.folder / "thief", land.person_key(CITY)
        shutil.copytree(land.node(CITY), thief)

        told = land.office("node", "remove", CITY)
        assert "cut off: gd/guangzhou" in told
        land.sign()
        land.sync(OTHER)
        assert read_bundle(land.node(OTHER) / "bundle").roster.by_key(thief_kid(thief)) is None
        listed = land.office("node", "sign-ins", "--of", CITY, "--since", "2026-01-01T00:00:00Z")
        assert "0 here, 1 there" in listed

        shutil.rmtree(land.node(CITY))
        land.bring_in(CITY)
        assert land.person_key(CITY) != person_key
        land.sync(OTHER)
        roster = read_bundle(land.node(OTHER) / "bundle").roster
        assert roster.find(CITY) is not None
        assert roster.by_key(thief_kid(thief)) is None
        with pytest.raises(FederationError, match=r"abroad\.unknown_hall"):
            self._copied(land, thief)
        refuse(land, thief, "thief")
        assert "nothing newer" in collect(land, thief)
        refuse(land, land.node(CITY), "new")
        assert "gd.guangzhou" in collect(land, land.node(CITY))
        land.sync(OTHER)
        assert denials(land, OTHER) == 1

    def _signed_in(self, land: Land) -> None:
        """Somebody signed in at the city; its copy was taken in at the province."""
        province, url = land.province / "state", f"sqlite:///{land.province}/state/bridge.sqlite"
        (province / "keys" / "attributes").write_bytes(bytes(range(32)))
        migrate(url)
        name, text = self._copied_text(land, land.node(CITY))
        roster = read_bundle(land.province / "bundle").roster
        assert journal.take_in(province / INBOX, keys_of(land.province), roster, name, text) == CITY

    def _copied(self, land: Land, folder: Path) -> None:
        """A copy that the keys in `folder` signed, at the province."""
        roster = read_bundle(land.province / "bundle").roster
        name, text = self._copied_text(land, folder)
        journal.open_copy(keys_of(land.province), roster, name, text)

    def _copied_text(self, land: Land, folder: Path) -> tuple[str, str]:
        out = folder / "state" / OUTBOX
        shutil.rmtree(out, ignore_errors=True)
        known = read_bundle(folder / "bundle").roster
        kept = Journal(
            out, CITY, keys=lambda: keys_of(folder), roster=lambda: known, clock=land.clock, random=secrets.token_bytes
        )
        at = land.clock().isoformat()
        kept({"at": at, "certificate_key": f"{'a' * 64}:1", "way": "token", "level": 3, "source": ""})
        (file,) = out.iterdir()
        return file.name, file.read_text()


def thief_kid(folder: Path) -> str:
    """The id of a folder's signing key."""
    return str(keys_of(folder).sign.thumbprint())


def test_a_stolen_provinces_master_and_node_keys(land: Land) -> None:
    """New K_master, new keys of the province's own: a node's next epoch is of the new one, signed by the new key."""
    land.bring_in(CITY)
    before, kid = land.person_key(CITY), thief_kid(land.province)
    for name in ("node-sign.pem", "node-box.pem", "federation-master"):
        (land.province / "state" / "keys" / name).unlink()
    land.office("node", "province", "--title", "省厅")
    land.office("node", "epoch", CITY)
    land.sign()
    root = land.admit(CITY, land.request(CITY))
    land.sign()
    land.join(CITY, root, "--replace-person-key")
    assert land.person_key(CITY) != before
    roster = read_bundle(land.node(CITY) / "bundle").roster
    assert roster.by_key(kid) is None
    assert roster.by_key(thief_kid(land.province)) is not None


class TestOnlineKey:
    """A key of the publishing machine is in other hands."""

    @pytest.mark.parametrize("role", ["timestamp", "snapshot", "status"])
    def test_replaced(self, land: Land, role: str) -> None:
        """`rotate`, signed by holders: nodes follow; what the old key signs from then on is refused."""
        land.bring_in(CITY)
        stolen = land.folder / "stolen"
        shutil.copytree(land.home, stolen)
        assert "to be signed" not in land.office("federation", "rotate", role)
        land.sign()
        land.sync(CITY)
        before = denials(land, CITY)
        land.clock.pass_(seconds=61)
        thief = Online(Repository(stolen / "public"), stolen / "keys", land.clock)
        thief.status({**thief.status_files(), "denials/thief.toml": SOURCE_DENY.format(domain="mo").encode()})
        told = land.at(land.node(CITY), "node", "sync", "--once", "--source", f"file:{stolen / 'public'}/", code=1)
        assert "federation.threshold" in told or "federation.rollback" in told
        assert denials(land, CITY) == before
        deny(land, "since")
        land.sync(CITY)
        assert denials(land, CITY) == before + 1


class TestTargetsKey:
    """A key of targets is in other hands: alone it is below the threshold; it is replaced before the second goes."""

    def rotate(self, land: Land) -> None:
        """`targets-2` is replaced by a new holder's key."""
        land.key("targets-3")
        land.holders["targets"] = ["targets-1", "targets-3"]
        keys = [word for name in land.holders["targets"] for word in ("--key", f"{name}.pem.pub")]
        told = land.office("federation", "rotate", "targets", *keys, "--threshold", "2")
        assert "root version 2" in told
        assert "targets version" in told

    def test_one_alone_publishes_nothing(self, land: Land) -> None:
        """The draft waits."""
        land.admit(CITY, land.request(CITY))
        (draft,) = (land.home / "drafts").glob("*.targets.json")
        land.signed(draft, "targets-2")
        assert "waiting: targets, 1 more" in land.office("federation", "assemble", code=1)

    def test_replaced(self, land: Land) -> None:
        """Root and targets go out together: no node is ever between; both old keys together count no more."""
        land.bring_in(CITY)
        self.rotate(land)
        for draft in sorted((land.home / "drafts").glob("*.root.json")):
            land.signed(draft, "root-1")
            land.signed(draft, "root-2")
        assert "waiting: targets, 2 more" in land.office("federation", "assemble", code=1)
        land.clock.pass_(seconds=61)
        land.office("federation", "stamp")
        land.sync(CITY)
        (draft,) = (land.home / "drafts").glob("*.targets.json")
        for holder in ("targets-1", "targets-3"):
            land.signed(draft, holder)
        told = land.office("federation", "assemble")
        assert "published: root" in told
        assert "published: targets" in told
        land.sync(CITY)
        land.admit(OTHER, land.request(OTHER))
        (draft,) = (land.home / "drafts").glob("*.targets.json")
        land.signed(draft, "targets-1")
        land.signed(draft, "targets-2")
        assert "waiting: targets, 1 more" in land.office("federation", "assemble", code=1)

    def test_old_holders_sign_the_renewal_in_vain(self, land: Land) -> None:
        """Their signatures reach the old threshold only; nothing goes out."""
        self.rotate(land)
        for role, holders in (("root", ("root-1", "root-2")), ("targets", ("targets-1", "targets-2"))):
            for draft in sorted((land.home / "drafts").glob(f"*.{role}.json")):
                for holder in holders:
                    land.signed(draft, holder)
        assert "waiting: targets, 1 more" in land.office("federation", "assemble", code=1)
        repository = Publisher(land.home, land.clock).repository
        assert (repository.newest("root"), repository.newest("targets")) == (1, 1)

    def test_the_borders_key(self, land: Land) -> None:
        """Targets and border go out together: trust across the border is never out of force for it."""
        land.bring_in(CITY)
        land.key("border-2")
        land.holders["border"] = ["border-2"]
        land.office("federation", "rotate", "border", "--key", "border-2.pem.pub")
        land.sign()
        land.sync(CITY)
        assert "mo-public" in read_bundle(land.node(CITY) / "bundle").profiles


class TestRootHolder:
    """Holders of the root are lost."""

    def test_one_of_three(self, land: Land) -> None:
        """The other two replace it; nodes follow by themselves, who joins later, too."""
        land.bring_in(CITY)
        land.key("root-4")
        land.holders["root"] = ["root-1", "root-3"]
        keys = ("--key", "root-1.pem.pub", "--key", "root-3.pem.pub", "--key", "root-4.pem.pub")
        land.office("federation", "rotate", "root", *keys, "--threshold", "2")
        land.sign()
        land.sync(CITY)
        land.holders["root"] = ["root-3", "root-4"]
        land.office("federation", "rotate", "timestamp")
        land.sign()
        land.sync(CITY)
        land.bring_in(OTHER)
        assert Publisher(land.home, land.clock).repository.newest("root") == 3

    def test_below_the_threshold_daily_work_goes_on(self, land: Land) -> None:
        """What needs no root: nodes, refusals, the time. What needs it waits for ever, and is told."""
        (land.province / "root-1.pem").unlink()
        (land.province / "root-2.pem").unlink()
        land.bring_in(CITY)
        deny(land, "x")
        land.sync(CITY)
        assert denials(land, CITY) == 1
        land.office("federation", "rotate", "timestamp")
        (draft,) = (land.home / "drafts").glob("*.root.json")
        land.signed(draft, "root-3")
        assert "waiting: root, 1 more" in land.office("federation", "assemble", code=1)
        draft.unlink()
        deny(land, "y")
        land.sync(CITY)


class TestAnew:
    """Below the threshold: the federation begins anew, and each node takes its root by an operator's hand."""

    def begun(self, land: Land) -> tuple[Path, str]:
        """The new root, carried, and its fingerprint as it is read aloud."""
        land.home.rename(land.province / "federation.old")
        for number in (5, 6, 7):
            land.key(f"root-{number}")
        land.holders["root"] = ["root-5", "root-6", "root-7"]
        land.office("federation", "init", "gd", *land.initial(), "--after", "federation.old")
        land.office("federation", "publish", "bundle")
        land.sign()
        shutil.copy(land.public / "metadata" / "1.root.json", land.folder / "1.root.json")
        return land.folder / "1.root.json", spoken(land.office("federation", "fingerprint"))

    def test_every_node_is_anchored_anew(self, land: Land) -> None:
        """Same person keys, same windows, same refusals of its own; what comes next is taken; epochs go on."""
        land.bring_in(CITY)
        land.bring_in(OTHER)
        land.bring_in(COUNTY)
        refuse(land, land.node(CITY), "own")
        collect(land, land.node(CITY))
        for name in (CITY, OTHER):
            land.sync(name)
        assert denials(land, OTHER) == 1
        land.office("node", "remove", OTHER)
        land.sign()
        key = land.person_key(CITY)
        root, said = self.begun(land)
        assert "federation.threshold" in land.sync(CITY, code=1)
        for _ in range(2):  # it can be repeated
            assert "anchored anew" in land.at(land.node(CITY), "node", "reanchor", root, "--fingerprint", said)
        land.sync(CITY)
        assert land.person_key(CITY) == key
        assert denials(land, CITY) == 1
        assert "gd.guangzhou" in collect(land, land.node(CITY))
        deny(land, "since")
        land.sync(CITY)
        assert denials(land, CITY) == 2
        land.at(land.node(COUNTY), "node", "reanchor", root, "--fingerprint", said)
        land.sync(COUNTY)
        assert denials(land, COUNTY) == 2
        with pytest.raises(FederationError, match=r"node\.spent"):
            land.admit(OTHER, land.request(OTHER))
        land.admit(OTHER, land.request(OTHER, "--new-keys"))
        row = land.row(OTHER)
        assert row is not None
        assert row.epoch == 2

    def test_killed_between_its_two_steps(self, land: Land) -> None:
        """What was pinned lies aside, the new one does not stand yet: closed, until the same command is given again."""
        land.bring_in(CITY)
        root, said = self.begun(land)
        state = land.node(CITY) / "state"
        (state / "federation").rename(state / "federation-before")
        (state / "federation-coming").mkdir()
        land.sync(CITY, code=1)
        land.at(land.node(CITY), "node", "reanchor", root, "--fingerprint", said)
        land.sync(CITY)

    def test_another_provinces_federation_is_not_followed(self, land: Land) -> None:
        """`init --after` goes on with one's own only."""
        land.home.rename(land.province / "federation.old")
        words = ["federation", "init", "hi", *land.initial(), "--after", "federation.old"]
        assert code_of(land, land.province, *words) == "federation.draft"
        words[-1] = "nothing"
        assert code_of(land, land.province, *words) == "federation.draft"

    def test_another_root_than_was_read_aloud(self, land: Land) -> None:
        """Nothing changes at the node."""
        land.bring_in(CITY)
        root, said = self.begun(land)
        before = held(land)
        words = ("node", "reanchor", root, "--fingerprint")
        wrong = f"{(int(said[:5]) + 1) % 100000:05d}{said[5:]}"
        assert code_of(land, land.node(CITY), *words, wrong) == "node.fingerprint"
        root.write_bytes(root.read_bytes() + b"\n")
        assert code_of(land, land.node(CITY), *words, said) == "node.fingerprint"
        assert held(land) == before

    def test_a_federation_that_does_not_know_this_node(self, land: Land) -> None:
        """By its keys, its name and its epoch: else it would stand at persons of another epoch, or at nobody's."""
        land.bring_in(CITY)
        land.bring_in(OTHER)
        land.office("node", "remove", CITY)
        land.office("node", "epoch", OTHER)
        root, said = self.begun(land)
        for name, code in ((CITY, "node.not_admitted"), (OTHER, "node.admission")):
            before = held(land, name)
            assert code_of(land, land.node(name), "node", "reanchor", root, "--fingerprint", said) == code
            assert held(land, name) == before

    def test_a_source_that_has_another_federation(self, land: Land) -> None:
        """The old one's mirror, for example."""
        land.bring_in(CITY)
        root, said = self.begun(land)
        before = held(land)
        old = f"file:{land.province / 'federation.old' / 'public'}/"
        words = ("node", "reanchor", root, "--fingerprint", said, "--source", old)
        assert code_of(land, land.node(CITY), *words) == "federation.threshold"
        assert held(land) == before

    def test_one_that_is_of_before_our_time(self, land: Land) -> None:
        """A rehearsal's leftover: what was signed before the newest time that this node has seen is not taken."""
        land.bring_in(CITY)
        now = land.clock.now
        land.clock.now = now - timedelta(minutes=30)
        root, said = self.begun(land)
        assert code_of(land, land.node(CITY), "node", "reanchor", root, "--fingerprint", said) == "federation.rollback"

    def test_the_province_pins_no_root(self, land: Land) -> None:
        """It is the source."""
        root, said = self.begun(land)
        assert code_of(land, land.province, "node", "reanchor", root, "--fingerprint", said) == "config.invalid"


def held(land: Land, name: str = CITY) -> bytes:
    """What is in force at a node."""
    return (land.node(name) / "state" / "federation" / "metadata" / "trusted.json").read_bytes()


def test_a_draft_that_was_replaced_since_it_was_shown(land: Land) -> None:
    """A holder agrees to a fingerprint; another draft under the same name is not signed."""
    land.admit(CITY, land.request(CITY))
    (draft,) = (land.home / "drafts").glob("*.targets.json")
    with inside(land.province):
        signer = load_key(Path("targets-1.pem"), SECRET.encode())
    before = draft.read_bytes()
    with pytest.raises(FederationError, match=r"federation\.draft"):
        sign_draft(draft, signer, shown="00000 " * 8)
    assert draft.read_bytes() == before
