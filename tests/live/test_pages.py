"""What people see, in the whole stack: each page is checked by axe, photographed, squeezed; it asks no other host."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from urllib.parse import urlencode

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from ca_bridge.errors import LANGUAGES, words
from ca_bridge.types import Way
from demo.personas import persona
from demo.selfcheck import new_browser, sign_in
from tests.live.conftest import SCREENSHOTS
from tests.live.people import Desk, Person

pytestmark = pytest.mark.live

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
ZHANG, ZHANG_FILE, OFFICER = persona("gd-zhang"), persona("gd-zhang-file"), persona("gd-wang-officer")
NARROW = 320
"""CSS pixels: WCAG 2.2, 1.4.10; also what is left of 640 at 200 %."""


@pytest.fixture(name="look", params=["desktop", "phone"])
def _look(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(name="person")
def _person(desk: Desk, look: str) -> Iterator[Person]:
    with desk.visit(phone=look == "phone") as person:
        yield person
        own = re.compile(r"(hall|sso|police|env|[a-z2-7]{26}\.cert)\.gd[\w-]*\.localhost:\d+|127\.0\.0\.1:\d+")
        assert all(own.fullmatch(host) for host in person.hosts()), person.hosts()


def examine(page: Page, name: str, look: str) -> None:
    """A screenshot; no finding of axe; nothing is wider than the screen, at this width, at half of it, at 320 px."""
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}-{look}.png", full_page=True)
    found = Axe().run(page, options={"runOnly": {"type": "tag", "values": RULES}})
    assert not found.response["violations"], f"{name}: {found.generate_report()}"
    size = page.viewport_size
    assert size
    for width in (size["width"], size["width"] // 2 if look == "desktop" else NARROW, NARROW):
        page.set_viewport_size({"width": width, "height": size["height"]})
        # Not innerWidth: it grows with what sticks out.
        wide = page.evaluate("document.scrollingElement.scrollWidth")
        assert wide <= width, f"{name} is {wide} px wide at {width}"
    page.set_viewport_size(size)


def test_a_sign_in(person: Person, look: str) -> None:
    """The window, the hall, the certificate host, a level short, a step up: each page of it."""
    person.open("police", "/")
    examine(person.page, "window", look)
    person.page.goto(person.address("hall", "/"))
    examine(person.page, "hall", look)
    person.open("police")
    person.at_hall()
    examine(person.page, "sign-in", look)
    person.pick(ZHANG_FILE)
    examine(person.page, "certificate", look)
    person.page.locator("main form button").click()
    person.at("police")
    examine(person.page, "window-signed-in", look)
    person.open("police", "/matters/residence-permit")
    examine(person.page, "matter", look)
    person.open("police", "/matters/no-record-certificate")
    person.at_hall()
    examine(person.page, "step-up", look)
    person.sign_in(ZHANG_FILE, Way.TLS)
    person.at_hall("level")
    examine(person.page, "level", look)
    person.page.locator("form.quiet button").click()
    expect(person.page.get_by_text("rp.level_unmet")).to_be_visible()
    examine(person.page, "window-refusal", look)


def test_questions_and_refusals(person: Person, look: str) -> None:
    """Capacity, held, refusal."""
    demo = person.desk.demo
    sign_in(new_browser(demo.pki, ZHANG), demo.addresses)
    for who, page, name in (
        ("gd-lin-operator", "capacity", "capacity"),
        ("gz-impostor", "held", "held"),
        ("gd-revoked", "", "refusal"),
    ):
        person.open("police")
        person.at_hall()
        person.sign_in(persona(who), Way.TLS)
        if page:
            person.at_hall(page)
        else:
            assert person.refusal()[0] == "revocation.revoked"
        examine(person.page, name, look)


def test_the_signers_pages(person: Person, look: str) -> None:
    """What the signer on the person's machine shows: the request, a wrong PIN, the end."""
    person.open("police")
    person.at_hall()
    popup = person.call_signer()
    size = person.page.viewport_size
    assert size
    popup.set_viewport_size(size)
    examine(popup, "signer", look)
    popup.locator("button:not(.primary)").last.click()
    expect(popup.locator("#pin")).to_have_count(0)
    examine(popup, "signer-ended", look)
    popup.close()
    expect(person.page.locator("[data-when=failed]")).to_be_visible()
    examine(person.page, "sign-in-refused-at-the-signer", look)


def test_keycloaks_own_pages(person: Person, look: str) -> None:
    """A wrong redirect_uri, said by Keycloak in our words and looks; and who keeps the live session comes back."""
    query = {"client_id": "police", "response_type": "code", "scope": "openid", "redirect_uri": "https://x.invalid/"}
    person.page.goto(person.address("sso", f"/realms/gd/protocol/openid-connect/auth?{urlencode(query)}"))
    examine(person.page, "keycloak-redirect-uri", look)
    person.open("police")
    person.at_hall()
    person.sign_in(ZHANG_FILE, Way.TLS)
    person.at("police")
    person.open("police", "/matters/no-record-certificate")
    person.at_hall()
    person.sign_in(OFFICER, Way.TLS)
    person.at_hall("switch")
    examine(person.page, "switch", look)
    person.page.locator("form.quiet button").click()
    expect(person.page).to_have_url(re.compile(re.escape(person.address("police"))))
    examine(person.page, "window-not-signed-in", look)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_language_goes_along(desk: Desk, language: str) -> None:
    """The browser's language at the window, hall and certificate host; the switch changes it and the change stays."""
    other = "pt" if language != "pt" else "zh-Hant"
    with desk.visit(language) as person:
        person.open("env")
        person.at_hall()
        expect(person.page.locator("html")).to_have_attribute("lang", language)
        person.page.locator(f"nav a[hreflang='{other}']").click()
        expect(person.page.locator("html")).to_have_attribute("lang", other)
        person.pick(persona("gd-revoked"))
        expect(person.page.locator("html")).to_have_attribute("lang", other)
        person.page.locator("main form button").click()
        assert person.refusal() == ("revocation.revoked", *words("revocation.revoked", other))


def test_keyboard_alone(desk: Desk) -> None:
    """From the window's first page to being signed in, and out again, with Tab and Enter only."""
    with desk.visit("en") as person:
        desk.hold(ZHANG)
        person.open("police", "/")
        steps: tuple[tuple[str, Callable[[], None]], ...] = (
            ("#sign-in", person.at_hall),
            ("a[href*='.cert.']", lambda: expect(person.page).to_have_url(re.compile(r"\.cert\."))),
            ("main form button", lambda: person.at("police", "/")),
            ("#sign-out", lambda: expect(person.page.locator("#sign-in")).to_be_visible()),
        )
        for there, at in steps:
            _tab_to(person.page, there)
            person.page.keyboard.press("Enter")
            at()


def _tab_to(page: Page, selector: str) -> None:
    """Press Tab until it has the focus, which must be visible then."""
    for _ in range(25):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            style = page.evaluate("(({outlineStyle, outlineWidth}) => [outlineStyle, outlineWidth])"
                                  "(getComputedStyle(document.activeElement))")  # fmt: skip
            assert "none" not in style, f"{selector} shows no focus"
            assert "0px" not in style, f"{selector} shows no focus"
            return
    raise AssertionError(f"Tab does not reach {selector}")
