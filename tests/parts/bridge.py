"""A bridge for tests: real store, provider, ceremony and pages; clock, realm and snapshot are in the test's hand."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import secrets
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

from flask import Flask
from flask.testing import FlaskClient
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet

from ca_bridge.app import Parts, build, create_app
from ca_bridge.ceremony.transaction import mark_done, resume
from ca_bridge.errors import UpstreamError
from ca_bridge.provider import cookies
from ca_bridge.provider.http import Answer
from ca_bridge.registry import Window, attribute_sectors, write_window
from ca_bridge.settings import Settings, load_settings
from ca_bridge.store import Box, migrate, open_store
from ca_bridge.store.sessions import Opened, SignIn
from ca_bridge.trust.roster import Roster
from ca_bridge.trust.rules import Levels, TrustPolicy
from ca_bridge.types import (
    Capacity,
    Identifier,
    IdentifierType,
    Identity,
    Organisation,
    Verdict,
    Way,
)
from tests.parts.ladder import Ladder

START = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
ISSUER = "https://hall.gd.localhost:8443"
REALM = "https://sso.gd.localhost:8443/realms/gd"
REDIRECT = f"{REALM}/broker/bridge/endpoint"
LEAF = b"0\x03test certificate"
NUMBER = "440105199001011239"
NAME = "张三"


class Hand:
    """A clock moved by hand."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass
class FakeSnapshot:
    """Accepts every certificate but those refused by name."""

    hash: str = "a" * 64
    issued: datetime = START
    level: int = 4
    refused: dict[bytes, str] = field(default_factory=dict)
    judged: list[bytes] = field(default_factory=list)
    anchors: tuple[str, ...] = ("anchor",)
    levels: Levels = field(default_factory=lambda: Levels(ways=dict.fromkeys(Way, 4)))
    asserts: tuple[IdentifierType, ...] = tuple(IdentifierType)
    faults: set[bytes] = field(default_factory=set)
    policy: TrustPolicy = field(default_factory=TrustPolicy)
    roster: Roster = field(default_factory=Roster)
    foreign: set[bytes] = field(default_factory=set)
    """Certificates from across the border."""
    compiled: Any = field(
        default_factory=lambda: SimpleNamespace(
            graph=SimpleNamespace(states={}),
            lists={},
            by_key={},
            book=SimpleNamespace(complete=tuple, problems=(), compact=False),
        )
    )

    @property
    def bundle(self) -> FakeSnapshot:
        return self

    def profile(self, _ca: str) -> FakeSnapshot:
        return self

    def judge(self, leaf: bytes, at: datetime) -> Verdict:
        self.judged.append(leaf)
        if leaf in self.faults:
            raise RuntimeError("a fault of ours in judging")
        code = self.refused.get(leaf, "ok")
        accepted = code == "ok"
        level = self.level if accepted else 0
        issued = at - timedelta(minutes=1)
        return Verdict(
            accepted,
            code,
            "",
            "",
            at,
            self.hash,
            domain="hk" if leaf in self.foreign else "gd",
            level=level,
            status_issued_at=issued,
        )


@dataclass
class FakeSource:
    """A snapshot source whose snapshot the test changes."""

    snapshot: FakeSnapshot = field(default_factory=FakeSnapshot)
    fault: Exception | None = None
    problem: str = ""

    def current(self) -> Any:
        if self.fault:
            raise self.fault
        return self.snapshot


