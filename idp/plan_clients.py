"""The part of a plan that speaks of clients and mappers: ours are managed whole, an added mapper is drift."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from idp.admin import Admin
from idp.compare import Change, Difference, differences, sending
from idp.model import MANAGED, Client, Desired, Json

# Keycloak writes these by itself.
_SERVER_FILLED = {"client.secret.creation.time", "realm_client"}
_LISTS = ("redirectUris", "webOrigins")


def plan_mappers(path: str, owner: str, found: Json, wanted: Sequence[Json]) -> Iterator[Change]:
    """Mappers at `path` (below the realm's address), by name; one that is not wanted is removed."""
    have = {mapper["name"]: mapper for mapper in found.get("protocolMappers", [])}
    for mapper in wanted:
        name = mapper["name"]
        label = f"{owner}: {name}"
        if name not in have:
            yield Change("mapper", label, "create", sending("post", path, mapper))
            continue
        gaps = [*differences(have[name], {key: value for key, value in mapper.items() if key != "config"})]
        gaps += differences(have[name].get("config"), mapper["config"], "config", exact=True)
        if gaps:
            body = {**have[name], **mapper}
            yield Change("mapper", label, "update", sending("put", f"{path}/{body['id']}", body), tuple(gaps))
    for name in sorted(set(have) - {mapper["name"] for mapper in wanted}):
        yield Change("mapper", f"{owner}: {name}", "delete", sending("delete", f"{path}/{have[name]['id']}"))


def plan_clients(admin: Admin, desired: Desired) -> Iterator[Change]:
    """Clients of windows, those of windows that are gone, and Keycloak's own that must be off."""
    listed = {client["clientId"]: client for client in admin.read(f"{admin.base}/clients")}
    for client in desired.clients:
        if client.id in listed:
            yield from _update(client, listed[client.id])
            yield from _scopes(client, listed[client.id])
        else:
            yield Change("client", client.id, "create", _create(client))
    wanted = {client.id for client in desired.clients}
    for name, client in sorted(listed.items()):
        if name not in wanted and client.get("attributes", {}).get(MANAGED) == "window":
            yield Change("client", name, "delete", sending("delete", f"clients/{client['id']}"))
    for name in desired.disabled_clients:
        if name in listed and listed[name].get("enabled"):
            body = {**listed[name], "enabled": False}
            gap = Difference("enabled", True, False)
            yield Change("client", name, "update", sending("put", f"clients/{body['id']}", body), (gap,))


def _create(client: Client) -> Callable[[Admin], None]:
    body = {
        **client.body,
        "protocolMappers": list(client.mappers),
        "defaultClientScopes": list(client.scopes),
        "optionalClientScopes": [],
    }
    return sending("post", "clients", body)


def _update(client: Client, found: Json) -> Iterator[Change]:
    plain = {key: value for key, value in client.body.items() if key != "attributes"}
    gaps = [*differences(found, plain)]
    have = {key: value for key, value in found.get("attributes", {}).items() if key not in _SERVER_FILLED}
    gaps += differences(have, client.body["attributes"], "attributes", exact=True)
    at = f"clients/{found['id']}"
    if gaps:
        # An attribute is removed by an empty value: one that is left out would stay.
        cleared = dict.fromkeys(set(have) - set(client.body["attributes"]), "")
        attributes = {**found.get("attributes", {}), **cleared, **client.body["attributes"]}
        body = {**found, **client.body, "attributes": attributes}
        yield Change("client", client.id, "update", sending("put", at, body), tuple(gaps))
    yield from plan_mappers(f"{at}/protocol-mappers/models", client.id, found, client.mappers)


def _scopes(client: Client, found: Json) -> Iterator[Change]:
    have = set(found.get("defaultClientScopes", []))
    optional = set(found.get("optionalClientScopes", []))
    if have == set(client.scopes) and not optional:
        return
    gaps = (
        *differences({"defaultClientScopes": sorted(have)}, {"defaultClientScopes": sorted(client.scopes)}),
        *differences({"optionalClientScopes": sorted(optional)}, {"optionalClientScopes": []}),
    )

    def run(admin: Admin) -> None:
        ids = {scope["name"]: scope["id"] for scope in admin.read(f"{admin.base}/client-scopes")}
        at = f"{admin.base}/clients/{found['id']}"
        for name in sorted(optional):
            admin.delete(f"{at}/optional-client-scopes/{ids[name]}")
        for name in sorted(have - set(client.scopes)):
            admin.delete(f"{at}/default-client-scopes/{ids[name]}")
        for name in sorted(set(client.scopes) - have):
            admin.put(f"{at}/default-client-scopes/{ids[name]}", {})

    yield Change("client scopes", client.id, "update", run, gaps)
