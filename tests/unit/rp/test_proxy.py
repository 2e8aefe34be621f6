"""The proxy before a system that cannot be changed: who is told, what is stripped, what is asked for which path."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
import urllib3
from werkzeug.test import Client

from relying_party_sdk import RelyingParty, RequestError, SettingsError, TokenError
from relying_party_sdk.identity import LIFETIME, Hop, IdentityReader
from relying_party_sdk.proxy import from_file, make_app
from relying_party_sdk.rules import ProxySettings, canonical
from relying_party_sdk.testing import CITIZEN, OFFICER, Browser, FakeProvider, Fault
from tests.unit.rp.behind import Behind, behind
from tests.unit.rp.conftest import Clock

RULES = [
    {"path": "/public", "open": True},
    {"path": "/public/office", "level": 3},
    {"path": "/admin", "level": 3, "max_age": 600},
    {"path": "/边境", "rung": "fresh", "level": 4},
]
Made = Callable[..., Browser]


@pytest.fixture(name="system", scope="module")
def _system() -> Iterator[Behind]:
    with behind() as system:
        yield system


@pytest.fixture(name="make")
def _make(provider: FakeProvider, system: Behind, tmp_path: Path, clock: Clock) -> Iterator[Made]:
    """Makes a proxy and a browser before it; `base` is its public path."""
    parties: list[RelyingParty] = []

    def make(base: str = "", **table: Any) -> Browser:
        settings = provider.settings(tmp_path, store="memory:", base_url=f"https://window.test{base}")
        party = RelyingParty(settings, clock=clock, sleep=lambda _: None)
        parties.append(party)
        provider.register(settings, party.jwks)
        values = {"upstream": system.url, "rules": RULES, "logout": ["/logout"], **table}
        app = make_app(settings, ProxySettings.read(values), party, clock=clock)
        return Browser(Client(app), provider, "https://window.test")  # type: ignore[arg-type]

    yield make
    for party in parties:
        party.close()


@pytest.fixture(name="browser")
def _browser(make: Made) -> Browser:
    return make()


def reader(browser: Browser, system: Behind, clock: Callable[[], float], /, **changes: Any) -> IdentityReader:
    """As the system behind makes it: the proxy's published key."""
    jwks = browser.client.get("/oidc/identity.json", base_url="https://window.test").get_json()
    values: dict[str, Any] = {"issuer": "https://window.test", "audience": system.url, "clock": clock, **changes}
    return IdentityReader(jwks, **values)


def test_person_is_told(browser: Browser, system: Behind, clock: Clock) -> None:
    """After one trip to the provider the page behind is there, and the system knows who asks: signed, and plainly."""
    page = browser.open("/办 事?q=%E5%BC%A0")
    assert page.status == 200
    assert system.last["target"] == "/%E5%8A%9E%20%E4%BA%8B?q=%E5%BC%A0"
    token = system.header("x-crosshall-identity")
    hop = Hop("GET", system.last["target"])
    person = reader(browser, system, clock).read(token, hop)
    assert (person.subject, person.kind, person.level) == (CITIZEN.subject("window"), "citizen", 2)
    assert system.header("x-crosshall-subject") == person.subject
    assert system.header("x-crosshall-level") == "2"
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == LIFETIME <= 60
    assert "name" not in claims
    assert system.header("host") == "window.test"
    assert system.header("x-forwarded-proto") == "https"
    assert "__Host-" not in system.header("cookie")


def test_attributes_when_asked(make: Made, system: Behind, clock: Clock) -> None:
    """With `attributes` the registered ones are told too, in the token and (name) percent-encoded; else never."""
    browser = make(attributes=True, user_header="Remote-User")
    browser.open("/a", headers={"Remote-User": "admin"})
    assert system.header("x-crosshall-name") == "%E5%BC%A0%E4%B8%89"
    assert system.header("remote-user") == CITIZEN.subject("window")
    person = reader(browser, system, clock).read(system.header("x-crosshall-identity"), Hop("GET", "/a"))
    assert person.attributes().identifiers[0].value == "11010519491231002X"


