"""People at a browser: what they click and type, and what they end up looking at.

A `Desk` is one real Chromium whose certificate store holds every persona's certificate; which of them it presents is
what the person at the desk would pick. A `Person` is one visit: cookies of their own, one language, one window's page.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, Locator, Page, Playwright, expect

from ca_bridge.types import Way
from ca_bridge.web.language import locale
from demo.personas import PIN, Persona, personas
from demo.stack import Demo
from tests.live import seen
from tests.parts.chromium import DESKTOP, PHONE, choose, home_for, import_certificate, launch

LOCALES = {"zh-Hans": "zh-CN", "zh-Hant": "zh-HK", "en": "en-GB", "pt": "pt-PT"}
"""Our languages, as the browsers of the people who read them name them."""
WAIT_MS = 7_000


@dataclass(slots=True)
class Desk:
    """One browser; `hold` says which certificate it presents from then on."""

    demo: Demo
    browser: Browser
    home: Path
    _admin: Page | None = None
    _held: str = ""

    def hold(self, persona: Persona) -> None:
        """Pick `persona`'s certificate from now on, as a person would in the browser's question."""
        if persona.id == self._held:
            return
        choose(self.home, dict(persona.certificate["subject"]))
        if self._admin is None:
            self._admin = self.browser.new_context().new_page()
        self._admin.goto("chrome://policy")
        self._admin.locator("#reload-policies").click()
        # The new value is in force when the browser itself shows it.
        name = dict(persona.certificate["subject"])["CN"]
        unit = dict(persona.certificate["subject"])["OU"]
        self._admin.wait_for_function(
            """([name, unit]) => {
              const text = (root) => [...root.querySelectorAll('*')].map((e) =>
                (e.shadowRoot ? text(e.shadowRoot) : '') + (e.children.length ? '' : e.textContent)).join(' ');
              const all = text(document);
              return all.includes(name) && all.includes(unit);
            }""",
            arg=[name, unit],
            timeout=WAIT_MS,
        )
        self._held = persona.id

    @contextmanager
    def visit(self, language: str = "zh-Hans", *, phone: bool = False) -> Iterator[Person]:
        """A person with no cookies yet. Errors of our pages' scripts and breaches of their policies fail the test."""
        context = self.browser.new_context(locale=LOCALES[language], viewport=PHONE if phone else DESKTOP)  # type: ignore[arg-type]
        context.set_default_timeout(WAIT_MS)
        person = Person(self, context, context.new_page())
        context.on("weberror", lambda error: person.complaints.append(str(error.error)))
        context.on("console", lambda told: _listen(person.complaints, told.text))
        context.on("request", lambda request: _keep(person, request.url))
        try:
            yield person
            assert not person.complaints, person.complaints
        finally:
            context.close()


