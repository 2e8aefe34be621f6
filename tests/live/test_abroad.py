"""Two complete nodes, a province and a city: one sign-in in both directions; sign-out; a line that is cut."""

from __future__ import annotations

import base64
import json
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from ca_bridge.crypto import jwk
from ca_bridge.files import write_atomically
from ca_bridge.policy.trusted_time import FILE
from demo.addresses import Addresses, free_block
from demo.browser import Browser, Form, Page
from demo.personas import persona
from demo.pki.bundle import write_manifest
from demo.selfcheck import new_browser
from demo.stack import Demo, Options
from nodes.identity import make_node_keys, public
from tests.live.ceremony import SignIn, sign

pytestmark = pytest.mark.live

PROVINCE, CITY = "gd", "gd/guangzhou"
WHO = "gz-li"


@pytest.fixture(scope="module")
def nodes() -> Iterator[dict[str, Demo]]:
    """Both nodes, each with its own Keycloak, nginx, bridge, windows, keys; one roster."""
    folder = Path(tempfile.mkdtemp(prefix="crosshall-abroad-"))
    made: dict[str, Demo] = {}
    try:
        first = free_block(start=11443)
        for name, addresses in ((PROVINCE, first), (CITY, free_block(start=first.port + 20))):
            own = folder / name.replace("/", "-")
            made[name] = Demo(Options(own, addresses, node=name, rate_per_minute=6000, workers=1))
            made[name].prepare()
        _roster(made)
        for demo in made.values():
            demo.start()
        yield made
    finally:
        for demo in made.values():
            demo.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _roster(made: dict[str, Demo]) -> None:
    """What joining does: keys on each node, one roster in every bundle; and the city's signed time."""
    rows = []
    for name, demo in made.items():
        keys = make_node_keys(demo.folder.keys)
        title = dict.fromkeys(("zh-Hans", "zh-Hant", "en", "pt"), name)
        about = {"name": name, "role": demo.settings.node.role, "parent": name.rpartition("/")[0], "stage": "live"}
        about |= {"hall": demo.addresses.url("hall"), "epoch": 1, "since": "2026-11-01T00:00:00Z"}  # type: ignore[dict-item]
        rows.append({**about, "title": title, "sign": public(keys.sign), "box": public(keys.box)})
    now = datetime.now(UTC)
    text = json.dumps({"format": 1, "nodes": rows, "software": {"floor": ""}}).encode()
    for demo in made.values():
        write_atomically(demo.folder.bundle / "roster.json", text)
        write_manifest(demo.folder.bundle, now)
    boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    known = {"format": 1, "issued": now.isoformat(), "now": now.isoformat(), "boot": boot, "rebooted": False}
    known["boottime"] = time.clock_gettime(time.CLOCK_BOOTTIME)
    write_atomically(made[CITY].folder.state / FILE, json.dumps(known).encode())