SPOOFED = {
    "X-Crosshall-Identity": "forged",
    "X-CROSSHALL-LEVEL": "4",
    "X_Crosshall_Subject": "s1:admin",
    "x-crosshall_kind": "officer",
    "X-Crosshall.Domain": "hk",
    "X-Crosshall-Account": "root",
    "X-Forwarded-For": "10.0.0.1",
    "X-Forwarded-User": "admin",
    "Forwarded": "for=10.0.0.1",
    "X-Real-IP": "10.0.0.1",
    "X-Original-URL": "/admin",
    "X-Remote-User": "admin",
    "Proxy": "http://attacker.example",
}


@pytest.mark.parametrize("path", ["/public/a", "/a"])
def test_nothing_of_ours_comes_from_a_client(make: Made, system: Behind, path: str) -> None:
    """Every spelling of an identity header is stripped, for nobody and somebody, also when `Connection` names it."""
    browser = make(remove=["X-Remote-User"])
    if path == "/a":
        browser.open("/")
    seen = len(system.seen)
    page = browser.open(path, headers={**SPOOFED, "Connection": "X-Crosshall-Identity, close"})
    assert (page.status, len(system.seen)) == (200, seen + 1)
    sent = system.last["headers"]
    values = {value for each in sent.values() for value in each}
    assert not values & {"forged", "s1:admin", "officer", "hk", "root", "admin", "10.0.0.1", "for=10.0.0.1", "/admin"}
    assert "http://attacker.example" not in values
    ours = {name for name in sent if "crosshall" in name}
    assert (len(ours) == 0) if path == "/public/a" else ("x-crosshall-identity" in ours)
    assert all(len(sent[name]) == 1 for name in ours)
    assert not {"connection-x", "keep-alive", "te", "upgrade", "proxy"} & set(sent)


@pytest.mark.parametrize(
    "path",
    ["/admin", "/admin/x", "/ADMIN/x", "/admin;v=1/x", "/Admin./x", "/%61dmin/x", "/admin%20/x"],
)
def test_rule_holds_however_it_is_spelt(browser: Browser, system: Behind, path: str) -> None:
    """A page that asks level 3 asks it in every spelling that a careless system may take for the same page."""
    browser.open("/")
    seen = len(system.seen)
    page = browser.open(path, stop_before="/authorize")
    assert "/authorize" in page.address
    assert len(system.seen) == seen
    assert browser.open(path).status == 200
    assert system.header("x-crosshall-level") == "3"


@pytest.mark.parametrize("path", ["/public", "/public/x", "/public/x.css?v=1"])
def test_open_paths(browser: Browser, system: Behind, path: str) -> None:
    """What is open is shown to nobody, and to somebody with their name; also while the provider is away."""
    assert len(browser.open(path).hops) == 1
    assert not [name for name in system.last["headers"] if "crosshall" in name]
    browser.open("/")
    browser.open(path)
    assert system.header("x-crosshall-level") == "2"


@pytest.mark.parametrize("path", ["/Public", "/public/office", "/PUBLIC/OFFICE", "/publicity", "/public/../admin"])
def test_open_does_not_spread(browser: Browser, system: Behind, path: str) -> None:
    """Neither another case, a longer name, nor a stricter rule below is opened by an open rule."""
    seen = len(system.seen)
    page = browser.open(path, stop_before="/authorize")
    assert page.status != 200
    assert len(system.seen) == seen


@pytest.mark.parametrize(
    "path",
    [
        "/public/%2e%2e/admin",
        "/public/..;/admin",
        "/public/..%5cadmin",
        "/public/%252e%252e/admin",
        "/public/%252fadmin",
        "/public/%00",
        "/public/a%0d%0aX-Crosshall-Level:4",
        "/public/./admin",
    ],
)
def test_path_with_two_readings(browser: Browser, system: Behind, path: str) -> None:
    """A path that could lead elsewhere is refused, and never arrives."""
    seen = len(system.seen)
    page = browser.open(path)
    assert (page.status, "rp.proxy_path" in page.text) == (400, True)
    assert len(system.seen) == seen


