"""Deltas save octets and decide nothing; one process at a time changes the publisher's home."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ca_bridge.errors import FederationError
from nodes import delta, publish
from nodes.publish import Publisher
from nodes.transport import FileSource
from tests.unit.nodes.world import NOW, Tampered, World, deny

_TABLES = st.dictionaries(st.text("abc", max_size=3), st.integers(0, 3), max_size=30)


def _text(table: dict[str, int], entries: int = 0) -> bytes:
    """As metadata is written, with entries enough to be worth a delta."""
    rows = {f"{number:04}": {"hash": "0" * 64, "length": number} for number in range(entries)}
    return json.dumps({**rows, **{key: {"value": value} for key, value in table.items()}}, sort_keys=True).encode()


@settings(max_examples=60, deadline=None)
@given(_TABLES, _TABLES)
def test_a_delta_makes_the_newer_from_the_older(old: dict[str, int], new: dict[str, int]) -> None:
    """Whatever changes, a delta that is made makes exactly the newer one."""
    before, after = _text(old, 200), _text(new, 201)
    made = delta.make(before, after)
    assert made is not None
    assert delta.apply(before, made, len(after)) == after
    assert delta.apply(before, made, len(after) - 1) is None


@pytest.mark.parametrize(
    "data",
    [
        b"", b"[]", b"{}", b'{"format":2,"parts":[]}', b'{"format":1,"parts":[[0,9]]}',
        b'{"format":1,"parts":[[-1,1]]}',
        b'{"format":1,"parts":[[0,0]]}', b'{"format":1,"parts":[[true,1]]}', b'{"format":1,"parts":[[0]]}',
        b'{"format":1,"parts":[{}]}', b'{"format":1,"parts":7}', b'{"format":1,"parts":["\\ud800"]}', b"[" * 100_000,
        b'{"format":1,"parts":[' + b"[0,3]," * 60_000 + b"[0,3]]}",
    ],
)  # fmt: skip
def test_what_is_no_delta_makes_nothing(data: bytes) -> None:
    """A malformed delta, one out of range, one that grows without end."""
    assert delta.apply(b'{"a":1},{"b":2}', data, 1000) is None


def _large(world: World) -> World:
    rows = {f"denials/n{number}.toml": deny({"domain": f"mo/x{number}"}) for number in range(60)}
    world.publisher.status({**world.publisher.online.status_files(), **rows})
    return world


class Counted(Tampered):
    """A source that notes what it was asked for, and may change deltas."""

    def __init__(self, public: Path, harm: bytes | None = b"") -> None:
        self.paths: list[str] = []

        def change(path: str, data: bytes) -> bytes | None:
            if data:
                self.paths.append(path)
            return harm if path.startswith("deltas/") and harm != b"" else data

        super().__init__(FileSource(public), change)


@pytest.mark.parametrize("versions", [1, 3, 6])
def test_a_node_takes_deltas_from_the_last_versions(world: World, versions: int) -> None:
    """A node a few versions behind asks for the delta and not for the whole; farther behind, for the whole."""
    node = _large(world).node("a")
    node.update()
    for number in range(versions):
        world.clock.pass_(seconds=2)
        files = world.publisher.online.status_files()
        world.publisher.status({**files, f"denials/x{number}.toml": deny({"domain": "mo"})})
    source = Counted(world.public)
    assert node.update(source).changed
    whole = any(path.startswith("metadata/") and path.endswith(".status.json") for path in source.paths)
    assert whole is (versions > 4)
    fresh = world.node("b")
    fresh.update()
    assert node.client.trusted(NOW) == fresh.client.trusted(NOW)


@pytest.mark.parametrize("harm", [b"{", b'{"format":1,"parts":[[0,1]]}', b"x" * 3_000_000, None])
def test_a_bad_delta_costs_a_request_and_nothing_else(world: World, harm: bytes | None) -> None:
    """A delta is not signed: a wrong one is passed over, and the whole is asked for."""
    node = _large(world).node("a")
    node.update()
    world.clock.pass_(seconds=2)
    world.publisher.status({**world.publisher.online.status_files(), "denials/y.toml": deny({"domain": "mo"})})
    assert node.update(Counted(world.public, harm)).changed
    assert any(ref.path == "denials/y.toml" for ref in node.client.trusted(NOW).files)


def test_a_second_process_is_told_that_the_home_is_busy(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one changes the home, every other that would change it is refused after a short wait; reading goes on."""
    monkeypatch.setattr(publish, "LOCK_SECONDS", 0.05)
    other = Publisher(world.publisher.home, world.clock)
    steps = (
        other.stamp,
        other.renew_root,
        other.assemble,
        lambda: other.status({}),
        lambda: other.publish(world.source),
        lambda: other.rotate("status", [], 1),
        lambda: other.suspend_border(suspended=True),
        lambda: other.cut_off("gd/guangzhou"),
    )
    with world.publisher.alone():
        world.publisher.stamp()  # who holds it goes on
        for step in steps:
            with pytest.raises(FederationError) as caught:
                step()
            assert caught.value.code == "federation.busy"
        assert other.root() == world.publisher.root()
    other.stamp()
