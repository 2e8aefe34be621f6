"""TUF metadata read strictly and verified, with our codes (TUF specification 1.0, §4 and §5).

python-tuf parses and checks signatures; what it leaves open is closed here: a member that is there twice, a key under
two ids, lengths and hashes that are missing, paths and delegations outside a role's namespace.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import DelegatedRole, Metadata, MetaFile, Root, Signed, Snapshot, TargetFile, Targets, Timestamp
from tuf.api.serialization import SerializationError

from ca_bridge.errors import FederationError
from nodes import roles
from nodes.keys import check_key

S = TypeVar("S", Root, Timestamp, Snapshot, Targets)
ISSUED = "issued"
"""Of timestamp and snapshot: when it was signed (RFC 3339, seconds, UTC)."""
CUT_OFF = "cut_off"
"""Of targets: roles that count no more, whoever delegates them."""
SUSPENDED = "suspended"
"""Of status: `["border"]` while the border is suspended."""
HINT = "lane"
"""Beside a timestamp's signed part: first digits of the SHA-256 of the publisher's `lane/index.json`."""
NO_LANE = "none"
"""The hint of a publisher without a lane."""
ROOT_HINT = "root"
"""Beside a timestamp's signed part: the newest root's version. Who lies here could as well hide the root: a freeze."""

_FORMAT = "federation.format"
_MAX_KEYS = 32
_MAX_SIGNATURES = 64


class _Delegator(Protocol):
    def get_verification_result(self, delegated_role: str, payload: bytes, signatures: Any) -> Any:
        """As python-tuf's."""


def parse(data: bytes, role: str, kind: type[S]) -> Metadata[S]:
    """The metadata of `role` in `data`, well-formed and inside its namespace; nothing is said of its signatures.

    Raises FederationError `federation.size`, `.format`, `.spec_version`, `.key`, `.path`, `.namespace`, `.delegation`.
    """
    if len(data) > roles.metadata_cap(role):
        raise FederationError("federation.size", f"{role}: larger than {roles.metadata_cap(role)} octets")
    table = _json(data, role)
    _check_head(table, role, kind.type)
    try:
        metadata: Metadata[S] = Metadata.from_dict(table)
        _ = metadata.signed_bytes
    except FederationError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, SerializationError) as error:
        raise FederationError(_FORMAT, f"{role}: {error}") from error
    signed: Any = metadata.signed
    if isinstance(signed, Root):
        _check_root(signed)
    elif isinstance(signed, Targets):
        _check_targets(signed, role)
    elif isinstance(signed, Timestamp):
        _check_meta(signed.snapshot_meta, roles.SNAPSHOT)
        issued_of(signed)
    elif isinstance(signed, Snapshot):
        _check_snapshot(signed)
    return metadata


def verify(delegator: _Delegator, role: str, metadata: Metadata[Any]) -> None:
    """Returns when enough of the role's keys have signed. Raises FederationError `federation.threshold`."""
    try:
        result = delegator.get_verification_result(role, metadata.signed_bytes, metadata.signatures)
    except (ValueError, RepositoryError) as error:
        raise FederationError("federation.threshold", f"{role}: {error}") from error
    if not result.verified:
        raise FederationError("federation.threshold", f"{role}: {len(result.signed)} of {result.threshold} signatures")


def check_fresh(signed: Signed, role: str, now: datetime) -> None:
    """Returns while the role's signature counts at `now` (aware). Raises FederationError `federation.expired`."""
    if signed.expires <= now:
        raise FederationError("federation.expired", f"{role}: since {signed.expires.isoformat()}")


def issued_of(signed: Timestamp | Snapshot) -> datetime:
    """When it was signed, as it says. Raises FederationError `federation.format`."""
    return moment(signed.unrecognized_fields.get(ISSUED))


def root_hint(data: bytes) -> int | None:
    """The root's version that a timestamp names beside its signed part, None when it names none."""
    try:
        found = json.loads(data)[ROOT_HINT]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return found if type(found) is int else None


