"""The SDK as a client, an API and a service at the real Keycloak: DPoP, introspection, a new proof, grants."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from relying_party_sdk import RelyingParty, Requirement, RPError, Settings
from relying_party_sdk.clientauth import ClientKey
from relying_party_sdk.dpop import make_proof
from relying_party_sdk.errors import GrantRefused
from relying_party_sdk.resource import Needs, Presented
from relying_party_sdk.session import Session
from relying_party_sdk.transport import get
from tests.parts.realm import Walker
from tests.parts.realm_node import Realm, running_realm

pytestmark = pytest.mark.live


@pytest.fixture(scope="module", name="realm")
def _realm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Realm]:
    with running_realm(tmp_path_factory.mktemp("realm")) as realm:
        yield realm


@pytest.fixture(scope="module", name="settings")
def _settings(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The window `police`, with the key that the realm knows under the name that the SDK gives it."""
    key, path = realm.stage.window_keys["police"], tmp_path_factory.mktemp("police") / "police.pem"
    path.touch(0o600)
    path.write_bytes(key.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    key.kid = ClientKey(path, secrets.token_bytes).kid
    return Settings(
        issuer=realm.settings.keycloak.issuer,
        client_id="police",
        base_url="https://police.gd.localhost:8443",
        key_file=path,
        store="memory:",
    )


def _sign_in(party: RelyingParty, walker: Walker, *, fresh: bool = False) -> Session:
    departure = party.begin("/", Requirement(level=2, max_age=600), fresh=fresh)
    page = walker.get(departure.url)
    assert page.code, page.text[:300]
    arrival = party.finish(parse_qs(urlsplit(page.url).query), {departure.cookie_name: departure.cookie})
    assert arrival.unmet is None
    session = party.current(arrival.cookie)
    assert session is not None
    return session


def _admit(party: RelyingParty, token: str, needs: Needs, key: ClientKey | None = None) -> str:
    url = f"{party.settings.base_url}/api"
    proof = make_proof(key, secrets.token_bytes, "GET", url, party._clock(), access_token=token) if key else None
    try:
        party.resource.admit(Presented(f"{'DPoP' if key else 'Bearer'} {token}", proof, "GET", url), needs)
    except RPError as error:
        return error.code
    return "ok"


def test_access_token_at_our_api(realm: Realm, settings: Settings) -> None:
    """Keycloak's access token opens an API of level 2, not of 3; its ID token opens none; signed out, none of them."""
    party = RelyingParty(settings)
    realm.stage.person, realm.stage.sid = "p1:" + "b" * 52, "sid-api"
    session = _sign_in(party, Walker())
    person = Needs(Requirement(level=2, max_age=600, rung="near", status_max_age=3600))
    assert _admit(party, session.access_token, person) == "ok"
    assert _admit(party, session.access_token, Needs(online=True)) == "ok"
    assert _admit(party, session.access_token, Needs(Requirement(level=3))) == "rp.level_unmet"
    assert _admit(party, session.id_token, Needs()) == "rp.token_typ"
    assert _admit(party, session.refresh_token, Needs()) in ("rp.token_alg", "rp.token_typ", "rp.token_key")
    realm.admin.delete(f"{realm.admin.base}/sessions/{session.sid}")
    other = RelyingParty(settings)
    assert _admit(other, session.access_token, Needs()) == "ok"  # until `exp`: nobody told this process
    assert _admit(other, session.access_token, Needs(online=True)) == "rp.token_inactive"
    other.close()
    party.close()


def test_dpop_from_sign_in_to_api(realm: Realm, settings: Settings) -> None:
    """Code, refresh and userinfo are bound to the window's key; a bound token opens an API with its proof only."""
    bound = settings.with_(dpop="on")
    party = RelyingParty(bound)
    realm.stage.person, realm.stage.sid = "p1:" + "c" * 52, "sid-dpop"
    session = _sign_in(party, Walker())
    renewed = party._exchange(session)
    assert renewed.access_token != session.access_token
    userinfo = party._endpoint.metadata().userinfo_endpoint
    assert party.call(renewed, get(userinfo)).status == 200
    plain = RelyingParty(settings)
    assert plain.call(renewed, get(userinfo)).status == 401
    key = ClientKey(bound.dpop_key, secrets.token_bytes)
    assert _admit(party, renewed.access_token, Needs(Requirement(level=2)), key) == "ok"
    assert _admit(party, renewed.access_token, Needs()) == "rp.token_binding"
    assert (
        _admit(party, renewed.access_token, Needs(), ClientKey(settings.key_file, secrets.token_bytes))
        == "rp.dpop_proof"
    )
    plain.close()
    party.close()


def test_a_new_proof_is_one(realm: Realm, settings: Settings) -> None:
    """Within `max_age` Keycloak answers from its own session; `fresh` takes the person to the bridge again."""
    party, walker = RelyingParty(settings), Walker()
    realm.stage.person, realm.stage.sid = "p1:" + "d" * 52, "sid-fresh"
    _sign_in(party, walker)
    trips = len(realm.stage.trips)
    _sign_in(party, walker)
    assert len(realm.stage.trips) == trips
    _sign_in(party, walker, fresh=True)
    assert len(realm.stage.trips) == trips + 1
    assert realm.stage.trips[-1]["prompt"] == "login"
    party.close()


def test_grants_without_a_browser(realm: Realm, settings: Settings) -> None:
    """Off until they are switched on, and then typed: client credentials, JWT bearer, token exchange."""
    party = RelyingParty(settings)
    services = party.services
    realm.stage.person, realm.stage.sid = "p1:" + "e" * 52, "sid-grants"
    session = _sign_in(party, Walker())
    calls = {
        "client_credentials": services.client_credentials,
        "jwt_bearer": lambda: services.jwt_bearer(services.assertion("somebody")),
        "exchange": lambda: services.exchange(session.access_token, audience=["police"]),
    }
    errors = {}
    for name, call in calls.items():
        with pytest.raises(GrantRefused) as refused:
            call()
        errors[name] = refused.value.error
    assert errors["client_credentials"] == "unauthorized_client"
    assert set(errors.values()) <= {"unauthorized_client", "unsupported_grant_type", "invalid_request", "invalid_grant"}
    client = realm.admin.read(f"{realm.admin.base}/clients", clientId="police")[0]
    realm.admin.put(f"{realm.admin.base}/clients/{client['id']}", {**client, "serviceAccountsEnabled": True})
    try:
        issued = services.client_credentials()
        assert _admit(party, issued.access_token, Needs()) == "ok"
        assert _admit(party, issued.access_token, Needs(Requirement(level=2))) == "rp.level_unmet"
    finally:
        realm.apply()
    party.close()
