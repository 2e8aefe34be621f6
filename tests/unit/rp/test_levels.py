"""Levels: checked here, stepped up once, never in a loop."""

from __future__ import annotations

import pytest

from relying_party_sdk import Person, Requirement
from relying_party_sdk.testing import Browser, FakeProvider, Fault, Persona
from tests.unit.rp.conftest import Clock, Window


def test_step_up_and_back(browser: Browser, provider: FakeProvider) -> None:
    """A page of level 3 sends a level-2 session to the provider once, and then opens."""
    browser.open("/matters/7")
    page = browser.open("/high")
    assert (page.status, page.text) == (200, "high level 3")
    assert provider.calls["authorize"] == 2
    assert provider.authorizations[-1]["acr_values"] == "urn:crosshall:loa:3"
    assert provider.authorizations[-1]["max_age"] == "600"
    browser.open("/high")
    assert provider.calls["authorize"] == 2


@pytest.mark.parametrize("signed_in", [True, False])
def test_unmet_level_is_an_error_not_a_loop(browser: Browser, provider: FakeProvider, *, signed_in: bool) -> None:
    """A level that comes back lower than asked: one trip, then an error page; the session stays at its level."""
    if signed_in:
        browser.open("/matters/7")
    before = provider.calls["authorize"]
    provider.person = provider.person and Persona(provider.person.id, highest=2)
    page = browser.open("/high")
    assert (page.status, "rp.level_unmet" in page.text) == (403, True)
    assert "return_to=%2Fhigh&amp;level=3&amp;max_age=600" in page.text
    assert provider.calls["authorize"] == before + 1
    assert browser.open("/matters/7").text == "7 level 2 "


def test_lower_level_than_asked(browser: Browser, provider: FakeProvider) -> None:
    """A provider that answers level 1 to a question for 2 does not open the page."""
    provider.faults.add(Fault.LOWER_LEVEL)
    page = browser.open("/matters/7")
    assert (page.status, "rp.level_unmet" in page.text) == (403, True)


def test_old_sign_in_is_renewed(browser: Browser, provider: FakeProvider, clock: Clock) -> None:
    """After `max_age` the person proves again who they are, and the page opens."""
    browser.open("/high")
    clock.pass_(601)
    assert browser.open("/high").status == 200
    assert provider.calls["authorize"] == 2


def test_provider_that_ignores_max_age(browser: Browser, provider: FakeProvider, clock: Clock) -> None:
    """An `auth_time` that is still too old after the trip is an error, not another trip."""
    browser.open("/high")
    provider.faults.add(Fault.OLD_AUTH_TIME)
    clock.pass_(601)
    page = browser.open("/high")
    assert (page.status, "rp.max_age_unmet" in page.text) == (403, True)
    assert provider.calls["authorize"] == 2


def test_sign_in_from_the_future_is_not_fresh(browser: Browser, provider: FakeProvider, clock: Clock) -> None:
    """An `auth_time` far ahead does not stay fresh for ever."""
    browser.open("/matters/7")
    assert provider.login is not None
    provider.login.level, provider.login.auth_time = 3, clock.now + 10_000
    assert "rp.max_age_unmet" in browser.open("/high").text


@pytest.mark.parametrize("error", ["interaction_required", "unmet_authentication_requirements"])
def test_provider_refuses_the_level(browser: Browser, provider: FakeProvider, error: str) -> None:
    """The bridge's `interaction_required` on a step-up reads as an unmet level."""
    provider.error = error
    page = browser.open("/high")
    assert (page.status, "rp.level_unmet" in page.text) == (403, True)


def test_script_is_challenged(browser: Browser) -> None:
    """A script at too low a level gets RFC 9470's challenge and the address to step up."""
    browser.open("/matters/7")
    page = browser.open("/high", headers={"Sec-Fetch-Mode": "cors"})
    assert page.status == 401
    assert page.headers["www-authenticate"] == (
        'Bearer error="insufficient_user_authentication", acr_values="urn:crosshall:loa:3", max_age="600"'
    )
    assert "/oidc/login?return_to=%2Fhigh&level=3&max_age=600" in page.text.encode().decode("unicode_escape")


def test_step_up_at_the_other_window_only_raises(browser: Browser, window: Window, provider: FakeProvider) -> None:
    """A session at level 4 opens level 2 and 3 pages without a trip."""
    provider.person = Persona("strong", level=4)
    browser.open("/matters/7")
    assert browser.open("/high").status == 200
    assert provider.calls["authorize"] == 1


