"""Admit, remove, next epoch: epochs never come back, keys never come back, and each act is whole or not done."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

import pytest

from ca_bridge.errors import CrosshallError, FederationError
from ca_bridge.identity.keys import PersonKeys
from ca_bridge.trust.bundle import read_bundle
from ca_bridge.types import Capacity, Identifier, IdentifierType
from nodes.online import Online
from nodes.publish import Publisher
from nodes.register import GAP, Register
from tests.unit.crosshall.land import CITY, COUNTY, OTHER, SECRET, Land, clock_of_commands

PERSON = Identifier(IdentifierType.CN_ID, "CN", "11010519491231002X")


def state(land: Land) -> dict[str, bytes]:
    """What an act changes: register, roster, drafts."""
    files = [
        land.home / "register.json",
        land.province / "bundle" / "roster.json",
        land.province / "bundle/bundle.json",
    ]
    return {str(path): path.read_bytes() for path in files} | land.drafts()


def refused(code: str, step: Callable[[], object]) -> None:
    """The step is refused with that code."""
    with pytest.raises(CrosshallError) as caught:
        step()
    assert caught.value.code == code


class TestEpochs:
    """What was given out is never given out again."""

    def test_a_removed_node_comes_back_with_another_person_key(self, land: Land) -> None:
        """Remove, admit again: epoch 2, a key that opens nothing of before; again: epoch 3."""
        land.bring_in(CITY)
        keys = [land.person_key(CITY)]
        for epoch in (2, 3):
            land.office("node", "remove", CITY)
            land.sign()
            root = land.admit(CITY, land.request(CITY, "--new-keys"))
            row = land.row(CITY)
            assert row is not None
            assert row.epoch == epoch
            land.sign()
            refused("config.person_key", lambda root=root: land.join(CITY, root))  # type: ignore[misc]
            land.join(CITY, root, "--replace-person-key")
            keys.append(land.person_key(CITY))
        assert len(set(keys)) == 3

    def test_a_backup_remembers(self, land: Land) -> None:
        """Remove, backup, restore elsewhere, admit: the register came along."""
        land.bring_in(CITY)
        land.office("node", "remove", CITY)
        land.sign()
        land.office("backup", land.folder / "file", "--passphrase-file", "secret")
        land.office("restore", land.folder / "file", land.folder / "again", "--passphrase-file", "secret")
        shutil.rmtree(land.province)
        (land.folder / "again").rename(land.province)
        land.province.joinpath("secret").write_text(f"{SECRET}\n")
        refused("node.spent", lambda: land.admit(CITY, land.request(CITY)))
        land.admit(CITY, land.request(CITY, "--new-keys"))
        row = land.row(CITY)
        assert row is not None
        assert row.epoch == 2

    def test_counties_below_are_remembered_too(self, land: Land) -> None:
        """A city takes its counties with it; each comes back above what it had."""
        land.bring_in(CITY)
        land.admit(COUNTY, land.request(COUNTY))
        land.sign()
        land.office("node", "epoch", COUNTY)
        land.office("node", "remove", CITY)
        land.sign()
        land.admit(CITY, land.request(CITY, "--new-keys"))
        land.admit(COUNTY, land.request(COUNTY, "--new-keys"))
        assert {row.name: row.epoch for row in read_bundle(land.province / "bundle").roster.nodes} == {
            "gd": 1,
            CITY: 2,
            COUNTY: 3,
        }

    def test_a_county_that_comes_back_counts_again(self, land: Land) -> None:
        """The province's word that it is cut off is taken back with its admission."""
        land.bring_in(CITY)
        land.admit(COUNTY, land.request(COUNTY))
        land.office("node", "remove", COUNTY)
        land.sign()
        assert b'"gd.guangzhou.conghua"' in newest_targets(land)
        land.admit(COUNTY, land.request(COUNTY, "--new-keys"))
        land.sign()
        assert b'"gd.guangzhou.conghua"' not in newest_targets(land)

    def test_a_lost_node_keeps_its_epoch(self, land: Land) -> None:
        """Its disk is dead, nothing was stolen: the same name with new keys has the same person key."""
        land.bring_in(CITY)
        before = land.person_key(CITY)
        shutil.rmtree(land.node(CITY))
        land.bring_in(CITY)
        assert land.person_key(CITY) == before

    def test_without_a_register_there_is_a_gap(self, land: Land) -> None:
        """An earlier version kept none, or it is lost: the next epoch lies above whatever may have been."""
        (land.home / "register.json").unlink()
        land.admit(CITY, land.request(CITY))
        row = land.row(CITY)
        assert row is not None
        assert row.epoch == GAP + 1

    @pytest.mark.parametrize(
        "text",
        ["", "[]", "{}", '{"format": 2, "floor": 0, "nodes": {}, "spent": []}']
        + [
            json.dumps({"format": 1, "floor": 0, "nodes": {}, "spent": [], **wrong})
            for wrong in (
                {"floor": -1},
                {"floor": True},
                {"spent": [1]},
                {"spent": "x"},
                {"more": 1},
                {"nodes": {"x": {"epoch": 0, "keys": []}}},
                {"nodes": {"x": {"epoch": "1", "keys": []}}},
                {"nodes": {"x": {"epoch": 1}}},
                {"nodes": []},
            )
        ],
    )
    def test_a_damaged_register_lets_nobody_in(self, land: Land, text: str) -> None:
        """It is not taken for an empty one."""
        fingerprint = land.request(CITY)
        (land.home / "register.json").write_text(text)
        refused("node.register", lambda: land.admit(CITY, fingerprint))
        assert land.row(CITY) is None


