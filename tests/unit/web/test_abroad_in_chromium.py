"""From hall to hall in a real browser: keys in IndexedDB, cookies across sites, policies of the pages, dead halls."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from flask import request
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect
from werkzeug.serving import BaseWSGIServer, make_server

from ca_bridge.settings import Settings
from tests.unit.web.chromium import RULES, SCREENSHOTS, WIDTHS, tls_context
from tests.unit.web.federation import CITY, NAMES, PROVINCE, Federation, Traveller, make_federation, proof
from tests.unit.web.hall import LI, SIGNER, Authority, Held

pytestmark = pytest.mark.live


@dataclass
class Halls:
    """A federation that a browser can reach; a request to `hung` waits until the test is over."""

    federation: Federation
    hung: set[str]
    release: threading.Event
    person: Held

    def url(self, name: str) -> str:
        """Its hall."""
        return self.federation.halls[name].services.settings.bridge.issuer


@pytest.fixture(scope="module")
def halls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Halls]:
    """Each hall on its own port and its own site (`hall.gd-guangzhou.test`): cookies meet what they meet outside."""
    folder = tmp_path_factory.mktemp("halls")
    authority = Authority("gd-public", "gd-ca-01")
    federation = make_federation(folder, [authority])
    federation.clock.follow_the_wall()
    context, servers = tls_context(folder), []
    made = Halls(federation, set(), threading.Event(), authority.issue("李示范", LI))
    for name in NAMES:
        server = make_server("127.0.0.1", 0, lambda *_: [], threaded=True, ssl_context=context)
        _move(federation, name, f"https://hall.{name.replace('/', '-')}.test:{server.port}")
        server.app = _app(made, name)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
    federation.publish()
    yield made
    made.release.set()
    for server in servers:
        _stop(server)
    federation.close()


def _move(federation: Federation, name: str, issuer: str) -> None:
    services = federation.halls[name].services
    bridge = services.settings.bridge.model_copy(update={"issuer": issuer})
    object.__setattr__(services, "settings", Settings(**{**dict(services.settings), "bridge": bridge}))


def _app(halls: Halls, name: str) -> Callable[..., Any]:
    app = halls.federation.halls[name].app

    @app.get("/authorize/continue")
    def _continue() -> str:
        assert request.args["tx"]
        return "<!doctype html><link rel=icon href=/static/mark.svg><h1>window reached</h1>"

    def front(environ: dict[str, Any], start: Callable[..., Any]) -> Any:
        if f"{name} {environ['PATH_INFO']}" in halls.hung:
            halls.release.wait(30)
        return app.wsgi_app(environ, start)

    return front


def _stop(server: BaseWSGIServer) -> None:
    server.shutdown()
    server.server_close()


@dataclass
class At:
    """A person at that browser."""

    halls: Halls
    context: BrowserContext
    page: Page
    complaints: list[str]

    def open(self, name: str, **asked: Any) -> str:
        """The sign-in page of a hall, reached as Keycloak leads there: from another site."""
        person = Traveller(self.halls.federation)
        tx = person.begin(name, **asked)
        cookie = {"name": "__Host-crosshall-browser", "value": person.cookies[name], "url": self.halls.url(name)}
        self.context.add_cookies([{**cookie, "secure": True, "httpOnly": True, "sameSite": "Lax"}])  # type: ignore[typeddict-item]
        self.page.goto(f"{self.halls.url(name)}/sign-in/{tx}")
        return tx

    def sign_in(self, name: str, *, knows_browsers: bool = True) -> None:
        """By UKey, with a signer on this machine."""
        kept: dict[str, Any] = {}

        def handle(route: Route) -> None:
            path = route.request.url.removeprefix(SIGNER)
            headers = {
                "Access-Control-Allow-Origin": self.halls.url(name),
                "Access-Control-Allow-Headers": "authorization, content-type",
            }
            if route.request.method == "OPTIONS":
                return route.fulfill(status=204, headers=headers)
            body: dict[str, Any] = {"id": "r1", "secret": "s1", "page": f"{SIGNER}/requests/r1"}
            if path == "/v1/status":
                body = {"name": "crosshall-signer", "version": 1, "browser": knows_browsers}
            elif path == "/v1/requests":
                kept.update(json.loads(route.request.post_data or "{}"))
                assert ("browser" in kept["challenge"]) == knows_browsers
            elif path == "/v1/requests/r1":
                body = {"state": "done", **proof(kept["challenge"], self.halls.person)}
            else:
                return route.fulfill(status=200, content_type="text/html", body="<title>signer</title>")
            return route.fulfill(status=200, headers=headers, json=body)

        self.context.unroute_all()
        self.context.route(f"{SIGNER}/**", handle)
        self.open(name)
        self.page.get_by_role("button", name="用 UKey 登录").click()
        expect(self.page.get_by_role("heading", name="window reached")).to_be_visible()


@pytest.fixture(params=["phone"])
def at(halls: Halls, chromium: Browser, request: pytest.FixtureRequest) -> Iterator[At]:
    """An empty browser, phone width."""
    width, height = WIDTHS[request.param]
    context = chromium.new_context(
        ignore_https_errors=True,
        viewport={"width": width, "height": height},
        reduced_motion="reduce",
        locale="zh-CN",
    )
    context.grant_permissions(["local-network-access"])
    context.set_default_timeout(12000)
    halls.hung.clear()
    complaints: list[str] = []
    page = context.new_page()
    page.on("console", lambda told: complaints.append(told.text) if told.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield At(halls, context, page, complaints)
    context.close()


def examine(page: Page, name: str) -> None:
    """Axe finds nothing, nothing is wider than the screen; a screenshot is kept."""
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"hall-{name}-phone.png", full_page=True)
    found = Axe().run(page, options={"runOnly": {"type": "tag", "values": RULES}})
    assert not found.response["violations"], found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "wider than the screen"


def test_there_and_back_without_a_signature(at: At) -> None:
    """Chosen from the list: one click, another site and back, no policy in the way; the key cannot be read."""
    at.sign_in(CITY)
    readable = at.page.evaluate(
        """async () => {
          const db = await new Promise(r => { const o = indexedDB.open("crosshall");
            o.onsuccess = () => r(o.result); });
          const rows = await new Promise(r => { const g = db.transaction("keys").objectStore("keys").getAll();
            g.onsuccess = () => r(g.result); });
          return rows.map(row => [row.key.type, row.key.extractable]);
        }"""
    )
    assert readable == [["private", False]]
    at.open(PROVINCE)
    at.page.get_by_role("link", name="选择那个大厅").click()
    examine(at.page, "halls")
    at.page.get_by_role("link", name=f"{CITY} 大厅", exact=True).click()
    expect(at.page.get_by_role("heading", name="window reached")).to_be_visible()
    assert at.page.url.startswith(at.halls.url(PROVINCE))
    assert not at.complaints


def test_a_link_that_says_where_from_is_silent(at: At) -> None:
    """No click at all; Back from the window ends at a page, not in a loop."""
    at.sign_in(CITY)
    at.open(PROVINCE, hall=CITY)
    expect(at.page.get_by_role("heading", name="window reached")).to_be_visible()
    assert not at.complaints
    at.page.go_back()
    expect(at.page.locator("h1")).to_be_visible()


@pytest.mark.parametrize("case", ["nobody", "old signer", "key gone"])
def test_nothing_to_travel(at: At, case: str) -> None:
    """Our own page again, which says why and offers our own ways; Refresh stays there."""
    if case != "nobody":
        at.sign_in(CITY, knows_browsers=case != "old signer")
    if case == "key gone":
        at.page.evaluate("new Promise(r => indexedDB.deleteDatabase('crosshall').onsuccess = r)")
    at.open(PROVINCE, hall=CITY)
    words = {"nobody": "还没有登录", "old signer": "不是用 UKey", "key gone": "没有那次登录的钥匙"}[case]
    expect(at.page.get_by_role("status").filter(has_text=words)).to_be_visible()
    expect(at.page.get_by_role("button", name="用 UKey 登录")).to_be_visible()
    examine(at.page, f"abroad-{case.replace(' ', '-')}")
    at.page.reload()
    expect(at.page.get_by_role("button", name="用 UKey 登录")).to_be_visible()


def test_a_hall_that_does_not_answer(at: At) -> None:
    """Looked for 1.5 s, then our own way is offered; the one try is not used up."""
    at.sign_in(CITY)
    at.halls.hung.add(f"{CITY} /abroad/here")
    tx = at.open(PROVINCE, hall=CITY)
    expect(at.page.get_by_role("heading", name="没有回应")).to_be_visible(timeout=4000)
    examine(at.page, "abroad-silent")
    at.page.get_by_role("link", name="在本厅登录").click()
    expect(at.page).to_have_url(f"{at.halls.url(PROVINCE)}/sign-in/{tx}")
    expect(at.page.get_by_role("link", name="选择那个大厅")).to_be_visible()


def test_a_hall_that_hangs_on_the_way(at: At) -> None:
    """It answers the look and not the visit: the page stops waiting by itself."""
    at.sign_in(CITY)
    at.halls.hung.add(f"{CITY} /abroad")
    at.context.clock.install()
    with at.page.expect_request(f"{at.halls.url(CITY)}/abroad?**"):
        at.open(PROVINCE, hall=CITY)
    at.context.clock.fast_forward(8000)
    expect(at.page.get_by_role("heading", name="没有回应")).to_be_visible()
    at.page.get_by_role("link", name="在本厅登录").click()
    expect(at.page.get_by_role("button", name="用 UKey 登录")).to_be_visible()


def test_a_hall_whose_page_gets_no_further(at: At) -> None:
    """Its own script gives up and leads back."""
    at.sign_in(CITY)
    at.halls.hung.add(f"{CITY} /abroad/sign")
    at.context.clock.install()
    at.open(PROVINCE, hall=CITY)
    expect(at.page.get_by_role("heading", name=re.compile("正在回到"))).to_be_visible()
    examine(at.page, "travel")
    at.context.clock.fast_forward(8000)
    expect(at.page.get_by_role("status").filter(has_text="没有及时回应")).to_be_visible()


def test_evidence_that_is_refused(at: At) -> None:
    """A page that says so, with the way to sign in here."""
    at.sign_in(CITY)
    at.halls.federation.halls[PROVINCE].snapshots.refuse = "revocation.revoked"
    try:
        at.open(PROVINCE, hall=CITY)
        expect(at.page.get_by_text("revocation.revoked")).to_be_visible()
        expect(at.page.get_by_role("link", name=re.compile("登录")).first).to_be_visible()
    finally:
        at.halls.federation.halls[PROVINCE].snapshots.refuse = ""


@pytest.mark.parametrize("language", ["zh-Hans", "zh-Hant", "en", "pt"])
def test_the_pages_in_each_language(at: At, language: str) -> None:
    """The list and the page on the way, at phone width."""
    at.halls.hung.add(f"{CITY} /abroad/here")
    tx = at.open(PROVINCE)
    at.page.goto(f"{at.halls.url(PROVINCE)}/sign-in/{tx}/abroad?lang={language}")
    expect(at.page.locator("html")).to_have_attribute("lang", language)
    examine(at.page, f"halls-{language}")
    at.page.goto(f"{at.halls.url(PROVINCE)}/sign-in/{tx}/abroad?hall={CITY}&lang={language}")
    expect(at.page.locator("#silent")).to_be_visible()
    examine(at.page, f"abroad-{language}")
