"""The pages in a real browser: accessibility of every page, the flow under its own policies, the token way's script."""

from __future__ import annotations

import datetime
import ipaddress
import json
import os
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from flask import request
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect, sync_playwright
from werkzeug.serving import make_server

from ca_bridge.types import Capacity, Identifier, IdentifierType
from tests.unit.web.hall import CHANNEL, LI, SIGNER, Authority, Hall, Held, Visitor, make_hall, sign

pytestmark = pytest.mark.live

WIDTHS = {"phone": (390, 844), "desktop": (1280, 900)}
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
NAMES = "--host-resolver-rules=MAP *.gd.test 127.0.0.1"
"""Names that do not say loopback: only then does the page ask for the state of the browser's permission."""
SCREENSHOTS = Path(__file__).resolve().parents[3] / "screenshots"


@dataclass
class Served:
    """A hall that a browser can reach; `presents` is the certificate that its next handshake would bring."""

    hall: Hall
    issuer: str
    presents: Held | None = None


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The hall behind TLS, with a front that does what nginx does for the certificate host."""
    folder = tmp_path_factory.mktemp("hall")
    server = make_server("127.0.0.1", 0, lambda *_: [], threaded=True, ssl_context=_tls(folder))
    issuer = f"https://hall.gd.test:{server.port}"
    authorities = [Authority("gd-public", "gd-ca-01"), Authority("gz-public", "gz-ca-01", "gd/guangzhou")]
    bridge = {"issuer": issuer, "certificate_host": f"*.cert.gd.test:{server.port}"}
    hall = make_hall(folder, authorities, bridge=bridge)
    hall.clock.follow_the_wall()
    running = Served(hall, issuer)

    @hall.app.get("/authorize/continue")
    def _continue() -> str:
        assert request.args["tx"]
        return "<!doctype html><link rel=icon href=/static/mark.svg><h1>window reached</h1>"

    def front(environ: dict[str, Any], start: Callable[..., Any]) -> Any:
        for name in ("CHANNEL", "CLIENT_CERT", "CLIENT_VERIFY"):
            environ.pop(f"HTTP_X_CROSSHALL_{name}", None)
        if ".cert." in environ["HTTP_HOST"]:
            environ["HTTP_X_CROSSHALL_CHANNEL"] = CHANNEL
            environ["HTTP_X_CROSSHALL_CLIENT_CERT"] = running.presents.header if running.presents else ""
        return hall.app.wsgi_app(environ, start)

    server.app = front
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield running
    server.shutdown()
    thread.join(10)
    server.server_close()
    hall.services.store.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser process; each person gets a profile of their own."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"),
            args=["--no-sandbox", "--disable-gpu", NAMES],
        )
        yield browser
        browser.close()


@pytest.fixture(params=[("phone", "light"), ("desktop", "dark")])
def looks(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Width and colour scheme."""
    found: tuple[str, str] = request.param
    return found


class AtTheHall:
    """A person with a browser at the hall."""

    def __init__(self, served: Served, context: BrowserContext) -> None:
        self.served = served
        self.visitor = Visitor(served.hall, served.hall.app.test_client())
        context.grant_permissions(["local-network-access"])
        context.add_cookies(
            [
                {
                    "name": "__Host-crosshall-browser",
                    "value": self.visitor.cookie,
                    "url": served.issuer,
                    "secure": True,
                    "httpOnly": True,
                    "sameSite": "Lax",
                }
            ]
        )
        self.page = context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", lambda told: self.complaints.append(told.text) if told.type == "error" else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def open_sign_in(self, **asked: Any) -> str:
        tx = self.visitor.begin(**asked)
        self.page.goto(f"{self.served.issuer}/sign-in/{tx.id}")
        return tx.id

    def signer(self, **answers: Any) -> list[str]:
        """A signer on this machine, by the protocol; `answers` replaces what a path says. Returns what was asked."""
        asked: list[str] = []
        kept: dict[str, Any] = {}

        def handle(route: Route) -> None:
            call = route.request
            path = call.url.removeprefix(SIGNER)
            asked.append(f"{call.method} {path}")
            headers = {
                "Access-Control-Allow-Origin": self.served.issuer,
                "Access-Control-Allow-Headers": "authorization, content-type",
                "Access-Control-Allow-Private-Network": "true",
            }
            if call.method == "OPTIONS":
                return route.fulfill(status=204, headers=headers)
            if path == "/v1/status":
                body = answers.get("status", {"name": "crosshall-signer", "version": 1})
            elif path == "/v1/requests":
                kept.update(json.loads(call.post_data or "{}"))
                body = {"id": "r1", "secret": "s1", "page": answers.get("page", f"{SIGNER}/requests/r1")}
            elif path == "/v1/requests/r1":
                waiting = asked.count("GET /v1/requests/r1") < 2
                done = {"state": "done", **sign(kept["challenge"], answers["held"])} if "held" in answers else None
                body = {"state": "waiting"} if waiting else done or {"state": answers.get("state", "refused")}
            else:
                return route.fulfill(status=200, content_type="text/html", body="<title>signer</title>PIN")
            if body is None:
                return route.abort("connectionrefused")
            return route.fulfill(status=200, headers=headers, json=body)

        self.page.context.route(f"{SIGNER}/**", handle)
        return asked


