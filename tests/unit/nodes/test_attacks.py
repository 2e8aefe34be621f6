"""At least 200 attacks on the bundle, each refused with its own code and without a trace in what is in force.

Here: old data, and keys of some roles that sign what they must not; `test_attacks_line`: no keys at all.
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from ca_bridge.errors import FederationError
from nodes.keys import new_key
from nodes.metadata import digest
from nodes.transport import FileSource
from tests.unit.nodes.scene import CORE, Scene, refused
from tests.unit.nodes.world import NOW, Tampered

Change = Callable[[dict[str, Any]], object]


def test_without_an_attack_it_is_taken(scene: Scene) -> None:
    """The scene itself is sound: the same update unharmed succeeds."""
    assert scene.node.update().versions["targets"] == 2


# -- who holds old, rightly signed data: rollback, freeze, mix-and-match ----------------------------------------------


@pytest.mark.parametrize("role", ["snapshot", "targets", "status", "timestamp"])
def test_rollback(scene: Scene, role: str) -> None:
    """After the node is up to date, nothing older is taken: not as a whole, not one role of it."""
    scene.node.update()
    if role == "timestamp":
        return refused(scene, {"federation.rollback"}, scene.before)
    table = json.loads((scene.before / "metadata" / _oldest(scene, role)).read_bytes())
    if role == "snapshot":
        stamp = scene.read("timestamp")
        data = json.dumps(table).encode()
        stamp["signed"]["version"] += 1
        row = {"version": table["signed"]["version"], "length": len(data), "hashes": {"sha256": digest(data)}}
        stamp["signed"]["meta"]["snapshot.json"] = row
        scene.resign("timestamp", stamp)
        return refused(scene, {"federation.rollback"})
    scene.world.clock.pass_(minutes=1)
    scene.world.publisher.online.snapshot()
    snapshot = scene.read("snapshot")
    data = json.dumps(table).encode()
    row = {"version": table["signed"]["version"], "length": len(data), "hashes": {"sha256": digest(data)}}
    snapshot["signed"]["meta"][f"{role}.json"] = row
    scene.resign("snapshot", snapshot)
    return refused(scene, {"federation.rollback"})


def _oldest(scene: Scene, role: str) -> str:
    return min((scene.before / "metadata").glob(f"*.{role}.json")).name


@pytest.mark.parametrize("role", ["targets", "status", "snapshot"])
def test_mix_and_match(scene: Scene, role: str) -> None:
    """Old, rightly signed metadata in the place of new is not what the snapshot names."""
    old = (scene.before / "metadata" / _oldest(scene, role)).read_bytes()
    target = scene.path(role).relative_to(scene.world.public).as_posix()
    source = Tampered(FileSource(scene.world.public), lambda path, data: old if path == target else data)
    refused(scene, {"federation.hash", "federation.length", "federation.size"}, source)


@pytest.mark.parametrize("role", ["targets", "status", "snapshot"])
def test_listed_under_another_version(scene: Scene, role: str) -> None:
    """Metadata whose version is not the listed one is refused, though online keys list it."""
    above = "timestamp" if role == "snapshot" else "snapshot"
    table = scene.read(above)
    row = table["signed"]["meta"][f"{role}.json"]
    name = scene.path(role)
    row["version"] += 1
    shutil.copy(name, name.with_name(f"{row['version']}.{role}.json"))
    scene.replace(above, json.dumps(table).encode(), follow=False)
    scene.resign(above, table)
    refused(scene, {"federation.mixed"})


@pytest.mark.parametrize("days", [8, 14, 15, 40, 97, 98, 366, 4000])
def test_freeze(scene: Scene, days: int) -> None:
    """A source that stands still is refused once any core role has expired, and its `issued` never rises."""
    scene.node.update()
    issued = scene.node.client.issued()
    before = scene.node.state()
    with pytest.raises(FederationError) as caught:
        scene.node.update(now=NOW + timedelta(days=days + 1))
    assert caught.value.code == "federation.expired"
    assert scene.node.client.issued() == issued
    assert scene.node.state() == before


@pytest.mark.parametrize(("role", "days"), [("root", 365), ("targets", 97), ("snapshot", 14), ("timestamp", 8)])
def test_every_top_role_that_expired_is_told(scene: Scene, role: str, days: int) -> None:
    """What is in force says when each top role ends, and that it has ended: health is red by it, root and time too."""
    scene.node.update()
    end = datetime.fromisoformat(scene.node.client.trusted(NOW).expires[role])
    assert NOW < end <= NOW + timedelta(days=days, hours=1)  # the world signed some minutes later
    assert role not in scene.node.client.trusted(end - timedelta(seconds=1)).failing
    assert scene.node.client.trusted(end).failing[role] == "federation.expired"


def test_hidden_root_is_a_freeze(scene: Scene) -> None:
    """Hiding the new root changes nothing that the old one allows; when the old one expires nothing newer is taken."""
    source = Tampered(FileSource(scene.world.public), lambda path, data: None if path.endswith("2.root.json") else data)
    scene.node.update(source)
    scene.world.clock.pass_(days=366)
    with pytest.raises(FederationError) as caught:
        scene.node.update(source)
    assert caught.value.code == "federation.expired"


def test_a_time_far_ahead_is_refused(scene: Scene) -> None:
    """A stolen timestamp key cannot run the node's time into the future."""
    table = scene.read("timestamp")
    table["signed"]["issued"] = "2026-12-24T00:00:00Z"
    table["signed"]["expires"] = "2027-01-01T00:00:00Z"
    table["signed"]["version"] += 10_000_000
    scene.resign("timestamp", table)
    refused(scene, {"federation.future"})


