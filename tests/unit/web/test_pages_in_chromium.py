"""Every page in a real browser: WCAG 2.2 AA by axe, width, sizes of targets."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from ca_bridge.types import Capacity, Identifier, IdentifierType
from tests.unit.web.chromium import RULES, SCREENSHOTS, WIDTHS, AtTheHall, Served, person_at, with_check_digit
from tests.unit.web.hall import LI, Held

pytestmark = pytest.mark.live


@pytest.fixture(params=[("phone", "light"), ("desktop", "dark")])
def looks(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Width and colour scheme."""
    found: tuple[str, str] = request.param
    return found


@pytest.fixture
def person(served: Served, chromium: Browser, looks: tuple[str, str]) -> Iterator[AtTheHall]:
    """A person with a screen as `looks` says."""
    width, height = WIDTHS[looks[0]]
    yield from person_at(served, chromium, width, height, looks[1])


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
        number = with_check_digit(f"5101051949123{looks[0] == 'phone':d}{looks[1] == 'dark':d}02")
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


def _operator(served: Served) -> Held:
    return served.hall.snapshots.authorities[0].issue("李示范", LI, "经办人证书", "样例有限公司")
