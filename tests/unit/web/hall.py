"""A hall for tests: the real pages over a real store, certificates made here, a snapshot that a test can turn."""

from __future__ import annotations

import functools
import re
import secrets
import tempfile
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from ca_bridge import web
from ca_bridge.asn1.certificate import parse_certificate
from ca_bridge.ceremony import transaction
from ca_bridge.ceremony.services import Services
from ca_bridge.ceremony.transaction import SignInRequest
from ca_bridge.crypto import challenge as challenges
from ca_bridge.identity.keys import PersonKeys
from ca_bridge.registry import Window
from ca_bridge.settings import Settings
from ca_bridge.store import Box, migrate, open_store
from ca_bridge.store.people import People
from ca_bridge.store.releases import Releases
from ca_bridge.store.sessions import Sessions
from ca_bridge.trust.profile import Profile, parse_profile
from ca_bridge.trust.roster import Roster
from ca_bridge.trust.rules import Equivalent, Levels, TrustPolicy
from ca_bridge.types import Verdict, Way
from tests.parts.ladder import Ladder

START = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
ISSUER = "https://hall.test:8443"
SIGNER = "http://127.0.0.1:28443"
CHANNEL = "channel-secret-of-the-tests-0123456789abcdef"
LI, WANG = "11010519491231002X", "440524198801010011"
COMPANY = "91350100M000100Y43"
ID_EXTENSION = x509.ObjectIdentifier("1.2.156.10260.4.1.1")
USCC_EXTENSION = x509.ObjectIdentifier("1.2.156.10260.4.1.4")

PROFILE = """
id = "{id}"
version = 1
domain = "{domain}"
accreditation = "{accreditation}"
name = {{ zh-Hans = "甲", zh-Hant = "甲", en = "A", pt = "A" }}
keys = ["{key}"]
algorithms = ["ecdsa-p256"]
asserts = ["cn-id", "uscc"]
max_level = 4
[[types]]
id = "person"
kind = "person"
storage = "token"
capacities = ["citizen"]
match = {{ subject_ou = "个人证书" }}
name = {{ from = "subject.CN" }}
[[types.identifiers]]
type = "cn-id"
state = "CN"
from = "extension:1.2.156.10260.4.1.1"
[[types]]
id = "operator"
kind = "organisation"
storage = "token"
capacities = ["citizen", "operator"]
match = {{ subject_ou = "经办人证书" }}
name = {{ from = "subject.CN" }}
[types.organisation]
name = "subject.O"
identifier = {{ type = "uscc", state = "CN", from = "extension:1.2.156.10260.4.1.4" }}
[[types.identifiers]]
type = "cn-id"
state = "CN"
from = "extension:1.2.156.10260.4.1.1"
"""


class Hand:
    """A clock moved by hand, unless it follows the wall's (for a browser, which has its own)."""

    def __init__(self) -> None:
        self.now = START
        self.follows = False

    def __call__(self) -> datetime:
        return datetime.now(UTC) if self.follows else self.now

    def follow_the_wall(self) -> None:
        self.follows = True

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass(frozen=True)
class Held:
    """A certificate and its key, as a person has them."""

    key: ec.EllipticCurvePrivateKey
    pem: str
    der: bytes

    @property
    def header(self) -> str:
        """As nginx puts it into a header."""
        return quote(self.pem, safe="")