class Citizen:
    """A browser without a screen that does what the pages' scripts do with the browser's own key."""

    def __init__(self, nodes: dict[str, Demo]) -> None:
        self.nodes = nodes
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.browser: Browser = new_browser(nodes[CITY].pki, persona(WHO))
        # one person, one machine: the certificate is the same at every copy of the demo
        self.browser.ca_file = nodes[CITY].pki.tls_ca

    @property
    def jwk(self) -> dict[str, str]:
        numbers = self.key.public_key().public_numbers()
        x, y = (base64.urlsafe_b64encode(n.to_bytes(32, "big")).decode().rstrip("=") for n in (numbers.x, numbers.y))
        return {"kty": "EC", "crv": "P-256", "x": x, "y": y}

    def window(self, name: str) -> Page:
        """The police window of a node: its own page, or the sign-in page of the node's hall."""
        return self.browser.get(f"{self.nodes[name].addresses.url('police')}/me")

    def known(self, name: str) -> bool:
        """Whether the node's window knows the person now."""
        return _host(self.window(name)) == self.nodes[name].addresses.host("police")

    def by_token(self, name: str) -> Page:
        """A ceremony of the node's own."""
        page = self.window(name)
        assert _host(page) == self.nodes[name].addresses.host("hall"), page.url
        signin = SignIn(self.nodes[name], self.browser, page)
        asked = json.loads(signin.post("/challenge", {"browser": self.jwk}).text)["challenge"]
        proof = sign(self.nodes[CITY], persona(WHO), asked, "ES256", browser=asked["browser"])
        return self.browser.get(json.loads(signin.prove(proof).text)["continue"])

    def from_hall(self, here: str, there: str) -> Page:
        """At `here`, come from hall `there`: what the person sees in the end."""
        signin = SignIn(self.nodes[here], self.browser, self.window(here))
        page = self.browser.get(f"{signin.address('/abroad')}?hall={there}")
        asked = self.browser.submit(page, next(form for form in page.forms if form.action.endswith("/abroad")))
        data = dict(re.findall(r'data-([a-z]+)="([^"]*)"', asked.text))
        if "nonce" not in data:
            return asked
        answer = self._answer(self.nodes[there].addresses, data)
        return self.browser.post(answer["action"], {"evidence": answer["evidence"]}, {"Origin": "null"})

    def _answer(self, addresses: Addresses, data: dict[str, str]) -> dict[str, str]:
        message = jwk.abroad_message(data["origin"], data["nonce"])
        r, s = decode_dss_signature(self.key.sign(message, ec.ECDSA(hashes.SHA256())))
        raw = base64.urlsafe_b64encode(r.to_bytes(32, "big") + s.to_bytes(32, "big")).decode().rstrip("=")
        headers = {
            "Origin": addresses.url("hall"),
            "X-Crosshall-CSRF": data["csrf"],
            "Content-Type": "application/json",
        }
        body = json.dumps({"request": data["request"], "signature": raw})
        answer = self.browser.once("POST", f"{addresses.url('hall')}/abroad/sign", body, headers)
        assert answer.status == 200, answer.text
        return dict(json.loads(answer.text))

    def sign_out(self, name: str) -> None:
        """At a window."""
        page = self.window(name)
        form = next(form for form in page.forms if form.method == "POST" and "logout" in form.action)
        self.browser.submit(page, Form(form.action, form.method, form.fields))


def _host(page: Page) -> str:
    return urlsplit(page.url).hostname or ""


def _within(seconds: float, what: Callable[[], bool]) -> float:
    """How long it took until `what`; fails after `seconds`."""
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        if what():
            return time.monotonic() - started
        time.sleep(0.5)
    pytest.fail(f"not within {seconds} s")


@pytest.mark.parametrize(("here", "there"), [(PROVINCE, CITY), (CITY, PROVINCE)])
def test_signed_in_there_known_here_signed_out_at_both(nodes: dict[str, Demo], here: str, there: str) -> None:
    """Through Keycloak to the window in both directions; signing out at one window ends the other node's session."""
    citizen = Citizen(nodes)
    assert _host(citizen.by_token(there)) == nodes[there].addresses.host("police")
    assert not citizen.known(here)
    page = citizen.from_hall(here, there)
    assert _host(page) == nodes[here].addresses.host("police"), page.url
    assert persona(WHO).name in page.text
    citizen.sign_out(there)
    _within(60, lambda: not citizen.known(here))


def test_where_the_person_comes_from_passes_through_keycloak(nodes: dict[str, Demo]) -> None:
    """`hall` in the authorization request reaches the bridge, which goes there by itself, once."""
    citizen = Citizen(nodes)
    window = nodes[PROVINCE].addresses.url("police")
    leaving = citizen.browser.once("GET", f"{window}/me")
    while urlsplit(leaving.headers["Location"]).hostname != nodes[PROVINCE].addresses.host("sso"):
        leaving = citizen.browser.once("GET", leaving.headers["Location"])
    page = citizen.browser.get(f"{leaving.headers['Location']}&hall={CITY}")
    assert urlsplit(page.url).path.endswith("/abroad"), page.url
    assert f"hall={CITY}" in page.url


def test_the_line_is_cut(nodes: dict[str, Demo]) -> None:
    """The city's hall is gone: the province's own ceremony goes on; a sign-out waits, and arrives when it is back."""
    citizen = Citizen(nodes)
    citizen.by_token(CITY)
    citizen.from_hall(PROVINCE, CITY)
    assert citizen.known(PROVINCE)
    part = nodes[CITY].supervisor.stop("nginx")
    citizen.sign_out(PROVINCE)
    assert _host(citizen.by_token(PROVINCE)) == nodes[PROVINCE].addresses.host("police")
    nodes[CITY].supervisor.start(part)
    _within(60, lambda: not citizen.known(CITY))
