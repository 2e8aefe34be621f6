"""The windows in a real browser: the whole way under their own policies, accessibility of every page, phone width."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Playwright
from werkzeug.serving import make_server

from examples.flask_window import ENVIRONMENT, POLICE, create_app
from relying_party_sdk import RelyingParty
from relying_party_sdk.testing import CITIZEN, FakeProvider
from tests.unit.rp.tls import server_tls

pytestmark = pytest.mark.live

WIDTHS = {"phone": (360, 740), "desktop": (1280, 900)}
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
DEPARTMENTS = {"police": POLICE, "env": ENVIRONMENT}


@dataclass
class Served:
    """The two windows behind TLS, and the provider in front of which they stand."""

    provider: FakeProvider
    addresses: dict[str, str]


@pytest.fixture(name="served", scope="module")
def _served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("windows")
    servers, addresses = [], {}
    with FakeProvider() as provider:
        provider.attribute_names = ("name", "identifiers")
        for name in DEPARTMENTS:
            tls = server_tls(folder, f"{name}.test.localhost")[0]
            server = make_server("127.0.0.1", 0, lambda *_: [], threaded=True, ssl_context=tls)
            addresses[name] = f"https://{name}.test.localhost:{server.port}"
            party = RelyingParty(provider.settings(folder, name, base_url=addresses[name]))
            app = create_app(party)
            provider.register(party.settings, party.jwks)
            server.app = app
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            servers.append((server, thread, app))
        yield Served(provider, addresses)
        for server, thread, app in servers:
            server.shutdown()
            thread.join(10)
            server.server_close()
            app.extensions["crosshall_rp"].party.close()


@pytest.fixture(name="chromium", scope="module")
def _chromium(playwright: Playwright) -> Iterator[Browser]:
    browser = playwright.chromium.launch(
        executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=["--no-sandbox", "--disable-gpu"]
    )
    yield browser
    browser.close()


@pytest.fixture(name="page", params=WIDTHS)
def _page(request: pytest.FixtureRequest, served: Served, chromium: Browser) -> Iterator[Page]:
    """A fresh profile in front of a citizen; whatever a policy of ours refuses fails the test."""
    width, height = WIDTHS[request.param]
    served.provider.person = CITIZEN
    served.provider.end_login()
    context = chromium.new_context(
        viewport={"width": width, "height": height}, ignore_https_errors=True, locale="zh-CN"
    )
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    yield page
    context.close()
    assert [text for text in said if "Content Security Policy" in text] == []


def _check(page: Page) -> None:
    """No accessibility violation, nothing wider than the screen, every target large enough to touch."""
    found = Axe().run(page, options={"runOnly": RULES}).response["violations"]
    assert [(v["id"], [n["html"] for n in v["nodes"]]) for v in found] == []
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_every_page_is_accessible(page: Page, served: Served) -> None:
    """Landing, matter, receipt, own sign-in, missing page and error page pass axe (WCAG 2.2 AA) at both widths."""
    base = served.addresses["police"]
    for path in ("/", "/matters/residence-permit", "/nothing", "/oidc/callback"):
        page.goto(base + path)
        _check(page)
    page.goto(f"{base}/matters/residence-permit")
    assert page.locator("[data-received=kind]").get_attribute("data-value") == "citizen"
    page.locator("#note").fill("没有变化")
    page.locator("form.matter button").click()
    assert page.locator("[data-receipt]").count() == 1
    _check(page)
    page.goto(served.addresses["env"] + "/me")  # its own colours, and the note that it learns nothing
    _check(page)


def test_sign_in_once_sign_out_everywhere_here(page: Page, served: Served) -> None:
    """Deep link, step-up, the other window without a proof, and the button: all pass the pages' own policies."""
    police_, environment_ = served.addresses["police"], served.addresses["env"]
    page.goto(f"{police_}/matters/household-transfer")
    assert page.url == f"{police_}/matters/household-transfer"
    assert page.locator("[data-received=level]").get_attribute("data-value") == "3"
    assert page.locator("[data-received=name]").inner_text() == "张三"
    page.goto(f"{environment_}/matters/noise-complaint")
    assert page.locator("[data-received=name]").count() == 0
    page.locator("#sign-out").click()
    page.wait_for_url(f"{environment_}/")
    assert page.locator("#sign-in").count() == 1
    assert served.provider.login is None


def test_form_sent_after_the_session_ended(page: Page, served: Served) -> None:
    """A form that is sent without a session is answered in words, and the words offer a new window."""
    base = served.addresses["police"]
    page.goto(f"{base}/matters/residence-permit")
    page.locator("#note").fill("很长的说明")
    page.context.clear_cookies()
    page.locator("form.matter button").click()
    assert "rp.form_not_sent" in page.content()
    with page.context.expect_page() as opened:
        page.locator("a.go").click()
    opened.value.wait_for_url(f"{base}/")
    page.once("dialog", lambda dialog: dialog.accept())
    page.reload()
    assert page.locator("[data-receipt]").count() == 1


def test_keyboard(page: Page, served: Served) -> None:
    """The first stop of the keyboard leads past the head; sign-in is reached by Tab and works by Enter."""
    page.goto(served.addresses["police"] + "/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    for _ in range(5):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "sign-in":
            break
    page.keyboard.press("Enter")
    page.wait_for_selector("#sign-out")
