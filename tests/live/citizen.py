"""A person between halls: a browser without a screen that does what the halls' pages do with the browser's own key."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from ca_bridge.crypto import jwk
from demo.browser import Browser, Form, Page
from demo.personas import Persona
from tests.live.ceremony import Addressed, SignIn, proof

LOOK_SECONDS = 1.5
"""How long the page waits for the other hall (`abroad.js`)."""


@dataclass(frozen=True, slots=True)
class _Hall:
    addresses: Addressed


def host(page: Page) -> str:
    """Where the person stands."""
    return urlsplit(page.url).hostname or ""


class Citizen:
    """One person and one browser. `halls`: a node's name → where its hall and windows are."""

    def __init__(self, halls: Mapping[str, Addressed], browser: Browser, person: Persona, pki: Path) -> None:
        self.halls, self.browser, self.person, self.pki = halls, browser, person, pki
        self.key = ec.generate_private_key(ec.SECP256R1())

    @property
    def jwk(self) -> dict[str, str]:
        """The browser's public key."""
        numbers = self.key.public_key().public_numbers()
        x, y = (base64.urlsafe_b64encode(n.to_bytes(32, "big")).decode().rstrip("=") for n in (numbers.x, numbers.y))
        return {"kty": "EC", "crv": "P-256", "x": x, "y": y}

    @property
    def _algorithm(self) -> str:
        key = serialization.load_pem_private_key(self.person.files(self.pki).key.read_bytes(), None)
        return "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256"

    def window(self, name: str) -> Page:
        """The police window of a node: its own page, or the sign-in page of the node's hall."""
        return self.browser.get(f"{self.halls[name].url('police')}/me")

    def at_window(self, name: str, page: Page) -> bool:
        """Whether that page is the node's window, signed in."""
        return page.status == 200 and host(page) == urlsplit(self.halls[name].url("police")).hostname

    def known(self, name: str) -> bool:
        """Whether the node's window knows the person now."""
        return self.at_window(name, self.window(name))

    def by_token(self, name: str) -> Page:
        """A ceremony of the node's own."""
        return self.proves(name, self.window(name))

    def proves(self, name: str, page: Page) -> Page:
        """The token's challenge on a sign-in page of the node's hall."""
        assert host(page) == urlsplit(self.halls[name].url("hall")).hostname, page.url
        signin = SignIn(_Hall(self.halls[name]), self.browser, page)
        asked = json.loads(signin.post("/challenge", {"browser": self.jwk}).text)["challenge"]
        signed = proof(self.pki, self.person, asked, self._algorithm, browser=asked["browser"])
        answer = signin.prove(signed)
        assert answer.status == 200, answer.text
        return self.browser.get(json.loads(answer.text)["continue"])

    def chooses(self, here: str, there: str) -> Page:
        """At the hall of `here`, the person picks hall `there`: the page that looks before it goes."""
        signin = SignIn(_Hall(self.halls[here]), self.browser, self.window(here))
        return self.browser.get(f"{signin.address('/abroad')}?hall={there}")

    def comes(self, here: str, there: str) -> Page:
        """Opens a window of `here` by a link that says where they are signed in; nothing is clicked."""
        asked = urlencode({"return_to": "/me", "hall": there})
        return self.browser.get(f"{self.halls[here].url('police')}/oidc/login?{asked}")

    def looks(self, page: Page) -> bool:
        """What the page's script does first: does the other hall answer in time?"""
        found = re.search(r'data-here="([^"]+)"', page.text)
        assert found, page.text[:2000]
        parts = urlsplit(page.url)
        probe = Browser(self.browser.ca_file, seconds=LOOK_SECONDS)
        return probe.answers(found[1], {"Origin": f"{parts.scheme}://{parts.netloc}"}) == 204

    def goes(self, page: Page) -> Page:
        """The page's script looked and sends its form: the page of the other hall, or of this one again."""
        return self.browser.submit(page, next(form for form in page.forms if form.action.endswith("/abroad")))

    def gives(self, there: str, page: Page) -> dict[str, str]:
        """What the script of the other hall's page gets for the browser key's signature: `action` and `evidence`."""
        data = dict(re.findall(r'data-([a-z]+)="([^"]*)"', page.text))
        message = jwk.abroad_message(data["origin"], data["nonce"])
        r, s = decode_dss_signature(self.key.sign(message, ec.ECDSA(hashes.SHA256())))
        raw = base64.urlsafe_b64encode(r.to_bytes(32, "big") + s.to_bytes(32, "big")).decode().rstrip("=")
        hall = self.halls[there].url("hall")
        headers = {"Origin": hall, "X-Crosshall-CSRF": data["csrf"], "Content-Type": "application/json"}
        body = json.dumps({"request": data["request"], "signature": raw})
        answer = self.browser.once("POST", f"{hall}/abroad/sign", body, headers)
        assert answer.status == 200, answer.text
        return dict(json.loads(answer.text))

    def brings(self, answer: Mapping[str, str]) -> Page:
        """The other hall's form, sent to this one: no cookie of this hall comes with it."""
        return self.browser.post(answer["action"], {"evidence": answer["evidence"]}, {"Origin": "null"})

    def travels(self, there: str, page: Page) -> Page:
        """From the page that looks to where the person ends, by the scripts alone."""
        assert self.looks(page), "the other hall does not answer"
        asked = self.goes(page)
        return self.brings(self.gives(there, asked)) if "data-nonce" in asked.text else asked

    def from_hall(self, here: str, there: str) -> Page:
        """At `here`, come from hall `there`: what the person sees in the end."""
        return self.travels(there, self.chooses(here, there))

    def sign_out(self, name: str) -> None:
        """At a window."""
        page = self.window(name)
        form = next(form for form in page.forms if form.method == "POST" and "logout" in form.action)
        self.browser.submit(page, Form(form.action, form.method, form.fields))
