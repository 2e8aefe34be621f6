"""Keys and thresholds of roles, written into metadata that is to be signed."""

from __future__ import annotations

from collections.abc import Sequence

from securesystemslib.signer import Key
from tuf.api.metadata import DelegatedRole, Delegations, Role, Targets

from ca_bridge.errors import FederationError
from nodes import roles
from nodes.keys import check_key
from nodes.metadata import CUT_OFF, names_in


def set_keys(role: Role, keys: Sequence[Key], threshold: int, table: dict[str, Key]) -> None:
    """The role has exactly these keys; `table` knows them. Raises FederationError `federation.key`."""
    if not 1 <= threshold <= len({key.keyid for key in keys}):
        raise FederationError("federation.key", f"{threshold} of {len(keys)} keys")
    for key in keys:
        check_key(key)
        table[key.keyid] = key
    role.keyids = sorted({key.keyid for key in keys})
    role.threshold = threshold


def delegate_to(targets: Targets, role: str, keys: Sequence[Key], threshold: int) -> None:
    """Delegate `role` to these keys, in the form that every node expects. FederationError `federation.key`."""
    if targets.delegations is None:
        targets.delegations = Delegations({}, {})
    assert targets.delegations.roles is not None
    row = DelegatedRole(role, [], 1, terminating=role != roles.STATUS, paths=roles.delegated_paths(role))
    set_keys(row, keys, threshold, targets.delegations.keys)
    rows = {**targets.delegations.roles, role: row}
    # The deepest first: who looks a path up in order meets a county before the city above it.
    targets.delegations.roles = dict(sorted(rows.items(), key=lambda item: (-item[0].count("."), item[0])))
    drop_keys(targets.delegations)


def go_on(policy: Targets, before: Targets) -> None:
    """The roles of nodes, and who is cut off, as a federation before had them."""
    old = before.delegations
    for name, row in ((old.roles or {}) if old is not None else {}).items():
        if old is not None and roles.is_node_role(name):
            delegate_to(policy, name, [old.keys[keyid] for keyid in row.keyids], row.threshold)
    set_names(policy, CUT_OFF, names_in(before, CUT_OFF))


def drop_keys(delegations: Delegations) -> None:
    """Keys that no role has any more are gone."""
    used = {keyid for row in (delegations.roles or {}).values() for keyid in row.keyids}
    delegations.keys = {keyid: key for keyid, key in delegations.keys.items() if keyid in used}


def set_names(targets: Targets, field: str, names: Sequence[str]) -> None:
    """The field of ours is these names; absent when there are none."""
    targets.unrecognized_fields.pop(field, None)
    if names:
        targets.unrecognized_fields[field] = list(names)
