"""The signer before a real browser: a hall on HTTPS asks, the person answers in the signer's own window."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from flask import Flask
from playwright.sync_api import BrowserContext, ConsoleMessage, Page, Playwright, expect
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from demo import pki
from demo.addresses import Addresses, free_block
from demo.personas import PIN
from signer.server import make
from signer.settings import load_settings
from signer.wallet import Wallet
from signer.web import create_app
from signer.words import words
from tests.parts.chromium import home_for, person_at_browser

pytestmark = pytest.mark.live
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
SCREENSHOTS = Path(__file__).resolve().parents[3] / "screenshots"
ASK = """
async ([signer, level, language]) => {
  const expires = new Date(Math.floor(Date.now() / 1000) * 1000 + 59000).toISOString().replace('.000Z', '+00:00');
  const random = () => Array.from(crypto.getRandomValues(new Uint8Array(16)),
    byte => byte.toString(16).padStart(2, '0')).join('');
  const challenge = {origin: location.origin, transaction: random(), nonce: random(), expires};
  const answer = await fetch(signer + '/v1/requests', {method: 'POST', headers: {'Content-Type': 'application/json'},
    body: JSON.stringify({challenge, level, languages: [language]})});
  return await answer.json();
}
"""
COLLECT = """
async ([signer, made]) => {
  const headers = {Authorization: 'Bearer ' + made.secret};
  return await (await fetch(signer + '/v1/requests/' + made.id, {headers})).json();
}
"""


@dataclass
class Scene:
    """A hall's page in a browser, and the signer's address."""

    addresses: Addresses
    signer: str
    context: BrowserContext
    hall: Page
    complaints: list[str]

    def ask(self, level: int = 4, language: str = "en") -> dict[str, Any]:
        """What the hall's script does."""
        made: dict[str, Any] = self.hall.evaluate(ASK, [self.signer, level, language])
        return made

    def open(self, made: dict[str, Any]) -> Page:
        """The signer's window, as the hall opens it."""
        with self.context.expect_page() as opened:
            self.hall.evaluate("page => { window.opened = window.open(page); }", made["page"])
        page: Page = opened.value
        page.wait_for_load_state()
        return page

    def collect(self, made: dict[str, Any]) -> dict[str, Any]:
        """What the hall's script hears."""
        answer: dict[str, Any] = self.hall.evaluate(COLLECT, [self.signer, made])
        return answer


class _Quiet(WSGIRequestHandler):
    def log(self, *_args: Any, **_more: Any) -> None:
        """Nothing."""


@contextmanager
def _serving(server: BaseWSGIServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


@pytest.fixture(scope="module")
def scene(wallet: Wallet, tmp_path_factory: pytest.TempPathFactory, playwright: Playwright) -> Iterator[Scene]:
    """A hall with a real certificate of the demo's TLS CA, the signer, and a person's Chromium."""
    folder, addresses = tmp_path_factory.mktemp("browser"), free_block(19443)
    run = pki.materialise(folder / "run", addresses, datetime.now(UTC))
    app = create_app(load_settings(run.signer_settings), wallet)
    hall = Flask("hall")
    hall.add_url_rule("/", "hall", lambda: "<!doctype html><html lang=en><title>hall</title><h1>hall</h1>")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(run.tls_certificate, run.tls_key)
    server = make_server("127.0.0.1", addresses.port, hall, threaded=True, ssl_context=tls, request_handler=_Quiet)
    home = home_for(folder / "home", run.tls_ca)
    with (
        _serving(server),
        _serving(make(app, addresses.signer_port)),
        person_at_browser(playwright, home, locale="en-GB") as context,
    ):
        page, complaints = context.new_page(), list[str]()
        context.on("console", lambda message: complaints.append(_text(message)))
        page.goto(addresses.url("hall") + "/")
        yield Scene(addresses, f"http://127.0.0.1:{addresses.signer_port}", context, page, complaints)


def _text(message: ConsoleMessage) -> str:
    return f"{message.type}: {message.text}"


def _accessible(page: Page) -> None:
    found = Axe().run(page, options={"runOnly": RULES})
    assert found.violations_count == 0, found.generate_report()


def test_person_signs_by_keyboard_alone(scene: Scene) -> None:
    """Pick, PIN, Enter, without a mouse; the hall gets the signature; the page is accessible at each step."""
    made = scene.ask()
    page = scene.open(made)
    expect(page.get_by_role("heading", level=1)).to_have_text(words("en")["heading"])
    expect(page.get_by_text(scene.addresses.url("hall"), exact=True)).to_be_visible()
    _accessible(page)
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOTS / "signer.png")
    page.get_by_role("radio", name="李晓彤").focus()
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.type("000000")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("signer.pin_wrong")
    expect(page.get_by_role("radio", name="李晓彤")).to_be_checked()
    expect(page.get_by_label(words("en")["pin"])).to_be_focused()
    _accessible(page)
    page.keyboard.type(PIN)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(words("en")["ended_done"])
    _accessible(page)
    answer = scene.collect(made)
    assert (answer["state"], answer["algorithm"]) == ("done", "ES256")
    assert scene.collect(made)["error"] == "signer.unknown_request"
    page.close()


