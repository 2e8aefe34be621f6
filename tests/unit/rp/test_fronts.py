"""Behind a real nginx, by the recipes of the documentation: TLS on another host and path, and `auth_request`."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from relying_party_sdk import RelyingParty
from relying_party_sdk.adapters import wsgi
from relying_party_sdk.doctor import Doctor
from relying_party_sdk.findings import FAULT, OK, Finding
from relying_party_sdk.identity import Hop, IdentityReader
from relying_party_sdk.proxy import make_app
from relying_party_sdk.rules import ProxySettings
from relying_party_sdk.testing import CITIZEN, FakeProvider
from relying_party_sdk.transport import Urllib3Transport
from tests.unit.rp.behind import behind
from tests.unit.rp.front import Person, free_port, nginx, recipe, served

NAME = "gateway.localhost"


@pytest.fixture(name="provider")
def _provider() -> Iterator[FakeProvider]:
    with FakeProvider() as provider:
        provider.person = CITIZEN
        yield provider


def old_application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """It knows nothing of TLS, host or prefix: what it sees is its own inside address."""
    visit = wsgi.visit_of(environ)
    person = visit.person
    if environ["PATH_INFO"].startswith(("/matters", "/police/")):
        person = visit.require(wsgi.Requirement(level=2))
    seen = f"{environ['wsgi.url_scheme']} {environ['PATH_INFO']} {person.kind if person else 'nobody'}"
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [seen.encode()]


def test_behind_tls_on_another_host_and_path(provider: FakeProvider, tmp_path: Path) -> None:
    """Deep link, sign-in, sign-out, and the doctor finds nothing; a proxy that keeps the path is found."""
    port = free_port()
    base = f"https://{NAME}:{port}/police"
    root = tmp_path / "root.pem"
    settings = provider.settings(tmp_path, base_url=base, ca_file=root, store=f"sqlite:{tmp_path / 's.sqlite'}")
    party = RelyingParty(settings)
    provider.register(settings, party.jwks)
    with served(wsgi.CrosshallRP(old_application, party=party)) as inside:
        with nginx(tmp_path, recipe(1), NAME, port, {9000: inside}):
            person = Person(root)
            assert person.open(f"{base}/matters/7?a=1") == (200, "http /matters/7 citizen")
            assert person.hops[-1] == f"{base}/matters/7?a=1"
            assert set(person.cookies[f"{NAME}:{port}"]) == {"__Host-window-session"}
            found = _examine(settings)
            assert {finding.state for finding in found.values()} == {OK}, found
            assert person.open(f"{base}/oidc/logout", "POST", {"Origin": "https://attacker.example"})[0] == 403
            origin = base.removesuffix("/police")
            assert person.open(f"{base}/oidc/logout", "POST", {"Origin": origin}) == (200, "http / nobody")
            assert person.hops[-1] == f"{base}/"
            assert provider.login is None
        kept = recipe(1).replace("http://127.0.0.1:9000/;", "http://127.0.0.1:9000;")
        with nginx(tmp_path, kept, NAME, port, {9000: inside}):
            found = _examine(settings)
            assert found["window"].state == FAULT
            assert "proxy_pass" in found["window"].fix_zh
            person = Person(root)
            status, text = person.open(f"{base}/matters/7")  # a catch-all page asks for a sign-in at its own callback
            assert (status, "rp.front_path" in text) == (500, True)
            assert sum("/authorize" in hop for hop in person.hops) == 1
    party.close()


def _examine(settings: Any) -> dict[str, Finding]:
    transport = Urllib3Transport(settings)
    try:
        return {finding.check: finding for finding in Doctor(settings, transport).run()}
    finally:
        transport.close()


def test_auth_request(provider: FakeProvider, tmp_path: Path) -> None:
    """nginx asks, and passes on by itself: redirect, level, script, form; nothing of ours comes from a client."""
    port = free_port()
    base = f"https://{NAME}:{port}"
    settings = provider.settings(tmp_path, base_url=base, store="memory:")
    party = RelyingParty(settings)
    provider.register(settings, party.jwks)
    rules = [{"path": "/public", "open": True}, {"path": "/admin", "level": 3}]
    proxy = ProxySettings.read({"audience": "old-system", "rules": rules, "level": 2})
    with (
        behind() as system,
        served(make_app(settings, proxy, party)) as gate,
        nginx(tmp_path, recipe(0), NAME, port, {9000: system.port, 8080: gate}) as root,
    ):
        person = Person(root)
        assert person.open(f"{base}/public/a", headers={"X-Crosshall-Level": "4"})[0] == 200
        assert "x-crosshall-level" not in system.last["headers"]
        assert person.open(f"{base}/a", headers={"X-Requested-With": "XMLHttpRequest"})[0] == 401
        status, text = person.open(f"{base}/a", "POST", form={"x": "1"})
        assert (status, "rp.form_not_sent" in text) == (401, True)
        assert len(system.seen) == 1
        assert person.open(f"{base}/%E5%BC%A0?q=1")[0] == 200
        assert person.hops[-1] == f"{base}/%E5%BC%A0?q=1"
        token = system.header("x-crosshall-identity")
        reader = IdentityReader(party_keys(root, base), base, "old-system", clock=time.time)
        assert reader.read(token, Hop("GET", "/%E5%BC%A0?q=1")).level == 2
        spoofed = {"X-Crosshall-Level": "4", "X_Crosshall_Level": "4", "X-Crosshall-Name": "x"}
        person.open(f"{base}/b", headers=spoofed)
        assert (
            system.header("x-crosshall-level"),
            "4" in str(system.last["headers"].get("x_crosshall_level")),
        ) == (
            "2",
            False,
        )
        assert "x-crosshall-name" not in system.last["headers"]
        person.open(f"{base}/c", "POST", form={"x": "张"})
        assert (system.last["method"], system.last["body"]) == ("POST", b"x=%E5%BC%A0")
        person.open(f"{base}/admin/x")
        assert system.header("x-crosshall-level") == "3"
        seen = len(system.seen)
        for path in ("/public/%2e%2e/admin", "/public/..%2fadmin", "/public//admin", "/public/..;/admin"):
            assert person.open(f"{base}{path}")[0] == 400, path
        for path in ("/crosshall-rp/check", "/crosshall-rp/answer"):
            assert person.open(f"{base}{path}")[0] == 404
        assert len(system.seen) == seen
    party.close()


def party_keys(root: Path, base: str) -> dict[str, Any]:
    """What the proxy publishes, through nginx."""
    status, text = Person(root).open(f"{base}/oidc/identity.json")
    assert status == 200
    found: dict[str, Any] = json.loads(text)
    return found
