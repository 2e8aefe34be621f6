"""The two ways to sign in, taken apart: each step can be done by another browser, twice, or wrongly."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509 import load_pem_x509_certificate

from ca_bridge.crypto.challenge import Challenge, key_hash, message
from demo.browser import Browser, Form, Page
from demo.personas import Persona
from demo.selfcheck import new_browser
from demo.stack import Demo


class Addressed(Protocol):
    """Where a hall and its windows are."""

    @property
    def certificate_host(self) -> str:
        """`*.cert.<base>:<port>`."""

    def url(self, name: str) -> str:
        """Address of a part: `hall`, `police` …"""


class Hall(Protocol):
    """A node as its people see it."""

    @property
    def addresses(self) -> Addressed:
        """Its addresses."""


@dataclass(slots=True)
class SignIn:
    """A sign-in page at the hall, in the browser that began it."""

    demo: Hall
    browser: Browser
    page: Page

    @property
    def transaction(self) -> str:
        """Its id, from the address."""
        return urlsplit(self.page.url).path.split("/")[2]

    @property
    def csrf(self) -> str:
        """The anti-forgery token of the page."""
        found = re.search(r'(?:data-csrf="|name="csrf" value=")([^"]+)"', self.page.text)
        assert found, "no anti-forgery token on the page"
        return found[1]

    def address(self, step: str = "") -> str:
        """A step's address at the hall."""
        return f"{self.demo.addresses.url('hall')}/sign-in/{self.transaction}{step}"

    def post(self, step: str, body: Any = None, *, browser: Browser | None = None) -> Page:
        """POST JSON as the page's script does, from this browser or another one."""
        headers = {"Origin": self.demo.addresses.url("hall"), "X-Crosshall-CSRF": self.csrf}
        headers |= {"Content-Type": "application/json", "Accept": "application/json"}
        return (browser or self.browser).once("POST", self.address(step), json.dumps(body or {}), headers)

    def challenge(self) -> dict[str, str]:
        """A new challenge."""
        answer = self.post("/challenge")
        assert answer.status == 200, answer.text
        return dict(json.loads(answer.text)["challenge"])

    def prove(self, proof: dict[str, str], *, browser: Browser | None = None) -> Page:
        """Hand in a proof."""
        return self.post("/proof", proof, browser=browser)

    def certificate_page(self, browser: Browser | None = None) -> Page:
        """The certificate host's page, by the link of the sign-in page."""
        suffix = self.demo.addresses.certificate_host.removeprefix("*").rpartition(":")[0]
        link = next(url for url in self.page.links if (urlsplit(url).hostname or "").endswith(suffix))
        return (browser or self.browser).get(link)

    def code(self, browser: Browser | None = None) -> str:
        """The one-time code that the certificate host gives to the browser that clicks there."""
        browser = browser or self.browser
        there = self.certificate_page(browser)
        form = button(there)
        parts = urlsplit(there.url)
        body = "&".join(f"{name}={value}" for name, value in form.fields.items())
        back = browser.once("POST", form.action, body, {"Origin": f"{parts.scheme}://{parts.netloc}"})
        return parse_qs(urlsplit(back.headers["Location"]).query)["code"][0]


def button(page: Page) -> Form:
    """The one button of the certificate host's page."""
    return next(form for form in page.forms if form.method == "POST" and "/c/" in form.action)


def begin(demo: Demo, persona: Persona, *, path: str = "/me", window: str = "police") -> SignIn:
    """A new browser of `persona` before the sign-in page that a window led to."""
    return begin_in(demo, new_browser(demo.pki, persona), path=path, window=window)


def begin_in(demo: Demo, browser: Browser, *, path: str = "/me", window: str = "police") -> SignIn:
    """`browser` before the sign-in page that a window led to."""
    page = browser.get(demo.addresses.url(window) + path)
    assert urlsplit(page.url).hostname == demo.addresses.host("hall"), f"{page.status} {urlsplit(page.url).netloc}"
    return SignIn(demo, browser, page)


def sign(demo: Demo, persona: Persona, challenge: dict[str, str], algorithm: str, **changed: Any) -> dict[str, str]:
    """A proof by the persona's own key, as the signer makes it.

    `changed` fields are signed in place of the challenge's; `signer` names the persona whose key signs instead.
    """
    return proof(demo.pki.folder, persona, challenge, algorithm, **changed)


def proof(pki: Path, persona: Persona, challenge: dict[str, str], algorithm: str, **changed: Any) -> dict[str, str]:
    """As `sign`, by the keys in the folder of a PKI."""
    files = persona.files(pki)
    by = changed.pop("signer", persona).files(pki).key
    pem = files.certificate.read_text()
    spki = load_pem_x509_certificate(pem.encode()).public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )  # fmt: skip
    asked = Challenge(
        challenge["origin"],
        challenge["transaction"],
        challenge["nonce"],
        key_hash(spki),
        datetime.fromisoformat(challenge["expires"]),
    )
    signature = raw_signature(by.read_bytes(), message(replace(asked, **changed)), algorithm)
    text = base64.urlsafe_b64encode(signature).decode().rstrip("=")
    return {"certificate": pem, "algorithm": algorithm, "signature": text}


def raw_signature(key_pem: bytes, data: bytes, algorithm: str) -> bytes:
    """A signature over `data`: RSA by PKCS#1 v1.5 or PSS, ECDSA as DER."""
    key = serialization.load_pem_private_key(key_pem, None)
    if isinstance(key, rsa.RSAPrivateKey):
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
        return key.sign(data, pss if algorithm == "PS256" else padding.PKCS1v15(), hashes.SHA256())
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key.sign(data, ec.ECDSA(hashes.SHA384() if algorithm == "ES384" else hashes.SHA256()))
