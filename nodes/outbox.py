"""A node's outbox on its way to the province: a batch in the folder that the node publishes, until it is acknowledged.

    state/outbox/*.jwe ─▶ public/outbox/<sha256>.jwe, then public/outbox/head     fetched by the province's office
    the node above: taken/<city>.jws ─▶ names of that batch leave the outbox      and a city hands it on to its counties

A batch is sealed to the province and padded to steps of 64 KiB: who reads the public folder learns that there was
something since the last batch, not how many signed in or when. One batch is out at a time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ca_bridge.ceremony.journal import OUTBOX
from ca_bridge.crypto import between
from ca_bridge.errors import CryptoError, FederationError
from ca_bridge.files import write_atomically
from ca_bridge.trust.roster import Roster, RosterNode
from nodes import roles
from nodes.transport import Source, Ticks, read

BATCH_TYP, TAKEN_TYP = "crosshall-outbox+jwe", "crosshall-taken+jwt"
FOLDER, HEAD, TAKEN = "outbox", "outbox/head", "taken"
HEAD_LIMIT, TAKEN_LIMIT = 64, 256 * 1024
MOST_COPIES = 512
MOST_OCTETS = 256 * 1024
"""Of copies in a batch; the rest waits for the next."""
STEP = 64 * 1024
BATCH_LIMIT = 2 * (MOST_OCTETS + STEP) + STEP
"""Characters of a sealed batch."""
ASK_SECONDS = 5.0
RELAY_SECONDS = 60.0
_OUT = "batch.json"


def city_of(name: str) -> str:
    """The node directly below the province that a node is, or stands under: one acknowledgement for all of them."""
    return "/".join(name.split("/")[:2])


def taken_path(name: str) -> str:
    """Where the acknowledgement for a node is published."""
    return f"{TAKEN}/{roles.domain_role(city_of(name))}.jws"


class Outbox:
    """One node's outbox. Used by its sync agent alone."""

    def __init__(self, state: Path, public: Path, name: str, *, roster: Callable[[], Roster], ticks: Ticks) -> None:
        self._folder = state / OUTBOX
        self._public = public
        self._name = name
        self._roster = roster
        self._ticks = ticks
        self._asked: float | None = None

    def round(self, sources: tuple[Source, ...]) -> None:
        """Take the acknowledgement, then put out the next batch. Raises CrosshallError, OSError: tried again."""
        roster = self._roster()
        province, own = roster.province(), roster.find(self._name)
        if province is None or own is None or province is own:
            return
        out = self._out()
        if self._due(roster, waiting=bool(out)):
            taken = self._fetch(sources, province)
            if out and taken.get(self._name) == out["sha256"]:
                self._remove(out)
                out = {}
        if out:
            self._show(out["sha256"])
        else:
            self._publish(province)

    def _due(self, roster: Roster, *, waiting: bool) -> bool:
        """An answer is waited for, or it is a minute ago that one was brought for the nodes below."""
        below = any(node.name.startswith(f"{self._name}/") for node in roster.nodes)
        late = self._asked is None or self._ticks() - self._asked >= RELAY_SECONDS
        if not waiting and not (below and late):
            return False
        self._asked = self._ticks()
        return True

    def _fetch(self, sources: tuple[Source, ...], province: RosterNode) -> Mapping[str, Any]:
        """What the province took, by the first source that knows; kept in this node's folder for those below."""
        path = taken_path(self._name)
        for source in sources:
            try:
                data = read(source, path, TAKEN_LIMIT, self._ticks() + ASK_SECONDS)
                taken = read_taken(data, province)
            except FederationError:
                continue
            write_atomically(self._public / path, data)
            return taken
        return {}

    def _out(self) -> dict[str, Any]:
        """The batch that is out: its hash and the names in it; nothing when its file is not there any more."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            out: dict[str, Any] = json.loads((self._folder / _OUT).read_bytes())
            if (self._public / FOLDER / f"{out['sha256']}.jwe").is_file() and isinstance(out["names"], list):
                return out
        return {}

    def _remove(self, out: Mapping[str, Any]) -> None:
        for name in out["names"]:
            (self._folder / Path(str(name)).name).unlink(missing_ok=True)
        # from here on the same names would make no batch again
        (self._folder / _OUT).unlink(missing_ok=True)
        (self._public / HEAD).unlink(missing_ok=True)
        for path in (self._public / FOLDER).glob("*.jwe"):
            path.unlink()

    def _publish(self, province: RosterNode) -> None:
        copies = self._next()
        if not copies:
            return
        text = json.dumps({"node": self._name, "copies": copies, "pad": ""})
        text = json.dumps({"node": self._name, "copies": copies, "pad": " " * (-len(text) % STEP)})
        sealed = between.seal(text, province.box, BATCH_TYP).encode()
        name = hashlib.sha256(sealed).hexdigest()
        folder = self._public / FOLDER
        for path in folder.glob("*.jwe"):
            path.unlink()
        write_atomically(folder / f"{name}.jwe", sealed)
        write_atomically(
            self._folder / _OUT, json.dumps({"sha256": name, "names": sorted(copies)}).encode(), mode=0o600
        )
        self._show(name)

    def _show(self, name: str) -> None:
        head = self._public / HEAD
        if not head.is_file() or head.read_bytes() != name.encode():
            write_atomically(head, name.encode())

    def _next(self) -> dict[str, str]:
        """The oldest copies, as many as fit."""
        copies: dict[str, str] = {}
        octets = 0
        for path in sorted(self._folder.glob("[0-9]*.jwe"))[:MOST_COPIES]:
            sealed = path.read_text("ascii")
            octets += len(sealed)
            if copies and octets > MOST_OCTETS:
                break
            copies[path.name] = sealed
        return copies


def read_taken(data: bytes, province: RosterNode) -> Mapping[str, Any]:
    """Node → hash of the batch that was taken last, by the province's word. Raises FederationError `node.signature`."""
    try:
        taken = between.verify(data.decode("ascii").strip(), province.sign, TAKEN_TYP, TAKEN_LIMIT).get("taken")
    except (CryptoError, UnicodeDecodeError) as error:
        raise FederationError("node.signature", f"acknowledgement: {error}") from error
    if not isinstance(taken, dict):
        raise FederationError("node.signature", "acknowledgement: not of this form")
    return taken