def test_level_that_comes_back_unmet(browser: Browser, provider: FakeProvider, system: Behind) -> None:
    """A level that is not reached is an error page, never a loop, and the page behind is not asked."""
    provider.faults.add(Fault.LOWER_LEVEL)
    seen = len(system.seen)
    page = browser.open("/admin")
    assert (page.status, "rp.level_unmet" in page.text) == (403, True)
    assert len(system.seen) == seen


def test_script_and_form(browser: Browser, system: Behind) -> None:
    """A script gets 401 with JSON; a form is not carried out, and not redirected."""
    page = browser.open("/a", headers={"X-Requested-With": "XMLHttpRequest"})
    assert (page.status, '"rp.sign_in_required"' in page.text) == (401, True)
    page = browser.open("/a", method="POST", data={"x": "1"})
    assert (page.status, "rp.form_not_sent" in page.text) == (401, True)
    browser.open("/")
    browser.open("/a", method="POST", data={"x": "张"})
    assert (system.last["method"], system.last["body"]) == ("POST", b"x=%E5%BC%A0")
    person = reader(browser, system, lambda: 1_800_000_000.0)
    person.read(system.header("x-crosshall-identity"), Hop("POST", "/a"))


def test_sign_out_paths(browser: Browser, system: Behind, provider: FakeProvider) -> None:
    """The old system's own button signs out there, here and at the provider; a link of another site does not."""
    browser.open("/")
    page = browser.open("/logout", headers={"Sec-Fetch-Site": "cross-site"})
    assert (page.status, "rp.cross_site" in page.text) == (403, True)
    assert browser.open("/logout").status == 403
    assert provider.login is not None
    page = browser.open("/logout", headers={"Sec-Fetch-Site": "same-origin"}, stop_before="/authorize")
    assert provider.login is None
    assert system.last["target"] == "/logout"
    assert system.header("x-crosshall-level") == "2"


def test_back_channel(browser: Browser, provider: FakeProvider, system: Behind) -> None:
    """A session that the provider ends is over before the system behind is asked again."""
    browser.open("/")
    token = provider.logout_token("window")
    done = Client(browser.client.application).post("/oidc/backchannel-logout", data={"logout_token": token})
    assert done.status_code == 200
    seen = len(system.seen)
    assert "/authorize" in browser.open("/a", stop_before="/authorize").address
    assert len(system.seen) == seen


def test_cookies_belong_to_one_person(browser: Browser, system: Behind, provider: FakeProvider) -> None:
    """The system's own session is not handed to the next person at the same browser, nor to nobody after a sign-out."""
    browser.open("/login")
    browser.open("/a")
    assert system.header("cookie") == "old=1"
    browser.open("/oidc/logout", method="POST", stop_before="/authorize")
    browser.open("/public/a")
    assert system.header("cookie") == ""
    browser.open("/login")
    browser.open("/a")
    assert system.header("cookie") == "old=1"
    browser.sign_in_as(OFFICER, "/oidc/login")
    first = next(each for each in reversed(system.seen) if each["headers"].get("x-crosshall-kind") == ["officer"])
    assert "cookie" not in first["headers"]
    browser.open("/a")
    assert (system.header("x-crosshall-kind"), system.header("cookie")) == ("officer", "")


def test_cookies_of_the_system(make: Made, system: Behind) -> None:
    """Its cookies become host-only ones of the public path; one under our name is dropped."""
    browser = make("/police", upstream=f"{system.url}/app")
    browser.open("/police/login")
    kept = browser.client.get_cookie("old", path="/police", domain="window.test")
    assert kept is not None
    assert (kept.origin_only, kept.http_only) == (True, True)
    assert "planted" not in str(browser.open("/police/plant").headers)
    assert browser.open("/police/a").status == 200


