"""The linter: the shipped realm is safe, and each unsafe change has its code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ca_bridge.errors import UpstreamError
from idp.linter import lint, require_safe
from idp.model import Client, Desired, Flow, Step
from tests.unit.idp.conftest import with_client


def test_the_shipped_realm_is_safe(desired: Desired) -> None:
    """realm.toml with ordinary windows has no finding."""
    assert lint(desired) == ()
    require_safe(desired)


def refused(desired: Desired, code: str, word: str) -> None:
    """`desired` has a finding of `code` whose place or reason has `word`, and cannot be applied."""
    assert [each for each in lint(desired) if each.code == code and word in each.where + each.why], lint(desired)
    with pytest.raises(UpstreamError) as caught:
        require_safe(desired)
    assert caught.value.code.startswith("realm.unsafe_")
    assert word in caught.value.detail


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("registrationAllowed", True),
        ("resetPasswordAllowed", True),
        ("resetPasswordAllowed", None),
        ("rememberMe", True),
        ("loginWithEmailAllowed", True),
        ("bruteForceProtected", True),
        ("adminEventsDetailsEnabled", True),
        ("sslRequired", "none"),
        ("defaultSignatureAlgorithm", "RS256"),
        ("revokeRefreshToken", False),
        ("refreshTokenMaxReuse", 1),
        ("accessTokenLifespan", 86_400),
        ("accessTokenLifespan", 0),
        ("accessCodeLifespan", "60"),
        ("ssoSessionMaxLifespan", 10**6),
        ("offlineSessionMaxLifespan", 5_184_000),
        ("eventsExpiration", 0),
    ],
)
def test_unsafe_realm_settings(desired: Desired, name: str, value: Any) -> None:
    """Ways around certificates, long lives, events for ever, weak algorithms."""
    word = {"refreshTokenMaxReuse": "revokeRefreshToken"}.get(name, name)
    refused(replace(desired, settings={**desired.settings, name: value}), "realm.unsafe_realm", word)


def test_an_rsa_key(desired: Desired) -> None:
    """A key of a kind that nothing needs."""
    key = {"name": "rsa", "providerId": "rsa-generated", "config": {}}
    refused(replace(desired, keys=(*desired.keys, key)), "realm.unsafe_realm", "rsa")


@pytest.mark.parametrize("name", ["trustEmail", "storeToken", "addReadTokenRoleOnCreate"])
def test_unsafe_provider_flags(desired: Desired, name: str) -> None:
    """No linking by e-mail, no stored tokens."""
    refused(replace(desired, provider={**desired.provider, name: True}), "realm.unsafe_provider", name)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("validateSignature", "false"),
        ("validateSignature", None),
        ("useJwksUrl", "false"),
        ("pkceEnabled", "false"),
        ("pkceMethod", "plain"),
        ("clientAuthMethod", "client_secret_post"),
        ("clientAssertionSigningAlg", "RS256"),
        ("disableUserInfo", "false"),
        ("syncMode", "IMPORT"),
        ("jwtAuthorizationGrantEnabled", "true"),
        ("disableNonce", "true"),
        ("clientSecret", "s"),
        ("publicKeySignatureVerifier", "-----BEGIN"),
        ("tokenUrl", "http://hall.gd.gov.cn/token"),
        ("jwksUrl", ""),
        ("authorizationUrl", "https://user@hall/authorize"),
        ("issuer", "ftp://hall"),
    ],
)
def test_unsafe_provider_configuration(desired: Desired, name: str, value: Any) -> None:
    """Answers of the bridge must be signed, bound, over TLS, by keys of its JWKS."""
    provider = {**desired.provider, "config": {**desired.provider["config"], name: value}}
    word = "config" if name in ("jwtAuthorizationGrantEnabled", "disableNonce") else name
    refused(replace(desired, provider=provider), "realm.unsafe_provider", word)


@pytest.mark.parametrize(
    ("purpose", "steps"),
    [
        ("first", (Step("REQUIRED", "idp-create-user-if-unique"), Step("REQUIRED", "idp-auto-link"))),
        ("first", (Step("REQUIRED", "idp-review-profile"),)),
        ("browser", (Step("ALTERNATIVE", "auth-username-password-form"),)),
        ("after", (Step("REQUIRED", "allow-access-authenticator"),)),
        ("after", (Step("CONDITIONAL", name="x", steps=(Step("REQUIRED", "allow-access-authenticator"),)),)),
    ],
)
def test_unsafe_flows(desired: Desired, purpose: str, steps: tuple[Step, ...]) -> None:
    """No linking, no way in without the bridge, no level that was not reached."""
    flows = tuple(Flow(each.purpose, "", steps) if each.purpose == purpose else each for each in desired.flows)
    refused(replace(desired, flows=flows), "realm.unsafe_flow", purpose)


def test_a_missing_flow(desired: Desired) -> None:
    """Without the flow after the bridge any level would pass."""
    flows = tuple(each for each in desired.flows if each.purpose != "after")
    refused(replace(desired, flows=flows), "realm.unsafe_flow", "flows")


def body(**changes: Any) -> Callable[[Client], Client]:
    """A change of a client's own fields."""
    return lambda client: replace(client, body={**client.body, **changes})


