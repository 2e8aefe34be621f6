"""Three halls of one federation, and people with a browser that goes from one to another; every part can be spoilt."""

from __future__ import annotations

import re
import secrets
from base64 import b64encode, urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc.jwk import ECKey
from werkzeug.test import TestResponse

from ca_bridge import web
from ca_bridge.ceremony import abroad, transaction
from ca_bridge.ceremony.transaction import SignInRequest
from ca_bridge.crypto import between, jwk
from ca_bridge.crypto import challenge as challenges
from ca_bridge.crypto.between import NodeKeys
from ca_bridge.identity.keys import PersonKeys
from ca_bridge.trust.roster import Roster, RosterNode
from ca_bridge.trust.rules import Levels
from ca_bridge.types import Session, Way
from tests.unit.web.hall import Authority, Hall, Hand, Held, make_hall

CITY, PROVINCE, OTHER, COUNTY = "gd/guangzhou", "gd", "gd/shenzhen", "gd/guangzhou/conghua"
NAMES = (PROVINCE, CITY, OTHER, COUNTY)
LEVELS = Levels(ways={Way.TLS: 4, Way.TOKEN: 4, Way.ABROAD: 3})


def new_key() -> ECKey:
    """A P-256 key."""
    return ECKey.generate_key("P-256", private=True)


def public(key: ECKey) -> dict[str, str]:
    """Its JWK with `kid`."""
    return {**jwk.public_members(key.as_dict(private=False)), "kid": key.thumbprint()}


def origin_of(name: str) -> str:
    """The hall of a node."""
    return f"https://hall.{name.replace('/', '-')}.test:8443"


def roster_of(keys: dict[str, NodeKeys], origins: dict[str, str] | None = None, **stages: str) -> Roster:
    """The roster of these nodes, all live but those named with another stage (`gd_guangzhou="trial"`)."""
    rows = [
        RosterNode(
            name=name,
            role=("province", "city", "county")[name.count("/")],  # type: ignore[arg-type]
            parent=name.rpartition("/")[0],
            stage=stages.get(name.replace("/", "_"), "live"),  # type: ignore[arg-type]
            hall=(origins or {}).get(name, origin_of(name)),
            title=dict.fromkeys(("zh-Hans", "zh-Hant", "en", "pt"), f"{name} 大厅"),
            sign=public(key.sign),
            box=public(key.box),
            epoch=1,
            since="2026-11-01T00:00:00Z",  # type: ignore[arg-type]
        )
        for name, key in keys.items()
    ]
    return Roster(nodes=tuple(rows))


@dataclass
class Federation:
    """The halls by node name."""

    halls: dict[str, Hall]
    keys: dict[str, NodeKeys]
    clock: Hand

    def publish(self, *without: str, **stages: str) -> None:
        """A roster without the nodes named, at every hall."""
        kept = {name: keys for name, keys in self.keys.items() if name not in without}
        origins = {name: hall.services.settings.bridge.issuer for name, hall in self.halls.items()}
        for hall in self.halls.values():
            hall.snapshots.roster = roster_of(kept, origins, **stages)

    def close(self) -> None:
        """Give the databases up."""
        for hall in self.halls.values():
            hall.services.store.close()


def make_federation(folder: Path, authorities: list[Authority], names: tuple[str, ...] = NAMES) -> Federation:
    """Halls of these nodes; each derives its own person keys."""
    clock = Hand()
    keys = {name: NodeKeys(new_key(), new_key()) for name in names}
    halls = {}
    for number, name in enumerate(names):
        own = folder / str(number)
        own.mkdir()
        halls[name] = make_hall(
            own,
            authorities,
            node=name,
            clock=clock,
            bridge={"issuer": origin_of(name)},
            more={
                "node_keys": lambda kept=keys[name]: kept,
                "person_keys": PersonKeys(bytes([number]) * 32),
            },
            levels=LEVELS,
        )
    federation = Federation(halls, keys, clock)
    federation.publish()
    return federation


