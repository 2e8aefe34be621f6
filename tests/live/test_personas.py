"""Everybody of the demo, by every way they can take, in a real browser, to the window's page or to a clear refusal."""

from __future__ import annotations

import html
from pathlib import Path

import pytest
import sqlalchemy as sa
from playwright.sync_api import Playwright

from ca_bridge.errors import LANGUAGES, catalogue, words
from ca_bridge.store.tables import sessions
from ca_bridge.types import Capacity, Way
from demo.personas import PIN, Persona, persona, personas
from demo.selfcheck import new_browser, sign_in
from demo.stack import Demo
from tests.live.people import LOCALES, Desk, Person, words_of_page
from tests.parts.chromium import home_for, import_certificate, launch

pytestmark = pytest.mark.live

CASES = [(who, way) for who in personas() for way in who.ways]
ACCEPTED = [(who, way) for who, way in CASES if who.expected.accepted]
HELD = [(who, way) for who, way in CASES if who.expected.held]
BAD = [(who, way) for who, way in CASES if not who.expected.accepted and not who.expected.held]
# Chromium never offers these: it looks at dates and usages first. Other browsers offer them.
HIDDEN = ("gd-expired", "gd-not-yet", "gd-encryption", "gd-server")
UNSEEN = [who for who, way in BAD if who.id in HIDDEN and way is Way.TLS]
REFUSED = [(who, way) for who, way in BAD if not (who.id in HIDDEN and way is Way.TLS)]


def _ids(cases: list[tuple[Persona, Way]]) -> list[str]:
    return [f"{who.id}-{way}" for who, way in cases]


EQUAL = "ch-huang-gz"
"""Signs in by a CA that the province names equal to the one of `ch-huang`."""


def _language(who: Persona, way: Way) -> str:
    """Another one for each person and way, so that every language meets every kind of page."""
    return LANGUAGES[CASES.index((who, way)) % len(LANGUAGES)]


def _live_sessions(demo: Demo) -> int:
    """Rows of sessions in the bridge's database."""
    engine = sa.create_engine(demo.settings.database.url)
    try:
        with engine.connect() as connection:
            return connection.execute(sa.select(sa.func.count()).select_from(sessions)).scalar_one()
    finally:
        engine.dispose()


def _begin(person: Person) -> None:
    person.open("police")
    person.at_hall()


def _check_window(person: Person, who: Persona, kind: Capacity) -> None:
    """Police learns level, kind, name and number, what it is registered for, and they are this person's."""
    person.at("police")
    told = person.received()
    assert told["level"] == str(who.expected.level)
    assert told["kind"] == kind
    assert told["name"] == who.name
    numbers = {value for key, value in told.items() if key.startswith("identifier")}
    assert {f"{value} ({state})" for _, state, value in who.identifiers} == numbers
    assert "organisation" not in told  # police is not registered for it


@pytest.mark.parametrize(("who", "way"), ACCEPTED, ids=_ids(ACCEPTED))
def test_accepted(desk: Desk, who: Persona, way: Way) -> None:
    """A good certificate ends at the window, with the level, the kind and the name that are the person's."""
    if who.id == EQUAL:
        # Told once that this CA counts as equal to the other, on a page of its own: here, that is done before.
        assert sign_in(new_browser(desk.demo.pki, who), desk.demo.addresses).status == 200
    with desk.visit(_language(who, way)) as person:
        _begin(person)
        person.sign_in(who, way)
        if len(who.capacities) > 1:
            person.at_hall("capacity")
            assert not person.signed_in()
            person.page.locator(f"input[value={who.capacities[0]}]").check()
            person.page.locator("main form button").first.click()
        _check_window(person, who, who.capacities[0])
        assert person.signed_in() == {"police", "hall", "sso"}


@pytest.mark.parametrize("kind", [Capacity.CITIZEN, Capacity.OPERATOR])
def test_both_capacities(desk: Desk, kind: Capacity) -> None:
    """Who may act as two is asked and never guessed for; each choice is what the window is told (R20)."""
    who = persona("gd-lin-operator")
    with desk.visit("zh-Hant") as person:
        _begin(person)
        person.sign_in(who, Way.TLS)
        person.at_hall("capacity")
        assert person.page.locator("input[type=radio]").count() == 2
        assert person.page.locator("input[type=radio]:checked").count() == 0
        person.page.locator(f"input[value={kind}]").check()
        person.page.locator("main form button").first.click()
        _check_window(person, who, kind)


@pytest.mark.parametrize(("who", "way"), REFUSED, ids=_ids(REFUSED))
def test_refused(desk: Desk, demo: Demo, who: Persona, way: Way) -> None:
    """A bad certificate is refused with its code, in the person's language, and nothing is left half done."""
    language = _language(who, way)
    before = _live_sessions(demo)
    with desk.visit(language) as person:
        _begin(person)
        person.sign_in(who, way)
        assert person.refusal() == (who.expected.code, *words(who.expected.code, language))
        assert not person.signed_in()
        assert who.name not in person.page.content()
    assert _live_sessions(demo) == before


@pytest.mark.parametrize(("who", "way"), HELD, ids=_ids(HELD))
def test_held(desk: Desk, demo: Demo, who: Persona, way: Way) -> None:
    """Another CA's certificate with a known person's number waits; the person it names is not touched by it."""
    victim = persona("gd-zhang")
    known = new_browser(demo.pki, victim)
    assert victim.name in sign_in(known, demo.addresses).text
    before = _live_sessions(demo)
    language = _language(who, way)
    with desk.visit(language) as person:
        _begin(person)
        person.sign_in(who, way)
        person.at_hall("held")
        assert person.page.locator("h1").inner_text() == words_of_page("held.heading", language)
        assert victim.name not in person.page.content()
        assert not person.signed_in()
        person.open("police")
        person.at_hall()
    assert _live_sessions(demo) == before
    assert victim.name in sign_in(known, demo.addresses).text


@pytest.mark.parametrize("who", UNSEEN, ids=lambda who: who.id)
def test_refused_from_a_browser_that_offers_everything(demo: Demo, who: Persona) -> None:
    """The certificates that Chromium keeps back are refused by us as well, not by nginx, each with its own words."""
    before = _live_sessions(demo)
    language = _language(who, Way.TLS)
    browser = new_browser(demo.pki, who, language=LOCALES[language])
    page = sign_in(browser, demo.addresses)
    assert page.status == catalogue()[who.expected.code].status
    assert all(text in html.unescape(page.text) for text in (who.expected.code, *words(who.expected.code, language)))
    assert not any("session" in name for jar in browser.cookies.values() for name in jar)
    assert _live_sessions(demo) == before


def test_only_certificates_that_the_browser_keeps_back(demo: Demo, playwright: Playwright, tmp_path: Path) -> None:
    """Chromium with an expired one and one for encryption only presents nothing; the page says what to do."""
    home = home_for(tmp_path / "home", demo.pki.tls_ca)
    for who in UNSEEN:
        import_certificate(home, who.files(demo.pki.folder).pkcs12, PIN)
    with launch(playwright, home) as browser, Desk(demo, browser, home).visit("zh-Hans") as person:
        _begin(person)
        person.page.locator("a[href*='.cert.']").click()
        code = "ceremony.no_certificate"
        assert person.refusal() == (code, *words(code, "zh-Hans"))
        assert "过期" in words(code, "zh-Hans")[1]
        assert not person.signed_in()
