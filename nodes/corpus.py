"""The province's corpus judged by a node: carried there sealed, the answer carried back signed, compared here.

province   ask      certificates, and the time to judge at, signed and sealed to the node; a copy stays (0600)
node       answer   accepted or not and a hash for each, signed by the node
province   compare  judged by what is in force here; the copy is removed
"""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ca_bridge.asn1.certificate import pem_blocks
from ca_bridge.crypto import between
from ca_bridge.crypto.between import NodeKeys
from ca_bridge.errors import CrosshallError, CryptoError, FederationError
from ca_bridge.files import write_atomically
from ca_bridge.trust.roster import RosterNode
from ca_bridge.verdict.replay import plain
from ca_bridge.verdict.snapshot import Snapshot
from nodes.identity import public, sign
from nodes.roles import domain_role
from nodes.shadow import Shadow, essence_hash
from nodes.tally import Tally

ASK_TYP, SEALED_TYP, ANSWER_TYP = "crosshall-corpus+jwt", "crosshall-corpus+jwe", "crosshall-corpus-answer+jwt"
LIMIT = 512 << 20
"""Characters of a carried file."""
MAX_LEAF = 256 * 1024
_CODE = "node.corpus"
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Answered:
    """What the node did."""

    text: str
    judged: int
    accepted: int


def leaves(paths: Iterable[Path]) -> Iterator[bytes]:
    """Certificates (DER), each once: PEM and DER files, folders of them, and JSON lines with a PEM `leaf` (`--batch`).

    Raises FederationError `node.corpus` for what cannot be read.
    """
    seen: set[bytes] = set()
    for leaf in _all(paths):
        name = hashlib.sha256(leaf).digest()
        if name not in seen:
            seen.add(name)
            yield leaf


def _all(paths: Iterable[Path]) -> Iterator[bytes]:
    for path in paths:
        if path.is_dir():
            yield from _all(sorted(path.iterdir()))
            continue
        try:
            data = path.read_bytes()
            if path.suffix == ".jsonl":
                for line in data.decode("utf-8").splitlines():
                    yield from pem_blocks(json.loads(line)["leaf"], "CERTIFICATE")
            elif b"-----BEGIN" in data:
                yield from pem_blocks(data, "CERTIFICATE")
            else:
                yield data
        except (OSError, ValueError, KeyError, TypeError, CrosshallError) as error:
            raise FederationError(_CODE, f"{path}: {type(error).__name__}") from error


def ask(shadow: Shadow, keys: NodeKeys, node: RosterNode, found: Iterable[bytes], at: datetime) -> tuple[str, int]:
    """The corpus for `node`, to be judged at `at`, as it is carried; and of how many certificates. `node.corpus`."""
    listed = [b64encode(leaf).decode() for leaf in found]
    if not listed or max(map(len, listed)) > MAX_LEAF:
        raise FederationError(_CODE, "no certificate, or one too large")
    text = sign(keys.sign, {"node": node.name, "at": at.isoformat(), "leaves": listed}, ASK_TYP)
    if len(text) > LIMIT // 2:
        raise FederationError(_CODE, f"{len(listed)} certificates are too many for one file")
    write_atomically(_kept(shadow, node), text.encode(), mode=0o600)
    return between.seal(text, node.box, SEALED_TYP), len(listed)


def answer(sealed: str, keys: NodeKeys, province: RosterNode, name: str, snapshot: Snapshot) -> Answered:
    """At the node `name`: judge the province's corpus. Raises FederationError `node.corpus`."""
    try:
        text = between.unseal(sealed.strip(), keys.box, SEALED_TYP, LIMIT)
        claims = between.verify(text, province.sign, ASK_TYP, LIMIT)
        at, found = _claims(claims, name)
    except CryptoError as error:
        raise FederationError(_CODE, f"not for this node, or not from the province: {error.code}") from error
    rows = []
    for leaf in found:
        verdict = snapshot.judge(leaf, at)
        rows.append([verdict.accepted, essence_hash(plain(verdict))])
    body = {"node": name, "corpus": _name(text), "snapshot": snapshot.hash, "rows": rows}
    return Answered(sign(keys.sign, body, ANSWER_TYP), len(rows), sum(bool(row[0]) for row in rows))


def compare(shadow: Shadow, keys: NodeKeys, node: RosterNode, text: str, snapshot: Snapshot) -> Tally:
    """At the province: the node's answer beside its own verdicts. Raises FederationError `node.corpus`, StoreError."""
    file = _kept(shadow, node)
    try:
        asked = file.read_text("ascii")
        at, found = _claims(between.verify(asked, public(keys.sign), ASK_TYP, LIMIT), node.name)
        told = between.verify(text.strip(), node.sign, ANSWER_TYP, LIMIT)
        rows = told["rows"]
        if told["node"] != node.name or told["corpus"] != _name(asked) or len(rows) != len(found):
            raise ValueError("the answer to another corpus")
        for accepted, sha256 in rows:
            if type(accepted) is not bool or _SHA256.fullmatch(sha256) is None:
                raise TypeError("a row")
    except (OSError, CryptoError, KeyError, TypeError, ValueError) as error:
        raise FederationError(_CODE, f"{node.name}: {error}"[:200]) from error
    tally = shadow.corpus(
        node,
        (
            (leaf, accepted, sha256, snapshot.judge(leaf, at), snapshot)
            for leaf, (accepted, sha256) in zip(found, rows, strict=True)
        ),
    )
    file.unlink()
    return tally


def _claims(claims: Mapping[str, Any], name: str) -> tuple[datetime, list[bytes]]:
    try:
        at = datetime.fromisoformat(claims["at"])
        if claims["node"] != name or at.tzinfo is None:
            raise ValueError("for another node")
        return at, [b64decode(leaf, validate=True) for leaf in claims["leaves"]]
    except (KeyError, TypeError, ValueError) as error:
        raise FederationError(_CODE, f"corpus: {error}"[:200]) from error


def _name(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _kept(shadow: Shadow, node: RosterNode) -> Path:
    return shadow.folder / "corpus" / f"{domain_role(node.name)}.jws"
