"""The province's corpus judged by a node: carried there sealed, the answer carried back signed, compared here.

province   ask      certificates, the time to judge at, and the version of the trust bundle that must be in force at the
                    node; signed and sealed to it; a copy stays (0600)
node       answer   accepted or not and a hash for each, by which version and when, signed by the node
province   compare  judged by what was in force here when the node answered (± `history.LAG`); the copy is removed
"""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
from ca_bridge.types import Verdict
from ca_bridge.verdict.replay import plain
from ca_bridge.verdict.snapshot import Snapshot
from nodes.history import LAG
from nodes.identity import public, sign
from nodes.roles import domain_role
from nodes.shadow import Shadow, essence_hash
from nodes.tally import Tally

ASK_TYP, SEALED_TYP, ANSWER_TYP = "crosshall-corpus+jwt", "crosshall-corpus+jwe", "crosshall-corpus-answer+jwt"
LIMIT = 512 << 20
"""Characters of a carried file."""
MAX_LEAF = 256 * 1024
_CODE, _VERSION = "node.corpus", "node.corpus_version"
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


def ask(
    shadow: Shadow, keys: NodeKeys, node: RosterNode, found: Iterable[bytes], *, at: datetime, version: int
) -> tuple[str, int]:
    """The corpus for `node`, to be judged at `at`, as it is carried; and of how many certificates.

    `version`: of the trust bundle as published; the node must have it, or a later one. Raises FederationError
    `node.corpus`: none, one twice, one too large, or too many.
    """
    listed = [b64encode(leaf).decode() for leaf in found]
    if not listed or max(map(len, listed)) > MAX_LEAF:
        raise FederationError(_CODE, "no certificate, or one too large")
    if len(set(listed)) < len(listed):
        raise FederationError(_CODE, "a certificate is in it twice")
    claims = {"node": node.name, "at": at.isoformat(), "version": version, "leaves": listed}
    text = sign(keys.sign, claims, ASK_TYP)
    if len(text) > LIMIT // 2:
        raise FederationError(_CODE, f"{len(listed)} certificates are too many for one file")
    write_atomically(_kept(shadow, node), text.encode(), mode=0o600)
    return between.seal(text, node.box, SEALED_TYP), len(listed)


def answer(
    sealed: str, keys: NodeKeys, province: RosterNode, name: str, snapshot: Snapshot, *, now: datetime
) -> Answered:
    """At the node `name`: judge the province's corpus; `now`: trusted time, aware.

    Raises FederationError `node.corpus`; `node.corpus_version`: this node has an earlier version of the trust bundle.
    """
    try:
        text = between.unseal(sealed.strip(), keys.box, SEALED_TYP, LIMIT)
        claims = between.verify(text, province.sign, ASK_TYP, LIMIT)
        at, version, found = _claims(claims, name)
    except CryptoError as error:
        raise FederationError(_CODE, f"not for this node, or not from the province: {error.code}") from error
    if snapshot.bundle.version < version:
        raise FederationError(_VERSION, f"here is version {snapshot.bundle.version}, the corpus is of {version}")
    rows = []
    for leaf in found:
        verdict = snapshot.judge(leaf, at)
        rows.append([verdict.accepted, essence_hash(plain(verdict))])
    body = {
        "node": name,
        "corpus": _name(text),
        "version": snapshot.bundle.version,
        "judged": now.isoformat(),
        "rows": rows,
    }
    return Answered(sign(keys.sign, body, ANSWER_TYP), len(rows), sum(bool(row[0]) for row in rows))


def compare(shadow: Shadow, keys: NodeKeys, node: RosterNode, text: str, *, now: datetime, version: int) -> Tally:
    """At the province: the node's answer beside its own verdicts; `version`: of the trust bundle as published by now.

    Raises FederationError `node.corpus`; `node.corpus_version`: judged by a version that was not asked for, or that
    nobody published; PathError `trust.bundle`: nothing is kept of what was in force then; StoreError.
    """
    file = _kept(shadow, node)
    try:
        asked = file.read_text("ascii")
        at, least, found = _claims(between.verify(asked, public(keys.sign), ASK_TYP, LIMIT), node.name)
        told = between.verify(text.strip(), node.sign, ANSWER_TYP, LIMIT)
        rows = told["rows"]
        if told["node"] != node.name or told["corpus"] != _name(asked) or len(rows) != len(found):
            raise ValueError("the answer to another corpus")
        for accepted, sha256 in rows:
            if type(accepted) is not bool or _SHA256.fullmatch(sha256) is None:
                raise TypeError("a row")
        judged, by = datetime.fromisoformat(told["judged"]), told["version"]
        if type(by) is not int or not at - LAG <= judged <= now + LAG:
            raise ValueError("a version that is none, or answered before it was asked, or in time to come")
    except (OSError, CryptoError, KeyError, TypeError, ValueError) as error:
        raise FederationError(_CODE, f"{node.name}: {error}"[:200]) from error
    if not least <= by <= version:
        raise FederationError(_VERSION, f"{node.name}: judged by version {by}, asked {least}, published {version}")
    near = list(shadow.history.around(judged))
    # judged before the shadow is locked: sign-ins of other nodes are not kept waiting
    compared = [
        (leaf, accepted, sha256, *_own(near, leaf, at, sha256))
        for leaf, (accepted, sha256) in zip(found, rows, strict=True)
    ]
    tally = shadow.corpus(node, compared)
    file.unlink()
    return tally


def _own(near: Sequence[Snapshot], leaf: bytes, at: datetime, sha256: str) -> tuple[Verdict, Snapshot]:
    """The province's verdict: the equal one, when what held within a minute gives one, else by what held then."""
    judged = [(near[0].judge(leaf, at), near[0])]
    for snapshot in near[1:]:
        if essence_hash(plain(judged[-1][0])) == sha256:
            return judged[-1]
        judged.append((snapshot.judge(leaf, at), snapshot))
    return judged[-1] if essence_hash(plain(judged[-1][0])) == sha256 else judged[0]


def _claims(claims: Mapping[str, Any], name: str) -> tuple[datetime, int, list[bytes]]:
    try:
        at, version = datetime.fromisoformat(claims["at"]), claims["version"]
        if claims["node"] != name or at.tzinfo is None or type(version) is not int:
            raise ValueError("for another node, or without its time or version")
        found = [b64decode(leaf, validate=True) for leaf in claims["leaves"]]
        if len(set(found)) < len(found):
            raise ValueError("a certificate is in it twice")
        return at, version, found
    except (KeyError, TypeError, ValueError) as error:
        raise FederationError(_CODE, f"corpus: {error}"[:200]) from error


def _name(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _kept(shadow: Shadow, node: RosterNode) -> Path:
    return shadow.folder / "corpus" / f"{domain_role(node.name)}.jws"