@dataclass
class Traveller:
    """One browser: cookies of every hall, and the keys that its pages made."""

    federation: Federation
    clients: dict[str, Any] = field(default_factory=dict)
    cookies: dict[str, str] = field(default_factory=dict)
    keys: dict[str, ECKey] = field(default_factory=dict)

    def client(self, name: str) -> Any:
        """This browser at a hall."""
        if name not in self.clients:
            client = self.federation.halls[name].app.test_client()
            self.cookies[name] = secrets.token_urlsafe(32)
            client.set_cookie("__Host-crosshall-browser", self.cookies[name], domain=self.host(name))
            self.clients[name] = client
        return self.clients[name]

    def host(self, name: str) -> str:
        return urlsplit(origin_of(name)).hostname or ""

    def begin(self, name: str, **asked: Any) -> str:
        """A sign-in begins at a hall: its transaction."""
        self.client(name)
        values = {"redirect_uri": "https://sso.test/cb", "state": "s", "nonce": "n", "code_challenge": "c" * 43}
        hall = self.federation.halls[name]
        request = SignInRequest("keycloak", **{**values, **asked})
        return transaction.begin(hall.services.store, request, self.cookies[name], hall.clock()).id

    def get(self, address: str, **options: Any) -> TestResponse:
        """GET an address at whichever hall it is."""
        return self._open("GET", address, **options)

    def post(self, address: str, **options: Any) -> TestResponse:
        """POST; from our own page unless `headers` say another Origin."""
        return self._open("POST", address, **options)

    def _open(self, method: str, address: str, **options: Any) -> TestResponse:
        parts = urlsplit(address)
        origin = f"{parts.scheme}://{parts.netloc}"
        name = next(name for name in self.federation.halls if origin_of(name) == origin)
        headers = {"Origin": origin} if method == "POST" else {}
        options["headers"] = {**headers, **options.get("headers", {})}
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        answer: TestResponse = self.client(name).open(target, method=method, base_url=origin, **options)
        return answer

    def csrf(self, name: str, of: str) -> str:
        return web.guard.csrf_token(self.cookies[name], of)

    def token(self, name: str, held: Held, *, key: ECKey | None = None, **asked: Any) -> TestResponse:
        """A token sign-in at a hall; the page's own key is `key`, a new one when None."""
        tx = self.begin(name, **asked)
        key = key or new_key()
        step = f"{origin_of(name)}/sign-in/{tx}"
        headers = {"X-Crosshall-CSRF": self.csrf(name, tx)}
        browser = jwk.public_members(key.as_dict(private=False))
        challenge = (self.post(f"{step}/challenge", json={"browser": browser}, headers=headers).json or {})["challenge"]
        self.keys[challenge["browser"]] = key
        answer = self.post(f"{step}/proof", json=proof(challenge, held), headers=headers)
        return self.get((answer.json or {})["continue"])

    def session(self, name: str) -> Session | None:
        """The live session of this browser at a hall."""
        cookie = self.client(name).get_cookie("__Host-crosshall-session", domain=self.host(name))
        return self.federation.halls[name].services.sessions.find(cookie.value) if cookie else None

    def ask(self, here: str, there: str, tx: str = "", **asked: Any) -> tuple[str, str]:
        """At `here`, choose hall `there`: the transaction, and the address to which the browser is sent."""
        tx = tx or self.begin(here, **asked)
        data = {"csrf": self.csrf(here, tx), "hall": there}
        answer = self.post(f"{origin_of(here)}/sign-in/{tx}/abroad", data=data)
        assert answer.status_code == 303, answer.text
        return tx, answer.headers["Location"]

    def answer(self, address: str, **changed: Any) -> tuple[str, str]:
        """What the asked hall's page does: (where the form goes, sealed evidence); or (address, "")."""
        page = self.get(address)
        assert page.status_code == 200, page.text
        if refresh := page.headers.get("Refresh"):
            return refresh.partition("url=")[2], ""
        data = dict(re.findall(r'data-([a-z]+)="([^"]*)"', page.text))
        signature = changed.get("signature") or self.sign(data["key"], data["origin"], data["nonce"])
        there = f"{urlsplit(address).scheme}://{urlsplit(address).netloc}"
        body = {"request": data["request"], "signature": signature}
        found = self.post(f"{there}/abroad/sign", json=body, headers={"X-Crosshall-CSRF": data["csrf"]})
        assert found.status_code == 200, found.text
        told = found.json or {}
        return (told["action"], told["evidence"]) if "action" in told else (told["back"], "")

    def sign(self, key: str, origin: str, nonce: str) -> str:
        """What WebCrypto makes of it."""
        return base64url(raw_signature(self.keys[key], jwk.abroad_message(origin, nonce)))

    def bring(self, action: str, evidence: str, **options: Any) -> TestResponse:
        """The form from the other site; the redirect after it comes back with this browser's cookies."""
        elsewhere = options.pop("headers", {"Origin": "https://elsewhere.test"})
        return self.post(action, data={"evidence": evidence}, headers=elsewhere)

    def travel(self, here: str, there: str, **asked: Any) -> TestResponse:
        """All of it: from `here` to `there` and back; what `here` says in the end."""
        _, address = self.ask(here, there, **asked)
        action, evidence = self.answer(address)
        if not evidence:
            return self.get(action)
        answer = self.bring(action, evidence)
        return self.get(answer.headers["Location"]) if answer.status_code == 303 else answer


