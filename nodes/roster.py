"""The province's hand on the roster: rows of the source bundle's `roster.json`, which go out with its publication."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from ca_bridge.crypto.between import NodeKeys
from ca_bridge.errors import FederationError
from ca_bridge.files import write_atomically
from ca_bridge.trust.bundle import refresh_manifest
from ca_bridge.trust.roster import Roster, RosterNode, Stage, parse_roster
from nodes.admission import NodeRequest
from nodes.identity import public

FILE = "roster.json"
LOCK_SECONDS = 10.0
"""How long one process waits for another."""


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


def put_node(bundle: Path, request: NodeRequest, epoch: int, now: datetime) -> None:
    """A node's row, stage `pilot`, of `epoch`. One that is there keeps stage and date with other keys.

    Raises FederationError `node.parent` (the node above is not in the roster, or is none that may have nodes below).
    """

    def change(roster: Roster) -> Roster:
        parent = roster.find(request.parent)
        if parent is None or parent.role != {"city": "province", "county": "city"}[request.role]:
            raise FederationError("node.parent", f"{request.parent} is not in the roster as the node above")
        old = roster.find(request.name)
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


def set_stage(bundle: Path, name: str, stage: Stage, now: datetime) -> None:
    """The node stands at `stage`. Raises FederationError `node.unknown`."""
    _change(bundle, lambda roster: _with(roster, node_row(roster, name).model_copy(update={"stage": stage})), now)


def set_floor(bundle: Path, floor: str, now: datetime) -> None:
    """Software below `floor` is red. Raises PathError `trust.roster` for what is no version."""

    def change(roster: Roster) -> Roster:
        table = {**roster.model_dump(mode="json"), "software": {"floor": floor}}
        return parse_roster(json.dumps(table).encode())

    _change(bundle, change, now)


def set_epoch(bundle: Path, name: str, epoch: int, now: datetime) -> None:
    """The node's person key is of `epoch` from now on. Raises FederationError `node.unknown`."""
    _change(bundle, lambda roster: _with(roster, node_row(roster, name).model_copy(update={"epoch": epoch})), now)


def below(roster: Roster, name: str) -> tuple[RosterNode, ...]:
    """The node and all below it. Raises FederationError `node.unknown`."""
    node_row(roster, name)
    return tuple(node for node in roster.nodes if node.name == name or node.name.startswith(f"{name}/"))


def remove(bundle: Path, name: str, now: datetime) -> None:
    """The node and all below it are out of the roster. Raises FederationError `node.unknown`."""

    def change(roster: Roster) -> Roster:
        gone = below(roster, name)
        return _made(roster, [node for node in roster.nodes if node not in gone])

    _change(bundle, change, now)


def node_row(roster: Roster, name: str) -> RosterNode:
    """The row of a node below the province. Raises FederationError `node.unknown`."""
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
    lock = FileLock(bundle.parent / ".roster.lock", timeout=LOCK_SECONDS)
    try:
        lock.acquire()
    except Timeout as error:
        raise FederationError("federation.busy", "another process is changing the roster") from error
    try:
        roster = change(read_roster(bundle))
        text = json.dumps(roster.model_dump(mode="json"), ensure_ascii=False, indent=1, sort_keys=True)
        write_atomically(bundle / FILE, text.encode())
        refresh_manifest(bundle, now)
    finally:
        lock.release()