def test_answer_headers(make: Made, system: Behind) -> None:
    """Hop-by-hop headers and ours do not come back; a redirect to the inside becomes one of the public site."""
    browser = make("/police", upstream=f"{system.url}/app")
    page = browser.open("/police/a")
    assert not {"x-hop", "connection", "x-crosshall-level", "transfer-encoding"} & set(page.headers)
    assert page.headers["cache-control"] == "no-store"
    assert system.last["target"] == "/app/a"
    assert system.header("x-forwarded-prefix") == "/police"
    assert browser.open("/police/moved", stop_before="/there").address == "https://window.test/police/there?a=1"


@pytest.mark.parametrize(
    "raw", [b"", b"a", b"/..", b"/a/../b", b"/a/.;x/b", b"/a\\b", b"/a%2Fb", b"/a%00", b"/\n", b"/%25"]
)
def test_canonical_refuses(raw: bytes) -> None:
    """What the gateway's server has decoded already must not be able to decode once more into another place."""
    with pytest.raises(RequestError, match=r"rp\.proxy_path"):
        canonical(raw)


def test_canonical_keeps() -> None:
    """Other paths arrive as they are; several slashes are one; bytes of any encoding (GBK) are kept."""
    assert canonical("//a//b/张".encode("gbk")) == "/a/b/%D5%C5"
    assert canonical(b"/a;v=1/b.html~$&'()*+,=:@!") == "/a;v=1/b.html~$&'()*+,=:@!"


FORGED: dict[str, dict[str, Any]] = {
    "rp.token_aud": {"audience": "https://another"},
    "rp.token_iss": {"issuer": "https://another.proxy"},
    "rp.token_expired": {"clock": lambda: 1_800_000_000.0 + LIFETIME + 6},
}


@pytest.mark.parametrize("code", FORGED)
def test_token_elsewhere(browser: Browser, system: Behind, clock: Clock, code: str) -> None:
    """A token is for one system, of one proxy, for half a minute."""
    browser.open("/a")
    token = system.header("x-crosshall-identity")
    with pytest.raises(TokenError, match=code):
        reader(browser, system, clock, **FORGED[code]).read(token, Hop("GET", "/a"))


def test_token_for_another_request(browser: Browser, system: Behind, clock: Clock) -> None:
    """A token opens neither another page nor another method, and with a store not even the same one twice."""
    browser.open("/a?x=1")
    token, used = system.header("x-crosshall-identity"), set()
    known = reader(browser, system, clock, once=lambda jti, _: jti not in used and not used.add(jti))  # type: ignore[func-returns-value]
    for hop in (Hop("POST", "/a?x=1"), Hop("GET", "/a?x=2"), Hop("GET", "/a")):
        with pytest.raises(TokenError, match=r"rp\.identity_request"):
            known.read(token, hop)
    assert known.read(token, Hop("GET", "/a?x=1")).kind == "citizen"
    with pytest.raises(TokenError, match=r"rp\.identity_replayed"):
        known.read(token, Hop("GET", "/a?x=1"))


@pytest.mark.parametrize("change", ["x", "a.b.c", "none", "payload", "hs256", "typ", ""])
def test_forged_token(browser: Browser, system: Behind, clock: Clock, change: str) -> None:
    """What the proxy did not sign is refused: other text, no algorithm, a changed payload, HMAC with the public key."""
    browser.open("/a")
    token = system.header("x-crosshall-identity")
    head, body, signature = token.split(".")
    claims = jwt.decode(token, options={"verify_signature": False})
    kid = jwt.get_unverified_header(token)["kid"]
    headers = {"typ": "crosshall-identity+jwt", "kid": kid}
    forged = {
        "none": jwt.encode(claims, None, "none", headers=headers),
        "payload": f"{head}.{jwt.encode({**claims, 'level': 4}, 'k' * 32, 'HS256').split('.')[1]}.{signature}",
        "hs256": jwt.encode(claims, "k" * 32, "HS256", headers=headers),
        "typ": jwt.encode(claims, "k" * 32, "HS256"),
    }.get(change, change)
    with pytest.raises(TokenError):
        reader(browser, system, clock).read(forged, Hop("GET", "/a"))
    assert body


