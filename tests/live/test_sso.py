"""One sign-in, many windows: known without a page, signed out everywhere, stepped up once; people who take turns."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import expect

from ca_bridge.types import Way
from demo.personas import Persona, persona
from demo.stack import Demo
from relying_party_sdk import request
from relying_party_sdk.client import RelyingParty
from relying_party_sdk.person import Requirement
from relying_party_sdk.settings import Settings
from tests.live.people import WAIT_MS, Desk, Person

pytestmark = pytest.mark.live

ZHANG, ZHANG_FILE, LI = persona("gd-zhang"), persona("gd-zhang-file"), persona("gz-li")
OFFICER, OPERATOR = persona("gd-wang-officer"), persona("gd-lin-operator")


def _signed_in(person: Person, who: Persona, way: Way = Way.TLS, path: str = "/me") -> None:
    person.open("police", path)
    person.at_hall()
    person.sign_in(who, way)
    person.at("police", path)


@pytest.fixture(name="prove_again")
def _prove_again(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Person], None]]:
    """The police window wants a proof made after this moment: less than the 30 s that the SDK lets a window ask."""
    plain = request.authorization_parameters
    monkeypatch.setattr(request, "authorization_parameters", lambda *given: {**plain(*given), "max_age": "0"})
    party = RelyingParty(Settings.from_toml(demo.folder.root / "windows" / "police" / "window.toml"))

    def go(person: Person) -> None:
        # Keycloak counts whole seconds, from the end of the sign-in: one must have passed.
        person.page.wait_for_function("end => Date.now() > end", arg=1000 * time.time() + 2000)
        departure = party.begin("/me", Requirement(max_age=30))
        window = person.address("police")
        person.context.add_cookies([{"name": departure.cookie_name, "value": departure.cookie, "url": window}])
        person.page.goto(departure.url)
        person.at_hall()

    yield go
    party.close()


def _pages_of_the_hall(person: Person, since: int) -> list[str]:
    """Sign-ins that the browser was sent to since it had asked `since` addresses."""
    here = person.address("hall") + "/sign-in/"
    return [url for url in person.asked[since:] if url.startswith(here)]


def test_known_everywhere_and_out_everywhere(desk: Desk) -> None:
    """Signed in at one window: known at the other without a page, at the deep link; signed out once, out at all."""
    with desk.visit() as person:
        deep = "/matters/residence-permit?from=letter&page=2"
        _signed_in(person, ZHANG, path=deep)
        before = len(person.asked)
        person.open("env", "/matters/noise-complaint?from=police")
        person.at("env", "/matters/noise-complaint?from=police")
        assert not _pages_of_the_hall(person, before)
        told = person.received()
        assert told["level"] == "4"
        assert "name" not in told
        assert ZHANG.name not in person.page.content()
        assert person.signed_in() == {"police", "env", "hall", "sso"}
        other = person.context.new_page()
        other.goto(person.address("police", "/me"))
        person.sign_out()
        person.at("env", "/")
        expect(person.page.locator("#sign-in")).to_be_visible()
        for window in ("police", "env"):
            other.goto(person.address(window, "/me"))
            expect(other).to_have_url(re.compile(re.escape(person.address("hall")) + "/sign-in/"))
        assert "sso" not in person.signed_in()
        other.goto(person.address("hall", "/"))
        expect(other.locator("form[action='/logout']")).to_have_count(0)


def test_step_up_once(desk: Desk) -> None:
    """A matter above the session's level sends the person to step up and back, once; then both windows have it."""
    with desk.visit("zh-Hant") as person:
        _signed_in(person, ZHANG_FILE)
        person.open("police", "/matters/residence-permit")
        assert person.received()["level"] == "3"
        before = len(person.asked)
        person.open("police", "/matters/no-record-certificate")
        person.at_hall()
        assert len(_pages_of_the_hall(person, before)) == 1
        person.sign_in(ZHANG, Way.TLS)
        person.at("police", "/matters/no-record-certificate")
        assert person.received()["level"] == "4"
        before = len(person.asked)
        person.open("env", "/matters/discharge-permit")
        person.at("env", "/matters/discharge-permit")
        person.open("police", "/matters/household-transfer")
        person.at("police", "/matters/household-transfer")
        assert not _pages_of_the_hall(person, before)


