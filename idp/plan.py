"""Desired realm against the real one: what must be created, changed or removed, in the order it must happen.

Ours and managed whole: realm settings, keys, profile, required actions, default roles and scopes, the scope
`crosshall`, flows `crosshall-*`, the bridge, the clients of windows. Found besides: listed, left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import quote

from ca_bridge.errors import UpstreamError
from idp import flows
from idp.admin import Admin
from idp.compare import Change, Difference, Plan, differences, sending
from idp.model import MANAGED, SCOPE, Desired, Flow, Json
from idp.plan_clients import plan_clients, plan_mappers

_KEY_PROVIDER = "org.keycloak.keys.KeyProvider"
# `_system` is made by Keycloak when its own `account` is off.
_BUILT_IN_CLIENTS = {
    "_system",
    "account",
    "account-console",
    "admin-cli",
    "broker",
    "realm-management",
    "security-admin-console",
}


def creation(desired: Desired) -> Change:
    """The first step of a realm that does not exist: with its keys, so that Keycloak makes no RSA keys of its own."""

    def run(admin: Admin) -> None:
        keys = [{name: value for name, value in key.items() if name != "providerType"} for key in desired.keys]
        admin.post("admin/realms", {**desired.settings, "components": {_KEY_PROVIDER: keys}})

    return Change("realm", desired.realm, "create", run)


def plan_realm(admin: Admin, desired: Desired) -> Plan:
    """Compare and write nothing. Raises UpstreamError `realm.theme` when Keycloak lacks the theme."""
    found = admin.find(admin.base)
    check_theme(admin, desired)
    if found is None:
        return Plan((creation(desired), *_rest_of_new(desired)))
    listed = admin.read(f"{admin.base}/authentication/flows")
    bound = {"browser": found.get("browserFlow", ""), **_bound_at_provider(admin, desired)}
    targets, flow_changes = _flows(admin, desired, listed, bound)
    changes = [
        *_settings(found, desired),
        *_keys(admin, found, desired),
        *_profile(admin, desired),
        *_required_actions(admin),
        *_defaults(admin, desired),
        *_scope(admin, desired),
        *flow_changes,
        *_provider(admin, desired, targets),
        *_browser_binding(found, targets["browser"]),
        *plan_clients(admin, desired),
        *_stale_flows(listed, targets),
    ]
    return Plan(tuple(changes), tuple(_extras(admin, desired, listed)))


def check_theme(admin: Admin, desired: Desired) -> None:
    """Return when Keycloak has the login theme: without it, it would show citizens its own pages and the person key."""
    theme = desired.settings.get("loginTheme")
    themes = admin.read("admin/serverinfo").get("themes", {}).get("login", [])
    if theme and theme not in {each["name"] for each in themes}:
        raise UpstreamError("realm.theme", f"Keycloak has no login theme {theme}: copy config/realm/theme/{theme}")


def _rest_of_new(desired: Desired) -> Iterator[Change]:
    """What will follow a realm's creation, for reading only: `apply` plans again when the realm is there."""

    def nothing(_: Admin) -> None:
        return None

    yield Change("client scope", SCOPE, "create", nothing)
    for flow in desired.flows:
        yield Change("flow", flows.alias(flow.purpose, 1), "create", nothing)
    yield Change("identity provider", desired.provider["alias"], "create", nothing)
    for client in desired.clients:
        yield Change("client", client.id, "create", nothing)


def _settings(found: Json, desired: Desired) -> Iterator[Change]:
    gaps = tuple(differences(found, desired.settings))
    if gaps:
        attributes = {**found.get("attributes", {}), **desired.settings.get("attributes", {})}
        body = {**found, **desired.settings, "attributes": attributes}
        yield Change("realm", desired.realm, "update", lambda admin: admin.put(admin.base, body), gaps)


def _keys(admin: Admin, realm: Json, desired: Desired) -> Iterator[Change]:
    listed = {key["name"]: key for key in admin.read(f"{admin.base}/components", type=_KEY_PROVIDER)}
    for key in desired.keys:
        name = key["name"]
        if name not in listed:
            body = {**key, "parentId": realm["id"]}
            yield Change("key", name, "create", sending("post", "components", body))
        elif gaps := tuple(differences(listed[name], key)):
            body = {**listed[name], **key}
            yield Change("key", name, "update", sending("put", f"components/{body['id']}", body), gaps)


def _profile(admin: Admin, desired: Desired) -> Iterator[Change]:
    found = admin.read(f"{admin.base}/users/profile")
    have = {each["name"]: each for each in found.get("attributes", [])}
    want = {each["name"]: each for each in desired.profile["attributes"]}
    gaps = [*differences(have, want)]
    gaps += [Difference(name, "attribute", None) for name in sorted(set(have) - set(want))]
    gaps += [*differences({"policy": found.get("unmanagedAttributePolicy")}, {"policy": None})]
    if gaps:
        body = {"attributes": desired.profile["attributes"], "groups": []}
        yield Change("user profile", "attributes", "update", sending("put", "users/profile", body), tuple(gaps))


def _required_actions(admin: Admin) -> Iterator[Change]:
    for action in admin.read(f"{admin.base}/authentication/required-actions"):
        wanted = {"enabled": False, "defaultAction": False}
        if gaps := tuple(differences(action, wanted)):
            at = f"authentication/required-actions/{quote(action['alias'])}"
            yield Change("required action", action["alias"], "update", sending("put", at, {**action, **wanted}), gaps)