def attributes(**changes: Any) -> Callable[[Client], Client]:
    """A change of a client's attributes; `__` in a name is a dot."""
    named = {name.replace("__", "."): value for name, value in changes.items()}
    return lambda client: body(attributes={**client.body["attributes"], **named})(client)


def mapper(name: str, **config: str | None) -> Callable[[Client], Client]:
    """A change of one mapper's configuration; without any, the mapper is taken out."""
    named = {key.replace("__", "."): value for key, value in config.items()}

    def change(client: Client) -> Client:
        rest = [each for each in client.mappers if each["name"] != name or config]
        made = [{**each, "config": {**each["config"], **named}} if each["name"] == name else each for each in rest]
        return replace(client, mappers=tuple(made))

    return change


UNSAFE: list[tuple[Callable[[Client], Client], str, str]] = [
    (body(implicitFlowEnabled=True), "realm.unsafe_grant", "implicit"),
    (body(directAccessGrantsEnabled=True), "realm.unsafe_grant", "directAccess"),
    (body(serviceAccountsEnabled=True), "realm.unsafe_grant", "serviceAccounts"),
    (body(publicClient=True), "realm.unsafe_client", "publicClient"),
    (body(fullScopeAllowed=True), "realm.unsafe_scope", "fullScope"),
    (body(clientAuthenticatorType="client-secret"), "realm.unsafe_client", "private_key_jwt"),
    (body(secret="s"), "realm.unsafe_client", "private_key_jwt"),
    (body(webOrigins=["+"]), "realm.unsafe_redirect", "webOrigins"),
    (body(redirectUris=[]), "realm.unsafe_redirect", "redirectUris"),
    (body(redirectUris=["https://police.gd.gov.cn/*"]), "realm.unsafe_redirect", "/*"),
    (body(redirectUris=["*"]), "realm.unsafe_redirect", "*"),
    (body(redirectUris=["http://police.gd.gov.cn/cb"]), "realm.unsafe_redirect", "http:"),
    (body(redirectUris=["https://police.gd.gov.cn/cb#x"]), "realm.unsafe_redirect", "#x"),
    (body(redirectUris=["/cb"]), "realm.unsafe_redirect", "/cb"),
    (body(redirectUris=["https://a@police.gd.gov.cn/cb"]), "realm.unsafe_redirect", "a@"),
    (body(redirectUris=["http://127.0.0.1.evil.example/cb"]), "realm.unsafe_redirect", "evil"),
    (body(redirectUris=["https://[bad/cb"]), "realm.unsafe_redirect", "bad"),
    (attributes(post__logout__redirect__uris="+"), "realm.unsafe_redirect", "+"),
    (attributes(jwks__url="http://keys.example/jwks"), "realm.unsafe_redirect", "jwks.url"),
    (attributes(backchannel__logout__url=""), "realm.unsafe_redirect", "backchannel"),
    (attributes(pkce__code__challenge__method=""), "realm.unsafe_client", "pkce"),
    (attributes(pkce__code__challenge__method="plain"), "realm.unsafe_client", "pkce"),
    (attributes(token__endpoint__auth__signing__alg="HS256"), "realm.unsafe_client", "signing"),
    (attributes(access__token__signed__response__alg="RS256"), "realm.unsafe_client", "access.token"),
    (attributes(standard__token__exchange__enabled="true"), "realm.unsafe_grant", "exchange"),
    (attributes(oauth2__device__authorization__grant__enabled="true"), "realm.unsafe_grant", "device"),
    (mapper("own audience"), "realm.unsafe_mapper", "audience"),
    (mapper("own audience", included__client__audience="env"), "realm.unsafe_mapper", "audience"),
    (mapper("pairwise sub"), "realm.unsafe_mapper", "pairwise"),
    (mapper("pairwise sub", pairwiseSubAlgorithmSalt=""), "realm.unsafe_mapper", "pairwise"),
    (mapper("introspection username"), "realm.unsafe_mapper", "username"),
    (mapper("introspection username", introspection__token__claim="false"), "realm.unsafe_mapper", "username"),
    (mapper("crosshall_subject"), "realm.unsafe_mapper", "crosshall_subject"),
    (mapper("crosshall_subject", user__session__note="crosshall_subject_env"), "realm.unsafe_mapper", "own sector"),
    (lambda client: replace(client, scopes=(*client.scopes, "offline_access")), "realm.unsafe_scope", "offline"),
    (lambda client: replace(client, scopes=("basic",)), "realm.unsafe_scope", "scopes"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "code", "word"), UNSAFE, ids=[f"{n}-{row[2]}" for n, row in enumerate(UNSAFE)])
def test_unsafe_windows(desired: Desired, change: Callable[[Client], Client], code: str, word: str) -> None:
    """Grants, addresses, algorithms, scopes and mappers of windows that would leak, or let others in."""
    refused(with_client(desired, change), code, word)


def test_a_window_registered_twice(desired: Desired) -> None:
    """Two clients of one id."""
    refused(replace(desired, clients=(desired.clients[0], desired.clients[0])), "realm.unsafe_client", "twice")
