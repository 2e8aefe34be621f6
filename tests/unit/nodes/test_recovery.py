"""Disaster recovery rehearsed: a lost province machine, a lost root key holder, a stolen node's next epoch."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ca_bridge.errors import FederationError
from ca_bridge.identity.keys import node_key
from crosshall import federation
from nodes.drafts import sign_draft
from nodes.keys import new_key
from nodes.mirror import publish_mirror
from nodes.publish import Publisher
from nodes.recovery import recover
from nodes.transport import FileSource
from tests.unit.nodes.world import World, deny


def _lost(world: World, folder: Path) -> tuple[Path, Publisher]:
    """A publication after the backup, that a node mirrored; then the machine is gone and the backup is back."""
    backup = folder / "backup"
    shutil.copytree(world.publisher.home, backup)
    world.clock.pass_(minutes=2)
    world.publish(policy_DOT_toml=b"max_intermediates = 4\n")
    node = world.node("a")
    node.update()
    publish_mirror(node.client.folder, folder / "mirror")
    return folder / "mirror", Publisher(backup, world.clock)


def test_a_restored_province_catches_up_from_a_node(world: World, tmp_path: Path) -> None:
    """Every node goes on from what it holds: the next publication is above it."""
    mirror, restored = _lost(world, tmp_path)
    node = world.node("a")
    done = CliRunner().invoke(federation.app, ["recover", str(mirror), "--home", str(restored.home)])
    assert done.exit_code == 0, done.output
    world.clock.pass_(minutes=2)
    restored.status({"denials/x.toml": deny({"domain": "mo"})})
    assert node.update(restored.home / "public").changed


def test_a_backup_alone_is_refused_as_a_rollback(world: World, tmp_path: Path) -> None:
    """Why the step above is needed: a node that saw later versions takes no earlier ones."""
    _, restored = _lost(world, tmp_path)
    node = world.node("a")
    world.clock.pass_(minutes=2)
    restored.stamp()
    with pytest.raises(FederationError) as caught:
        node.update(restored.home / "public")
    assert caught.value.code == "federation.rollback"


def test_a_mirror_that_is_behind_changes_nothing(world: World, tmp_path: Path) -> None:
    """An old mirror, or an attacker's old copy, does not take the province back."""
    old = tmp_path / "old"
    shutil.copytree(world.public, old)
    world.clock.pass_(minutes=2)
    world.publish(policy_DOT_toml=b"max_intermediates = 4\n")
    before = world.publisher.repository.published()
    with pytest.raises(FederationError) as caught:
        recover(world.publisher, FileSource(old), world.folder / "none")
    assert caught.value.code == "federation.rollback"
    assert world.publisher.repository.published() == before


def test_another_federations_mirror_is_refused(world: World, tmp_path: Path) -> None:
    """Whatever its versions: it does not follow from our first root."""
    stranger = World(tmp_path / "stranger")
    with pytest.raises(FederationError) as caught:
        recover(world.publisher, FileSource(stranger.public), world.folder / "none")
    assert caught.value.code in ("federation.threshold", "federation.rollback")


def test_a_lost_root_holder_is_replaced_by_the_others(world: World) -> None:
    """Two of three sign the new three; nodes follow, and the lost key alone counts no more."""
    node = world.node("a")
    node.update()
    kept, fresh = world.root_keys[:2], new_key("ed25519")
    world.publisher.rotate("root", [key.public_key for key in (*kept, fresh)], 2)
    world.root_keys = list(kept)
    world.sign()
    assert node.update().changed
    world.clock.pass_(minutes=2)
    world.publisher.renew_root()
    world.root_keys = [kept[0], fresh]
    world.sign()
    assert world.publisher.repository.newest("root") == 3
    node.update()


def test_one_root_holder_of_three_replaces_nobody(world: World) -> None:
    """Below the threshold there is no rotation: the draft waits for ever, nodes stay."""
    draft = world.publisher.rotate("root", [new_key("ed25519").public_key], 1)
    sign_draft(draft, world.root_keys[0])
    assert world.publisher.assemble().waiting["root"] >= 1
    assert world.publisher.repository.newest("root") == 1


def test_a_person_key_is_derived_again_and_changes_with_the_epoch() -> None:
    """A node that lost its machine gets the same key again; after a theft, the next epoch's is another."""
    master = bytes(range(32))
    assert node_key(master, "gd/guangzhou", 1) == node_key(master, "gd/guangzhou", 1)
    assert node_key(master, "gd/guangzhou", 2) != node_key(master, "gd/guangzhou", 1)
