"""The province's register: the last epoch of every node that was ever admitted, and keys that count no more.

The roster forgets a node that is removed; the register does not. Else a node that was stolen, and admitted again,
would have the person key of before, and a thief's keys could come back by an old request. `federation/register.json`
lies in the federation's home: every backup holds it. Where it cannot be known what was given out – a register that is
absent, a province that lost what it did since its backup – the next epoch lies a safe gap above all that is known.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ca_bridge.errors import FederationError
from ca_bridge.files import write_atomically
from ca_bridge.trust.roster import Roster, RosterNode

FILE = "register.json"
FORMAT = 1
GAP = 1000
"""Ours: more epochs than operators give out between two backups; each needs key holders."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One name: its last epoch, and the ids of the keys that are its own now."""

    epoch: int
    keys: frozenset[str]


@dataclass(frozen=True, slots=True)
class Entries:
    """The register as a whole."""

    floor: int = 0
    """Every epoch that is given out from now on lies above it."""
    nodes: Mapping[str, Entry] = field(default_factory=dict)
    spent: frozenset[str] = frozenset()
    """Ids of keys that were removed or replaced: no request brings them in again."""

    def last(self, name: str) -> int:
        """The highest epoch that `name` may ever have had."""
        return max(self.floor, self.nodes[name].epoch if name in self.nodes else 0)

    def put(self, name: str, epoch: int, keys: Iterable[str]) -> Entries:
        """`name` stands at `epoch` with these keys; those it had before are spent."""
        fresh = frozenset(keys)
        old = self.nodes[name].keys if name in self.nodes else frozenset()
        entry = Entry(max(epoch, self.nodes[name].epoch if name in self.nodes else 0), fresh)
        return replace(self, nodes={**self.nodes, name: entry}, spent=self.spent | (old - fresh))

    def data(self) -> bytes:
        """As it is written."""
        nodes = {name: {"epoch": row.epoch, "keys": sorted(row.keys)} for name, row in sorted(self.nodes.items())}
        table = {"format": FORMAT, "floor": self.floor, "nodes": nodes, "spent": sorted(self.spent)}
        return json.dumps(table, indent=1).encode()


class Register:
    """The register in a federation's home. Who changes it holds the home's lock (`Publisher.alone`)."""

    def __init__(self, home: Path) -> None:
        self.path = home / FILE

    def begin(self, before: Register | None = None) -> None:
        """An empty register, for a federation that begins; or that of the federation `before` it."""
        self._store(Entries() if before is None else before.load())

    def load(self) -> Entries:
        """What is known; where there is no register, nothing but the gap. Raises FederationError `node.register`."""
        try:
            return _read(self.path.read_bytes())
        except FileNotFoundError:
            return Entries(floor=GAP)
        except OSError as error:
            raise FederationError("node.register", f"{FILE}: {error.strerror}") from error

    def admit(self, name: str, keys: Iterable[str], row: RosterNode | None) -> int:
        """The epoch of a node that is let in: its own when the roster holds it (`row`), else above every one it had.

        Raises FederationError `node.spent`: one of its keys was removed or replaced before; `node.register`.
        """
        found, fresh = self._known(row), frozenset(keys)
        others = {key for other, entry in found.nodes.items() if other != name for key in entry.keys}
        if fresh & (found.spent | others):
            raise FederationError("node.spent", f"{name} brings a key that was removed, replaced or another node's")
        epoch = row.epoch if row is not None else found.last(name) + 1
        self._store(found.put(name, epoch, fresh))
        return epoch

    def advance(self, row: RosterNode) -> int:
        """The next epoch of a node in the roster. Raises FederationError `node.register`."""
        found = self._known(row)
        epoch = max(found.last(row.name), row.epoch) + 1
        self._store(found.put(row.name, epoch, found.nodes[row.name].keys))
        return epoch

    def retire(self, rows: Iterable[RosterNode]) -> None:
        """These nodes are out: epochs stay known, keys are spent. Raises FederationError `node.register`."""
        found = self.load()
        for row in rows:
            found = _with_row(found, row).put(row.name, row.epoch, ())
        self._store(found)

    def recovered(self, before: Roster, after: Roster) -> Entries:
        """The register once `after`, a roster published since, is found; `before` is what the backup held.

        Who stands only in `before` was removed. What else was given out in between is unknown: hence the gap.
        """
        found = self.load()
        for row in before.nodes:
            found = _with_row(found, row)
        for row in after.nodes:
            known = found.nodes[row.name].keys if row.name in found.nodes else frozenset[str]()
            own = {row.sign["kid"], row.box["kid"]}
            # its role's key is known as long as the two others are the same
            found = found.put(row.name, row.epoch, known | own if own <= known else own)
        for name in found.nodes.keys() - {row.name for row in after.nodes}:
            found = found.put(name, found.nodes[name].epoch, ())
        highest = max((entry.epoch for entry in found.nodes.values()), default=0)
        return replace(found, floor=max(found.floor, highest) + GAP)

    def _known(self, row: RosterNode | None) -> Entries:
        found = self.load()
        return found if row is None else _with_row(found, row)

    def _store(self, entries: Entries) -> None:
        write_atomically(self.path, entries.data(), mode=0o600)


def _with_row(entries: Entries, row: RosterNode) -> Entries:
    """With a row of the roster that an earlier version let in, or that is ahead of the register."""
    keys = {row.sign["kid"], row.box["kid"]}
    if row.name in entries.nodes:
        keys |= entries.nodes[row.name].keys
    return entries.put(row.name, row.epoch, keys)


def _read(data: bytes) -> Entries:
    try:
        table: Any = json.loads(data)
        if table["format"] != FORMAT or set(table) != {"format", "floor", "nodes", "spent"}:
            raise ValueError("an unknown format")
        nodes = {str(name): Entry(_number(row["epoch"], 1), _keys(row["keys"])) for name, row in table["nodes"].items()}
        return Entries(_number(table["floor"], 0), nodes, _keys(table["spent"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FederationError("node.register", f"{FILE}: {type(error).__name__}") from error


def _number(raw: object, least: int) -> int:
    if type(raw) is not int or raw < least:
        raise ValueError("not a number of an epoch")
    return raw


def _keys(raw: object) -> frozenset[str]:
    if not isinstance(raw, list) or not all(isinstance(key, str) for key in raw):
        raise ValueError("not a list of keys")
    return frozenset(raw)