class Authority:
    """A CA of the tests with its profile."""

    def __init__(self, ca_id: str, accreditation: str, domain: str = "gd") -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"演示 {ca_id}")])
        spki = self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        text = PROFILE.format(id=ca_id, accreditation=accreditation, domain=domain, key=challenges.key_hash(spki))
        self.profile: Profile = parse_profile(text.encode())

    def issue(self, name: str, number: str, unit: str = "个人证书", organisation: str = "") -> Held:
        """A certificate for a new key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = [(NameOID.COMMON_NAME, name), (NameOID.ORGANIZATIONAL_UNIT_NAME, unit)]
        if organisation:
            subject.append((NameOID.ORGANIZATION_NAME, organisation))
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(oid, text) for oid, text in subject]))
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(START - timedelta(days=1))
            .not_valid_after(START + timedelta(days=365))
            .add_extension(x509.UnrecognizedExtension(ID_EXTENSION, _printable(number)), critical=False)
        )
        if organisation:
            uscc = x509.UnrecognizedExtension(USCC_EXTENSION, _printable(COMPANY))
            builder = builder.add_extension(uscc, critical=False)
        made = builder.sign(self.key, hashes.SHA256())
        return Held(key, made.public_bytes(Encoding.PEM).decode(), made.public_bytes(Encoding.DER))


@dataclass
class Turned:
    """A snapshot whose verdict a test decides; every leaf of a known CA is accepted unless said otherwise."""

    authorities: list[Authority]
    level: int = 4
    refuse: str = ""
    levels: Levels = field(default_factory=lambda: Levels(ways={Way.TLS: 3, Way.TOKEN: 4}))
    policy: TrustPolicy = field(default_factory=TrustPolicy)
    roster: Roster = field(default_factory=Roster)
    judged: int = 0

    def current(self) -> Turned:
        return self

    @property
    def bundle(self) -> SimpleNamespace:
        return SimpleNamespace(levels=self.levels, policy=self.policy, roster=self.roster)

    def profile(self, ca_id: str) -> Profile:
        return next(one.profile for one in self.authorities if one.profile.id == ca_id)

    def judge_certificate(self, leaf: Any, at: datetime) -> Verdict:
        return self.judge(leaf.der, at)

    def judge(self, leaf_der: bytes, at: datetime) -> Verdict:
        self.judged += 1
        leaf = parse_certificate(leaf_der)
        issuer = x509.load_der_x509_certificate(leaf_der).issuer
        found = next((one for one in self.authorities if one.name == issuer), None)
        if self.refuse or found is None:
            return Verdict(False, self.refuse or "crypto.signature", "told by the test", "", at, "0" * 64)
        kind = found.profile.type_of(leaf)
        return Verdict(
            True,
            "ok",
            "",
            "",
            at,
            "0" * 64,
            domain=found.profile.domain,
            ca=found.profile.id,
            accreditation=found.profile.accreditation,
            certificate_type=kind.id if kind else "",
            level=self.level,
            certificate_key=f"{found.profile.keys[0]}:{leaf.serial:x}",
            status_issued_at=at - timedelta(minutes=5),
        )


@dataclass
class Hall:
    """The app, and what a test looks into."""

    app: Flask
    services: Services
    clock: Hand
    snapshots: Turned
    told: list[int]
    ladder: Ladder

    def browser(self) -> Visitor:
        """A new, empty browser."""
        return Visitor(self, self.app.test_client())


class Visitor:
    """One browser with one person's hands."""

    def __init__(self, hall: Hall, client: FlaskClient) -> None:
        self.hall = hall
        self.client = client
        self.cookie = secrets.token_urlsafe(32)
        client.set_cookie("__Host-crosshall-browser", self.cookie, domain="hall.test")

    def begin(self, **asked: Any) -> transaction.Transaction:
        """What the provider does at /authorize."""
        values = {"redirect_uri": "https://sso.test/cb", "state": "s", "nonce": "n", "code_challenge": "c" * 43}
        request = SignInRequest("keycloak", **{**values, **asked})
        return transaction.begin(self.hall.services.store, request, self.cookie, self.hall.clock())

    def get(self, path: str, **options: Any) -> TestResponse:
        return self.client.get(path, base_url=options.pop("base_url", ISSUER), **options)

    def post(self, path: str, tx: str = "", **options: Any) -> TestResponse:
        """A POST as our own page sends it; every part can be spoilt."""
        headers = {"Origin": ISSUER, **options.pop("headers", {})}
        data = {"csrf": options.pop("csrf", None) or self.csrf(tx), **options.pop("data", {})}
        return self.client.post(path, base_url=ISSUER, headers=headers, data=data, **options)

    def csrf(self, tx: str) -> str:
        return web.guard.csrf_token(self.cookie, tx)

    def at_certificate_host(self, tx: str, held: Held | None, *, method: str = "GET", **options: Any) -> TestResponse:
        """A request to the certificate host as nginx hands it on; the host is the one the sign-in page names."""
        host = options.pop("host", None) or f"https://{'a' * 26}.cert.hall.test:8443"
        header = options.pop("certificate", held.header if held else "")
        headers = {
            "X-Crosshall-Channel": CHANNEL,
            "X-Crosshall-Client-Cert": header,
            "X-Crosshall-Client-Verify": "FAILED:unable to verify the first certificate",
            **options.pop("headers", {}),
        }
        return self.client.open(f"/c/{tx}", method=method, base_url=host, headers=headers, **options)

    def click(self, tx: str, held: Held, **options: Any) -> TestResponse:
        """See the certificate host's page and press its button."""
        page = self.at_certificate_host(tx, held)
        token = re.search(r'name="csrf" value="([^"]+)"', page.text)
        assert token, page.text
        origin = options.pop("origin", f"https://{'a' * 26}.cert.hall.test:8443")
        return self.at_certificate_host(
            tx, held, method="POST", headers={"Origin": origin}, data={"csrf": token[1]}, **options
        )

    def tls(self, tx: str, held: Held) -> TestResponse:
        """The whole TLS way, through the one-time code, to what the hall then says."""
        return self.follow(self.click(tx, held))

    def json(self, path: str, tx: str, body: Any, **options: Any) -> TestResponse:
        """A script's POST."""
        headers = {"Origin": ISSUER, "X-Crosshall-CSRF": self.csrf(tx), **options.pop("headers", {})}
        return self.client.post(path, base_url=ISSUER, headers=headers, json=body, **options)

    def challenge(self, tx: str) -> dict[str, Any]:
        return dict(self.json(f"/sign-in/{tx}/challenge", tx, {}).json or {})["challenge"]

    def token(self, tx: str, held: Held) -> TestResponse:
        """The whole token way."""
        answer = self.json(f"/sign-in/{tx}/proof", tx, sign(self.challenge(tx), held))
        assert answer.status_code == 200, answer.text
        return self.get(path_of((answer.json or {})["continue"]))

    def follow(self, response: TestResponse) -> TestResponse:
        """The hall's answer to a redirect."""
        assert response.status_code == 303, response.text
        location = response.headers["Location"]
        return self.get(path_of(location))


