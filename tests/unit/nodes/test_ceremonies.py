"""Keys replaced, sites and counties added and ended, SM2 throughout, and the ceremony by the commands themselves."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ca_bridge.errors import FederationError
from ca_bridge.trust.bundle import refresh_manifest
from crosshall import federation
from nodes.drafts import sign_draft
from nodes.keys import new_key, save_key
from nodes.online import Online
from nodes.own_role import OwnRole
from nodes.publish import Publisher
from nodes.repository import Repository
from nodes.transport import FileSource
from tests.unit.nodes.world import NOW, World, deny


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "status"])
def test_an_online_role_gets_a_new_key(world: World, role: str) -> None:
    """After the rotation nodes take what the new key signs, and know that versions start afresh for top roles."""
    node = world.node("a")
    node.update()
    before = world.folder / "before"
    shutil.copytree(world.publisher.home, before)
    world.clock.pass_(minutes=2)
    world.publisher.rotate(role, [], 1)
    world.sign()
    done = node.update()
    assert done.restarted is (role != "status")
    world.clock.pass_(minutes=2)
    world.publisher.status({**world.publisher.online.status_files(), "denials/x.toml": deny({"domain": "mo"})})
    assert node.update().changed
    assert not node.update().restarted


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "status"])
def test_a_replaced_online_key_counts_no_more(world: World, role: str) -> None:
    """A publisher who has only the replaced key signs nothing, and nodes stay with what they have."""
    node = world.node("a")
    world.publisher.rotate(role, [], 1)
    world.sign()
    node.update()
    number = len(list((world.publisher.home / "keys").glob(f"{role}-*.pem")))
    (world.publisher.home / "keys" / f"{role}-{number}.pem").unlink()
    world.clock.pass_(minutes=2)
    with pytest.raises(FederationError) as caught:
        world.publisher.status({"denials/x.toml": deny({"domain": "mo"})})
    assert caught.value.code == "federation.key"
    assert not node.update().changed


def test_the_replaced_key_in_a_thiefs_hands(world: World) -> None:
    """A timestamp that the replaced key signs later is below the threshold at every node that saw the rotation."""
    keys = world.folder / "old-keys"
    shutil.copytree(world.publisher.home / "keys", keys)
    copy = world.folder / "copy"
    shutil.copytree(world.public, copy)
    node = world.node("a")
    world.publisher.rotate("timestamp", [], 1)
    world.sign()
    node.update()
    world.clock.pass_(minutes=2)
    thief = Online(Repository(copy), keys, world.clock)
    thief.stamp()
    with pytest.raises(FederationError) as caught:
        node.update(copy)
    assert caught.value.code == "federation.threshold"


def test_a_second_site_stamps_with_its_own_key(tmp_path: Path) -> None:
    """Two sites, each with its timestamp key and only the folder in common, sign in turns; nodes take both."""
    world = World.__new__(World)
    other = new_key("ed25519")
    original = Publisher.init

    def with_site(self: Publisher, *words: object, **named: object) -> object:
        return original(self, *words, **named, timestamp=[other.public_key])  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Publisher, "init", with_site)
        World.__init__(world, tmp_path / "world")
    (tmp_path / "site").mkdir()
    save_key(tmp_path / "site" / "timestamp-2.pem", other, None)
    second = Online(world.publisher.repository, tmp_path / "site", world.clock)
    node = world.node("a")
    node.update()
    seen = []
    for site in (second, world.publisher.online, second, second):
        world.clock.pass_(seconds=1)
        issued = site.stamp()
        seen.append(node.update().issued)
        assert seen[-1] == issued
    assert seen == sorted(set(seen))
    world.clock.pass_(days=8)  # snapshot and status want signing: the second site has no key for these
    with pytest.raises(FederationError) as caught:
        second.stamp()
    assert caught.value.code == "federation.key"


def _county(world: World, public: Path) -> OwnRole:
    return OwnRole(public, "gd/guangzhou/conghua", world.county_keys, world.clock)


def test_a_city_delegates_its_county_and_ends_it(world: World, tmp_path: Path) -> None:
    """The county's refusals count by the city's word alone, in the county's namespace; ended, its new ones do not."""
    mirror = tmp_path / "mirror"
    city, county = world.city(mirror), _county(world, mirror)
    city.delegate("gd/guangzhou/conghua", [key.public_key for key in world.county_keys])
    county.refuse({"a.toml": deny({"domain": "gd/guangzhou/conghua"})})
    assert set(world.publisher.collect(FileSource(mirror))) == {"gd.guangzhou", "gd.guangzhou.conghua"}
    node = world.node("a")
    node.update()
    assert "gd.guangzhou.conghua" in node.client.trusted(NOW).refusals
    city.end("gd/guangzhou/conghua")
    county.refuse({"b.toml": deny({"domain": "gd/guangzhou/conghua"})})
    assert world.publisher.collect(FileSource(mirror)) == ("gd.guangzhou",)
    node.update()
    assert "gd.guangzhou.conghua" not in node.client.trusted(NOW).refusals


def test_a_county_that_nobody_delegates_says_nothing(world: World, tmp_path: Path) -> None:
    """Keys of one's own are not enough."""
    mirror = tmp_path / "mirror"
    _county(world, mirror).refuse({"a.toml": deny({"domain": "gd/guangzhou/conghua"})})
    assert world.publisher.collect(FileSource(mirror)) == ()