@pytest.fixture
def person(served: Served, chromium: Browser, looks: tuple[str, str]) -> Iterator[AtTheHall]:
    """A person with a screen as `looks` says."""
    width, height = WIDTHS[looks[0]]
    yield from _person(served, chromium, width, height, looks[1])


@pytest.fixture
def at_desk(served: Served, chromium: Browser) -> Iterator[AtTheHall]:
    """A person at a desk."""
    yield from _person(served, chromium, 1280, 900, "light")


def _person(served: Served, chromium: Browser, width: int, height: int, scheme: Any) -> Iterator[AtTheHall]:
    served.presents, served.hall.snapshots.refuse, served.hall.snapshots.level = None, "", 4
    context = chromium.new_context(
        ignore_https_errors=True,
        viewport={"width": width, "height": height},
        color_scheme=scheme,
        reduced_motion="reduce",
        locale="zh-CN",
    )
    context.set_default_timeout(10000)
    yield AtTheHall(served, context)
    context.close()


def examine(page: Page, name: str, looks: tuple[str, str]) -> None:
    """No finding of axe, nothing wider than the screen, every target large enough; a screenshot is kept."""
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"hall-{name}-{looks[0]}-{looks[1]}.png", full_page=True)
    found = Axe().run(page, options={"runOnly": {"type": "tag", "values": RULES}})
    assert not found.response["violations"], found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "wider than the screen"
    small = page.evaluate(
        """() => [...document.querySelectorAll('a, button, input:not([type=hidden])')]
             .filter(e => e.offsetParent && !e.matches('.skip') && Math.min(e.offsetWidth, e.offsetHeight) < 24)
             .map(e => e.outerHTML)"""
    )
    assert not small, small


class TestEveryPage:
    """WCAG 2.2 AA by axe, at phone and desktop width, light and dark."""

    @pytest.mark.parametrize("language", ["zh-Hans", "zh-Hant", "en", "pt"])
    def test_sign_in(self, person: AtTheHall, looks: tuple[str, str], language: str) -> None:
        """The sign-in page, in each language."""
        tx = person.open_sign_in(level=3)
        person.page.goto(f"{person.served.issuer}/sign-in/{tx}?lang={language}")
        expect(person.page.locator("html")).to_have_attribute("lang", language)
        examine(person.page, f"signin-{language}", looks)

    def test_explanation_and_failure(self, person: AtTheHall, looks: tuple[str, str]) -> None:
        """The panels of the token way, which a script shows."""
        person.open_sign_in()
        person.page.evaluate("document.querySelector('[data-when=explain]').hidden = false")
        person.signer(status=None)
        person.page.get_by_role("button", name="用 UKey 登录").click()
        expect(person.page.locator("[data-say]")).to_be_focused()
        person.page.evaluate("document.querySelector('[data-when=explain]').hidden = false")
        examine(person.page, "token-panels", looks)

    def test_certificate_and_capacity(self, person: AtTheHall, looks: tuple[str, str]) -> None:
        """The certificate host's page, then the choice of a capacity."""
        person.served.presents = _operator(person.served)
        person.open_sign_in()
        person.page.get_by_role("link", name="选择浏览器里的证书").click()
        examine(person.page, "certificate", looks)
        person.page.get_by_role("button", name="用这张证书登录").click()
        expect(person.page.get_by_role("radio")).to_have_count(2)
        examine(person.page, "capacity", looks)

    def test_held(self, person: AtTheHall, looks: tuple[str, str]) -> None:
        """A first certificate of another CA."""
        number = _number(f"5101051949123{looks[0] == 'phone':d}{looks[1] == 'dark':d}02")
        services = person.served.hall.services
        key = services.person_keys.person(Identifier(IdentifierType.CN_ID, "CN", number), Capacity.CITIZEN)
        services.people.prove(key, "gd-ca-01")
        person.served.presents = person.served.hall.snapshots.authorities[1].issue("张三", number)
        person.open_sign_in()
        person.page.get_by_role("link", name="选择浏览器里的证书").click()
        person.page.get_by_role("button", name="用这张证书登录").click()
        expect(person.page).to_have_url(re.compile("/held$"))
        examine(person.page, "held", looks)

    def test_level_refusal_and_the_rest(self, person: AtTheHall, looks: tuple[str, str]) -> None:
        """A level not reached, a refusal, signed out, the landing page."""
        person.served.hall.snapshots.level = 2
        person.served.presents = person.served.hall.snapshots.authorities[0].issue("李示范", LI)
        person.open_sign_in(level=3)
        for name in ("level", "refusal"):
            person.page.get_by_role("link", name="选择浏览器里的证书").click()
            person.page.get_by_role("button", name="用这张证书登录").click()
            examine(person.page, name, looks)
            person.served.hall.snapshots.refuse = "ceremony.certificate_form"
            person.page.get_by_role("link", name="登录").last.click()
        for name in ("signed-out", ""):
            person.page.goto(f"{person.served.issuer}/{name}")
            examine(person.page, name or "landing", looks)