def sign(challenge: dict[str, Any], held: Held, **changed: Any) -> dict[str, str]:
    """What a signer makes of a challenge; fields of the challenge, or of the answer, can be spoilt."""
    answer = {name: changed.pop(name) for name in ("certificate", "algorithm", "signature") if name in changed}
    fields = {**challenge, **changed}
    leaf = parse_certificate(held.der)
    asked = challenges.Challenge(
        fields["origin"],
        fields["transaction"],
        fields["nonce"],
        fields.get("key", leaf.spki_sha256),
        datetime.fromisoformat(fields["expires"]),
    )
    signature = held.key.sign(challenges.message(asked), ec.ECDSA(hashes.SHA256()))
    encoded = urlsafe_b64encode(signature).decode().rstrip("=")
    return {"certificate": held.pem, "algorithm": "ES256", "signature": encoded, **answer}


def code_of(page: str) -> str:
    """The stable code that a refusal's page shows."""
    found = re.search(r"<dd>([a-z0-9]+\.[a-z0-9_]+)</dd>", page)
    return found[1] if found else ""


def session_of(visitor: Visitor) -> Any:
    """The live session of that browser, as the bridge sees it."""
    cookie = visitor.client.get_cookie("__Host-crosshall-session", domain="hall.test")
    return visitor.hall.services.sessions.find(cookie.value) if cookie else None


def path_of(address: str) -> str:
    """Path and query of one of the hall's addresses."""
    parts = urlsplit(address)
    assert f"{parts.scheme}://{parts.netloc}" in (ISSUER, "://"), address
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


@functools.cache
def _empty_database() -> bytes:
    """A database at this version: the migrations run once, not for every test."""
    with tempfile.TemporaryDirectory() as folder:
        migrate(f"sqlite:///{folder}/bridge.sqlite")
        return (Path(folder) / "bridge.sqlite").read_bytes()


def make_hall(
    folder: Path,
    authorities: list[Authority],
    *,
    bridge: dict[str, Any] | None = None,
    node: str = "gd",
    clock: Hand | None = None,
    more: dict[str, Any] | None = None,
    **turned: Any,
) -> Hall:
    """A hall whose store lies in `folder`; `more` adds to its services."""
    clock, told = clock or Hand(), []
    ladder = Ladder(clock)
    (folder / "channel").write_text(CHANNEL)
    keycloak = {"issuer": "https://sso.test/realms/gd", "internal": "http://127.0.0.1:1"}
    named = {"issuer": ISSUER, "certificate_host": "*.cert.hall.test:8443", **(bridge or {})}
    settings = Settings.model_validate(
        {"node": {"name": node}, "bridge": {**named, "channel_secret_file": folder / "channel"}, "keycloak": keycloak}
    )
    url = f"sqlite:///{folder}/bridge.sqlite"
    (folder / "bridge.sqlite").write_bytes(_empty_database())
    store = open_store(url, Box(bytes(range(32))), clock)
    window = Window("police", "police", {}, "https://police.test", (), (), "", "", ("name",))
    snapshots = Turned(authorities, **turned)
    services = Services(
        settings=settings,
        clock=clock,
        store=store,
        sessions=Sessions(store, 3600),
        people=People(store),
        releases=Releases(store),
        snapshots=snapshots,  # type: ignore[arg-type]
        person_keys=PersonKeys(bytes(range(32))),
        windows=lambda: (window,),
        deliver_logouts=lambda: told.append(1) or 1,
        trusted=ladder,
    )
    services = replace(services, **(more or {}))
    app = Flask("hall-of-the-tests", static_folder=None)
    services.install(app)
    web.register(app)
    return Hall(app, services, clock, snapshots, told, ladder)


def equal(*accreditations: str) -> TrustPolicy:
    """A policy that names accreditations equal for identity numbers."""
    return TrustPolicy(equivalent=(Equivalent(type="cn-id", accreditations=accreditations),))


def _printable(text: str) -> bytes:
    raw = text.encode("ascii")
    return bytes((0x13, len(raw))) + raw
