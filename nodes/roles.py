"""Roles of the trust bundle: who may sign which file, until when, and how large anything may be.

    root ── targets ─┬─ border                      cross-border trust, suspended alone
                     ├─ status                      online: CRLs, denials
                     └─ gd.guangzhou ── gd.guangzhou.conghua      refusals and candidates of a node's own namespace
    root ── snapshot ── timestamp                   online

A path has one owner by its shape alone, so that no metadata can move a file from one role to another.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta

from ca_bridge.errors import FederationError

ROOT, TARGETS, SNAPSHOT, TIMESTAMP = "root", "targets", "snapshot", "timestamp"
BORDER, STATUS = "border", "status"
TOP = (ROOT, TARGETS, SNAPSHOT, TIMESTAMP)
CORE = frozenset({*TOP, STATUS})
"""Roles without which nothing newer is taken."""

LIFETIMES: Mapping[str, timedelta] = {
    ROOT: timedelta(days=365),
    TARGETS: timedelta(days=97),
    BORDER: timedelta(days=97),
    STATUS: timedelta(days=14),
    SNAPSHOT: timedelta(days=14),
    TIMESTAMP: timedelta(days=8),
}
"""How long each role's signature counts: its re-signing interval and a week more (design §6)."""
NODE_LIFETIME = timedelta(days=37)

KIB = 1024
METADATA_CAPS: Mapping[str, int] = {ROOT: 256 * KIB, TIMESTAMP: 8 * KIB, SNAPSHOT: 1024 * KIB, TARGETS: 8192 * KIB}
"""Octets of metadata, whatever a length says."""
ROLE_CAP = 2048 * KIB
FILE_CAP = 1024 * KIB
CRL_CAP = 64 * 1024 * KIB
LANE_INDEX_CAP = 64 * KIB
TOTAL_CAP = 512 * 1024 * KIB
"""Octets of all files together."""
MAX_FILES = 50_000
MAX_ROLES = 1_000
MAX_DEPTH = 4
"""Names in a domain: province, city, county, and one to spare."""

_SEGMENT = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}")
_DOMAIN = re.compile(r"[a-z0-9-]{1,31}(/[a-z0-9-]{1,31}){1,3}")
_ROLE = re.compile(r"[a-z0-9-]{1,31}(\.[a-z0-9-]{1,31}){1,3}")
_TARGETS_FILES = frozenset({"levels.toml", "policy.toml", "origins.json", "roster.json", "software.json"})
_OWNERS = {
    **dict.fromkeys(("anchors", "cross", "profiles"), TARGETS),
    **dict.fromkeys(("lists", "border"), BORDER),
    **dict.fromkeys(("crls", "denials", "filters"), STATUS),
}
_BORDER_FOLDERS = frozenset({"anchors", "cross", "profiles"})
_NODE_FOLDERS = frozenset({"refusals", "candidates"})


def domain_role(domain: str) -> str:
    """The role of a city's or county's domain. Raises FederationError `federation.role`."""
    if _DOMAIN.fullmatch(domain) is None:
        raise FederationError("federation.role", "not the domain of a city or county")
    return domain.replace("/", ".")


def is_province(domain: str) -> bool:
    """Whether it can be the domain of a province: one name."""
    return re.fullmatch(r"[a-z0-9-]{1,31}", domain) is not None


def role_domain(role: str) -> str:
    """The domain of a node's role. Raises FederationError `federation.role`."""
    if not is_node_role(role):
        raise FederationError("federation.role", "not the role of a city or county")
    return role.replace(".", "/")


def is_node_role(role: str) -> bool:
    """Whether it is the role of a city or county."""
    return _ROLE.fullmatch(role) is not None


def delegator(role: str) -> str:
    """The role whose metadata names the keys of `role`: root, targets, or the city of a county."""
    if role in TOP:
        return ROOT
    if role in (BORDER, STATUS):
        return TARGETS
    role_domain(role)
    above = role.rpartition(".")[0]
    return above if "." in above else TARGETS


def may_delegate(above: str, role: str) -> bool:
    """Whether the metadata of `above` may name the keys of `role`: the province any, a city those just below it."""
    if role in (BORDER, STATUS):
        return above == TARGETS
    return is_node_role(role) and above in (TARGETS, role.rpartition(".")[0])


def within(domain: str, namespace: str) -> bool:
    """Whether `domain` is `namespace` or lies below it."""
    return domain == namespace or domain.startswith(f"{namespace}/")


def lifetime(role: str) -> timedelta:
    """How long a signature of this role counts."""
    return LIFETIMES.get(role, NODE_LIFETIME)


def metadata_cap(role: str) -> int:
    """The most octets that this role's metadata may have."""
    return METADATA_CAPS.get(role, ROLE_CAP)


def file_cap(path: str) -> int:
    """The most octets that a file may have."""
    return CRL_CAP if path.endswith(".crl") else FILE_CAP


def delegated_paths(role: str) -> list[str]:
    """The path patterns of a delegation, in TUF's form (`*` stays inside a segment)."""
    if role == BORDER:
        return ["lists/*", *(f"border/{folder}/*" for folder in sorted(_BORDER_FOLDERS))]
    if role == STATUS:
        return ["crls/*", "denials/*", "filters/*"]
    domain = role_domain(role)
    below = ["/*" * depth for depth in range(1, MAX_DEPTH - domain.count("/"))]
    return [f"{folder}/{domain}{stars}" for folder in sorted(_NODE_FOLDERS) for stars in below]


def check_path(path: str) -> None:
    """Returns for a path that means the same file everywhere. Raises FederationError `federation.path`.

    Lower-case ASCII, no empty, dotted or hidden segment: no `..`, no root, no second spelling by case or Unicode.
    """
    segments = path.split("/")
    if len(path) > 300 or len(segments) > 7 or any(_SEGMENT.fullmatch(s) is None for s in segments):
        raise FederationError("federation.path", "a path that is not plain")


def owner(path: str) -> str:
    """The one role that may list `path`. Raises FederationError `federation.path`, `federation.namespace`."""
    check_path(path)
    if path in _TARGETS_FILES:
        return TARGETS
    folder, _, rest = path.partition("/")
    inner, _, name = rest.rpartition("/")
    if folder in _NODE_FOLDERS and name and _DOMAIN.fullmatch(inner):
        return domain_role(inner)
    found = _OWNERS.get(folder)
    fits = inner in _BORDER_FOLDERS if folder == "border" else not inner
    if found is None or not name or not fits:
        raise FederationError("federation.namespace", "no role may list this path")
    return found


def owns(role: str, path: str) -> bool:
    """Whether `role` may list `path`."""
    try:
        return owner(path) == role
    except FederationError:
        return False