@pytest.mark.parametrize(("rung", "status"), [("fresh", 200), ("near", 200), ("day", 403), ("closed", 403)])
def test_rung_is_enforced_without_a_trip(browser: Browser, provider: FakeProvider, rung: str, status: int) -> None:
    """A matter that needs the line shows an error below its rung: no sign-in can mend it."""
    provider.person = Persona("offline", rung=rung)
    browser.open("/matters/7")
    before = provider.calls["authorize"]
    assert browser.open("/line").status == status
    assert provider.calls["authorize"] == before


@pytest.mark.parametrize("arguments", [{"level": 0}, {"level": 5}, {"max_age": 0}, {"max_age": 29}, {"rung": "good"}])
def test_requirement_that_cannot_be_met(arguments: dict[str, object]) -> None:
    """A requirement outside the levels, or fresher than a sign-in takes, fails when the application starts."""
    with pytest.raises(ValueError, match=r"is"):
        Requirement(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("query", ["level=9", "level=-1", "max_age=0", "level=2&max_age=1"])
def test_login_address_checks_its_query(browser: Browser, provider: FakeProvider, query: str) -> None:
    """An invented level in the address is refused, not passed on."""
    assert browser.open(f"/oidc/login?{query}").status == 400
    assert provider.calls["authorize"] == 0


def test_person_who_idled_on_the_page_of_capacities(browser: Browser, provider: FakeProvider, clock: Clock) -> None:
    """Keycloak counts from the end of its own sign-in, we from the proof: a step-up for age alone is a new proof."""
    browser.open("/high")
    assert provider.login is not None
    provider.login.brokered = 500  # proved, then sat on a page of the hall for so long
    clock.pass_(601)
    page = browser.open("/high")
    assert (page.status, page.text) == (200, "high level 3")
    assert provider.authorizations[-1]["prompt"] == "login"
    assert provider.calls["authorize"] == 2


def test_first_visit_with_an_old_proof(window: Window, browser: Browser, provider: FakeProvider, clock: Clock) -> None:
    """Without a session the provider may answer silently; what comes back too old is an error, its button proves."""
    browser.open("/high")
    assert provider.login is not None
    provider.login.brokered = 500
    clock.pass_(601)
    other = window.browser()
    page = other.open("/high")
    assert (page.status, "rp.max_age_unmet" in page.text) == (403, True)
    assert "prompt" not in provider.authorizations[-1]
    assert other.open("/oidc/login?return_to=/high&level=3&max_age=600").text == "high level 3"
    assert provider.authorizations[-1]["prompt"] == "login"


def test_step_up_in_level_alone_needs_no_new_proof(browser: Browser, provider: FakeProvider) -> None:
    """A level that is missing is asked for as a level; only age forces a new proof."""
    browser.open("/matters/7")
    assert browser.open("/high").status == 200
    assert "prompt" not in provider.authorizations[-1]


def test_rung_grows_worse_with_time() -> None:
    """The rung is computed at use: nothing newer than the last judgement is known, and it never gets better."""
    claims = {
        "crosshall_subject": "s1:" + "a" * 52,
        "crosshall_kind": "citizen",
        "crosshall_level": 2,
        "crosshall_auth_time": 1000,
        "crosshall_domain": "gd",
        "crosshall_checked_at": 1000,
        "crosshall_status_issued_at": 400,
        "crosshall_rung": "near",
    }
    person = Person.read(claims)
    ages = {0: "near", 14_400: "near", 14_401: "day", 86_401: "days", 259_201: "closed"}
    assert {age: person.rung_at(1000 + age) for age in ages} == ages
    asked = Requirement(rung="near", status_max_age=3600)
    assert asked.unmet(person, 1000) is None
    assert str(getattr(asked.unmet(person, 4001), "code", "")) == "rp.status_unmet"
    assert str(getattr(Requirement(rung="near").unmet(person, 15_401), "code", "")) == "rp.status_unmet"
    assert str(getattr(Requirement(rung="fresh").unmet(person, 1000), "code", "")) == "rp.rung_unmet"
    assert asked.stale(person, 4001)
    assert not asked.stale(person, 1000)


def test_line_that_was_good_hours_ago(browser: Browser, provider: FakeProvider, clock: Clock) -> None:
    """A judgement older than the rung allows is renewed by a proof, once, and the page opens."""
    assert browser.open("/line").status == 200
    assert provider.login is not None
    clock.pass_(100)
    assert browser.open("/line").status == 200
    assert provider.calls["authorize"] == 1
    provider.login.checked_at = clock.now - 100
    clock.pass_(14_500)
    assert browser.open("/line").status == 200
    assert provider.authorizations[-1]["prompt"] == "login"


@pytest.mark.parametrize("age", [0, 59, -1])
def test_status_that_cannot_be_so_new(age: int) -> None:
    """A status is issued now and then: an age below a minute fails when the application starts."""
    with pytest.raises(ValueError, match="status_max_age"):
        Requirement(status_max_age=age)