def moment(text: object) -> datetime:
    """A time as our metadata writes it. Raises FederationError `federation.format`."""
    try:
        return datetime.strptime(str(text), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError as error:
        raise FederationError(_FORMAT, "not a time") from error


def time_text(at: datetime) -> str:
    """`at` as our metadata writes it: UTC, whole seconds."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def names_in(signed: Signed, field: str) -> tuple[str, ...]:
    """A list of role names among the signed fields of ours, empty when it is absent. FederationError `.format`."""
    found = signed.unrecognized_fields.get(field, [])
    if not isinstance(found, list) or len(found) > roles.MAX_ROLES or not all(isinstance(name, str) for name in found):
        raise FederationError(_FORMAT, f"{field}: not a list of roles")
    return tuple(found)


def digest(data: bytes) -> str:
    """SHA-256, hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def check_bytes(data: bytes, meta: MetaFile | TargetFile) -> None:
    """Returns when `data` is what the listing says. Raises FederationError `federation.length`, `federation.hash`."""
    if len(data) != meta.length:
        raise FederationError("federation.length", "not of the length that is listed")
    if meta.hashes is None or digest(data) != meta.hashes["sha256"]:
        raise FederationError("federation.hash", "not the file that is listed")


def _json(data: bytes, role: str) -> dict[str, Any]:
    try:
        table = json.loads(
            data.decode("utf-8"), object_pairs_hook=_once, parse_float=_no_number, parse_constant=_no_number
        )
    except (ValueError, RecursionError) as error:
        raise FederationError(_FORMAT, f"{role}: {error}") from error
    if not isinstance(table, dict) or not isinstance(table.get("signed"), dict):
        raise FederationError(_FORMAT, f"{role}: not metadata")
    return table


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a member is there twice")
    return table


def _no_number(text: str) -> Any:
    raise ValueError(f"{text[:20]} is not an integer")


def _check_head(table: dict[str, Any], role: str, kind: str) -> None:
    signed, signatures = table["signed"], table.get("signatures")
    version = signed.get("spec_version")
    if not isinstance(version, str) or version.split(".")[0] != "1":
        raise FederationError("federation.spec_version", f"{role}: only TUF 1.x is known")
    if signed.get("_type") != kind:
        raise FederationError(_FORMAT, f"{role}: metadata of another type")
    if type(signed.get("version")) is not int or signed["version"] >= 1 << 53:
        raise FederationError(_FORMAT, f"{role}: version")
    if not isinstance(signatures, list) or len(signatures) > _MAX_SIGNATURES:
        raise FederationError(_FORMAT, f"{role}: signatures")


def _check_role(role: Any, keys: Mapping[str, Any], name: str) -> None:
    right = type(role.threshold) is int and 1 <= role.threshold <= len(role.keyids) <= _MAX_KEYS
    if not right or any(keyid not in keys for keyid in role.keyids):
        raise FederationError("federation.key", f"{name}: threshold or keys")


def _check_root(root: Root) -> None:
    if root.consistent_snapshot is not True:
        raise FederationError(_FORMAT, "root: without consistent snapshots")
    for key in root.keys.values():
        check_key(key)
    for name, role in root.roles.items():
        _check_role(role, root.keys, name)


def _check_meta(meta: MetaFile | TargetFile, what: str) -> None:
    hashes = meta.hashes or {}
    sha256 = hashes.get("sha256")
    if type(meta.length) is not int or set(hashes) != {"sha256"} or not _is_sha256(sha256):
        raise FederationError(_FORMAT, f"{what}: length or hash")


def _is_sha256(text: object) -> bool:
    return isinstance(text, str) and len(text) == 64 and set(text) <= set("0123456789abcdef")


def _check_snapshot(snapshot: Snapshot) -> None:
    issued_of(snapshot)
    if len(snapshot.meta) > roles.MAX_ROLES or f"{roles.TARGETS}.json" not in snapshot.meta:
        raise FederationError(_FORMAT, "snapshot: roles")
    for name, meta in snapshot.meta.items():
        role = name.removesuffix(".json")
        if not name.endswith(".json") or not (
            role in (roles.TARGETS, roles.BORDER, roles.STATUS) or roles.is_node_role(role)
        ):
            raise FederationError("federation.role", "snapshot: not a role")
        _check_meta(meta, role)
        if type(meta.version) is not int or meta.length > roles.metadata_cap(role):  # type: ignore[operator]
            raise FederationError("federation.size", f"{role}: larger than its cap")


def _check_targets(targets: Targets, role: str) -> None:
    if len(targets.targets) > roles.MAX_FILES:
        raise FederationError("federation.size", f"{role}: too many files")
    for path, file in targets.targets.items():
        if roles.owner(path) != role:
            raise FederationError("federation.namespace", f"{role}: a file outside its namespace")
        _check_meta(file, role)
        if file.length > roles.file_cap(path):
            raise FederationError("federation.size", f"{role}: a file larger than its cap")
    names_in(targets, CUT_OFF), names_in(targets, SUSPENDED)
    delegations = targets.delegations
    if delegations is None:
        return
    if delegations.roles is None or len(delegations.roles) > roles.MAX_ROLES:
        raise FederationError("federation.delegation", f"{role}: bins, or too many roles")
    for key in delegations.keys.values():
        check_key(key)
    for name, delegated in delegations.roles.items():
        _check_delegation(role, name, delegated, delegations.keys)


def _check_delegation(role: str, name: str, delegated: DelegatedRole, keys: Mapping[str, Any]) -> None:
    """A role delegates to those below it alone, for their own paths: no loop and no second way to a file."""
    if not roles.may_delegate(role, name) or delegated.paths != roles.delegated_paths(name):
        raise FederationError("federation.delegation", f"{role}: a delegation that is not its to give")
    _check_role(delegated, keys, name)