@dataclass
class Forger:
    """A hall that was taken over: it has its node's keys and can say anything."""

    federation: Federation
    name: str = CITY

    def claims(self, held: Held, request: str, **changed: Any) -> dict[str, Any]:
        """Evidence as an honest hall would give it, for a person whose key it has; then `changed`."""
        asked = self.read(request)
        key = changed.pop("key", None) or new_key()
        node = self.federation.halls[self.name].snapshots.roster.find(self.name)
        expires = changed.pop("expires", None) or self.federation.clock().replace(microsecond=0)
        shift = changed.pop("shift", 0)
        ends = datetime.fromtimestamp(expires.timestamp() + 60 + shift, expires.tzinfo)
        fields = {
            "origin": origin_of(self.name),
            "transaction": "T" * 43,
            "nonce": "N" * 43,
            "expires": ends.isoformat(),
            "browser": jwk.thumbprint(public(key)),
        }
        made = proof({**fields, **changed.pop("challenge", {})}, held)
        signed = {
            **{name: value for name, value in fields.items() if name != "browser"},
            "algorithm": "ES256",
            "signature": b64encode(urlsafe_b64decode(made["signature"] + "==")).decode(),
            "browser": jwk.public_members(key.as_dict(private=False)),
            **changed.pop("signed", {}),
        }
        answered = changed.pop("answered", None) or (asked["iss"], asked["nonce"])
        message = jwk.abroad_message(origin_of(answered[0]), answered[1])
        claims = {
            "iss": node.name if node else self.name,
            "aud": asked["iss"],
            "nonce": asked["nonce"],
            "iat": int(self.federation.clock().timestamp()),
            "auth_time": int(ends.timestamp()) - 60,
            "leaf": b64encode(held.der).decode(),
            "signed": signed,
            "browser_signature": b64encode(raw_signature(key, message)).decode(),
            "handle": "h" * 43,
        }
        return {**claims, **changed}

    def read(self, address: str) -> dict[str, Any]:
        """What a request asks."""
        request = parse_qs(urlsplit(address).query)["request"][0]
        node = self.federation.halls[PROVINCE].snapshots.roster.by_key(
            between.signer_of(request, abroad.REQUEST_TYP, 4096)
        )
        assert node is not None
        return between.verify(request, node.sign, abroad.REQUEST_TYP, 4096)

    def seal(self, claims: dict[str, Any], *, by: str = "", to: str = PROVINCE) -> str:
        """Signed and sealed."""
        key = self.federation.keys[by or self.name].sign
        text = between.sign(key, key.thumbprint(), abroad.EVIDENCE_TYP, claims)
        return between.seal(text, public(self.federation.keys[to].box), abroad.SEALED_TYP)


def proof(challenge: dict[str, Any], held: Held) -> dict[str, str]:
    """What a signer that knows six fields makes of a challenge."""
    asked = challenges.Challenge(
        challenge["origin"],
        challenge["transaction"],
        challenge["nonce"],
        challenges.key_hash(spki(held)),
        datetime.fromisoformat(challenge["expires"]),
        challenge.get("browser", ""),
    )
    signature = held.key.sign(challenges.message(asked), ec.ECDSA(hashes.SHA256()))
    return {"certificate": held.pem, "algorithm": "ES256", "signature": base64url(signature)}


def spki(held: Held) -> bytes:
    """The public key of a certificate."""
    return held.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def raw_signature(key: ECKey, data: bytes) -> bytes:
    """r ‖ s."""
    r, s = decode_dss_signature(key.private_key.sign(data, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def base64url(raw: bytes) -> str:
    """Without padding."""
    return urlsafe_b64encode(raw).decode().rstrip("=")
