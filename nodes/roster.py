"""The province's hand on the roster: rows of the source bundle's `roster.json`, which go out with its publication."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

from filelock import FileLock

from ca_bridge.crypto.between import NodeKeys
from ca_bridge.errors import FederationError
from ca_bridge.files import write_atomically
from ca_bridge.trust.bundle import refresh_manifest
from ca_bridge.trust.roster import Roster, RosterNode, Stage, parse_roster
from nodes.admission import NodeRequest
from nodes.identity import public

FILE = "roster.json"


def read_roster(bundle: Path) -> Roster:
    """The roster of a bundle's folder; an empty one where there is none. Raises PathError `trust.roster`."""
    path = bundle / FILE
    return parse_roster(path.read_bytes()) if path.exists() else Roster()


def put_province(
    bundle: Path, keys: NodeKeys, *, name: str, hall: str, title: Mapping[str, str], now: datetime
) -> None:
    """The province's own row: made, or its hall, title and keys brought up to date."""

    def change(roster: Roster) -> Roster:
        old = roster.find(name)
        row = RosterNode(
            name=name,
            role="province",
            stage="live",
            hall=hall,
            title=title,
            sign=public(keys.sign),
            box=public(keys.box),
            epoch=1,
            since=old.since if old is not None else now,
        )
        return _with(roster, row)

    _change(bundle, change, now)


def put_node(bundle: Path, request: NodeRequest, now: datetime) -> int:
    """A node's row, stage `pilot`; returns its epoch. One that is there keeps stage, epoch and date with other keys.

    Raises FederationError `node.parent` (the node above is not in the roster, or is none that may have nodes below).
    """
    epoch = 1

    def change(roster: Roster) -> Roster:
        nonlocal epoch
        parent = roster.find(request.parent)
        if parent is None or parent.role != {"city": "province", "county": "city"}[request.role]:
            raise FederationError("node.parent", f"{request.parent} is not in the roster as the node above")
        old = roster.find(request.name)
        epoch = old.epoch if old is not None else 1
        row = RosterNode(
            name=request.name,
            role=request.role,  # type: ignore[arg-type]  # checked by the request
            parent=request.parent,
            stage=old.stage if old is not None else "pilot",
            hall=request.hall,
            title=request.title,
            sign=request.sign,
            box=request.box,
            epoch=epoch,
            since=old.since if old is not None else now,
        )
        return _with(roster, row)

    _change(bundle, change, now)
    return epoch


def set_stage(bundle: Path, name: str, stage: Stage, now: datetime) -> None:
    """The node stands at `stage`. Raises FederationError `node.unknown`."""
    _change(bundle, lambda roster: _with(roster, _row(roster, name).model_copy(update={"stage": stage})), now)


def set_floor(bundle: Path, floor: str, now: datetime) -> None:
    """Software below `floor` is red. Raises PathError `trust.roster` for what is no version."""

    def change(roster: Roster) -> Roster:
        table = {**roster.model_dump(mode="json"), "software": {"floor": floor}}
        return parse_roster(json.dumps(table).encode())

    _change(bundle, change, now)


def next_epoch(bundle: Path, name: str, now: datetime) -> int:
    """The node's person key is of the next epoch from now on; returns it. Raises FederationError `node.unknown`."""
    epoch = _row(read_roster(bundle), name).epoch + 1
    _change(bundle, lambda roster: _with(roster, _row(roster, name).model_copy(update={"epoch": epoch})), now)
    return epoch


def remove(bundle: Path, name: str, now: datetime) -> tuple[str, ...]:
    """The node and all below it are out of the roster; returns their names. Raises FederationError `node.unknown`."""
    gone: tuple[str, ...] = ()

    def change(roster: Roster) -> Roster:
        nonlocal gone
        _row(roster, name)
        gone = tuple(node.name for node in roster.nodes if node.name == name or node.name.startswith(f"{name}/"))
        return _made(roster, [node for node in roster.nodes if node.name not in gone])

    _change(bundle, change, now)
    return gone


def _row(roster: Roster, name: str) -> RosterNode:
    row = roster.find(name)
    if row is None or row.role == "province":
        raise FederationError("node.unknown", f"no such node: {name}")
    return row


def _with(roster: Roster, row: RosterNode) -> Roster:
    return _made(roster, [*(node for node in roster.nodes if node.name != row.name), row])


def _made(roster: Roster, nodes: list[RosterNode]) -> Roster:
    rows = [node.model_dump(mode="json") for node in sorted(nodes, key=lambda node: node.name)]
    # through the parser: what is written is what every node will be able to read
    return parse_roster(json.dumps({**roster.model_dump(mode="json"), "nodes": rows}).encode())


def _change(bundle: Path, change: Callable[[Roster], Roster], now: datetime) -> None:
    with FileLock(bundle.parent / ".roster.lock", timeout=10):
        roster = change(read_roster(bundle))
        text = json.dumps(roster.model_dump(mode="json"), ensure_ascii=False, indent=1, sort_keys=True)
        write_atomically(bundle / FILE, text.encode())
        refresh_manifest(bundle, now)