# -- signatures -------------------------------------------------------------------------------------------------------


def _swap(table: dict[str, Any]) -> None:
    rows = table["signatures"]
    if len(rows) < 2:
        rows[0]["sig"] = rows[0]["sig"][::-1]
    else:
        rows[0]["sig"], rows[1]["sig"] = rows[1]["sig"], rows[0]["sig"]


def _drop(table: dict[str, Any], count: int) -> None:
    del table["signatures"][:count]


SIGNATURES: dict[str, tuple[Change, str]] = {
    "one fewer": (lambda t: _drop(t, 1), "threshold"),
    "none": (lambda t: t.update(signatures=[]), "threshold"),
    "one twice": (lambda t: t["signatures"].append(t["signatures"][0]), "format"),
    "swapped": (_swap, "threshold"),
    "under a foreign id": (lambda t: t["signatures"][0].update(keyid="ab" * 32), "threshold"),
    "empty": (lambda t: t["signatures"][0].update(sig=""), "threshold"),
    "not hexadecimal": (lambda t: t["signatures"][0].update(sig="zz"), "threshold"),
    "a number": (lambda t: t["signatures"][0].update(sig=7), "threshold"),
    "a hundred": (lambda t: t.update(signatures=[{"keyid": f"{n:064x}", "sig": "00"} for n in range(65)]), "format"),
    "no list": (lambda t: t.update(signatures={}), "format"),
}


@pytest.mark.parametrize("how", list(SIGNATURES))
@pytest.mark.parametrize("role", CORE)
def test_signatures(scene: Scene, role: str, how: str) -> None:
    """A role speaks only by as many different keys as it must, each with a right signature of its own."""
    change, code = SIGNATURES[how]
    table = scene.read(role)
    change(table)
    scene.replace(role, json.dumps(table).encode())
    refused(scene, {f"federation.{code}"})


@pytest.mark.parametrize("role", CORE)
@pytest.mark.parametrize("keys", ["strangers", "the city's", "the timestamp's", "the border's"])
def test_other_roles_keys(scene: Scene, role: str, keys: str) -> None:
    """Keys of another role, or of nobody, sign nothing here."""
    if (role, keys) == ("timestamp", "the timestamp's"):
        keys = "strangers"
    signers = {
        "strangers": [new_key("ed25519"), new_key("ecdsa")],
        "the city's": scene.world.city_keys,
        "the timestamp's": scene.signers("timestamp"),
        "the border's": scene.world.border_keys,
    }[keys]
    scene.resign(role, scene.read(role), signers)
    refused(scene, {"federation.threshold"})


# -- who has taken a role's keys and signs what it must not ------------------------------------------------------------


def _file(path: str, **changes: Any) -> Change:
    row = {"length": 3, "hashes": {"sha256": "ab" * 32}, **changes}
    return lambda t: t["signed"]["targets"].update({path: row})


BINS = {"keyids": [], "threshold": 1, "bit_length": 2, "name_prefix": "x"}
RSA = {"keytype": "rsa", "scheme": "rsassa-pss-sha256", "keyval": {"public": "x"}}


