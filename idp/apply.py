"""Plan and apply for one node: the two verbs of `crosshall realm`, of the demo and of the tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ca_bridge.errors import UpstreamError
from ca_bridge.registry import Window
from ca_bridge.settings import Settings
from idp.admin import Admin, connect
from idp.compare import Plan
from idp.desired import desired_realm
from idp.linter import require_safe
from idp.model import Desired
from idp.plan import creation, plan_realm
from idp.salts import node_salts
from idp.server import read_password

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Applied:
    """What an apply did: the plan that was carried out, and how many writes were sent."""

    plan: Plan
    writes: int


def plan(settings: Settings, windows: Sequence[Window], *, bridge_server: str = "") -> Plan:
    """What an apply would do; nothing is written. Raises UpstreamError `realm.*`."""
    desired, admin = _prepare(settings, windows, bridge_server)
    return plan_realm(admin, desired)


def apply_realm(
    settings: Settings, windows: Sequence[Window], *, say: Say = lambda _: None, bridge_server: str = ""
) -> Applied:
    """After this the realm is as it must be; an apply that finds it so writes nothing.

    May be interrupted and called again: each step leaves a realm that works as before or as wanted. `bridge_server`
    is the bridge's address for calls from Keycloak when it is not its issuer. Raises UpstreamError `realm.*`; also
    `realm.unsettled` when a plan made afterwards is not empty, so that silent refusals of Keycloak are seen.
    """
    desired, admin = _prepare(settings, windows, bridge_server)
    made = []
    if admin.find(admin.base) is None:
        say(f"realm {desired.realm}: creating")
        made.append(creation(desired))
        made[0].run(admin)
        # The token at hand knows nothing of the realm that was just made.
        admin = _log_in(settings, admin.writes)
    todo = plan_realm(admin, desired)
    for change in todo.changes:
        say(change.text().splitlines()[0])
        change.run(admin)
    if made or todo.changes:
        left = plan_realm(admin, desired)
        if left.changes:
            raise UpstreamError("realm.unsettled", f"Keycloak did not take it all:\n{left.text()}")
    return Applied(Plan((*made, *todo.changes), todo.extras), admin.writes)


def _prepare(settings: Settings, windows: Sequence[Window], bridge_server: str) -> tuple[Desired, Admin]:
    desired = desired_realm(settings, windows, node_salts(settings.bridge.keys), bridge_server=bridge_server)
    require_safe(desired)
    return desired, _log_in(settings, 0)


def _log_in(settings: Settings, writes: int) -> Admin:
    node = settings.keycloak
    admin = connect(node.internal, node.realm, node.admin_user, read_password(node.admin_password_file))
    admin.writes = writes
    return admin
