"""Hong Kong's CA stands across the border line: its status comes from its own machine, and its people go with it.

The tests stand in the order of the story; in the end the CA's list is good for a week again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from demo.personas import persona
from tests.nodes import hongkong
from tests.nodes.country import PLACES, Country, wait
from tests.nodes.people import MINUTE, at, refused, signs_in

pytestmark = pytest.mark.live
GD, GZ, FS, CH = PLACES
WHO, MAINLAND = "hk-chan", "gd-zhang"
WEEK = timedelta(days=7)


@pytest.fixture(scope="module", autouse=True)
def _afterwards(country: Country) -> Iterator[None]:
    yield
    country.wires.join(hongkong.PLACE)


def fetched(country: Country) -> None:
    """The hall's fetcher asks now, as its operator would: on its own it asks once a minute."""
    country.run(FS, "bridge", "fetch", "--once", "--all")


def test_status_comes_over_the_border_line(country: Country) -> None:
    """Suspended at Hong Kong's machine alone, in no bundle: refused here, and a session that was open ends."""
    live = signs_in(country, FS, WHO)
    country.publish_abroad(WEEK, persona(WHO))
    fetched(country)
    wait(MINUTE, lambda: not at(live.get(FS.url("police") + "/me"), FS))
    refused(country, FS, WHO, "revocation.revoked")
    signs_in(country, FS, MAINLAND)


def test_the_border_line_is_cut(country: Country) -> None:
    """Until its last list is over Hong Kong's people are served; then refused, they alone, with the right code."""
    ends = country.publish_abroad(timedelta(seconds=12))
    fetched(country)
    country.wires.cut(hongkong.PLACE)
    if datetime.now(UTC) < ends - timedelta(seconds=2):
        signs_in(country, FS, WHO)
    told = country.run(FS, "bridge", "fetch", "--once", "--all", fails=True)
    assert "revocation.fetch_failed" in told
    # trusted time is as late as the last signed time was on its way
    wait(MINUTE, lambda: "revocation.stale" in country.sign_in(FS, country.browser(persona(WHO))).text)
    signs_in(country, FS, MAINLAND)


def test_the_border_line_is_back(country: Country) -> None:
    """The line's return and a new list, and they are served again."""
    country.publish_abroad(WEEK)
    country.wires.join(hongkong.PLACE)
    fetched(country)
    wait(MINUTE, lambda: at(country.sign_in(FS, country.browser(persona(WHO))), FS))


def test_the_border_is_suspended(country: Country) -> None:
    """One command without a key holder: in a minute their sessions are over at every node, and others go on."""
    live = {place.name: signs_in(country, place, WHO) for place in PLACES}
    country.office("federation", "suspend", "border")
    started = time.monotonic()
    for place in PLACES[1:]:
        wait(MINUTE, lambda place=place: not at(live[place.name].get(place.url("police") + "/me"), place))  # type: ignore[misc]
        print(f"border suspended: over at {place.name} after {time.monotonic() - started:.1f} s")  # noqa: T201
        refused(country, place, WHO, "path.unknown_issuer")
        signs_in(country, place, MAINLAND)
    country.office("federation", "resume", "border")
    for place in PLACES[1:]:
        wait(MINUTE, lambda place=place: at(country.sign_in(place, country.browser(persona(WHO))), place))  # type: ignore[misc]


def test_nobody_tells_hong_kong_who_signs_in(country: Country) -> None:
    """All that ever came to the CA's machine: nodes that fetched its list; no request about a person."""
    lines = (country.root / "logs" / f"{hongkong.PLACE}.log").read_text("utf-8").splitlines()
    asked = {line.split('"')[1] for line in lines if '"' in line}
    assert asked == {f"GET /{hongkong.LIST} HTTP/1.1"}
    assert {line.split(" ")[0] for line in lines if '"' in line} <= {place.address for place in PLACES}