@dataclass(slots=True)
class Person:
    """One visit to the desk."""

    desk: Desk
    context: BrowserContext
    page: Page
    complaints: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    """Every address that the browser asked for."""

    def address(self, name: str, path: str = "") -> str:
        """An address of the demo: of `police`, `env`, `hall`, `sso`."""
        return self.desk.demo.addresses.url(name) + path

    def open(self, window: str, path: str = "/me") -> None:
        """Go to a page of a window; wherever that leads."""
        self.page.goto(self.address(window, path))

    def sign_in(self, persona: Persona, way: Way) -> None:
        """From the hall's page, all that a person does; ends where the outcome is shown, whatever it is."""
        if way is Way.TLS:
            self.pick(persona)
            self.page.locator("main form button").click()
        else:
            self.sign(persona)

    def pick(self, persona: Persona) -> None:
        """To the certificate host, with this certificate."""
        self.desk.hold(persona)
        self.page.locator("a[href*='.cert.']").click()

    def sign(self, persona: Persona, pin: str = PIN) -> None:
        """The token way: the signer's own page opens, the person picks the token and types the PIN there."""
        popup = self.call_signer()
        fill_signer(popup, persona, pin)
        # The hall cannot close a window of another origin that isolates itself: the page says that the person may.
        expect(popup.locator("#pin")).to_have_count(0)
        popup.close()

    def call_signer(self) -> Page:
        """Press the button of the token way; the signer's page."""
        with self.context.expect_page() as opened:
            self.page.locator("[data-act=start]:visible").click()
        popup = opened.value
        popup.wait_for_load_state()
        return popup

    def at(self, window: str, path: str = "/me") -> None:
        """The person is at that page of the window now."""
        expect(self.page).to_have_url(self.address(window, path), timeout=WAIT_MS)

    def at_hall(self, page: str = "") -> None:
        """The person is at the hall's sign-in page, or at the named page of that sign-in."""
        expected = re.escape(self.address("hall")) + r"/sign-in/[\w-]{43}" + (f"/{page}" if page else "") + r"(\?.*)?$"
        expect(self.page).to_have_url(re.compile(expected), timeout=WAIT_MS)

    def received(self) -> dict[str, str]:
        """What the window says it received."""
        rows = self.page.locator("[data-received]").evaluate_all(
            "rows => rows.map((row) => [row.dataset.received, row.dataset.value])"
        )
        return dict(rows)

    def refusal(self) -> tuple[str, str, str]:
        """(code, why, what to do) of the refusal shown: a page of the hall, or a panel on the sign-in page."""
        shown = self.page.locator("main > h1 + .card .do, [data-when=failed] [data-do]:not(:empty)").first
        expect(shown).to_be_visible(timeout=WAIT_MS)
        if self.page.locator("[data-when=failed]:visible").count():
            said = self.page.locator("[data-say]").inner_text()
            code = _code(self.page.locator("[data-code]"))
        else:
            said = self.page.locator("main > h1").inner_text()
            code = _code(self.page.locator("main dl.small"))
        return code, said, shown.inner_text()

    def signed_in(self) -> set[str]:
        """Where this browser has a session: of `police`, `env`, `hall`, `sso`."""
        return {
            cookie["domain"].partition(".")[0]
            for cookie in self.context.cookies()
            if cookie["value"] and (cookie["name"].endswith("-session") or cookie["name"] == "KEYCLOAK_IDENTITY")
        }

    def sign_out(self) -> None:
        """The window's own button."""
        self.page.locator("#sign-out").click()

    def hosts(self) -> set[str]:
        """The hosts asked, each with its port."""
        return {urlsplit(url).netloc for url in self.asked if url.startswith("http")}


def fill_signer(popup: Page, persona: Persona, pin: str = PIN) -> None:
    """At the signer's page: this token, this PIN, sign."""
    rows = popup.locator(".choice", has=popup.locator(".detail", has_text=re.compile(rf"\s{persona.token_label}\s*$")))
    rows.locator("input").check()
    popup.locator("#pin").fill(pin)
    popup.locator("button.primary").click()


@contextmanager
def desk_at(playwright: Playwright, demo: Demo, folder: Path, arguments: Sequence[str] = ()) -> Iterator[Desk]:
    """A desk with every certificate that a browser can hold."""
    home = home_for(folder, demo.pki.tls_ca)
    for persona in personas():
        if Way.TLS in persona.ways:
            import_certificate(home, persona.files(demo.pki.folder).pkcs12, PIN)
    with launch(playwright, home, arguments) as browser:
        yield Desk(demo, browser, home)


def words_of_page(key: str, language: str) -> str:
    """A text of the hall's pages (`config/locales`)."""
    return locale(language)[key]


def _code(where: Locator) -> str:
    found = re.search(r"\b[a-z]+\.[a-z_]+\b", where.inner_text())
    return found.group() if found else ""


def _keep(person: Person, url: str) -> None:
    person.asked.append(url)
    seen.URLS.add(url)


def _listen(complaints: list[str], text: str) -> None:
    if "Content Security Policy" in text or "Refused to" in text or "Mixed Content" in text:
        complaints.append(json.dumps(text))