def test_an_unmet_level_ends_in_a_page(desk: Desk) -> None:
    """Who cannot reach the level reads why at the hall, and at the window when they go back; asked again, the same."""
    with desk.visit("en") as person:
        _signed_in(person, ZHANG_FILE)
        for _ in range(2):
            before = len(person.asked)
            person.open("police", "/matters/no-record-certificate")
            person.at_hall()
            person.sign_in(ZHANG_FILE, Way.TLS)
            person.at_hall("level")
            person.page.locator("form.quiet button").click()
            expect(person.page).to_have_url(re.compile(re.escape(person.address("police")) + "/oidc/callback"))
            expect(person.page.get_by_text("rp.level_unmet")).to_be_visible()
            assert len(person.asked) - before < 40
        person.open("police")
        person.at("police")
        assert person.received()["level"] == "3"


def test_proof_not_older_than_asked(desk: Desk, prove_again: Callable[[Person], None]) -> None:
    """A window that wants a proof made just now gets one: the hall asks again, though level and session would do."""
    with desk.visit() as person:
        _signed_in(person, ZHANG)
        first = person.received()["auth_time"]
        prove_again(person)
        person.sign_in(ZHANG, Way.TLS)
        person.at("police")
        assert person.received()["auth_time"] > first


def _back_at_the_window(person: Person, path: str) -> None:
    """Keycloak may drop the sign-in under way with the session that ended: its page leads back to the window."""
    window, lost = re.escape(person.address("police", path)), re.escape(person.address("sso")) + ".*/authenticate.*"
    expect(person.page).to_have_url(re.compile(f"^({window}|{lost})$"), timeout=WAIT_MS)
    if person.page.url.startswith(person.address("sso")):
        person.page.locator(f"main a[href^='{person.address('police')}']").click()
        person.open("police", path)
    person.at("police", path)


def test_another_persons_certificate_is_asked_about(desk: Desk) -> None:
    """In a live session somebody else's certificate changes nothing until the person says so; no loses nothing."""
    with desk.visit() as person:
        _signed_in(person, ZHANG_FILE)
        person.open("police", "/matters/no-record-certificate")
        person.at_hall()
        person.sign_in(OFFICER, Way.TLS)
        person.at_hall("switch")
        person.page.locator("form.quiet button").click()
        expect(person.page).to_have_url(re.compile(re.escape(person.address("police"))))
        person.open("police")
        person.at("police")
        assert person.received()["name"] == ZHANG_FILE.name


def test_another_person_takes_over(desk: Desk) -> None:
    """Said yes, the first one is signed out at every window, and the second is signed in as themselves alone."""
    with desk.visit() as person:
        _signed_in(person, ZHANG_FILE)
        person.open("env")
        person.at("env")
        person.open("police", "/matters/no-record-certificate")
        person.at_hall()
        person.sign_in(OFFICER, Way.TLS)
        person.at_hall("switch")
        person.page.locator("main form button").first.click()
        _back_at_the_window(person, "/matters/no-record-certificate")
        told = person.received()
        assert (told["name"], told["kind"]) == (OFFICER.name, "officer")
        person.open("env")
        person.at("env")
        assert person.received()["kind"] == "officer"


def test_people_take_turns(desk: Desk) -> None:
    """In one browser, without restarting it: each is signed in with their own certificate, by whichever way."""
    with desk.visit() as person:
        for who, way in ((ZHANG, Way.TLS), (LI, Way.TLS), (persona("ch-huang"), Way.TOKEN), (ZHANG, Way.TLS)):
            _signed_in(person, who, way)
            assert person.received()["name"] == who.name
            person.sign_out()
            person.at("police", "/")


def test_a_citizen_becomes_an_operator(desk: Desk, prove_again: Callable[[Person], None]) -> None:
    """Signed in as a citizen, the same certificate acts for the organisation only when the person says so, twice."""
    with desk.visit() as person:
        person.open("police")
        person.at_hall()
        person.sign_in(OPERATOR, Way.TLS)
        person.at_hall("capacity")
        person.page.locator("input[value=citizen]").check()
        person.page.locator("main form button").first.click()
        person.at("police")
        citizen = person.received()
        prove_again(person)
        person.sign_in(OPERATOR, Way.TLS)
        person.at_hall("capacity")
        person.page.locator("input[value=operator]").check()
        person.page.locator("main form button").first.click()
        person.at_hall("switch")
        person.page.locator("main form button").first.click()
        _back_at_the_window(person, "/me")
        operator = person.received()
        assert (citizen["kind"], operator["kind"]) == ("citizen", "operator")
        assert citizen["subject"] != operator["subject"]
