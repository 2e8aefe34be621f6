"""Copies of a node's sign-ins for the province: sealed to its key, kept in an outbox until somebody carries them there.

    node       append → state/outbox/<microseconds>-<random>.jwe     a JWE to the province of a JWS by the node
    province   take_in → state/inbox/<node>/<same name>              checked when it arrives, while the node is known
               read                                                  also after the node was cut off

A copy says which certificate signed in, when, how and to which level; it holds no name, number or person key. While the
node is in pilot it sends its verdicts too (`kind` `verdict`), refusals included: the certificate is in those, and
nobody keeps them (`nodes.shadow`).
"""

from __future__ import annotations

import json
import re
from base64 import b64encode, urlsafe_b64decode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ca_bridge.crypto import between
from ca_bridge.crypto.between import NodeKeys
from ca_bridge.errors import FederationError, StoreError
from ca_bridge.files import write_atomically
from ca_bridge.store.sessions import SignIn
from ca_bridge.trust.roster import Roster
from ca_bridge.types import Clock, Verdict
from ca_bridge.verdict.replay import record as replay_record
from ca_bridge.verdict.snapshot import Snapshot

COPY_TYP = "crosshall-sign-in+jwt"
SEALED_TYP = "crosshall-sign-in+jwe"
OUTBOX, INBOX = "outbox", "inbox"
MAX_COPY = 128 * 1024
VERDICT = "verdict"
PILOT = "pilot"
_NAME = re.compile(r"[0-9]{20}-[0-9a-f]{16}\.jwe")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Copy:
    """One sign-in, as a node told it."""

    node: str
    at: datetime
    certificate_key: str
    way: str
    level: int
    source: str
    """The hall whose evidence it stood on; empty for a ceremony of the node's own."""


def entry(signin: SignIn) -> dict[str, Any]:
    """What is copied of a sign-in."""
    return {
        "at": signin.checked_at.isoformat(),
        "auth_time": signin.auth_time.isoformat(),
        "certificate_key": signin.certificate_key,
        "ca": signin.ca,
        "domain": signin.domain,
        "capacity": signin.capacity.value,
        "way": signin.way.value,
        "level": signin.level,
        "rung": signin.rung,
        "snapshot": signin.snapshot,
        "source": signin.arrival.node if signin.arrival else "",
    }


class Journal:
    """A node's outbox. A node without a province above it, or without keys, keeps no copies."""

    def __init__(
        self,
        outbox: Path,
        name: str,
        *,
        keys: Callable[[], NodeKeys | None],
        roster: Callable[[], Roster],
        clock: Clock,
        random: Callable[[int], bytes],
    ) -> None:
        self._outbox = outbox
        self._name = name
        self._keys = keys
        self._roster = roster
        self._clock = clock
        self._random = random

    def __call__(self, record: Mapping[str, Any]) -> None:
        """Append a copy of `record`. Raises StoreError `store.full`: a sign-in without its copy does not happen."""
        self._append(record)

    def verdict(self, snapshot: Snapshot, leaf: bytes, verdict: Verdict) -> None:
        """Append a verdict of `leaf` (DER), accepted or refused, while this node is in pilot. Raises StoreError."""
        own = self._roster().find(self._name)
        if own is None or own.stage != PILOT:
            return
        made, key = replay_record(snapshot, leaf, verdict, self._random)
        self._append(
            {"kind": VERDICT, "at": made.at.isoformat(), "record": made.line(), "key": b64encode(key).decode()}
        )

    def _append(self, record: Mapping[str, Any]) -> None:
        keys, roster = self._keys(), self._roster()
        own, province = roster.find(self._name), roster.province()
        if keys is None or own is None or province is None or province is own:
            return
        text = between.sign(keys.sign, own.sign["kid"], COPY_TYP, {"iss": self._name, **record})
        sealed = between.seal(text, province.box, SEALED_TYP)
        microseconds = (self._clock() - _EPOCH).total_seconds() * 1e6
        name = f"{int(microseconds):020d}-{self._random(8).hex()}.jwe"
        try:
            self._outbox.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomically(self._outbox / name, sealed.encode(), mode=0o600)
        except OSError as error:
            raise StoreError("store.full", f"outbox: {error.strerror}") from error


def open_copy(keys: NodeKeys, roster: Roster, name: str, sealed: str) -> tuple[str, dict[str, Any]]:
    """A copy that arrived under file name `name`: the node of the roster that signed it, and what it says.

    Raises FederationError `abroad.form`, `abroad.unknown_hall`; CryptoError.
    """
    if _NAME.fullmatch(name) is None:
        raise FederationError("abroad.form", "not the name of a copy")
    text = between.unseal(sealed, keys.box, SEALED_TYP, MAX_COPY)
    node = roster.by_key(between.signer_of(text, COPY_TYP, MAX_COPY))
    if node is None:
        raise FederationError("abroad.unknown_hall", "signed by no node of the roster")
    claims = between.verify(text, node.sign, COPY_TYP, MAX_COPY)
    if claims.get("iss") != node.name:
        raise FederationError("abroad.form", "a copy in another node's name")
    return node.name, claims


def take_in(inbox: Path, keys: NodeKeys, roster: Roster, name: str, sealed: str) -> str:
    """Keep a copy of a sign-in that arrived under file name `name`; returns the name of the node that signed it.

    Taken in again it changes nothing. Raises as `open_copy`.
    """
    node, claims = open_copy(keys, roster, name, sealed)
    _copy(claims)
    folder = inbox / node
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomically(folder / name, sealed.encode(), mode=0o600)
    return node


def read(inbox: Path, keys: NodeKeys, node: str, since: datetime) -> Iterator[Copy]:
    """Copies of `node` and of nodes below it, since `since` (aware UTC), oldest first in each node.

    They were checked when they were taken in: a node that is cut off by now is in no roster. Raises as `take_in`.
    """
    for path in sorted((inbox / node).rglob("*.jwe")) if (inbox / node).is_dir() else ():
        if _NAME.fullmatch(path.name) is None:
            continue
        text = between.unseal(path.read_text("ascii"), keys.box, SEALED_TYP, MAX_COPY)
        payload = text.split(".")[1]
        copy = _copy(json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4))))
        if copy.at >= since:
            yield copy


def _copy(claims: Mapping[str, Any]) -> Copy:
    try:
        at = datetime.fromisoformat(claims["at"])
        if at.utcoffset() is None:
            raise ValueError("a time without a zone")
        node, key, way, source = (str(claims[name]) for name in ("iss", "certificate_key", "way", "source"))
        return Copy(node, at, key, way, int(claims["level"]), source)
    except (KeyError, TypeError, ValueError) as error:
        raise FederationError("abroad.form", f"copy: {type(error).__name__}") from error
