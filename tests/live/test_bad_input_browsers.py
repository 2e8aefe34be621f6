"""A ceremony begun in one browser and finished in another, by every way: nothing is completed by transaction id."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from demo.browser import Browser
from demo.personas import persona
from demo.selfcheck import new_browser
from demo.stack import Demo
from tests.live.ceremony import begin, begin_in, button
from tests.live.witness import assert_refused, people_known, refusal, sids

pytestmark = pytest.mark.live
ZHANG, LI, LIN = persona("gd-zhang"), persona("gz-li"), persona("gd-lin-operator")


@pytest.mark.parametrize(
    "step",
    ["", "/certificate", "/capacity", "/switch", "/held", "/level", "/return?code=" + "A" * 43],
    ids=lambda step: step[:10] or "page",
)
def test_another_browser_sees_nothing(demo: Demo, step: str) -> None:
    """No page of a sign-in answers to a browser that did not begin it, with a cookie of its own or without any."""
    here = begin(demo, ZHANG)
    for other in (Browser(demo.pki.tls_ca), begin(demo, LI).browser):
        with refusal(demo, "ceremony.other_browser"):
            page = other.get(here.address(step))
        assert_refused(page, "ceremony.other_browser")


@pytest.mark.parametrize("step", ["/challenge", "/proof", "/capacity", "/switch", "/cancel"])
def test_another_browser_does_nothing(demo: Demo, step: str) -> None:
    """No step of a sign-in is done by a browser that did not begin it, even with the page's anti-forgery token."""
    here, other = begin(demo, ZHANG), begin(demo, LI)
    with refusal(demo, "ceremony.other_browser"):
        page = here.post(step, {}, browser=other.browser)
    assert_refused(page, "ceremony.other_browser")
    assert here.browser.get(here.address()).status == 200  # the sign-in itself is untouched


def test_the_lured_victim(demo: Demo) -> None:
    """Who gets a victim to click for the lurer's transaction gains nothing: the code is in the wrong browser."""
    lurer, victim = begin_in(demo, Browser(demo.pki.tls_ca)), new_browser(demo.pki, LI)
    before = sids(demo)
    there = lurer.certificate_page(victim)
    assert LI.name in there.text
    with refusal(demo, "ceremony.other_browser"):
        assert_refused(victim.submit(there, button(there)), "ceremony.other_browser")
    hall = demo.addresses.url("hall")
    with refusal(demo, "ceremony.unfinished"):
        assert_refused(lurer.browser.get(f"{hall}/authorize/continue?tx={lurer.transaction}"), "ceremony.unfinished")
    assert sids(demo) == before


def test_a_stolen_code(demo: Demo) -> None:
    """A one-time code is worth nothing in another browser or transaction, and is used up there."""
    victim, thief = begin(demo, ZHANG), begin(demo, LI)
    code = victim.code()
    with refusal(demo, "ceremony.other_browser"):
        assert_refused(thief.browser.get(victim.address(f"/return?code={code}")), "ceremony.other_browser")
    with refusal(demo, "ceremony.code"):
        assert_refused(thief.browser.get(thief.address(f"/return?code={code}")), "ceremony.code")
    with refusal(demo, "ceremony.code"):
        assert_refused(victim.browser.get(victim.address(f"/return?code={code}")), "ceremony.code")


def test_continue_in_another_browser(demo: Demo) -> None:
    """A sign-in that has ended is continued in its own browser only; another one spoils nothing."""
    here = begin(demo, ZHANG)
    here.browser.stop_at = f"{demo.addresses.url('hall')}/authorize/continue"
    there = here.certificate_page()
    ended = here.browser.submit(there, button(there))
    assert ended.url.startswith(here.browser.stop_at)
    before = sids(demo)
    for other in (Browser(demo.pki.tls_ca), begin(demo, LI).browser):
        assert_refused(other.get(ended.url), "ceremony.other_browser")
    assert sids(demo) == before
    here.browser.stop_at = ""
    assert urlsplit(here.browser.get(ended.url).url).hostname == demo.addresses.host("police")
    assert_refused(here.browser.get(ended.url), "ceremony.expired")


def test_the_capacity_is_chosen_in_the_same_browser(demo: Demo) -> None:
    """Who waits at the question of capacity is asked in their own browser; another one can neither see nor answer."""
    here, other = begin(demo, LIN), begin(demo, LI)
    there = here.certificate_page()
    asked = here.browser.submit(there, button(there))
    assert urlsplit(asked.url).path.endswith("/capacity")
    before = sids(demo)
    form = next(form for form in asked.forms if "capacity" in form.action or form.fields.get("capacity") is not None)
    headers = {"Origin": demo.addresses.url("hall")}
    stolen = other.browser.post(here.address("/capacity"), {**form.fields, "capacity": "citizen"}, headers)
    assert_refused(stolen, "ceremony.other_browser")
    assert LIN.name not in other.browser.get(here.address("/capacity")).text
    wrong = here.browser.submit(asked, form, capacity="officer")
    assert_refused(wrong, "ceremony.capacity")
    assert sids(demo) == before
    page = here.browser.submit(asked, form, capacity="citizen")
    assert urlsplit(page.url).hostname == demo.addresses.host("police")


def test_a_post_from_elsewhere(demo: Demo) -> None:
    """A form of another site, or of the same browser's other transaction, is refused."""
    here = begin(demo, ZHANG)
    other = begin_in(demo, here.browser, window="env")
    assert other.transaction != here.transaction
    good = {"Origin": demo.addresses.url("hall"), "X-Crosshall-CSRF": here.csrf}
    for wrong in ({"Origin": "https://evil.localhost"}, {"Origin": "null"}, {"X-Crosshall-CSRF": other.csrf},
                  {"X-Crosshall-CSRF": ""}, {"Sec-Fetch-Site": "cross-site"}):  # fmt: skip
        with refusal(demo, "ceremony.forged"):
            page = here.browser.once("POST", here.address("/challenge"), "", {**good, **wrong})
        assert_refused(page, "ceremony.forged")
    assert here.browser.once("POST", here.address("/challenge"), "", good).status == 200


def test_nobody_was_made_known_by_a_refusal(demo: Demo) -> None:
    """A certificate that is presented but never confirmed by a click leaves no person in the bridge's database."""
    known = people_known(demo)
    here = begin(demo, persona("mo-ho"))
    assert here.certificate_page().status == 200
    assert people_known(demo) == known