@pytest.mark.parametrize("language", ["zh-Hans", "zh-Hant", "pt"])
def test_page_speaks_the_halls_language(scene: Scene, language: str) -> None:
    """Accessible in each language, on a narrow window too."""
    page = scene.open(scene.ask(language=language))
    page.set_viewport_size({"width": 390, "height": 844})
    expect(page.get_by_role("heading", level=1)).to_have_text(words(language)["heading"])
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    _accessible(page)
    if language == "zh-Hans":
        page.screenshot(path=SCREENSHOTS / "signer-phone.png", full_page=True)
    page.get_by_role("button", name=words(language)["refuse"]).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(words(language)["ended_refused"])
    page.close()


def test_hall_cannot_reach_into_the_signers_window(scene: Scene) -> None:
    """The opener is cut off: it can neither read the page nor put another in its place while the PIN is typed."""
    page = scene.open(scene.ask())
    before = page.url
    assert page.evaluate("window.opener") is None
    scene.hall.evaluate("() => { try { window.opened.location = 'about:blank' } catch (error) {} }")
    assert scene.hall.evaluate("window.opened.closed") is True
    assert page.url == before
    page.close()


def test_signers_page_is_in_no_frame(scene: Scene) -> None:
    """A hall that frames the page, to overlay it, shows nothing of it."""
    made = scene.ask()
    scene.hall.evaluate(
        "page => new Promise(done => { const f = document.createElement('iframe'); f.onload = done; f.src = page;"
        " document.body.append(f); })",
        made["page"],
    )
    frame = scene.hall.frames[-1]
    assert words("en")["heading"] not in frame.content()
    scene.hall.evaluate("document.querySelector('iframe').remove()")


def test_other_page_reaches_nothing(scene: Scene) -> None:
    """A page that is not on the list cannot ask, and cannot read that it was refused."""
    other = scene.context.new_page()
    other.goto(scene.addresses.url("hall").replace("hall.", "police.") + "/")
    told = other.evaluate(
        "async ask => { try { await (eval(ask[0]))(ask[1]); return 'answered' } catch (error) { return error.name } }",
        [ASK, [scene.signer, 4, "en"]],
    )
    assert told == "TypeError"
    other.close()


def test_pages_keep_to_their_own_policy(scene: Scene) -> None:
    """A whole signature makes the browser report nothing: no blocked style, no missing file."""
    scene.complaints.clear()
    made = scene.ask()
    page = scene.open(made)
    page.get_by_role("radio", name="何美玲").check()
    page.get_by_label(words("en")["pin"]).fill(PIN)
    page.get_by_role("button", name=words("en")["sign"]).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(words("en")["ended_done"])
    assert [text for text in scene.complaints if "favicon" not in text] == []
    assert page.evaluate("getComputedStyle(document.querySelector('main')).display") == "block"
    page.close()