class TestKeys:
    """Keys of before never come back."""

    def test_a_removed_nodes_request(self, land: Land) -> None:
        """The old request, or a new one by the old keys, is refused; nothing changes."""
        land.bring_in(CITY)
        land.office("node", "remove", CITY)
        land.sign()
        before = state(land)
        refused("node.spent", lambda: land.admit(CITY, land.request(CITY)))
        assert state(land) == before

    @pytest.mark.parametrize("kept", ["node-sign.pem", "node-box.pem", "role-1.pem"])
    def test_one_old_key_is_enough(self, land: Land, kept: str) -> None:
        """A thief who has one of the three could sign, open or refuse by it."""
        land.bring_in(CITY)
        keys = land.node(CITY) / "state" / "keys"
        shutil.copytree(keys, land.folder / "old")
        land.office("node", "remove", CITY)
        land.request(CITY, "--new-keys")
        for path in (land.folder / "old").glob(f"{kept}*"):
            shutil.copy(path, keys)
        refused("node.spent", lambda: land.admit(CITY, land.request(CITY)))

    def test_a_replaced_key(self, land: Land) -> None:
        """A lost machine's keys do not come back when it is found."""
        land.bring_in(CITY)
        shutil.copytree(land.node(CITY), land.folder / "found")
        land.admit(CITY, land.request(CITY, "--new-keys"))
        shutil.rmtree(land.node(CITY))
        (land.folder / "found").rename(land.node(CITY))
        refused("node.spent", lambda: land.admit(CITY, land.request(CITY)))

    def test_another_nodes_key(self, land: Land) -> None:
        """Whoever holds two names is two nodes, with keys of their own; removed or not."""
        land.bring_in(CITY)
        shutil.copytree(land.node(CITY) / "state", land.node(OTHER) / "state")
        refused("node.spent", lambda: land.admit(OTHER, land.request(OTHER)))

    def test_a_new_request_twice(self, land: Land) -> None:
        """The same keys, asked again while they count, are no fault: an admission that was lost is written again."""
        land.bring_in(CITY)
        land.admit(CITY, land.request(CITY))


