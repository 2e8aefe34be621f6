"""Conghua in an attacker's hands: its keys, its disk, its hall; what it can make of them."""

from __future__ import annotations

import json
import secrets
from base64 import b64encode, urlsafe_b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509 import load_pem_x509_certificate

from ca_bridge.ceremony import abroad
from ca_bridge.ceremony.codes import Signed
from ca_bridge.crypto import between, jwk
from ca_bridge.crypto.challenge import LIFETIME
from ca_bridge.settings import load_settings
from ca_bridge.store import Box, open_store
from ca_bridge.store.sessions import Sessions
from ca_bridge.trust.bundle import read_bundle
from demo.browser import Page
from demo.personas import persona
from nodes.identity import read_node_keys
from tests.live.ceremony import proof
from tests.live.citizen import Citizen
from tests.nodes.country import PLACES, Country, Place
from tests.nodes.people import citizen

COUNTY = PLACES[3]
Claims = dict[str, Any]
Change = Callable[[Claims], None]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request of another hall that this browser carried here."""

    person: Citizen
    here: Place
    claims: Mapping[str, Any]


class Taken:
    """What the attacker holds. `helper`: a real person of the county who does as the attacker says."""

    def __init__(self, country: Country, helper: str) -> None:
        self.country = country
        self.folder = country.folder(COUNTY)
        self.keys = read_node_keys(self.folder / "state" / "keys")
        self.roster = read_bundle(self.folder / "bundle").roster
        self.helper = helper

    def kid(self, place: Place = COUNTY) -> str:
        """By which the roster knows a node's signatures."""
        node = self.roster.find(place.domain)
        assert node is not None
        return str(node.sign["kid"])

    def stolen(self, of: Citizen) -> Claims:
        """What the disk holds of a live session here: certificate, challenge, signature."""
        settings = load_settings(self.folder / "node.toml")
        store = open_store(settings.database.url, Box.from_file(settings.bridge.keys / "attributes"))
        sessions = Sessions(store, settings.bridge.session_seconds)
        pem = of.person.files(of.pki).certificate.read_bytes()
        leaf = load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)
        for session in sessions.live():
            holder = sessions.holder(session.sid)
            if holder and holder.leaf == leaf and holder.signed and holder.signed["browser"] == of.jwk:
                at = int(session.auth_time.timestamp())
                return {"leaf": b64encode(leaf).decode(), "signed": dict(holder.signed), "auth_time": at}
        raise AssertionError("no such session on the disk")

    def signs(self, who: str, browser: Citizen, *, origin: str = "", ago: timedelta = timedelta()) -> Claims:
        """The county lets `who` sign in without judging: a challenge of its own, signed by the holder's key.

        `origin`: another hall's, as if that had been phished; `ago`: how long ago.
        """
        at = datetime.now(UTC).replace(microsecond=0) - ago
        asked = {"origin": origin or COUNTY.url("hall"), "transaction": secrets.token_urlsafe(32)}
        asked |= {"nonce": secrets.token_urlsafe(32), "expires": (at + LIFETIME / 2).isoformat()}
        key = persona(who).files(browser.pki).key.read_bytes()
        loaded = serialization.load_pem_private_key(key, None)
        algorithm = "ES256" if isinstance(loaded, ec.EllipticCurvePrivateKey) else "RS256"
        made = proof(browser.pki, persona(who), asked, algorithm, browser=jwk.thumbprint(browser.jwk))
        raw = urlsafe_b64decode(made["signature"] + "==")
        expires = datetime.fromisoformat(asked["expires"])
        signed = Signed(
            asked["origin"],
            asked["transaction"],
            asked["nonce"],
            expires,
            algorithm,
            raw,
            jwk.public_members(browser.jwk),
        )
        leaf = load_pem_x509_certificate(made["certificate"].encode()).public_bytes(serialization.Encoding.DER)
        return {"leaf": b64encode(leaf).decode(), "signed": signed.pack(), "auth_time": int(at.timestamp())}

    def asked(self, here: Place, to: Place = COUNTY) -> Asked:
        """A browser of the attacker's begins at the hall `here` and is sent to `to`, where it stops."""
        person = citizen(self.country, self.helper)
        page = person.chooses(here.domain, to.domain)
        person.browser.stop_at = to.url("hall")
        sent = person.goes(page)
        person.browser.stop_at = ""
        payload = sent.url.partition("request=")[2].split(".")[1]
        return Asked(person, here, json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4))))

    def evidence(self, asked: Asked, of: Claims) -> Claims:
        """Evidence as this hall would give it for that request, answered by the browser that stands there."""
        message = jwk.abroad_message(asked.here.url("hall"), asked.claims["nonce"])
        r, s = decode_dss_signature(asked.person.key.sign(message, ec.ECDSA(hashes.SHA256())))
        return {
            "iss": COUNTY.domain,
            "aud": asked.here.domain,
            "nonce": asked.claims["nonce"],
            "iat": int(datetime.now(UTC).timestamp()),
            "handle": secrets.token_urlsafe(32),
            "browser_signature": b64encode(r.to_bytes(32, "big") + s.to_bytes(32, "big")).decode(),
            **of,
        }

    def sealed(self, claims: Claims, to: Place, kid: str = "") -> str:
        """Signed by the county's key – under another's name with `kid` – and sealed to the hall `to`."""
        node = self.roster.find(to.domain)
        assert node is not None
        text = between.sign(self.keys.sign, kid or self.kid(), abroad.EVIDENCE_TYP, claims)
        return between.seal(text, node.box, abroad.SEALED_TYP)

    def hands_in(self, asked: Asked, sealed: str) -> Page:
        """What the person of `asked` sees in the end."""
        return asked.person.brings({"action": f"{asked.here.url('hall')}/abroad/evidence", "evidence": sealed})
