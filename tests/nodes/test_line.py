"""Two cables are pulled: Foshan goes down the ladder, Guangzhou's sign-outs and bad sign-ins wait for the line.

Time passes by the nodes' records of it; nobody waits for days. The tests stand in the order of the story: the cables
are pulled before the first, joined before `test_the_line_is_back`.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

import pytest

from demo.browser import Browser
from demo.personas import persona
from tests.live.citizen import LOOK_SECONDS, Citizen, host
from tests.nodes.country import PLACES, Country, Place, status_of, wait
from tests.nodes.people import MINUTE, at, citizen, hours_pass, issued, received, refused, rung, signs_in

pytestmark = pytest.mark.live
GD, GZ, FS, CH = PLACES
GOOD, LIVE, GONE = "gd-zhang", "gd-wang-officer", "gd-zhang-file"
"""Signs in during the cut and stays good; is revoked while signed in; is revoked after signing in and out."""


@dataclass(slots=True)
class Before:
    """Who was signed in at Guangzhou and the province, both by one ceremony, when the cables were pulled."""

    city_first: Citizen
    province_first: Citizen
    live: Browser | None = None


@pytest.fixture(scope="module", name="story")
def _story(country: Country) -> Iterator[Before]:
    people = Before(citizen(country, GOOD), citizen(country, GOOD))
    for person, here, there in ((people.city_first, GD, GZ), (people.province_first, GZ, GD)):
        person.by_token(there.domain)
        page = person.travels(there.domain, person.comes(here.domain, there.domain))
        assert person.at_window(here.domain, page)
    for place in (FS, GZ):
        country.wires.cut(place.name)
    for place in (FS, GZ):
        wait(MINUTE, lambda place=place: bool(status_of(country, place)["codes"]))  # type: ignore[misc]
    yield people
    for place in (FS, GZ):
        country.wires.join(place.name)
        wait(MINUTE, lambda place=place: caught_up(country, place))  # type: ignore[misc]


def caught_up(country: Country, place: Place) -> bool:
    """Whether the node hears the province again and is as fresh as before."""
    with country.wires.standing(place.name):
        return not status_of(country, place)["codes"] and rung(country, place) == "fresh"


@pytest.mark.usefixtures("story")
class TestTheLineIsCut:
    """What goes on, and what does not."""

    def test_the_ladder(self, country: Country) -> None:
        """Sign-ins go on; token, hall and window say the rung; each rung allows what design §6 says and no more."""
        with country.wires.standing(FS.name):
            hours_pass(country, FS, 3, "near")
            browser = signs_in(country, FS)
            assert received(country.sign_in(FS, browser), "rung") == "near"
            page = country.sign_in(FS, browser, "/today")
            assert (page.status, "rp.rung_unmet" in page.text) == (403, True), (page.status, page.url, page.text[:2000])
            signs_in(country, FS, "hk-chan")
            hours_pass(country, FS, 5, "day")
            assert received(country.sign_in(FS, signs_in(country, FS)), "rung") == "day"
            refused(country, FS, "hk-chan", "policy.offline_border")
            hours_pass(country, FS, 30, "days")
            page = country.sign_in(FS, signs_in(country, FS))
            assert (received(page, "rung"), received(page, "level")) == ("days", "2")
            hours_pass(country, FS, 80, "closed")
            refused(country, FS, GOOD, "policy.offline")

    def test_disks_are_carried_in(self, country: Country) -> None:
        """A disk written now brings the cut node up to date; one of an earlier day is refused and changes nothing."""
        disk = country.root / "disk"
        before = issued(country, FS)
        country.renew_crl(persona(GOOD))
        wait(MINUTE, lambda: country.published() > before)
        country.run(GD, "federation", "export", disk)
        country.run(FS, "node", "sync", "--once", "--source", f"file:{disk}")
        carried = issued(country, FS)
        assert carried > before
        told = country.run(FS, "node", "sync", "--once", "--source", f"file:{country.old_disk}", fails=True)
        assert "federation.rollback" in told
        assert issued(country, FS) == carried

    @pytest.mark.parametrize(("here", "there"), [(GD, GZ), (GZ, GD)], ids=lambda place: place.name)
    def test_the_other_hall_is_dead(self, country: Country, here: Place, there: Place) -> None:
        """The page finds out within its time and the hall's own ceremony goes on there; the way was not used up."""
        with country.wires.standing(here.name):
            person = citizen(country, GOOD)
            page = person.comes(here.domain, there.domain)
            started = time.monotonic()
            assert not person.looks(page)
            assert time.monotonic() - started < 2 * LOOK_SECONDS
            own = person.browser.get(next(link for link in page.links if "/sign-in/" in link and "abroad" not in link))
            assert host(own) == f"hall.{here.base}"
            assert person.at_window(here.domain, person.proves(here.domain, own))

    def test_went_to_a_dead_hall(self, country: Country) -> None:
        """Sent on without a look, the browser stands before nothing: one step back is this hall's page, and no loop."""
        person = citizen(country, GOOD)
        page = person.chooses(GD.domain, GZ.domain)
        form = next(form for form in page.forms if form.action.endswith("/abroad"))
        person.browser.stop_at = GZ.url("hall")
        assert person.browser.submit(page, form).url.startswith(GZ.url("hall"))
        person.browser.stop_at = ""
        back = person.browser.get(page.url)
        assert (host(back), "data-abroad" in back.text) == (f"hall.{GD.base}", False), "one try in a sign-in"
        assert person.at_window(GD.domain, person.proves(GD.domain, back))

    def test_signed_out_on_one_side(self, country: Country, story: Before) -> None:
        """Out at once on this side of the cut; the other side does not know, and keeps its session."""
        story.province_first.sign_out(GD.domain)
        assert not story.province_first.known(GD.domain)
        assert story.city_first.known(GD.domain)
        with country.wires.standing(GZ.name):
            for person in (story.city_first, story.province_first):
                person.browser.moves()
            story.city_first.sign_out(GZ.domain)
            assert not story.city_first.known(GZ.domain)
            assert story.province_first.known(GZ.domain)

    def test_sign_ins_of_the_cut_are_kept(self, country: Country, story: Before) -> None:
        """Good by what the node knows; each waits to be judged again, and nothing is reported yet."""
        with country.wires.standing(GZ.name):
            hours_pass(country, GZ, 1, "near")
            story.live = signs_in(country, GZ, LIVE)
            gone = citizen(country, GONE)
            gone.by_token(GZ.domain)
            gone.sign_out(GZ.domain)
            signs_in(country, GZ, GOOD)
            revoked = max(country.revoke(persona(who)) for who in (LIVE, GONE))
            assert at(story.live.get(GZ.url("police") + "/me"), GZ)
        told = re.search(r"0 refused since, (\d+) to be judged", country.desk(GZ, "node", "cuts"))
        assert told
        assert int(told[1]) >= 3
        wait(2 * MINUTE, lambda: country.published() > revoked)


