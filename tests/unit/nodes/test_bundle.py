"""From key holders to bridges: what is published arrives, the same everywhere, and only that."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from ca_bridge.errors import FederationError, PathError
from ca_bridge.trust.bundle import MANIFEST, coming, read_bundle
from nodes.bundle import materialise
from nodes.drafts import sign_draft
from nodes.transport import FileSource
from tests.unit.nodes.world import NOW, World, deny


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_what_is_published_arrives(world: World, tmp_path: Path) -> None:
    """The bundle on a node holds the province's files, byte for byte, and no others."""
    node = world.node("a")
    node.update()
    materialise(node.client.trusted(NOW), node.client.folder, tmp_path / "bundle", "gd/guangzhou")
    assert files(tmp_path / "bundle") == files(world.source)
    assert read_bundle(tmp_path / "bundle").version == 1


def test_two_nodes_hold_the_same_octets(world: World, tmp_path: Path) -> None:
    """Two nodes with the same metadata have byte-equal bundles, whenever they fetched."""
    for name in ("a", "b"):
        world.publisher.stamp()
        node = world.node(name)
        node.update()
        materialise(node.client.trusted(world.clock.now), node.client.folder, tmp_path / name, "gd/foshan")
        world.clock.pass_(minutes=1)
    assert files(tmp_path / "a") == files(tmp_path / "b")


def test_nothing_is_published_below_the_threshold(world: World) -> None:
    """One signature of two publishes nothing, and says how many are missing."""
    world.trust.write(world.source, policy_DOT_toml=b"max_intermediates = 5\n")
    (draft,) = world.publisher.publish(world.source)
    sign_draft(draft, world.targets_keys[0])
    done = world.publisher.assemble()
    assert done.published == ()
    assert done.waiting == {"targets": 1}
    assert world.publisher.repository.newest("targets") == 1


def test_suspending_the_border_takes_it_out_alone(world: World, tmp_path: Path) -> None:
    """With the border suspended its CAs are gone, levels for them too, and everybody else stays."""
    node = world.node("a")
    world.publisher.suspend_border(suspended=True)
    node.update()
    trusted = node.client.trusted(NOW)
    assert trusted.failing == {"border": "federation.suspended"}
    materialise(trusted, node.client.folder, tmp_path / "bundle", "gd/guangzhou")
    bundle = read_bundle(tmp_path / "bundle")
    assert set(bundle.profiles) == {"gd-public", "gz-public"}
    assert {row.ca for row in bundle.levels.assigned} == {"gd-public", "gz-public"}
    world.publisher.suspend_border(suspended=False)
    node.update()
    materialise(node.client.trusted(NOW), node.client.folder, tmp_path / "bundle", "gd/guangzhou")
    assert "mo-public" in read_bundle(tmp_path / "bundle").profiles


def test_an_expired_border_is_dropped_alone(world: World, tmp_path: Path) -> None:
    """Time alone takes the border out of force, without any update."""
    node = world.node("a")
    node.update()
    later = NOW + timedelta(days=98)
    trusted = node.client.trusted(later)
    assert trusted.failing["border"] == "federation.expired"
    materialise(trusted, node.client.folder, tmp_path / "bundle", "gd/guangzhou")
    assert set(read_bundle(tmp_path / "bundle").profiles) == {"gd-public", "gz-public"}


def test_a_city_refuses_in_its_namespace_only(world: World, tmp_path: Path) -> None:
    """A city's rows count for its own CAs everywhere, for others' nowhere but on its own node."""
    public = tmp_path / "mirror"
    city = world.city(public)
    rows = deny({"key": world.trust.key("gz-public")}, {"key": world.trust.key("gd-public")}, {"domain": "gd"})
    city.refuse({"local.toml": rows})
    assert world.publisher.collect(FileSource(public)) == ("gd.guangzhou",)
    node = world.node("a")
    node.update()
    for own, expected in (("gd/foshan", 1), ("gd/guangzhou", 3)):
        materialise(node.client.trusted(NOW), node.client.folder, tmp_path / own, own)
        assert len(read_bundle(tmp_path / own).denials) == expected


def test_a_bundle_with_an_error_is_not_drafted(world: World) -> None:
    """A source bundle with an error, or that contradicts itself, is refused before anybody signs."""
    world.trust.write(world.source, levels_DOT_toml=b'[[assigned]]\nca = "nobody"\ntype = "person"\nlevel = 3\n')
    with pytest.raises(FederationError) as caught:
        world.publisher.publish(world.source)
    assert caught.value.code == "federation.bundle"


class _StoppedError(Exception):
    """In a test: the writer was killed here."""


def test_a_writer_that_stops_at_any_step_leaves_a_whole_bundle(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before its n-th change of the folder, for every n: the old bundle or the new one is read."""
    node, place = world.node("a"), tmp_path / "bundle"
    node.update()
    old = materialise(node.client.trusted(NOW), node.client.folder, place, "gd/guangzhou").hash
    whole = files(place)
    crls = world.publisher.online.status_files()
    world.publisher.status(
        {**crls, "denials/more.toml": deny({"domain": "mo/x"}), "denials/two.toml": deny({"domain": "mo/y"})}
    )
    world.publisher.suspend_border(suspended=True)  # some files come, some go
    node.update()
    trusted = node.client.trusted(NOW)
    read, steps, real = [], 0, {name: getattr(Path, name) for name in ("replace", "unlink", "hardlink_to")}
    while True:
        for path in [p for p in place.rglob("*") if p.is_file()]:
            real["unlink"](path)
        for path, data in whole.items():
            (place / path).write_bytes(data)
        left = [steps]

        def counted(name: str, left: list[int] = left) -> object:
            def step(*args: object, **how: object) -> object:
                if not left[0]:
                    raise _StoppedError
                left[0] -= 1
                return real[name](*args, **how)

            return step

        with monkeypatch.context() as patched:
            for name in real:
                patched.setattr(Path, name, counted(name))
            try:
                new = materialise(trusted, node.client.folder, place, "gd/guangzhou").hash
            except _StoppedError:
                new = ""
        read.append(read_bundle(place).hash)
        if new:
            break
        steps += 1
    assert steps > 10
    assert set(read) == {old, new}
    assert read == sorted(read, key=lambda each: each == new)  # never back to the old one


def test_what_lies_aside_is_believed_only_when_it_is_whole(world: World, tmp_path: Path) -> None:
    """A damaged bundle with a manifest aside whose files are not all there is refused, as is an older one."""
    node, place = world.node("a"), tmp_path / "bundle"
    node.update()
    materialise(node.client.trusted(NOW), node.client.folder, place, "gd/guangzhou")
    manifest = (place / MANIFEST).read_bytes()
    aside = place / coming(MANIFEST)
    (place / "levels.toml").write_bytes(b"")
    for left in (b"", b"{}", manifest, manifest.replace(b'"version": 1', b'"version": 0')):
        aside.write_bytes(left)
        with pytest.raises(PathError, match=r"trust\.bundle"):
            read_bundle(place)