@pytest.mark.parametrize(
    "table",
    [
        {},
        {"upstream": "ftp://x"},
        {"upstream": "http://elsewhere.example"},
        {"upstream": "http://127.0.0.1:1", "colour": "red"},
        {"upstream": "http://127.0.0.1:1", "level": 5},
        {"upstream": "http://127.0.0.1:1", "level": "3"},
        {"upstream": "http://127.0.0.1:1", "attributes": "yes"},
        {"upstream": "http://127.0.0.1:1", "rules": "all"},
        {"upstream": "http://127.0.0.1:1", "rules": [{"level": 2}]},
        {"upstream": "http://127.0.0.1:1", "rules": [{"path": "/a", "max_age": 1}]},
        {"upstream": "http://127.0.0.1:1", "rules": [{"path": "/a", "open": True, "level": 2}]},
        {"upstream": "http://127.0.0.1:1", "rules": [{"path": "a", "level": 2}]},
        {"upstream": "http://127.0.0.1:1", "user_header": "X Y"},
        {"upstream": "http://127.0.0.1:1", "host": "any"},
    ],
)
def test_settings_that_do_not_hold(table: dict[str, Any]) -> None:
    """A table that does not hold together is refused at start, never served as something weaker."""
    with pytest.raises(SettingsError, match=r"rp\.settings"):
        ProxySettings.read(table)


def test_from_a_file(provider: FakeProvider, system: Behind, tmp_path: Path) -> None:
    """One file holds the window's settings and the proxy's table; without the table it is refused."""
    file = tmp_path / "window.toml"
    text = f'issuer = "{provider.issuer}"\nclient_id = "w"\nbase_url = "https://w.test"\nkey_file = "w.pem"\n'
    file.write_text(text + 'store = "memory:"\n')
    with pytest.raises(SettingsError):
        from_file(str(file))
    file.write_text(f'{text}store = "memory:"\n[proxy]\nupstream = "{system.url}"\nkey_file = "identity.pem"\n')
    assert Client(from_file(str(file))).get("/oidc/identity.json").status_code == 200
    assert (tmp_path / "identity.pem").stat().st_mode & 0o077 == 0


def test_the_command(provider: FakeProvider, system: Behind, tmp_path: Path) -> None:
    """`crosshall-rp proxy FILE` serves: an open path reaches the system, any other leads to the provider."""
    file = tmp_path / "window.toml"
    file.write_text(
        f'issuer = "{provider.issuer}"\nclient_id = "w"\nbase_url = "http://127.0.0.1"\nkey_file = "w.pem"\n'
        f'store = "sqlite:w.sqlite"\ndangerously_allow_http = true\n[proxy]\nupstream = "{system.url}"\n'
        'key_file = "identity.pem"\n[[proxy.rules]]\npath = "/public"\nopen = true\n'
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "relying_party_sdk.cli", "proxy", str(file), "--listen", f"127.0.0.1:{port}"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        pool = urllib3.PoolManager(retries=urllib3.Retry(connect=100, backoff_factor=0.1, backoff_max=0.1))
        key = pool.request("GET", f"http://127.0.0.1:{port}/oidc/identity.json", redirect=False)
        assert (key.status, "keys" in key.json()) == (200, True)
        assert pool.request("GET", f"http://127.0.0.1:{port}/public", redirect=False).status == 200
        assert pool.request("GET", f"http://127.0.0.1:{port}/private", redirect=False).status in (302, 303, 502)
    finally:
        process.terminate()
        assert process.wait(10) in (0, -15)