def test_the_line_is_back(country: Country, story: Before) -> None:
    """A minute later the nodes are as before, every sign-out has arrived, who was revoked meanwhile is out."""
    for place in (FS, GZ):
        country.wires.join(place.name)
    live = story.live
    assert live
    for browser in (live, story.city_first.browser, story.province_first.browser):
        browser.moves()
    events: dict[str, Callable[[], bool]] = {
        "signed out at the city, over at the province": lambda: not story.city_first.known(GD.domain),
        "signed out at the province, over at the city": lambda: not story.province_first.known(GZ.domain),
        "revoked meanwhile, session over": lambda: not at(live.get(GZ.url("police") + "/me"), GZ),
        "city caught up": lambda: caught_up(country, GZ) and caught_up(country, FS),
        "county caught up": lambda: issued(country, CH) >= issued(country, GZ),
    }
    started = time.monotonic()
    while events and time.monotonic() - started < MINUTE:
        for what, happened in list(events.items()):
            if happened():
                print(f"{what}: {time.monotonic() - started:.1f} s after the line's return")  # noqa: T201
                del events[what]
        time.sleep(0.5)
    assert not events


@pytest.mark.usefixtures("story")
def test_sign_ins_of_the_cut_are_judged_again(country: Country) -> None:
    """Who was revoked is reported, whether still signed in or not, and nobody else; the operator's exit code is 1."""
    wait(MINUTE, lambda: " 0 to be judged" in country.desk(GZ, "node", "cuts", code=None))
    rows = [json.loads(line) for line in country.desk(GZ, "node", "cuts", "--json", code=1).splitlines()]
    told = {row["certificate_key"].rpartition(":")[2]: row["code"] for row in rows}
    assert told == {country.serial(persona(who)): "revocation.revoked" for who in (LIVE, GONE)}
    assert all(datetime.fromisoformat(row["signed_in"]) < datetime.fromisoformat(row["judged"]) for row in rows)
    assert "0 refused since, 0 to be judged" in country.desk(FS, "node", "cuts")


@pytest.mark.usefixtures("story")
@pytest.mark.parametrize("who", [LIVE, GONE])
def test_the_person_is_told(country: Country, who: str) -> None:
    """Whoever was revoked reads why at the next visit, at the city as at the province."""
    for place in (GZ, GD):
        refused(country, place, who, "revocation.revoked")
