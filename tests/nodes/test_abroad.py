"""One sign-in across halls, between whole nodes: every direction, no click, the same human, signed out everywhere."""

from __future__ import annotations

import pytest

from tests.live.citizen import host
from tests.nodes.country import PLACES, Country, Place, wait
from tests.nodes.people import RECHECKED, arrives, citizen, received

pytestmark = pytest.mark.live
GD, GZ, FS, CH = PLACES
WHO = "gd-zhang"
DIRECTIONS = ((GZ, GD), (GD, GZ), (GZ, FS), (CH, GD))


@pytest.mark.parametrize(("there", "here"), DIRECTIONS, ids=lambda place: place.name)
def test_signed_in_at_one_hall_known_at_another(country: Country, there: Place, here: Place) -> None:
    """No second ceremony; the same human as by this hall's own ceremony; the level that evidence proves, no more."""
    person = citizen(country, WHO)
    page = person.by_token(there.domain)
    assert (person.at_window(there.domain, page), received(page, "level")) == (True, "4")
    arrives(person, here, there)
    came = person.window(here.domain)
    assert received(came, "level") == "3"
    own = citizen(country, WHO)
    page = own.by_token(here.domain)
    assert received(page, "subject") == received(came, "subject")
    assert received(page, "level") == "4"


def test_signing_out_at_one_hall_ends_it_at_all(country: Country) -> None:
    """A city's session that two other halls stand on: signed out at one of those, it is over at all three."""
    person = citizen(country, WHO)
    person.by_token(GZ.domain)
    for here in (GD, FS):
        arrives(person, here, GZ)
    assert all(person.known(place.domain) for place in (GZ, GD, FS))
    person.sign_out(FS.domain)
    for place in (GZ, GD):
        took = wait(RECHECKED, lambda place=place: not person.known(place.domain))  # type: ignore[misc]
        print(f"signed out at {place.name} after {took:.1f} s")  # noqa: T201


def test_what_came_from_elsewhere_does_not_travel_on(country: Country) -> None:
    """Evidence lies where the person signed: from a third hall the way back says so, once, and no loop begins."""
    person = citizen(country, WHO)
    person.by_token(GZ.domain)
    arrives(person, GD, GZ)
    page = person.travels(GD.domain, person.comes(FS.domain, GD.domain))
    assert page.url.endswith("?abroad=way")
    assert host(page) == f"hall.{FS.base}"
    again = person.browser.get(page.url.partition("?")[0])
    assert (again.url, again.status) == (page.url.partition("?")[0], 200), "the link's hint leads there once"
    assert person.at_window(FS.domain, person.proves(FS.domain, again))


def test_nobody_signed_in_there(country: Country) -> None:
    """A hall with nothing to give says so in one round, and this hall's own ceremony goes on on the same page."""
    person = citizen(country, WHO)
    page = person.travels(GZ.domain, person.comes(GD.domain, GZ.domain))
    assert page.url.endswith("?abroad=none")
    assert person.at_window(GD.domain, person.proves(GD.domain, page))


def test_a_tls_sign_in_stays_where_it_is(country: Country) -> None:
    """A certificate shown to nginx leaves nothing that another hall could check."""
    person = citizen(country, WHO)
    country.sign_in(GZ, person.browser)
    assert person.known(GZ.domain)
    page = person.travels(GZ.domain, person.comes(GD.domain, GZ.domain))
    assert page.url.endswith("?abroad=way")
    assert not person.known(GD.domain)