class TestNextEpoch:
    """`node epoch`."""

    def test_the_node_takes_its_new_person_key(self, land: Land) -> None:
        """Every subject at every window of that node is another; the admission of before is refused."""
        land.bring_in(CITY)
        land.bring_in(OTHER)
        before, other = land.person_key(CITY), land.person_key(OTHER)
        fingerprint = land.request(CITY)
        told = land.office("node", "epoch", CITY)
        assert "epoch 2" in told
        assert "to be signed:" in told
        land.sign()
        old = shutil.copy(land.node(CITY) / "admission.jws", land.folder / "old.jws")
        root = land.admit(CITY, fingerprint)
        land.sign()
        refused("node.admission", lambda: land.at(land.node(CITY), "node", "join", old, "--fingerprint", root))
        assert land.person_key(CITY) == before
        land.join(CITY, root, "--replace-person-key")
        after = land.person_key(CITY)
        assert subject(after) != subject(before)
        assert land.person_key(OTHER) == other
        land.sync(CITY)

    def test_what_cannot_be_published_is_not_counted(self, land: Land) -> None:
        """A bundle that the linter refuses: told, and register, roster and drafts are as before."""
        land.bring_in(CITY)
        (land.province / "bundle" / "levels.toml").write_bytes(b"nonsense")
        before = state(land)
        for words in (("epoch", CITY), ("remove", CITY)):
            refused("federation.bundle", lambda words=words: land.office("node", *words))  # type: ignore[misc]
            assert state(land) == before
        refused("federation.bundle", lambda: land.admit(OTHER, land.request(OTHER)))
        assert state(land) == before

    def test_a_disk_that_is_full_in_the_middle(self, land: Land, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whatever fails, and however late."""
        land.bring_in(CITY)

        def full(*_: object, **__: object) -> None:
            raise OSError(28, "No space left on device")

        before = state(land)
        monkeypatch.setattr(Online, "stamp", full)
        (land.province / "bundle" / "denials").mkdir(exist_ok=True)
        refuse = '[[deny]]\nwhy = "test"\ndomain = "mo"\n'
        (land.province / "bundle" / "denials" / "x.toml").write_text(refuse)
        with pytest.raises((OSError, CrosshallError)):
            land.office("node", "epoch", CITY)
        assert state(land) == before

    def test_an_admission_that_cannot_be_written(self, land: Land) -> None:
        """Nobody is in the roster who has no admission."""
        fingerprint = land.request(CITY)
        before = state(land)
        (land.province / "guangzhou.admission").mkdir()
        with pytest.raises(OSError, match="directory"):
            land.admit(CITY, fingerprint)
        assert state(land) == before

    def test_another_nodes_admission_is_not_written_over(self, land: Land) -> None:
        """Two operators with one name for the file: the second is told, and nothing of his is done."""
        land.admit(CITY, land.request(CITY))
        land.request(OTHER)
        (land.province / "guangzhou.admission").rename(land.province / "foshan.admission")
        before = state(land)
        refused("node.out", lambda: land.admit(OTHER, land.request(OTHER)))
        assert state(land) == before

    def test_only_the_province_acts(self, land: Land) -> None:
        """A city counts nobody's epochs and removes nobody."""
        land.bring_in(CITY)
        for words in (("epoch", CITY), ("remove", CITY), ("province", "--title", "x")):
            refused("config.invalid", lambda words=words: land.at(land.node(CITY), "node", *words))  # type: ignore[misc]


class TestTogether:
    """Two operators at the province at one time."""

    def test_eight_at_once(self, land: Land) -> None:
        """Six admissions, two publications: one after the other, nothing is lost, each has its own number."""
        names = [f"gd/city-{number}" for number in range(6)]
        asked = {name: land.request(name) for name in names}
        context = get_context("fork")
        pairs = [(_admits, (land, name, asked[name])) for name in names] + [(_publishes, (land,))] * 2
        running = [context.Process(target=target, args=words) for target, words in pairs]
        for process in running:
            process.start()
        for process in running:
            process.join(60)
        assert [process.exitcode for process in running] == [0] * 8
        known = Register(land.home).load().nodes
        assert set(names) <= set(known)
        land.sign()
        assert land.drafts() == {}
        for name in names:
            land.join(name, land_root(land))
        assert len({land.person_key(name) for name in names}) == 6

    def test_who_is_kept_waiting_is_told(self, land: Land, monkeypatch: pytest.MonkeyPatch) -> None:
        """After the longest wait: busy, and nothing is done."""
        monkeypatch.setattr("nodes.publish.LOCK_SECONDS", 0.05)
        fingerprint = land.request(CITY)
        before = state(land)
        with Publisher(land.home, land.clock).alone():
            refused("federation.busy", lambda: land.admit(CITY, fingerprint))
            refused("federation.busy", lambda: land.office("federation", "assemble"))
        assert state(land) == before

    def test_a_draft_that_is_replaced_while_it_is_signed(self, land: Land) -> None:
        """A holder signs what was read to him: an admission in between makes another draft, and he is told."""
        land.admit(CITY, land.request(CITY))
        copies = land.folder / "holder"
        shutil.copytree(land.home / "drafts", copies)
        land.admit(OTHER, land.request(OTHER))
        for copy in copies.glob("*.json"):
            land.signed(copy, "targets-1")
            land.signed(copy, "targets-2")
        refused("federation.draft", lambda: land.office("federation", "assemble", *copies.glob("*.json")))
        land.sign()
        published = read_bundle(land.province / "bundle").roster
        assert {row.name for row in published.nodes} == {"gd", CITY, OTHER}


def _admits(land: Land, name: str, fingerprint: str) -> None:
    with clock_of_commands(land.clock):
        land.admit(name, fingerprint)


def _publishes(land: Land) -> None:
    with clock_of_commands(land.clock):
        land.office("federation", "publish", "bundle", "--renew")


def land_root(land: Land) -> str:
    """The root's fingerprint, as the province's operator reads it."""
    return Publisher(land.home, land.clock).fingerprint()


def newest_targets(land: Land) -> bytes:
    """The published targets' list of who is cut off."""
    found = Publisher(land.home, land.clock).repository
    table = json.loads(found.octets("targets", found.newest("targets")))["signed"]
    return json.dumps(table.get("cut_off", [])).encode()


def subject(key: bytes) -> str:
    """How a window knows one person under a node's key."""
    keys = PersonKeys(key)
    return keys.subject("police", keys.person(PERSON, Capacity.CITIZEN))


def test_the_register_spends_and_recovers_by_itself(tmp_path: Path) -> None:
    """A key that another name has is refused though nobody was removed."""
    register = Register(tmp_path)
    register.begin()
    assert register.admit("gd/a", ["1", "2"], None) == 1
    with pytest.raises(FederationError, match=r"node\.spent"):
        register.admit("gd/b", ["2", "3"], None)
    assert register.admit("gd/a", ["1", "2"], None) == 2