@pytest.mark.parametrize("domain", ["gd/foshan", "gd/foshan/nanhai", "gd/guangzhou/conghua/x", "gd/guangzhou"])
def test_a_city_delegates_below_itself_only(world: World, tmp_path: Path, domain: str) -> None:
    """Not sideways, not to itself, not past its county."""
    with pytest.raises(FederationError) as caught:
        world.city(tmp_path / "mirror").delegate(domain, [world.county_keys[0].public_key])
    assert caught.value.code in ("federation.delegation", "federation.role")


def test_sm2_throughout(tmp_path: Path) -> None:
    """Every holder's key SM2: two of three publish, one does not, and one key twice is one."""
    world = World(tmp_path / "world", ("sm2", "sm2", "sm2"))
    node = world.node("a")
    node.update()
    world.clock.pass_(minutes=2)
    world.trust.write(world.source, policy_DOT_toml=b"max_intermediates = 4\n")
    drafts = world.publisher.publish(world.source)
    for _ in range(2):
        sign_draft(drafts[0], world.targets_keys[0])
        assert world.publisher.assemble().waiting == {"targets": 1}
    sign_draft(drafts[0], world.border_keys[0])
    assert world.publisher.assemble().waiting == {"targets": 1}
    sign_draft(drafts[0], world.targets_keys[2])
    assert world.publisher.assemble().published == ("targets",)
    assert node.update().changed


class Hall:
    """The commands of a ceremony, typed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.passphrase = folder / "passphrase"
        self.passphrase.write_text("correct horse battery\n")
        self._runner = CliRunner()

    def __call__(self, *words: object, code: int = 0) -> str:
        result = self._runner.invoke(federation.app, [str(word) for word in words])
        if isinstance(result.exception, FederationError):
            return result.exception.code
        assert result.exit_code == code, result.output
        return result.output

    def key(self, name: str, kind: str) -> Path:
        path = self.folder / f"{name}.pem"
        self("key", path, "--kind", kind, "--passphrase-file", self.passphrase)
        return path

    def signed(self, draft: Path, key: Path) -> Path:
        """A copy on the holder's machine, signed there."""
        copy = self.folder / key.stem / draft.name
        copy.parent.mkdir(exist_ok=True)
        shutil.copyfile(draft, copy)
        self("sign", copy, "--yes", "--key", key, "--passphrase-file", self.passphrase)
        return copy


@pytest.fixture
def hall(tmp_path: Path) -> Hall:
    """A province before its first day."""
    return Hall(tmp_path)


def test_the_ceremony_by_its_commands(hall: Hall, made: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/federation.md, steps 1 to 5, then a disk: init, publish, sign on copies, assemble, export, verify; a disk
    that was touched, another root, and an unsigned draft are refused."""
    monkeypatch.setattr(federation, "utc_now", made.clock)
    holders = [hall.key(f"root-{kind}", kind) for kind in ("ed25519", "ecdsa", "sm2")]
    public = [word for key in holders for word in ("--root-key", f"{key}.pub")]
    public += [word for key in holders for word in ("--targets-key", f"{key}.pub")]
    public += ["--border-key", f"{holders[0]}.pub", "--root-threshold", "3", "--targets-threshold", "2"]
    hall("init", "gd", *public, "--home", hall.home)
    source = hall.folder / "source"
    made.trust.write(source)
    hall("publish", source, "--home", hall.home)
    drafts = sorted((hall.home / "drafts").glob("*.json"))
    assert [path.name for path in drafts] == ["1.border.json", "1.root.json", "1.targets.json"]
    assert "3 more" in hall("assemble", "--home", hall.home, code=1)
    copies = [hall.signed(draft, key) for key in holders for draft in drafts]
    assert "published: root" in hall("assemble", *copies, "--home", hall.home, code=0)
    disk = hall.folder / "disk"
    hall("export", disk, "--home", hall.home)
    root = hall.home / "public" / "metadata" / "1.root.json"
    assert "good: version" in hall("verify", disk, "--root", root)
    _touched(hall, disk, root)
    refresh_manifest(source, made.clock())
    assert "nothing that a key holder must sign" in hall("publish", source, "--home", hall.home)


def _touched(hall: Hall, disk: Path, root: Path) -> None:
    harm: dict[str, Callable[[Path], None]] = {
        "federation.hash": lambda path: next(path.rglob("*.root.pem")).write_bytes(b"x" * 10),
        "federation.absent": lambda path: (path / "metadata" / "timestamp.json").unlink(),
    }
    for code, change in harm.items():
        copy = hall.folder / code
        shutil.copytree(disk, copy)
        shutil.rmtree(copy / "packs", ignore_errors=True)
        change(copy)
        assert hall("verify", copy, "--root", root) in (code, "federation.length")
    other = hall.folder / "other-root.json"
    other.write_bytes(root.read_bytes().replace(b'"threshold":3', b'"threshold":2'))
    assert hall("verify", disk, "--root", other) == "federation.threshold"


def test_a_wrong_passphrase_signs_nothing(hall: Hall) -> None:
    """The code says so, and the draft stays as it was."""
    key = hall.key("one", "sm2")
    (hall.folder / "wrong").write_text("wrong horse battery\n")
    names = [f"--{role}-key" for role in ("root", "targets", "border")]
    words = [word for name in names for word in (name, f"{key}.pub")]
    hall("init", "gd", *words, "--root-threshold", "1", "--targets-threshold", "1", "--home", hall.home)
    draft = hall.home / "drafts" / "1.root.json"
    before = draft.read_bytes()
    words = ["sign", draft, "--yes", "--key", key, "--passphrase-file", hall.folder / "wrong"]
    assert hall(*words) == "federation.passphrase"
    assert draft.read_bytes() == before
