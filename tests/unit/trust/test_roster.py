"""The roster: each node, hall and key once, keys that are P-256 and public, or the whole bundle is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey

from ca_bridge.errors import PathError
from ca_bridge.trust.bundle import read_bundle, write_bundle_manifest
from ca_bridge.trust.roster import Software, parse_roster

TITLE = {"zh-Hans": "厅", "zh-Hant": "廳", "en": "Hall", "pt": "Balcão"}


def key() -> dict[str, Any]:
    """A public key with its kid."""
    made = ECKey.generate_key("P-256", private=True)
    return {**made.as_dict(private=False), "kid": made.thumbprint()}


def node(name: str = "gd", /, **changed: Any) -> dict[str, Any]:
    """A row of the roster."""
    parent = name.rpartition("/")[0]
    role = ("province", "city", "county")[name.count("/")]
    row = {
        "name": name,
        "role": role,
        "parent": parent,
        "stage": "live",
        "hall": f"https://hall.{name.replace('/', '-')}.test:8443",
        "title": TITLE,
        "sign": key(),
        "box": key(),
        "epoch": 1,
        "since": "2026-11-01T00:00:00Z",
    }
    return {**row, **changed}


def text(*rows: dict[str, Any], **changed: Any) -> bytes:
    """A roster of these rows."""
    return json.dumps({"format": 1, "nodes": rows, "software": {"floor": "0.1.0"}, **changed}).encode()


def test_nodes_are_found_by_name_key_and_hall() -> None:
    """And what is not there is not found: a node that was cut off."""
    rows = [node(), node("gd/guangzhou"), node("gd/guangzhou/conghua")]
    roster = parse_roster(text(*rows))
    found = roster.find("gd/guangzhou")
    assert found is not None
    assert roster.by_key(rows[1]["sign"]["kid"]) is found
    assert roster.at(found.hall) is found
    assert roster.province() is roster.find("gd")
    assert roster.find("gd/shenzhen") is None
    assert roster.by_key(rows[1]["box"]["kid"]) is None


@pytest.mark.parametrize(
    "changed",
    [
        {"name": "../gd"},
        {"role": "province"},
        {"parent": ""},
        {"stage": "unheard-of"},
        {"hall": "http://hall.gd.test"},
        {"hall": "https://hall.gd.test/path"},
        {"hall": "https://HALL.gd.test"},
        {"title": {"en": "Hall"}},
        {"epoch": 0},
        {"since": "2026-11-01T00:00:00"},
        {"sign": {}},
        {"sign": {"kty": "oct", "k": "AA", "kid": "a"}},
        {"unknown": 1},
    ],
)
def test_a_row_that_is_not_right_refuses_all(changed: dict[str, Any]) -> None:
    """One bad row, and nothing of the roster counts."""
    with pytest.raises(PathError, match=r"trust\.roster"):
        parse_roster(text(node(), node("gd/guangzhou", **changed)))


def test_no_private_keys_and_no_points_beside_the_curve() -> None:
    """A roster is public; a key that is none would fail later, somewhere else."""
    private = ECKey.generate_key("P-256", private=True).as_dict(private=True) | {"kid": "a"}
    beside = key() | {"x": "A" * 43}
    for bad in (private, beside, key() | {"kid": ""}, {**key(), "crv": "P-384"}):
        with pytest.raises(PathError, match=r"trust\.roster"):
            parse_roster(text(node(sign=bad)))


@pytest.mark.parametrize("what", ["name", "hall", "sign", "box"])
def test_nothing_twice(what: str) -> None:
    """Two nodes of one name, hall or key: one could speak as the other."""
    first, second = node(), node("gd/guangzhou")
    second[what] = first[what]
    with pytest.raises(PathError, match=r"trust\.roster"):
        parse_roster(text(first, second))


def test_one_key_has_one_use() -> None:
    """The key that signs does not also open."""
    both = key()
    with pytest.raises(PathError, match=r"trust\.roster"):
        parse_roster(text(node(sign=both, box=both)))


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b'{"format": 2, "nodes": []}', b"[" * 100000, b"\xff"])
def test_what_is_no_roster(data: bytes) -> None:
    """An unknown format, or no JSON."""
    with pytest.raises(PathError, match=r"trust\.roster"):
        parse_roster(data)


def test_it_comes_with_the_bundle(tmp_path: Path) -> None:
    """Read with the rest; absent it is empty; broken it refuses the bundle."""
    now = datetime(2026, 11, 23, tzinfo=UTC)
    write_bundle_manifest(tmp_path, 1, now)
    assert read_bundle(tmp_path).roster.nodes == ()
    (tmp_path / "roster.json").write_bytes(text(node()))
    write_bundle_manifest(tmp_path, 2, now)
    assert read_bundle(tmp_path).roster.find("gd") is not None
    (tmp_path / "roster.json").write_bytes(b"{}")
    write_bundle_manifest(tmp_path, 3, now)
    with pytest.raises(PathError, match=r"trust\.roster"):
        read_bundle(tmp_path)


@pytest.mark.parametrize(
    ("floor", "version", "below"),
    [
        ("", "0.0.1", False),
        ("", "", False),
        ("1.2.0", "1.2.0", False),
        ("1.2.0", "1.2", False),
        ("1.2", "1.2.0", False),
        ("1.2.0", "1.10.0", False),
        ("1.2.0", "2", False),
        ("1.2.0", "1.1.99", True),
        ("1.10.0", "1.9.0", True),
        ("0.0.1", "0.0.0", True),
        ("0.1.0", "", True),
        ("0.1.0", "later", True),
        ("0.1.0", "0.2.0-beta", True),
    ],
)
def test_what_is_below_the_floor(floor: str, version: str, below: bool):
    """By number, not by text; a version that cannot be read is below every floor."""
    assert Software(floor=floor).below(version) is below


@pytest.mark.parametrize("floor", ["new", "1.", ".1", "1.2.3.4.5.6", "-1", "1 "])
def test_a_floor_that_is_no_version_is_refused(floor: str):
    """Else nobody, or everybody, would be below it."""
    with pytest.raises(ValueError, match="dotted numbers"):
        Software(floor=floor)