def _twice(rows: list[Any]) -> None:
    rows.append(rows[0])


PATHS = {
    "../../etc/passwd": "path", "/etc/passwd": "path", "anchors/../levels.toml": "path", "anchors//x.pem": "path",
    "Anchors/x.pem": "path", "anchors/ｘ.pem": "path", "anchors/x\u202e.pem": "path", "anchors/.x.pem": "path",
    "anchors\\x.pem": "path", "anchors/x.pem\x00": "path", "": "path", "anchors/": "path", "./levels.toml": "path",
    "anchors/" + "a" * 200: "path", "a/b/c/d/e/f/g/h": "path", "levels.toml ": "path", "anchors/%2e%2e": "path",
    "other.toml": "namespace", "state/keys/master": "namespace", "bundle.json": "namespace", "anchors/a/b": "namespace",
}  # fmt: skip
FOREIGN = {
    "targets": ["crls/x.crl", "denials/x.toml", "lists/x.toml", "border/anchors/x.pem", "refusals/gd/guangzhou/x.toml"],
    "status": [
        "anchors/x.pem",
        "profiles/x.toml",
        "levels.toml",
        "roster.json",
        "lists/x.toml",
        "candidates/gd/guangzhou/x",
    ],
}
FIELDS: dict[str, tuple[Change, str]] = {
    "negative length": (_file("policy.toml", length=-1), "format"),
    "length is true": (_file("policy.toml", length=True), "format"),
    "length is text": (_file("policy.toml", length="3"), "format"),
    "length beyond the cap": (_file("policy.toml", length=1 << 40), "size"),
    "no hashes": (_file("policy.toml", hashes={}), "format"),
    "md5": (_file("policy.toml", hashes={"md5": "ab" * 16}), "format"),
    "a second hash": (_file("policy.toml", hashes={"sha256": "ab" * 32, "sha512": "ab" * 64}), "format"),
    "a hash in capitals": (_file("policy.toml", hashes={"sha256": "AB" * 32}), "format"),
    "a hash with a path": (_file("policy.toml", hashes={"sha256": "../" + "a" * 61}), "format"),
    "spec 2": (lambda t: t["signed"].update(spec_version="2.0.0"), "spec_version"),
    "spec is a number": (lambda t: t["signed"].update(spec_version=1), "spec_version"),
    "version 0": (lambda t: t["signed"].update(version=0), "format"),
    "version is true": (lambda t: t["signed"].update(version=True), "format"),
    "version beyond": (lambda t: t["signed"].update(version=1 << 60), "format"),
    "another type": (lambda t: t["signed"].update(_type="root"), "format"),
    "expires without zone": (lambda t: t["signed"].update(expires="2030-01-01 00:00:00"), "format"),
    "expired": (lambda t: t["signed"].update(expires="2026-01-01T00:00:00Z"), "expired"),
    "delegates bins": (lambda t: t["signed"].update(delegations={"keys": {}, "succinct_roles": BINS}), "delegation"),
    "no delegation of status": (lambda t: t["signed"].update(delegations={"keys": {}, "roles": []}), "missing"),
    "delegates itself": (lambda t: _delegation(t, name="targets"), "format"),
    "delegates a stranger": (lambda t: _delegation(t, name="x"), "delegation"),
    "delegates too wide": (lambda t: _delegation(t, paths=["*", "*/*"]), "delegation"),
    "delegates one twice": (lambda t: _twice(t["signed"]["delegations"]["roles"]), "format"),
    "threshold 0": (lambda t: _delegation(t, threshold=0), "format"),
    "threshold above keys": (lambda t: _delegation(t, threshold=9), "key"),
    "unknown keys": (lambda t: _delegation(t, keyids=["ab" * 32]), "key"),
    "one key under two ids": (lambda t: _second_id(t["signed"]["delegations"]["keys"]), "key"),
    "cut_off is text": (lambda t: t["signed"].update(cut_off="gd.guangzhou"), "format"),
}  # fmt: skip


def _delegation(table: dict[str, Any], **changes: Any) -> None:
    table["signed"]["delegations"]["roles"][0].update(changes)


def _second_id(keys: dict[str, Any]) -> None:
    keys["cd" * 32] = copy.deepcopy(next(iter(keys.values())))


