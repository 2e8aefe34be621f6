"""`config/realm/realm.toml` + settings of the node + registered windows → what the realm must be.

Pure but for reading the two data files. Claims come from `config/claims.schema.json`, so the contract with windows is
written once: a claim that is added there reaches the session notes, the tokens and this realm.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

from ca_bridge.errors import UpstreamError
from ca_bridge.files import config_dir
from ca_bridge.registry import Window, sectors
from ca_bridge.settings import Settings
from ca_bridge.types import LEVELS, loa
from idp.model import SCOPE, Client, Desired, Flow, Json, Step
from idp.salts import Salts

SUBJECT = "crosshall_subject"
_TYPES = {"string": "String", "integer": "long"}
_EVERYWHERE = ("id.token.claim", "access.token.claim", "userinfo.token.claim", "introspection.token.claim")


def desired_realm(
    settings: Settings,
    windows: Sequence[Window],
    salts: Salts,
    *,
    bridge_server: str = "",
    config: Path | None = None,
) -> Desired:
    """What the realm of `settings` must be.

    `bridge_server` is the bridge's address for calls between servers, its issuer when empty. Raises UpstreamError
    `realm.config` when a data file is missing or malformed.
    """
    folder = config or config_dir()
    raw = _read(folder / "realm/realm.toml")
    claims = _claims(folder / "claims.schema.json")
    values = {
        "bridge": settings.bridge.issuer,
        "bridge_server": (bridge_server or settings.bridge.issuer).rstrip("/"),
        "client_id": settings.keycloak.client_id,
        "alias": settings.keycloak.alias,
        "levels": _levels_map(),
    }
    try:
        filled = _fill({key: value for key, value in raw.items() if key != "flows"}, values)
        return Desired(
            realm=settings.keycloak.realm,
            settings={**filled["realm"], "realm": settings.keycloak.realm},
            keys=tuple({"providerType": "org.keycloak.keys.KeyProvider", **key} for key in filled["keys"]),
            profile=filled["profile"],
            scope_mappers=tuple(_note_mapper(name, name, kind) for name, kind in claims.items() if name != SUBJECT),
            flows=tuple(_flow(purpose, flow, values) for purpose, flow in raw["flows"].items()),
            provider={**filled["identity_provider"], "alias": settings.keycloak.alias},
            provider_mappers=_provider_mappers(settings.keycloak.alias, claims, sectors(tuple(windows))),
            clients=tuple(_client(filled["client"], window, salts) for window in windows),
            disabled_clients=tuple(filled["disabled"]["clients"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UpstreamError("realm.config", f"realm.toml: {type(error).__name__} {error}") from error


def claim_names(config: Path | None = None) -> tuple[str, ...]:
    """The claims that every window receives, by the contract. Raises UpstreamError `realm.config`."""
    return tuple(_claims((config or config_dir()) / "claims.schema.json"))


def _read(path: Path) -> Json:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UpstreamError("realm.config", f"{path.name}: {error}") from error


def _claims(path: Path) -> dict[str, str]:
    """Claim → `jsonType.label` of Keycloak's mappers."""
    try:
        schema = json.loads(path.read_text("utf-8"))
        return {name: _TYPES[rule.get("type", "string")] for name, rule in schema["properties"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UpstreamError("realm.config", f"{path.name}: {type(error).__name__} {error}") from error


def _levels_map() -> str:
    return json.dumps({loa(level): level for level in LEVELS}, separators=(",", ":"))


def _fill(value: Any, values: Mapping[str, str]) -> Any:
    """Every text with `${…}` replaced; an unknown name is a KeyError."""
    if isinstance(value, str):
        return Template(value).substitute(values) if "${" in value else value
    if isinstance(value, Mapping):
        return {key: _fill(inner, values) for key, inner in value.items()}
    if isinstance(value, list):
        return [_fill(inner, values) for inner in value]
    return value


def _flow(purpose: str, raw: Json, values: Mapping[str, str]) -> Flow:
    return Flow(purpose, raw["description"], tuple(_steps(raw["steps"], values)))


def _steps(raw: Sequence[Json], values: Mapping[str, str]) -> list[Step]:
    found: list[Step] = []
    for each in raw:
        if each.get("each_level"):
            for level in LEVELS:
                inner = {**values, "level": str(level), "at_least": f"[{level}-{LEVELS[-1]}]"}
                found.append(_step(each, inner))
        else:
            found.append(_step(each, values))
    return found


def _step(raw: Json, values: Mapping[str, str]) -> Step:
    filled = _fill({key: value for key, value in raw.items() if key != "steps"}, values)
    if bool(filled.get("authenticator")) == bool(raw.get("steps")):
        raise ValueError("a step has an authenticator or steps of its own")
    return Step(
        requirement=filled["requirement"],
        authenticator=filled.get("authenticator", ""),
        name=filled.get("name", ""),
        config=tuple(sorted(filled.get("config", {}).items())),
        steps=tuple(_steps(raw.get("steps", ()), values)),
    )


def _note_mapper(note: str, claim: str, kind: str, tokens: Sequence[str] = _EVERYWHERE, name: str = "") -> Json:
    flags = {token: "true" if token in tokens else "false" for token in _EVERYWHERE}
    return {
        "name": name or claim,
        "protocol": "openid-connect",
        "protocolMapper": "oidc-usersessionmodel-note-mapper",
        "config": {"user.session.note": note, "claim.name": claim, "jsonType.label": kind, **flags},
    }


def _provider_mappers(alias: str, claims: Mapping[str, str], known: Sequence[str]) -> tuple[Json, ...]:
    notes = [name for name in claims if name != SUBJECT] + [f"{SUBJECT}_{sector}" for sector in known]
    # (?s): with a plain .* a value that holds a line break is dropped in silence.
    pairs = [{"key": note, "value": "(?s).*"} for note in sorted(notes)]
    return (
        _provider_mapper(
            alias,
            "notes of the sign-in",
            "oidc-user-session-note-idp-mapper",
            {"claims": json.dumps(pairs), "are.claim.values.regex": "true"},
        ),
        _provider_mapper(
            alias,
            "person key as user name",
            "oidc-username-idp-mapper",
            {"template": "${CLAIM.sub}", "target": "LOCAL"},
        ),
        _provider_mapper(
            alias,
            "level reached",
            "oidc-user-attribute-idp-mapper",
            {"claim": "acr", "user.attribute": "last_acr"},
        ),
    )


def _provider_mapper(alias: str, name: str, kind: str, config: Json) -> Json:
    return {
        "name": name,
        "identityProviderAlias": alias,
        "identityProviderMapper": kind,
        "config": {"syncMode": "FORCE", **config},
    }


def _client(common: Json, window: Window, salts: Salts) -> Client:
    attributes = {
        **common["attributes"],
        "jwks.url": window.jwks_url,
        "backchannel.logout.url": window.backchannel_logout_url,
        "post.logout.redirect.uris": "##".join(window.post_logout_redirect_uris),
        "crosshall.sector": window.sector,
    }
    body = {
        **common,
        "clientId": window.id,
        "name": window.name.get("zh-Hans") or next(iter(window.name.values())),
        "baseUrl": window.base_url,
        "redirectUris": list(window.redirect_uris),
        "attributes": attributes,
    }
    return Client(body, ("basic", SCOPE), _client_mappers(window, salts))


def _client_mappers(window: Window, salts: Salts) -> tuple[Json, ...]:
    subject = f"{SUBJECT}_{window.sector}"
    return (
        _note_mapper(subject, SUBJECT, "String"),
        # Keycloak adds `username` (the person key) to introspection: the sector's subject takes its place.
        _note_mapper(subject, "username", "String", ("introspection.token.claim",), name="introspection username"),
        {
            "name": "pairwise sub",
            "protocol": "openid-connect",
            "protocolMapper": "oidc-sha256-pairwise-sub-mapper",
            "config": {"sectorIdentifierUri": "", "pairwiseSubAlgorithmSalt": salts.of(window.sector)},
        },
        {
            # Introspection answers "inactive" to whoever is not in the audience (since 26.6.2).
            "name": "own audience",
            "protocol": "openid-connect",
            "protocolMapper": "oidc-audience-mapper",
            "config": {
                "included.client.audience": window.id,
                "access.token.claim": "true",
                "introspection.token.claim": "true",
                "id.token.claim": "false",
            },
        },
    )
