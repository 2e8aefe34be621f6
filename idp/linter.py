"""Refuses a desired realm that is unsafe, before a single call to Keycloak.

Each rule names the harm it prevents. The registry and `realm.toml` should make all of this impossible; the linter is
what stands when somebody edits them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from ca_bridge.errors import UpstreamError
from idp.model import Client, Desired, Flow, Json, Step

_LONGEST = {
    "accessTokenLifespan": 900,
    "accessCodeLifespan": 60,
    "ssoSessionMaxLifespan": 43_200,
    "offlineSessionMaxLifespan": 43_200,
}
_OFF = {
    "registrationAllowed": "accounts would be made without the bridge",
    "resetPasswordAllowed": "CVE-2026-18963: a way around certificates",
    "rememberMe": "a kiosk would remember the citizen",
    "loginWithEmailAllowed": "there are no e-mail addresses",
    "bruteForceProtected": "locks out who signs in at two windows at once",
    "adminEventsDetailsEnabled": "rows would hold representations of persons",
}
_KEY_PROVIDERS = {"ecdsa-generated", "hmac-generated", "aes-generated"}
_PROVIDER_MUST = {
    "validateSignature": "true",
    "useJwksUrl": "true",
    "pkceEnabled": "true",
    "pkceMethod": "S256",
    "clientAuthMethod": "private_key_jwt",
    "clientAssertionSigningAlg": "ES256",
    "disableUserInfo": "true",
    "syncMode": "FORCE",
}
_CLIENT_OFF = {
    "implicitFlowEnabled": "realm.unsafe_grant",
    "directAccessGrantsEnabled": "realm.unsafe_grant",
    "serviceAccountsEnabled": "realm.unsafe_grant",
    "publicClient": "realm.unsafe_client",
    "fullScopeAllowed": "realm.unsafe_scope",
}
_CLIENT_MUST = {
    "use.jwks.url": "true",
    "token.endpoint.auth.signing.alg": "ES256",
    "pkce.code.challenge.method": "S256",
    "access.token.signed.response.alg": "ES256",
    "id.token.signed.response.alg": "ES256",
    "backchannel.logout.session.required": "true",
    "client.use.lightweight.access.token.enabled": "false",
}
_GRANT_OFF = (
    "oauth2.device.authorization.grant.enabled",
    "oidc.ciba.grant.enabled",
    "standard.token.exchange.enabled",
    "oauth2.jwt.authorization.grant.enabled",
)
_SCOPES = {"basic", "crosshall"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One unsafe setting: stable code, where, and the harm."""

    code: str
    where: str
    why: str


def lint(desired: Desired) -> tuple[Finding, ...]:
    """Every unsafe setting of `desired`; empty when there is none."""
    found = [*_realm(desired), *_provider(desired), *_flows(desired)]
    for client in desired.clients:
        found += [*_client(client), *_addresses(client), *_mappers(client)]
    ids = [client.id for client in desired.clients]
    found += [Finding("realm.unsafe_client", each, "registered twice") for each in set(ids) if ids.count(each) > 1]
    return tuple(found)


def require_safe(desired: Desired) -> None:
    """Return when nothing is unsafe. Raises UpstreamError with the first finding's code; all are in the detail."""
    found = lint(desired)
    if found:
        raise UpstreamError(found[0].code, "; ".join(f"{each.where}: {each.why} [{each.code}]" for each in found))


def _realm(desired: Desired) -> Iterator[Finding]:
    settings = desired.settings
    for name, why in _OFF.items():
        if settings.get(name) is not False:
            yield Finding("realm.unsafe_realm", name, why)
    if settings.get("sslRequired") not in ("external", "all"):
        yield Finding("realm.unsafe_realm", "sslRequired", "tokens would travel in clear")
    if settings.get("defaultSignatureAlgorithm") != "ES256":
        yield Finding("realm.unsafe_realm", "defaultSignatureAlgorithm", "tokens are ES256")
    if settings.get("revokeRefreshToken") is not True or settings.get("refreshTokenMaxReuse") != 0:
        yield Finding("realm.unsafe_realm", "revokeRefreshToken", "a stolen refresh token would stay good")
    for name, seconds in _LONGEST.items():
        value = settings.get(name)
        if not isinstance(value, int) or not 0 < value <= seconds:
            yield Finding("realm.unsafe_realm", name, f"must be 1 to {seconds} seconds")
    if settings.get("eventsEnabled") and not settings.get("eventsExpiration"):
        yield Finding("realm.unsafe_realm", "eventsExpiration", "person keys would be kept for ever")
    for key in desired.keys:
        if key.get("providerId") not in _KEY_PROVIDERS:
            yield Finding("realm.unsafe_realm", f"key {key.get('name')}", "an algorithm that nothing needs")


def _provider(desired: Desired) -> Iterator[Finding]:
    provider, code = desired.provider, "realm.unsafe_provider"
    config: Json = provider.get("config", {})
    for name in ("trustEmail", "storeToken", "addReadTokenRoleOnCreate"):
        if provider.get(name) is not False:
            yield Finding(code, name, "CVE-2025-7365: no linking by e-mail, no stored tokens")
    for name, value in _PROVIDER_MUST.items():
        if config.get(name) != value:
            yield Finding(code, name, f"must be {value}: answers would be forged or intercepted")
    if config.get("jwtAuthorizationGrantEnabled") == "true" or config.get("disableNonce") == "true":
        yield Finding(code, "config", "JWT grants and answers without nonce are not used here")
    for name in ("clientSecret", "publicKeySignatureVerifier"):
        if config.get(name):
            yield Finding(code, name, "CVE-2026-15943: keys come by JWKS only, there are no shared secrets")
    for name in ("issuer", "authorizationUrl", "tokenUrl", "jwksUrl", "logoutUrl"):
        if not _protected(str(config.get(name, ""))):
            yield Finding(code, name, "must be https, or http on loopback")


