"""What a node says of itself, signed, in the folder that it publishes; the province fetches it and shows all nodes.

No person and no count of persons is in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from joserfc.jwk import ECKey

from ca_bridge.crypto import between
from ca_bridge.errors import CryptoError, FederationError
from ca_bridge.files import write_atomically
from ca_bridge.trust.roster import RosterNode
from nodes.identity import sign

FILE = "node-report.jws"
LIMIT = 64 * 1024
TYP = "crosshall-node-report"
_MOST = 100


@dataclass(frozen=True, slots=True)
class NodeReport:
    """One report."""

    node: str
    at: str
    """Trusted now at the node, RFC 3339; empty while it has no trusted time."""
    made: str
    """The machine's own clock, RFC 3339: the difference from `at` is its skew."""
    version: str
    """Of Crosshall."""
    stage: str
    """As its own checks find it: install, data, trial, live."""
    rung: str
    age_seconds: int
    """Of its trust data; -1 while it has none."""
    bundle: int
    """Version of the bundle in force."""
    reasons: tuple[str, ...] = ()
    """Codes of `/health`; empty when it is well."""
    failing: tuple[str, ...] = ()
    """Codes of the stages' checks that fail."""


def write_report(folder: Path, key: ECKey, report: NodeReport) -> None:
    """Put the report, signed by the node's `sign` key, into the folder that it publishes."""
    write_atomically(folder / FILE, sign(key, asdict(report), TYP).encode())


def read_report(data: bytes, node: RosterNode) -> NodeReport:
    """The report of `node`, signed by its key of the roster. Raises FederationError `node.signature`, `node.report`."""
    try:
        raw = between.verify(data.decode("ascii").strip(), node.sign, TYP, LIMIT)
    except (CryptoError, UnicodeDecodeError) as error:
        raise FederationError("node.signature", f"report of {node.name}: {error}") from error
    try:
        report = _report(raw)
    except (KeyError, TypeError, ValueError) as error:
        raise FederationError("node.report", f"{node.name}: {type(error).__name__}") from error
    if report.node != node.name:
        raise FederationError("node.report", f"{node.name} speaks for {report.node!r}")
    return report


def newer(one: NodeReport, other: NodeReport) -> bool:
    """Whether `one` was made after `other`, by the node's own clock."""
    return datetime.fromisoformat(one.made) > datetime.fromisoformat(other.made)


def load_report(path: Path, node: RosterNode) -> NodeReport | None:
    """The report kept at `path`, None when there is none. Raises as `read_report`."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    return read_report(data, node)


def _report(raw: Mapping[str, Any]) -> NodeReport:
    texts = {name: raw[name] for name in ("node", "at", "made", "version", "stage", "rung")}
    numbers = {name: raw[name] for name in ("age_seconds", "bundle")}
    lists = {name: tuple(raw[name]) for name in ("reasons", "failing")}
    if not all(isinstance(text, str) and len(text) <= 128 for text in texts.values()):
        raise TypeError("texts")
    if not all(type(number) is int for number in numbers.values()):
        raise TypeError("numbers")
    if not all(
        len(row) <= _MOST and all(isinstance(code, str) and len(code) <= 64 for code in row) for row in lists.values()
    ):
        raise TypeError("lists")
    for text in (texts["made"], texts["at"] or texts["made"]):
        if datetime.fromisoformat(text).tzinfo is None:
            raise ValueError("a time without a zone")
    values: dict[str, Any] = {**texts, **numbers, **lists}
    return NodeReport(**values)