class FakeRealm:
    """Keycloak as the bridge sees it: keys at an address, a back-channel that takes logout tokens; can be down."""

    def __init__(self, clock: Hand) -> None:
        self.clock = clock
        self.key = ECKey.generate_key("P-256", private=True)
        self.down = False
        self.status = 200
        self.fetched = 0
        self.logouts: list[str] = []
        self.jwks_status = 200

    @property
    def kid(self) -> str:
        return self.key.thumbprint()

    def get(self, url: str, headers: object = None) -> Answer:
        self.fetched += 1
        if self.down:
            raise UpstreamError("upstream.unavailable", "refused")
        row = {**self.key.as_dict(private=False), "kid": self.kid, "use": "sig", "alg": "ES256"}
        rsa = {"kty": "RSA", "kid": "enc", "use": "enc", "alg": "RSA-OAEP", "n": "AQAB", "e": "AQAB"}
        return Answer(self.jwks_status, {}, json.dumps({"keys": [rsa, row]}).encode())

    def post(self, url: str, form: dict[str, str]) -> Answer:
        if self.down:
            raise UpstreamError("upstream.unavailable", "refused")
        self.logouts.append(form["logout_token"])
        return Answer(self.status, {}, b"")

    def sign(self, claims: dict[str, Any], *, key: ECKey | None = None, **header: Any) -> str:
        head = {"alg": "ES256", "kid": self.kid, "typ": "JWT"} | header
        head = {name: value for name, value in head.items() if value is not None}
        return jwt.encode(head, claims, key or self.key, algorithms=["ES256"])

    def assertion(self, *, key: ECKey | None = None, header: dict[str, Any] | None = None, **changes: Any) -> str:
        """A client assertion as Keycloak 26.7 makes it; `changes` replace claims, None removes one."""
        now = int(self.clock().timestamp())
        claims = {"iss": "keycloak", "sub": "keycloak", "aud": ISSUER, "iat": now, "exp": now + 60}
        claims |= {"jti": secrets.token_hex(16)} | changes
        kept = {name: value for name, value in claims.items() if value is not None}
        return self.sign(kept, key=key, **(header or {}))

    def access_token(self, subject: str, *, key: ECKey | None = None, **changes: Any) -> str:
        """An access token of the window `police` as Keycloak 26.7 makes it."""
        now = int(self.clock().timestamp())
        claims = {"iss": REALM, "azp": "police", "aud": "police", "typ": "Bearer", "iat": now, "exp": now + 300}
        claims |= {"sub": secrets.token_hex(16), "crosshall_subject": subject} | changes
        return self.sign({name: value for name, value in claims.items() if value is not None}, key=key)


def window(window_id: str, sector: str, attributes: tuple[str, ...]) -> Window:
    """A window's registration."""
    base = f"https://{window_id}.gd.localhost:8443"
    return Window(
        id=window_id,
        sector=sector,
        name={"zh-Hans": window_id},
        base_url=base,
        redirect_uris=(f"{base}/oidc/callback",),
        post_logout_redirect_uris=(f"{base}/",),
        backchannel_logout_url="http://127.0.0.1:18101/oidc/backchannel-logout",
        jwks_url="http://127.0.0.1:18101/oidc/jwks.json",
        attributes=attributes,
    )


def make_settings(folder: Path, url: str = "", **bridge: Any) -> Settings:
    """A node's folder with keys and two windows: `police` (name, identifiers) and `env` (no attributes)."""
    keys = folder / "state" / "keys"
    keys.mkdir(parents=True, exist_ok=True)
    for name in ("master", "attributes"):
        (keys / name).write_bytes(hashlib.sha256(name.encode()).digest())
    (keys / "channel").write_text("c" * 43)
    extra = "".join(f"{name} = {value}\n" for name, value in bridge.items())
    (folder / "node.toml").write_text(
        f'[bridge]\nissuer = "{ISSUER}"\ncertificate_host = "*.cert.gd.localhost:8443"\n{extra}'
        f'[keycloak]\nissuer = "{REALM}"\ninternal = "http://127.0.0.1:8080"\n'
        + (f'[database]\nurl = "{url}"\n' if url else "")
    )
    write_window(folder / "state", window("police", "police", ("name", "identifiers")))
    write_window(folder / "state", window("env", "environment", ()))
    return load_settings(folder / "node.toml", {})