def _flows(desired: Desired) -> Iterator[Finding]:
    purposes = {flow.purpose for flow in desired.flows}
    if purposes != {"browser", "first", "after"}:
        yield Finding("realm.unsafe_flow", "flows", "browser, first and after are needed, and no other")
        return
    first = [step.authenticator for step in _leaves(desired.flow("first"))]
    if first != ["idp-create-user-if-unique"]:
        yield Finding("realm.unsafe_flow", "first", "nothing but making a user: an existing one would be linked")
    allowed = {"auth-cookie", "identity-provider-redirector", "conditional-level-of-authentication"}
    for step in _leaves(desired.flow("browser")):
        if step.authenticator not in allowed:
            yield Finding("realm.unsafe_flow", f"browser: {step.authenticator}", "a way in without the bridge")
    for step in desired.flow("after").steps:
        inner = [leaf.authenticator for leaf in step.steps]
        if step.requirement != "CONDITIONAL" or inner[:2] != [
            "conditional-user-attribute",
            "conditional-level-of-authentication",
        ]:
            yield Finding("realm.unsafe_flow", "after", "CVE-2026-97176: a level that was not reached would pass")


def _leaves(flow: Flow) -> list[Step]:
    def walk(steps: tuple[Step, ...]) -> Iterator[Step]:
        for step in steps:
            if step.steps:
                yield from walk(step.steps)
            else:
                yield step

    return list(walk(flow.steps))


def _client(client: Client) -> Iterator[Finding]:
    attributes: Json = client.body.get("attributes", {})
    for name, code in _CLIENT_OFF.items():
        if client.body.get(name) is not False:
            yield Finding(code, f"{client.id}: {name}", "must be off")
    if client.body.get("clientAuthenticatorType") != "client-jwt" or client.body.get("secret"):
        yield Finding("realm.unsafe_client", f"{client.id}: client authentication", "private_key_jwt only")
    for name, value in _CLIENT_MUST.items():
        if attributes.get(name) != value:
            yield Finding("realm.unsafe_client", f"{client.id}: {name}", f"must be {value}")
    for name in _GRANT_OFF:
        if attributes.get(name, "false") != "false":
            yield Finding("realm.unsafe_grant", f"{client.id}: {name}", "must be off")
    if set(client.scopes) != _SCOPES:
        yield Finding(
            "realm.unsafe_scope",
            f"{client.id}: scopes",
            "only basic and crosshall: offline_access outlives a sign-out, profile and acr say other things than we do",
        )


def _addresses(client: Client) -> Iterator[Finding]:
    code = "realm.unsafe_redirect"
    attributes: Json = client.body.get("attributes", {})
    after = [each for each in attributes.get("post.logout.redirect.uris", "").split("##") if each]
    if not client.body.get("redirectUris"):
        yield Finding(code, f"{client.id}: redirectUris", "at least one is needed")
    for uri in [*client.body.get("redirectUris", []), *after]:
        if "*" in uri or uri in ("+", "-") or not _protected(uri) or urlsplit(uri).fragment:
            yield Finding(code, f"{client.id}: {uri}", "exact https addresses only (RFC 9700 §2.1), http on loopback")
    if client.body.get("webOrigins"):
        yield Finding(code, f"{client.id}: webOrigins", "no script of a page needs the token endpoint")
    for name in ("jwks.url", "backchannel.logout.url"):
        if not _protected(attributes.get(name, "")):
            yield Finding(code, f"{client.id}: {name}", "must be https, or http on loopback")


def _mappers(client: Client) -> Iterator[Finding]:
    code = "realm.unsafe_mapper"
    kinds = {mapper["protocolMapper"]: mapper["config"] for mapper in client.mappers}
    claims = {mapper["config"].get("claim.name"): mapper["config"] for mapper in client.mappers}
    if kinds.get("oidc-audience-mapper", {}).get("included.client.audience") != client.id:
        yield Finding(code, f"{client.id}: audience", "introspection would answer: inactive")
    if len(kinds.get("oidc-sha256-pairwise-sub-mapper", {}).get("pairwiseSubAlgorithmSalt", "")) < 32:
        yield Finding(code, f"{client.id}: pairwise sub", "windows could join persons by sub; the salt must be set")
    subject = f"crosshall_subject_{client.body.get('attributes', {}).get('crosshall.sector')}"
    for claim in ("crosshall_subject", "username"):
        if claims.get(claim, {}).get("user.session.note") != subject:
            yield Finding(code, f"{client.id}: {claim}", "must be the subject of the window's own sector")
    if claims.get("username", {}).get("introspection.token.claim") != "true":
        yield Finding(code, f"{client.id}: username", "introspection would hand out the person key")


def _protected(uri: str) -> bool:
    try:
        parts = urlsplit(uri)
        host = (parts.hostname or "").rstrip(".").lower()
    except ValueError:
        return False
    if parts.username or not host:
        return False
    loopback = host in ("127.0.0.1", "::1", "localhost") or host.endswith(".localhost")
    return parts.scheme == "https" or (parts.scheme == "http" and loopback)
