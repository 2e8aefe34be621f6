"""The province's acts on a node – let in, removed, next epoch – each whole or not done.

An act changes register, roster and drafts. It holds the federation's lock from its first look to its last step, so that
two operators come one after the other; where a step fails, all three are as they were.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ca_bridge.files import write_atomically
from ca_bridge.trust.bundle import MANIFEST
from nodes import register, roster
from nodes.admission import NodeRequest
from nodes.keys import parse_public
from nodes.publish import Publisher
from nodes.register import Register


@dataclass(frozen=True, slots=True)
class Acted:
    """What an act did: the epoch of the node, the names it is about, and the drafts that wait for key holders."""

    epoch: int
    names: tuple[str, ...]
    drafts: tuple[Path, ...]


@contextmanager
def whole(publisher: Publisher, bundle: Path) -> Iterator[None]:
    """Nobody else changes the federation within; what raises leaves register, roster and drafts as they were.

    Killed within, the machine holds what was written so far; the same act again completes it, perhaps with a higher
    epoch. Raises FederationError `federation.busy`.
    """
    files = (publisher.home / register.FILE, bundle / roster.FILE, bundle / MANIFEST)
    with publisher.alone():
        before = {path: path.read_bytes() if path.exists() else None for path in files}
        drafts = {path: path.read_bytes() for path in publisher.drafts.glob("*.json")}
        try:
            yield
        except BaseException:
            for path in [*publisher.drafts.glob("*.json")]:
                if path not in drafts:
                    path.unlink()
            for path, data in {**drafts, **before}.items():
                _put_back(path, data)
            raise


def admit(publisher: Publisher, bundle: Path, request: NodeRequest, now: datetime) -> Acted:
    """The node is in roster and roles once holders have signed. One that is in the roster keeps its epoch.

    Raises FederationError `node.spent`, `node.register`, `node.parent`, `federation.bundle`, `federation.busy`;
    within `whole`, for the admission must be written too.
    """
    keys = [parse_public(key) for key in request.role_keys]
    ids = [request.sign["kid"], request.box["kid"], *(key.keyid for key in keys)]
    row = roster.read_roster(bundle).find(request.name)
    epoch = Register(publisher.home).admit(request.name, ids, row)
    roster.put_node(bundle, request, epoch, now)
    drafts = [*publisher.publish(bundle)]
    if request.role == "city":
        drafts.append(publisher.delegate(request.name, keys))
    elif (draft := publisher.take_back(request.name)) is not None:
        drafts.append(draft)
    return Acted(epoch, (request.name,), tuple(dict.fromkeys(drafts)))


def remove(publisher: Publisher, bundle: Path, name: str, now: datetime) -> Acted:
    """The node and all below it are out once holders have signed; their keys never come back.

    Raises FederationError `node.unknown`, `node.register`, `federation.bundle`, `federation.busy`.
    """
    with whole(publisher, bundle):
        gone = roster.below(roster.read_roster(bundle), name)
        Register(publisher.home).retire(gone)
        roster.remove(bundle, name, now)
        drafts = [*publisher.publish(bundle), publisher.cut_off(name)]
    return Acted(gone[0].epoch, tuple(row.name for row in gone), tuple(dict.fromkeys(drafts)))


def next_epoch(publisher: Publisher, bundle: Path, name: str, now: datetime) -> Acted:
    """The node's person key is of the next epoch once holders have signed.

    Raises FederationError `node.unknown`, `node.register`, `federation.bundle`, `federation.busy`.
    """
    with whole(publisher, bundle):
        row = roster.node_row(roster.read_roster(bundle), name)
        epoch = Register(publisher.home).advance(row)
        roster.set_epoch(bundle, name, epoch, now)
        drafts = publisher.publish(bundle)
    return Acted(epoch, (name,), drafts)


def _put_back(path: Path, data: bytes | None) -> None:
    if data is None:
        path.unlink(missing_ok=True)
    elif not path.exists() or path.read_bytes() != data:
        write_atomically(path, data, mode=0o600 if path.name == register.FILE else 0o644)