@dataclass
class Bridge:
    """The app with its parts, and what a browser and the realm do with it."""

    app: Flask
    parts: Parts
    realm: FakeRealm
    source: FakeSource
    clock: Hand
    ladder: Ladder
    verifier: str = "v" * 43
    tried: int = 0

    def browser(self) -> FlaskClient:
        return self.app.test_client()

    def get(self, client: FlaskClient, path: str, **arguments: Any) -> Any:
        return client.get(path, base_url=ISSUER, **arguments)

    def post(self, client: FlaskClient, path: str, data: Any = None, **arguments: Any) -> Any:
        return client.post(path, base_url=ISSUER, data=data, **arguments)

    def asked(self, **changes: Any) -> dict[str, Any]:
        """An authorization request as Keycloak sends it; None removes a parameter."""
        challenge = base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).decode().rstrip("=")
        values: dict[str, Any] = {
            "client_id": "keycloak",
            "redirect_uri": REDIRECT,
            "response_type": "code",
            "scope": "openid",
            "state": "st.ate",
            "nonce": "n-0S6_WzA2Mj",
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        } | changes
        return {name: value for name, value in values.items() if value is not None}

    def authorize(self, client: FlaskClient, **changes: Any) -> Any:
        return self.get(client, "/authorize", query_string=self.asked(**changes))

    def sign_in(self, client: FlaskClient, answer: Any, signin: SignIn | None = None) -> Opened:
        """What the pages do when a person has proved who they are, for the transaction in `answer`."""
        services = self.parts.services
        tx_id = urlsplit(answer.location).path.removeprefix("/sign-in/")
        browser = cookie(client, cookies.BROWSER)
        opened = services.sessions.open(signin or self.signin(), cookie(client, cookies.SESSION))
        tx = resume(services.store, tx_id, browser, self.clock())
        mark_done(services.store, tx, opened.session.sid, self.clock())
        client.set_cookie(cookies.SESSION, opened.secret, domain="hall.gd.localhost", secure=True)
        return opened

    def signin(self, number: str = NUMBER, **changes: Any) -> SignIn:
        """A finished ceremony of a citizen."""
        services = self.parts.services
        identity = Identity(
            NAME,
            (Identifier(IdentifierType.CN_ID, "CN", number),),
            Organisation("某公司", Identifier(IdentifierType.USCC, "CN", "91440101MA9W0Y0A0A")),
            (Capacity.CITIZEN,),
        )
        person = services.person_keys.person(identity.identifiers[0], Capacity.CITIZEN)
        subjects = {
            sector: services.person_keys.subject(sector, person) for sector in attribute_sectors(services.windows())
        }
        values: dict[str, Any] = {
            "person": person,
            "capacity": Capacity.CITIZEN,
            "level": 3,
            "way": Way.TOKEN,
            "domain": "gd",
            "ca": "gd-public",
            "certificate_key": f"{'ab' * 32}:{number}",
            "leaf": LEAF + number.encode(),
            "identity": identity,
            "auth_time": self.clock(),
            "checked_at": self.clock(),
            "status_issued_at": self.clock() - timedelta(minutes=5),
            "subjects": subjects,
        } | changes
        return SignIn(**values)

    def code(self, client: FlaskClient, **changes: Any) -> str:
        """The whole way from a request to a code, signing in where a page would ask."""
        answer = self.authorize(client, **changes)
        if "/sign-in/" in answer.location:
            self.sign_in(client, answer)
            tx = urlsplit(answer.location).path.removeprefix("/sign-in/")
            answer = self.get(client, "/authorize/continue", query_string={"tx": tx})
        return parameters(answer)["code"]

    def token(self, code: str, /, **changes: Any) -> Any:
        """The token request as Keycloak sends it; None removes a parameter."""
        form: dict[str, Any] = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": REDIRECT,
            "code_verifier": self.verifier,
            "client_id": "keycloak",
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        } | changes
        form.setdefault("client_assertion", self.realm.assertion())
        kept = {name: value for name, value in form.items() if value is not None}
        return self.post(self.browser(), "/token", kept)

    def claims(self, id_token: str) -> dict[str, Any]:
        """The claims of an ID or logout token, its signature checked against the published keys."""
        keys = KeySet.import_key_set(self.get(self.browser(), "/jwks").json)
        decoded = jwt.decode(id_token, keys, algorithms=["ES256"])
        return dict(decoded.claims)


def parameters(answer: Any) -> dict[str, str]:
    """The query of a redirect."""
    return {name: values[0] for name, values in parse_qs(urlsplit(answer.location).query).items()}


def cookie(client: FlaskClient, name: str) -> str:
    """A cookie of the hall in this browser, or empty."""
    found = client.get_cookie(name, domain="hall.gd.localhost")
    return found.value if found else ""


@functools.cache
def _empty_database() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        migrate(f"sqlite:///{folder}/empty.sqlite")
        return Path(folder, "empty.sqlite").read_bytes()


def make_bridge(folder: Path, url: str = "", *, busy_seconds: float = 5, **bridge: Any) -> Bridge:
    """A bridge in `folder`, its database at `url` (SQLite when empty) migrated."""
    settings = make_settings(folder, url, **bridge)
    if url:
        migrate(url)
    else:
        # the same tables each time: made once, then copied
        Path(settings.database.url.removeprefix("sqlite:///")).write_bytes(_empty_database())
    clock = Hand()
    realm, source = FakeRealm(clock), FakeSource()
    box = Box.from_file(settings.bridge.keys / "attributes")
    store = open_store(settings.database.url, box, clock, busy_seconds=busy_seconds)
    ladder = Ladder(clock)
    parts = build(settings, clock=clock, http=realm, snapshots=source, store=store, trusted=ladder)  # type: ignore[arg-type]
    app = create_app(settings, parts)
    app.testing = False
    return Bridge(app, parts, realm, source, clock, ladder)
