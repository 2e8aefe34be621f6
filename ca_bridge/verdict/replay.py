"""Replay: a verdict kept as one line of JSON, and judged again at its own time against its own bundle.

    record ──▶ id, version, time, snapshot's hash, inputs, verdict        in clear, nothing of the person
           └─▶ leaf and certificate key, sealed; a keyed hash of the leaf   under a key of the record's own

When the key is destroyed the line stays: it says that at this time a verdict of this kind was given, no longer of whom.
The hash is keyed too, because a certificate's plain hash finds its holder in any directory of certificates.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import json
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from ca_bridge.errors import CrosshallError, InputError, PathError
from ca_bridge.store.box import KEY_BYTES, Box
from ca_bridge.types import Verdict
from ca_bridge.verdict.snapshot import Snapshot
from ca_bridge.version import VERSION

FORMAT = 1
ID_BYTES = 16
MAX_LINE = 2 << 20
_FIELDS = {"format", "id", "version", "at", "snapshot", "bundle", "overlay", "inputs", "verdict", "leaf_hash", "sealed"}
_HASH, _ID = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{32}")
_SEALING, _HASHING = b"crosshall-replay-seal", b"crosshall-replay-hash"


class Outcome(StrEnum):
    """What became of a record."""

    SAME = "same"
    DIFFERS = "differs"
    SHREDDED = "shredded"
    """Its key has been destroyed, as it may be: counted, not judged."""
    NO_BUNDLE = "no-bundle"
    """No bundle (or status data) of its hash is in the archive, or it cannot be compiled."""
    DAMAGED = "damaged"
    """No record of this format, or its sealed part is not what was written."""


@dataclass(frozen=True, slots=True)
class Record:
    """One verdict as kept. Everything but `sealed` and `leaf_hash` may be read by an auditor without a key."""

    id: str
    version: str
    """Of Crosshall, that gave the verdict."""
    at: datetime
    snapshot: str
    bundle: str
    """SHA-256 of the bundle's manifest."""
    overlay: str
    """SHA-256 of the list of status data beside the bundle (`revocation.overlay`); empty when there was none."""
    inputs: Mapping[str, Any]
    """RFC 5280 §6.1.1, as the bundle's policy.toml had them."""
    verdict: Mapping[str, Any]
    leaf_hash: str = field(repr=False)
    """HMAC-SHA-256 of the leaf under the record's key, hexadecimal."""
    sealed: bytes = field(repr=False)

    def line(self) -> str:
        """One line of JSON, without its end."""
        body = {
            "format": FORMAT,
            "id": self.id,
            "version": self.version,
            "at": self.at.isoformat(),
            "snapshot": self.snapshot,
            "bundle": self.bundle,
            "overlay": self.overlay,
            "inputs": self.inputs,
            "verdict": self.verdict,
            "leaf_hash": self.leaf_hash,
            "sealed": b64encode(self.sealed).decode(),
        }
        return json.dumps(body, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is judged otherwise now: `rule` is the code, a refused candidate's code, or a field's name."""

    rule: str
    then: str
    now: str


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a record came to."""

    id: str
    outcome: Outcome
    code: str = ""
    """Of the verdict as recorded."""
    differences: tuple[Difference, ...] = ()
    detail: str = ""


def record(snapshot: Snapshot, leaf: bytes, verdict: Verdict, random: Callable[[int], bytes]) -> tuple[Record, bytes]:
    """`verdict` of `leaf` (DER) under `snapshot` as a record, and the 32-byte key that opens it.

    `random` gives that many random octets. Keep the key apart from the record.
    """
    key, name = random(KEY_BYTES), random(ID_BYTES).hex()
    secret: dict[str, Any] = {"leaf": b64encode(leaf).decode(), "certificate_key": verdict.certificate_key}
    if snapshot.answers:
        secret["answers"] = [b64encode(answer).decode() for answer in snapshot.answers]
    made = Record(
        id=name,
        version=VERSION,
        at=verdict.at,
        snapshot=verdict.snapshot,
        bundle=snapshot.bundle.hash,
        overlay=snapshot.overlay,
        inputs=inputs(snapshot),
        verdict=plain(verdict),
        leaf_hash=_hash(key, leaf),
        sealed=_box(key).seal(json.dumps(secret).encode(), name),
    )
    return made, key


def parse(line: str) -> Record:
    """The record that a line holds. Raises InputError `input.record`, nothing else."""
    try:
        raw = json.loads(line) if len(line) <= MAX_LINE else None
        if not isinstance(raw, dict) or raw.get("format") != FORMAT or set(raw) != _FIELDS:
            raise ValueError("not a record of this format")
        texts = [raw[name] for name in _FIELDS - {"format", "inputs", "verdict"}]
        at = datetime.fromisoformat(raw["at"])
        if not all(isinstance(text, str) for text in texts) or at.tzinfo is None:
            raise ValueError("a field is not a text, or the time has no zone")
        if not isinstance(raw["inputs"], dict) or not isinstance(raw["verdict"], dict):
            raise ValueError("inputs or verdict is not an object")
        hashes = [raw["snapshot"], raw["bundle"], raw["leaf_hash"], *([raw["overlay"]] if raw["overlay"] else [])]
        if not all(_HASH.fullmatch(text) for text in hashes) or not _ID.fullmatch(raw["id"]):
            raise ValueError("id or a hash")
        sealed = b64decode(raw["sealed"], validate=True)
    except (ValueError, TypeError, RecursionError, binascii.Error) as error:
        raise InputError("input.record", f"{error}"[:200]) from error
    return Record(**{**{name: raw[name] for name in _FIELDS - {"format"}}, "at": at, "sealed": sealed})


def replay(line: str, key_of: Callable[[Record], bytes | None], snapshot_of: Callable[[Record], Snapshot]) -> Replayed:
    """What this version says of a kept verdict, at its time. Never raises for what a line holds.

    `key_of`: the record's key, None when it was destroyed. `snapshot_of`: what it was judged under, or CrosshallError.
    """
    try:
        kept = parse(line)
    except InputError as error:
        return Replayed("", Outcome.DAMAGED, detail=error.detail)
    code = str(kept.verdict.get("code", ""))
    key = key_of(kept)
    if key is None:
        return Replayed(kept.id, Outcome.SHREDDED, code)
    try:
        leaf, certificate_key, answers = unseal(kept, key)
    except CrosshallError as error:
        return Replayed(kept.id, Outcome.DAMAGED, code, detail=str(error))
    try:
        snapshot = snapshot_of(kept)
        if snapshot.hash != kept.snapshot:
            raise PathError("trust.bundle", "bundle and status data do not make the snapshot that was judged under")
    except CrosshallError as error:
        return Replayed(kept.id, Outcome.NO_BUNDLE, code, detail=str(error))
    verdict = (snapshot.beside(answers) if answers else snapshot).judge(leaf, kept.at)
    found = [*_differences(kept, plain(verdict))]
    if certificate_key != verdict.certificate_key:  # its value names a person's certificate: said, not shown
        found.append(Difference("certificate_key", "sealed", "another"))
    if kept.inputs != inputs(snapshot):
        found.append(Difference("inputs", _text(kept.inputs), _text(inputs(snapshot))))
    return Replayed(kept.id, Outcome.DIFFERS if found else Outcome.SAME, code, tuple(found))


def inputs(snapshot: Snapshot) -> dict[str, Any]:
    """The inputs of RFC 5280 §6.1.1 under which a snapshot judges."""
    policy = snapshot.bundle.policy
    chosen = policy.initial_policies
    return {
        "initial_policies": None if chosen is None else sorted(chosen),
        "require_policy": policy.require_policy,
        "inhibit_mapping": policy.inhibit_mapping,
        "inhibit_any_policy": policy.inhibit_any_policy,
        "max_intermediates": policy.max_intermediates,
    }


def plain(verdict: Verdict) -> dict[str, Any]:
    """What of a verdict says nothing of the person: rules, CA, level, and the path above the leaf."""
    return {
        "accepted": verdict.accepted,
        "code": verdict.code,
        "clause": verdict.clause,
        "engine": verdict.engine,
        "path": list(verdict.path[1:]),
        "policies": sorted(verdict.policies),
        "refusals": [{"code": r.code, "clause": r.clause, "depth": r.depth} for r in verdict.refusals],
        "domain": verdict.domain,
        "ca": verdict.ca,
        "accreditation": verdict.accreditation,
        "certificate_type": verdict.certificate_type,
        "level": verdict.level,
        "status_issued_at": verdict.status_issued_at.isoformat() if verdict.status_issued_at else None,
        "oldest_data": verdict.oldest_data.isoformat() if verdict.oldest_data else None,
    }


def _differences(kept: Record, now: Mapping[str, Any]) -> list[Difference]:
    """The rule first; then every other field. A clause's wording may change: it is shown, never compared."""
    then, found = kept.verdict, []
    for name in (*now, *(name for name in then if name not in now)):
        before, after = then.get(name), now.get(name)
        if name == "clause":
            continue
        if name == "code" and before != after:
            found.append(Difference("code", _rule(then), _rule(now)))
        elif name == "refusals":
            if _codes(before) != _codes(after):
                found.append(Difference("refusals", _text(_codes(before)), _text(_codes(after))))
        elif before != after:
            found.append(Difference(name, _text(before), _text(after)))
    return found


def _rule(verdict: Mapping[str, Any]) -> str:
    clause = verdict.get("clause")
    return f"{verdict.get('code')} ({clause})" if clause else str(verdict.get("code"))


def _codes(refusals: Any) -> list[list[Any]]:
    rows = refusals if isinstance(refusals, list) else []
    return [[row.get("code"), row.get("depth")] for row in rows if isinstance(row, dict)]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)


def unseal(kept: Record, key: bytes) -> tuple[bytes, str, tuple[bytes, ...]]:
    """Leaf (DER), certificate key and OCSP answers (DER) of a record.

    Raises StoreError `store.sealed`, InputError, ConfigError.
    """
    secret = json.loads(_box(key).open(kept.sealed, kept.id))
    leaf = b64decode(secret["leaf"])
    if not hmac.compare_digest(_hash(key, leaf), kept.leaf_hash):
        raise InputError("input.record", "the leaf is not the one whose hash was kept")
    return leaf, secret["certificate_key"], tuple(b64decode(answer) for answer in secret.get("answers", ()))


def _box(key: bytes) -> Box:
    return Box(hmac.digest(key, _SEALING, hashlib.sha256))


def _hash(key: bytes, leaf: bytes) -> str:
    return hmac.digest(hmac.digest(key, _HASHING, hashlib.sha256), leaf, hashlib.sha256).hex()
