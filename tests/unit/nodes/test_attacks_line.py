"""Attacks by who holds the line or the disk and has no key: every file cut, lengthened, exchanged, changed in a bit."""

from __future__ import annotations

import pytest

from ca_bridge.errors import FederationError
from nodes.transport import FileSource
from tests.unit.nodes.scene import CORE, Scene, refused
from tests.unit.nodes.world import NOW, Tampered, World

# -- who holds the line: every file, cut, lengthened, exchanged, or changed in one octet ------------------------------

LINE = [
    (role, how)
    for role in CORE
    for how in (
        *(f"flip {part}" for part in range(0, 100, 12)),
        *(f"cut {part}" for part in (0, 1, 50, 99)),
        "longer", "endless", "empty object", "array", "not utf-8", "deep", "another role", "gone",
    )
    if (role, how) != ("root", "gone")  # that is a freeze: test_hidden_root_is_a_freeze
]  # fmt: skip


@pytest.mark.parametrize(("role", "how"), LINE)
def test_the_line_changes_metadata(scene: Scene, role: str, how: str) -> None:
    """Whatever is done to metadata on its way is refused."""
    target = scene.path(role).relative_to(scene.world.public).as_posix()

    def change(path: str, data: bytes) -> bytes | None:
        return _harm(how, data, scene) if path == target else data

    words = ("format", "threshold", "hash", "length", "size", "spec_version", "absent", "key")
    codes = {f"federation.{word}" for word in words}
    refused(scene, codes, Tampered(FileSource(scene.world.public), change))


def _harm(how: str, data: bytes, scene: Scene) -> bytes | None:
    word, _, number = how.partition(" ")
    if word == "flip":
        # Hexadecimal of a signature or a letter of a name: one bit that is not white space.
        at = max(len(data) * int(number) // 100, 20)
        return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
    if word == "cut":
        return data[: len(data) * int(number) // 100] or b"{"
    return {
        "longer": data + b" " * 9_000_000,
        "endless": data * (9_000_000 // max(len(data), 1) + 2),
        "empty object": b"{}",
        "array": b"[]",
        "not utf-8": b"\xff" + data[1:],
        "deep": b'{"signed":' + b"[" * 100_000,
        "another role": scene.path("border").read_bytes(),
        "gone": None,
    }[how]


FILES = ["policy.toml", "levels.toml", "anchors/root.pem", "cross/gz-public.pem", "denials/x.toml", "crls/root.crl",
         "profiles/gd-public.toml", "border/profiles/mo-public.toml"]  # fmt: skip


@pytest.mark.parametrize("path", FILES)
@pytest.mark.parametrize("how", ["flip 50", "cut 50", "longer", "gone", "another role"])
def test_the_line_changes_files(scene: Scene, path: str, how: str) -> None:
    """A listed file that is not the one listed is refused, and so is all with it."""
    fresh = World.node(scene.world, "fresh")
    name = path.rpartition("/")[2]

    def change(found: str, data: bytes) -> bytes | None:
        if found.startswith("packs/"):
            return None
        hit = found.startswith(f"targets/{path.rpartition('/')[0]}") and found.endswith(f".{name}")
        return _harm(how, data, scene) if hit else data

    with pytest.raises(FederationError) as caught:
        fresh.update(Tampered(FileSource(scene.world.public), change))
    assert caught.value.code in {"federation.hash", "federation.length", "federation.size", "federation.absent"}
    with pytest.raises(FederationError) as caught:
        fresh.client.trusted(NOW)
    assert caught.value.code == "federation.empty"