class TestWays:
    """The flow under the pages' own policies, in a browser that enforces them."""

    def test_the_tls_way_ends_at_the_window(self, at_desk: AtTheHall) -> None:
        """Two clicks, a redirect, a page that goes on by itself; no policy of ours is in the way."""
        at_desk.served.presents = at_desk.served.hall.snapshots.authorities[0].issue("李示范", LI)
        at_desk.open_sign_in()
        at_desk.page.get_by_role("link", name="选择浏览器里的证书").click()
        at_desk.page.get_by_role("button", name="用这张证书登录").click()
        expect(at_desk.page.get_by_role("heading", name="window reached")).to_be_visible()
        assert not at_desk.complaints

    def test_two_people_one_after_the_other(self, at_desk: AtTheHall) -> None:
        """The second person is asked first; the first one's session ends."""
        province = at_desk.served.hall.snapshots.authorities[0]
        for number, asked in ((LI, False), (_number("44052419900101001"), True)):
            at_desk.served.presents = province.issue("某人", number)
            at_desk.open_sign_in()
            at_desk.page.get_by_role("link", name="选择浏览器里的证书").click()
            at_desk.page.get_by_role("button", name="用这张证书登录").click()
            if asked:
                at_desk.page.get_by_role("button", name="退出原来的登录，继续").click()
            expect(at_desk.page.get_by_role("heading", name="window reached")).to_be_visible()
        assert not at_desk.complaints

    def test_the_token_way_ends_at_the_window(self, at_desk: AtTheHall) -> None:
        """Status, request, the signer's page in a window of its own, proof, onward."""
        held = at_desk.served.hall.snapshots.authorities[0].issue("李示范", LI)
        asked = at_desk.signer(held=held)
        at_desk.open_sign_in(level=4)
        with at_desk.page.expect_popup() as opened:
            at_desk.page.get_by_role("button", name="用 UKey 登录").click()
        assert opened.value.url in (f"{SIGNER}/requests/r1", "about:blank", "")
        expect(at_desk.page.get_by_role("heading", name="window reached")).to_be_visible()
        assert asked[0] == "GET /v1/status"
        assert not at_desk.complaints

    @pytest.mark.parametrize(
        ("answers", "say"),
        [
            ({"status": None}, "没有找到签名程序。"),
            ({"status": {"name": "another"}}, "签名程序的回答不对。"),
            ({"page": "https://evil.test/requests/r1"}, "签名程序的回答不对。"),
            ({"state": "refused"}, "您在签名程序里取消了登录。"),
            ({"state": "expired"}, "超过 60 秒没有签名，这次已作废。"),
            ({"state": "unheard-of"}, "签名程序的回答不对。"),
        ],
    )
    def test_the_token_way_never_hangs(self, at_desk: AtTheHall, answers: dict[str, Any], say: str) -> None:
        """Whatever the signer does, the page says so, takes the focus there, and offers another try."""
        at_desk.signer(**answers)
        at_desk.open_sign_in()
        at_desk.page.get_by_role("button", name="用 UKey 登录").click()
        expect(at_desk.page.locator("[data-say]")).to_have_text(say)
        expect(at_desk.page.locator("[data-say]")).to_be_focused()
        expect(at_desk.page.get_by_role("button", name="用 UKey 登录")).to_be_visible()

    def test_the_browser_would_ask(self, at_desk: AtTheHall) -> None:
        """Before the browser asks, the page explains; nothing is fetched until the person goes on."""
        at_desk.page.context.clear_permissions()
        asked = at_desk.signer(state="refused")
        at_desk.open_sign_in()
        at_desk.page.get_by_role("button", name="用 UKey 登录").click()
        expect(at_desk.page.get_by_role("heading", name="浏览器会先问您一句")).to_be_focused()
        assert not asked
        at_desk.page.get_by_role("button", name="继续").click()
        expect(at_desk.page.locator("[data-say]")).to_have_text("您在签名程序里取消了登录。")

    def test_the_browser_s_permission_refused(self, at_desk: AtTheHall) -> None:
        """The page says what happened and how to change it, at once and without a request."""
        at_desk.page.context.clear_permissions()
        at_desk.page.context.grant_permissions(["geolocation"])  # everything else is refused by this
        asked = at_desk.signer()
        at_desk.open_sign_in()
        at_desk.page.get_by_role("button", name="用 UKey 登录").click()
        expect(at_desk.page.locator("[data-say]")).to_have_text("浏览器没有让本页连接签名程序。")
        assert not asked

    def test_a_signer_that_never_answers(self, at_desk: AtTheHall) -> None:
        """The wait has an end, and the person can end it sooner."""
        at_desk.page.context.route(f"{SIGNER}/**", lambda _route: None)
        at_desk.open_sign_in()
        at_desk.page.get_by_role("button", name="用 UKey 登录").click()
        at_desk.page.get_by_role("button", name="停止").click()
        expect(at_desk.page.locator("[data-say]")).to_have_text("已停止。")
        at_desk.page.get_by_role("button", name="用 UKey 登录").click()
        expect(at_desk.page.locator("[data-say]")).to_have_text("没有找到签名程序。", timeout=9000)

    def test_the_hall_s_refusal_is_shown_with_its_code(self, at_desk: AtTheHall) -> None:
        """A proof that the hall refuses: its words, code and number, on the page where the person is."""
        held = at_desk.served.hall.snapshots.authorities[0].issue("李示范", LI)
        other = at_desk.served.hall.snapshots.authorities[0].issue("李示范", LI)
        at_desk.signer(held=Held(other.key, held.pem, held.der))
        at_desk.open_sign_in()
        at_desk.page.get_by_role("button", name="用 UKey 登录").click()
        expect(at_desk.page.locator("[data-code]")).to_contain_text("crypto.signature")

    def test_without_a_script_the_tls_way_works(self, served: Served, chromium: Browser) -> None:
        """No JavaScript: the page says what cannot be done, and the other way goes to its end."""
        context = chromium.new_context(ignore_https_errors=True, java_script_enabled=False, locale="zh-CN")
        person = AtTheHall(served, context)
        served.presents, served.hall.snapshots.refuse = served.hall.snapshots.authorities[0].issue("李示范", LI), ""
        person.open_sign_in()
        expect(person.page.get_by_text("需要浏览器启用 JavaScript")).to_be_visible()
        expect(person.page.get_by_role("button", name="用 UKey 登录")).to_have_count(0)
        person.page.get_by_role("link", name="选择浏览器里的证书").click()
        person.page.get_by_role("button", name="用这张证书登录").click()
        expect(person.page.get_by_role("heading", name="window reached")).to_be_visible()
        context.close()

    def test_keyboard_alone(self, at_desk: AtTheHall) -> None:
        """Tab and Enter reach the end; the first stop is the way past the header."""
        at_desk.served.presents = at_desk.served.hall.snapshots.authorities[0].issue("李示范", LI)
        at_desk.open_sign_in()
        at_desk.page.keyboard.press("Tab")
        expect(at_desk.page.get_by_role("link", name="跳到正文")).to_be_focused()
        at_desk.page.keyboard.press("Enter")
        for _ in range(2):
            at_desk.page.keyboard.press("Tab")
        expect(at_desk.page.get_by_role("link", name="选择浏览器里的证书")).to_be_focused()
        at_desk.page.keyboard.press("Enter")
        button = at_desk.page.get_by_role("button", name="用这张证书登录")
        button.focus()
        at_desk.page.keyboard.press("Enter")
        expect(at_desk.page.get_by_role("heading", name="window reached")).to_be_visible()


def _operator(served: Served) -> Held:
    return served.hall.snapshots.authorities[0].issue("李示范", LI, "经办人证书", "样例有限公司")


def _number(first: str) -> str:
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    return first + "10X98765432"[sum(int(digit) * weight for digit, weight in zip(first, weights, strict=True)) % 11]


def _tls(folder: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hall of the tests")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("*.gd.test"), x509.DNSName("*.cert.gd.test")]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=4))
        .add_extension(x509.SubjectAlternativeName([*names, x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )
    file = folder / "tls.pem"
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(secret + made.public_bytes(Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context