@pytest.mark.parametrize("path", list(PATHS))
def test_paths(scene: Scene, path: str) -> None:
    """A path that could mean another file, or that no role may list, is refused though right keys sign it."""
    table = scene.read("targets")
    _file(path)(table)
    scene.resign("targets", table)
    refused(scene, {f"federation.{PATHS[path]}"})


@pytest.mark.parametrize(("role", "path"), [(role, path) for role, paths in FOREIGN.items() for path in paths])
def test_out_of_namespace(scene: Scene, role: str, path: str) -> None:
    """No role lists another role's files."""
    table = scene.read(role)
    _file(path)(table)
    scene.resign(role, table)
    refused(scene, {"federation.namespace"})


@pytest.mark.parametrize("how", list(FIELDS))
def test_fields(scene: Scene, how: str) -> None:
    """Fields that python-tuf lets pass, or that are wrong, are refused though right keys sign them."""
    change, code = FIELDS[how]
    table = scene.read("targets")
    change(table)
    scene.resign("targets", table)
    refused(scene, {f"federation.{code}"})


ROOTS: dict[str, tuple[Change, str]] = {
    "skips a version": (lambda t: t["signed"].update(version=3), "rollback"),
    "same version": (lambda t: t["signed"].update(version=1), "rollback"),
    "inconsistent snapshots": (lambda t: t["signed"].update(consistent_snapshot=False), "format"),
    "threshold 0": (lambda t: t["signed"]["roles"]["root"].update(threshold=0), "format"),
    "threshold above": (lambda t: t["signed"]["roles"]["root"].update(threshold=7), "key"),
    "a key twice": (lambda t: _twice(t["signed"]["roles"]["root"]["keyids"]), "format"),
    "one key under two ids": (lambda t: _second_id(t["signed"]["keys"]), "key"),
    "no timestamp role": (lambda t: t["signed"]["roles"].pop("timestamp"), "format"),
    "a fifth role": (lambda t: t["signed"]["roles"].update(mirrors={"keyids": [], "threshold": 1}), "format"),
    "an RSA key": (lambda t: t["signed"]["keys"].update({"ab" * 32: RSA}), "key"),
    "an unknown key": (lambda t: t["signed"]["keys"].update({"ab" * 32: {**RSA, "keytype": "x"}}), "format"),
}  # fmt: skip


@pytest.mark.parametrize("how", list(ROOTS))
def test_roots(scene: Scene, how: str) -> None:
    """A root follows the one before by one, is signed by both, and gives each role real keys."""
    change, code = ROOTS[how]
    table = scene.read("root")
    change(table)
    scene.resign("root", table)
    refused(scene, {f"federation.{code}"})


# -- a city that has been taken over, and a stolen border: they harm themselves alone ----------------------------------

SIDE: dict[str, tuple[Change, str]] = {
    "an anchor": (_file("anchors/x.pem"), "namespace"),
    "levels": (_file("levels.toml"), "namespace"),
    "another city's refusals": (_file("refusals/gd/foshan/x.toml"), "namespace"),
    "the province's denials": (_file("denials/x.toml"), "namespace"),
    "a county's candidates": (_file("candidates/gd/guangzhou/conghua/x.pem"), "namespace"),
    "a path upwards": (_file("refusals/gd/guangzhou/../x.toml"), "path"),
    "delegates a sister": (lambda t: _give(t, "gd.foshan"), "delegation"),
    "delegates itself": (lambda t: _give(t, "gd.guangzhou"), "delegation"),
    "delegates status": (lambda t: _give(t, "status"), "delegation"),
}


def _give(table: dict[str, Any], name: str) -> None:
    row = {"name": name, "keyids": [], "threshold": 1, "terminating": True, "paths": ["*"]}
    table["signed"]["delegations"] = {"keys": {}, "roles": [row]}


@pytest.mark.parametrize("how", list(SIDE))
@pytest.mark.parametrize("role", ["gd.guangzhou", "border"])
def test_a_taken_over_side_role(scene: Scene, role: str, how: str) -> None:
    """A role that signs outside its namespace is refused alone: a city keeps its refusals, the border goes."""
    change, code = SIDE[how]
    table = scene.read(role)
    change(table)
    scene.publish_side(role, table)
    before = scene.node.client.trusted(NOW)
    scene.node.update()
    after = scene.node.client.trusted(NOW)
    assert after.failing == {role: f"federation.{code}"}
    assert after.refusals == before.refusals
    assert any(ref.path.startswith("border/") for ref in after.files) == (role != "border")
