"""Refusals of a role: readable or not taken; those of a node count in its own namespace only."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import tomli_w
from tuf.api.metadata import TargetFile, Targets

from ca_bridge.errors import CrosshallError, FederationError
from ca_bridge.trust.profile import Profile
from ca_bridge.trust.rules import Denial, parse_denials
from nodes import roles

MAX_ROWS = 20_000
"""Deny rows of one node's role."""


def check_refusals(targets: Targets, load: Callable[[TargetFile], bytes]) -> None:
    """Returns when every table of denials can be read. Raises FederationError `federation.refusals`, and as `load`."""
    rows = 0
    for path, file in targets.targets.items():
        if not path.startswith(("refusals/", "denials/")):
            continue
        if path.startswith("refusals/") and path.endswith(".crl"):
            continue
        if not path.endswith(".toml"):
            raise FederationError("federation.refusals", "a file that is neither a table of denials nor a CRL")
        try:
            rows += len(parse_denials(load(file), "a table of denials"))
        except FederationError:
            raise
        except CrosshallError as error:
            raise FederationError("federation.refusals", error.code) from error
    if rows > MAX_ROWS:
        raise FederationError("federation.refusals", f"more than {MAX_ROWS} rows")


def in_namespace(
    rows: tuple[Denial, ...], domain: str, profiles: Mapping[str, Profile], own: str
) -> tuple[Denial, ...]:
    """The rows of the node `domain` that count at the node `own`.

    A row counts for keys, certificates and domains in the node's namespace; the node itself takes all of its own.
    """
    if domain == own:
        return rows
    keys = {key: profile.domain for profile in profiles.values() for key in profile.keys}

    def counts(row: Denial) -> bool:
        key = row.key if row.key is not None else (row.certificate or "").partition(":")[0]
        where = row.domain if row.domain is not None else keys.get(key)
        return where is not None and roles.within(where, domain)

    return tuple(row for row in rows if counts(row))


def table(rows: tuple[Denial, ...]) -> bytes:
    """Rows as a table of denials, the same octets on every node."""
    listed = [{name: value for name, value in row.model_dump().items() if value is not None} for row in rows]
    return tomli_w.dumps({"deny": listed}).encode()
