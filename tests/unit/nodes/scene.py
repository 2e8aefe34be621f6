"""A node at version 1, and a repository that has gone on, for an attacker to work on."""

from __future__ import annotations

import copy
import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.exceptions import FormatError
from securesystemslib.formats import encode_canonical
from securesystemslib.signer import Signer

from ca_bridge.errors import FederationError
from nodes.client import Client
from nodes.keys import load_key
from nodes.metadata import digest
from nodes.transport import FileSource
from nodes.view import Trusted
from tests.unit.nodes.world import NOW, Node, World, deny

CORE = ("root", "targets", "status", "snapshot", "timestamp")


@dataclass
class Scene:
    """A node at version 1, and a repository at version 2 with a rotated root, that an attacker works on."""

    world: World
    node: Node
    before: Path
    """The repository as the node saw it."""

    @property
    def metadata(self) -> Path:
        return self.world.public / "metadata"

    def path(self, role: str) -> Path:
        """Where the newest metadata of a role lies."""
        if role == "timestamp":
            return self.metadata / "timestamp.json"
        return self.metadata / f"{self.world.publisher.repository.newest(role)}.{role}.json"

    def read(self, role: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.path(role).read_bytes())
        return found

    def signers(self, role: str) -> list[Signer]:
        """Who signs a role, as the attacker who has taken its keys."""
        offline = {"root": self.world.root_keys, "targets": self.world.targets_keys, "border": self.world.border_keys}
        if role in offline:
            return offline[role][:2]
        if role == "gd.guangzhou":
            return self.world.city_keys
        return [load_key(self.world.publisher.home / "keys" / f"{role}-1.pem", None)]

    def resign(self, role: str, table: dict[str, Any], signers: list[Signer] | None = None) -> None:
        """Write metadata with right signatures over what is now in it, and make all above fit it."""
        try:
            text = encode_canonical(table["signed"])
        except FormatError:
            text = json.dumps(table["signed"])
        assert text is not None
        chosen = self.signers(role) if signers is None else signers
        table["signatures"] = [
            {"keyid": signer.public_key.keyid, "sig": signer.sign(text.encode()).signature} for signer in chosen
        ]
        self.replace(role, json.dumps(table).encode())

    def replace(self, role: str, data: bytes, *, follow: bool = True) -> None:
        """Put octets in a role's place; with `follow` the online keys sign a snapshot and timestamp that list them."""
        path = self.path(role)
        path.write_bytes(data)
        if not follow or role in ("root", "timestamp"):
            return
        above = "timestamp" if role == "snapshot" else "snapshot"
        table = self.read(above)
        row = table["signed"]["meta"][f"{role}.json"]
        row.update(length=len(data), hashes={"sha256": digest(data)})
        self.resign(above, table)

    def publish_side(self, role: str, table: dict[str, Any]) -> None:
        """A new version of a side role, rightly signed, in a new snapshot."""
        table["signed"]["version"] += 1
        text = encode_canonical(table["signed"])
        assert text is not None
        signed = [s.sign(text.encode()) for s in self.signers(role)]
        table["signatures"] = [{"keyid": found.keyid, "sig": found.signature} for found in signed]
        (self.metadata / f"{table['signed']['version']}.{role}.json").write_bytes(json.dumps(table).encode())
        self.world.publisher.online.snapshot()

    def copied(self, folder: Path) -> Scene:
        """The same scene in a folder of its own."""
        shutil.copytree(self.world.folder, folder)
        world = copy.copy(self.world)
        world.move(folder)
        world.clock.now = self.world.clock.now
        node = copy.copy(self.node)
        node.world, node.folder = world, folder / "victim"
        node.client = Client(node.folder / "federation")
        return replace(self, world=world, node=node, before=folder / "before")


def make_scene(world: World) -> Scene:
    """The node has version 1; the repository has gone on, with a new root."""
    world.city(world.public).refuse({"a.toml": deny({"domain": "gd/guangzhou"})})
    world.publisher.collect(FileSource(world.public))
    shutil.rmtree(world.public / "lane")
    world.publisher.stamp()
    node = world.node("victim")
    node.update()
    shutil.copytree(world.public, world.folder / "before")
    world.clock.pass_(minutes=2)
    world.publish(policy_DOT_toml=b"max_intermediates = 5\n")
    world.publisher.renew_root()
    world.sign()
    files = {**world.publisher.online.status_files(), "denials/x.toml": deny({"domain": "mo"})}
    world.publisher.status(files)
    return Scene(world, node, world.folder / "before")


def _but_root(trusted: Trusted) -> Trusted:
    """Without the root's end: a root that is good by itself is kept, whatever came after it."""
    return replace(trusted, expires={role: end for role, end in trusted.expires.items() if role != "root"})


def refused(scene: Scene, codes: set[str], source: Any = None) -> None:
    """The update is refused with one of these codes, and nothing in force has changed but, at most, the root."""
    before, state = scene.node.client.trusted(NOW), json.loads(json.loads(scene.node.state())["held"])
    with pytest.raises(FederationError) as caught:
        scene.node.update(source)
    assert caught.value.code in codes, caught.value
    assert _but_root(scene.node.client.trusted(NOW)) == _but_root(before)
    after = json.loads(json.loads(scene.node.state())["held"])
    for table in (state, after):
        table.pop("root")
    assert after == state