def _defaults(admin: Admin, desired: Desired) -> Iterator[Change]:
    """Nobody gets a role or a scope by default but `basic`, which holds no claim of a person."""
    at = f"roles/default-roles-{desired.realm.lower()}/composites"
    roles = admin.find(f"{admin.base}/{at}") or []
    if roles:
        gap = Difference("composites", sorted(role["name"] for role in roles), [])
        yield Change("default roles", desired.realm, "update", lambda a: a.delete(f"{a.base}/{at}", roles), (gap,))
    for kind, kept in (("default-default-client-scopes", {"basic"}), ("default-optional-client-scopes", set())):
        for scope in admin.read(f"{admin.base}/{kind}"):
            if scope["name"] not in kept:
                yield Change(kind, scope["name"], "delete", sending("delete", f"{kind}/{scope['id']}"))


def _scope(admin: Admin, desired: Desired) -> Iterator[Change]:
    wanted = {
        "name": SCOPE,
        "protocol": "openid-connect",
        "description": "Claims that every window receives",
        "attributes": {"include.in.token.scope": "false", "display.on.consent.screen": "false", MANAGED: "scope"},
    }
    found = next((each for each in admin.read(f"{admin.base}/client-scopes") if each["name"] == SCOPE), None)
    if found is None:
        body = {**wanted, "protocolMappers": list(desired.scope_mappers)}
        yield Change("client scope", SCOPE, "create", sending("post", "client-scopes", body))
        return
    at = f"client-scopes/{found['id']}"
    if gaps := tuple(differences(found, wanted)):
        yield Change("client scope", SCOPE, "update", sending("put", at, {**found, **wanted}), gaps)
    yield from plan_mappers(f"{at}/protocol-mappers/models", SCOPE, found, desired.scope_mappers)


def _bound_at_provider(admin: Admin, desired: Desired) -> dict[str, str]:
    found = admin.find(f"{admin.base}/identity-provider/instances/{quote(desired.provider['alias'])}") or {}
    names = {"first": "firstBrokerLoginFlowAlias", "after": "postBrokerLoginFlowAlias"}
    return {purpose: found.get(name) or "" for purpose, name in names.items()}


def _flows(
    admin: Admin, desired: Desired, listed: list[Json], bound: dict[str, str]
) -> tuple[dict[str, str], list[Change]]:
    """Alias that each purpose shall be bound to, and the flows to build for it."""
    targets: dict[str, str] = {}
    changes: list[Change] = []
    for flow in desired.flows:
        ours = flows.aliases(listed, flow.purpose)
        current = bound[flow.purpose]
        mine = current in {each["alias"] for each in ours.values()}
        gaps = flows.steps_difference(flows.read_steps(admin, current) if mine else None, flow)
        if not gaps:
            targets[flow.purpose] = current
            continue
        name = flows.alias(flow.purpose, max(ours, default=0) + 1)
        targets[flow.purpose] = name
        action = "update" if mine else "create"
        changes.append(Change("flow", name, action, _building(name, flow), gaps if mine else ()))
    return targets, changes


def _provider(admin: Admin, desired: Desired, targets: dict[str, str]) -> Iterator[Change]:
    alias = desired.provider["alias"]
    at = f"identity-provider/instances/{quote(alias)}"
    wanted = {
        **desired.provider,
        "firstBrokerLoginFlowAlias": targets["first"],
        "postBrokerLoginFlowAlias": targets["after"],
    }
    found = admin.find(f"{admin.base}/{at}")
    if found is None:
        yield Change("identity provider", alias, "create", sending("post", "identity-provider/instances", wanted))
    else:
        gaps = [*differences(found, {name: value for name, value in wanted.items() if name != "config"})]
        gaps += differences(found.get("config"), wanted["config"], "config", exact=True)
        if gaps:
            body = {**found, **wanted}
            yield Change("identity provider", alias, "update", sending("put", at, body), tuple(gaps))
    mappers = {"protocolMappers": (admin.find(f"{admin.base}/{at}/mappers") or []) if found else []}
    yield from plan_mappers(f"{at}/mappers", alias, mappers, desired.provider_mappers)


def _browser_binding(found: Json, target: str) -> Iterator[Change]:
    if gaps := tuple(differences(found, {"browserFlow": target})):
        yield Change(
            "binding",
            "browser flow",
            "update",
            lambda a: a.put(a.base, {**a.read(a.base), "browserFlow": target}),
            gaps,
        )


def _stale_flows(listed: list[Json], targets: dict[str, str]) -> Iterator[Change]:
    for purpose, target in targets.items():
        for flow in flows.aliases(listed, purpose).values():
            if flow["alias"] != target:
                at = f"authentication/flows/{flow['id']}"
                yield Change("flow", flow["alias"], "delete", sending("delete", at))


def _extras(admin: Admin, desired: Desired, listed: list[Json]) -> Iterator[str]:
    ours = {client.id for client in desired.clients} | _BUILT_IN_CLIENTS
    for client in admin.read(f"{admin.base}/clients"):
        if client["clientId"] not in ours and client.get("attributes", {}).get(MANAGED) != "window":
            yield f"client {client['clientId']}"
    for provider in admin.read(f"{admin.base}/identity-provider/instances"):
        if provider["alias"] != desired.provider["alias"]:
            yield f"identity provider {provider['alias']}"
    keys = {key["name"] for key in desired.keys}
    for key in admin.read(f"{admin.base}/components", type=_KEY_PROVIDER):
        if key["name"] not in keys:
            yield f"key {key['name']} ({key['providerId']})"
    for flow in listed:
        if not flow.get("builtIn") and not any(flows.aliases([flow], each.purpose) for each in desired.flows):
            yield f"flow {flow['alias']}"


def _building(name: str, flow: Flow) -> Callable[[Admin], None]:
    return lambda admin: flows.build(admin, name, flow)
