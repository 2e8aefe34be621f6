"""From key holders to bridges: what is published arrives, the same everywhere, and only that."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from ca_bridge.errors import FederationError
from ca_bridge.trust.bundle import read_bundle
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
