"""What people at windows do and see, and what an operator's watch would say: the words of all tests of whole nodes."""

from __future__ import annotations

import json
import re
import time
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from ca_bridge.files import write_atomically
from demo.browser import Browser, Page
from demo.personas import persona
from tests.live.citizen import Citizen
from tests.nodes.country import PLACES, Country, Place, wait

MINUTE = 60.0
RECHECKED = 75.0
"""Longest time until a window knows of a sign-out whose call it missed: its `recheck`, and a request, seconds."""
_HALLS = {place.domain: place for place in PLACES}


def at(page: Page, place: Place) -> bool:
    """Whether the person stands at the place's window, signed in."""
    return page.status == 200 and urlsplit(page.url).hostname == f"police.{place.base}"


def signs_in(country: Country, place: Place, who: str = "gd-zhang") -> Browser:
    """A new browser's sign-in at the place's window, which must succeed."""
    browser = country.browser(persona(who))
    page = country.sign_in(place, browser)
    assert at(page, place), (place.name, page.status, page.url, page.text[:2000])
    assert persona(who).name in page.text
    return browser


def refused(country: Country, place: Place, who: str, code: str) -> None:
    """A new browser's sign-in is refused under `code`."""
    page = country.sign_in(place, country.browser(persona(who)))
    assert not at(page, place)
    assert code in page.text, (page.status, page.url, page.text[:2000])


def hours_pass(country: Country, place: Place, hours: float, until: str) -> None:
    """The node's record of time as if its last signed time were so many hours old; the hall then says `until`."""
    path = country.folder(place) / "state" / "trusted-time.json"

    def moved() -> bool:
        record = json.loads(path.read_text("utf-8"))
        issued = datetime.fromisoformat(record["now"]) - timedelta(hours=hours)
        write_atomically(path, json.dumps({**record, "issued": issued.isoformat()}).encode())
        time.sleep(1.2)  # the bridge looks once a second
        return rung(country, place) == until

    wait(20, moved)  # the agent may have written between


def rung(country: Country, place: Place) -> str:
    """The rung as the hall tells everybody."""
    page = Browser(country.tls_ca).get(f"{place.url('hall')}/status", {"Accept": "application/json"})
    return str(json.loads(page.text)["rung"])


def issued(country: Country, place: Place) -> datetime:
    """The newest signed time that the node has."""
    record = json.loads((country.folder(place) / "state" / "trusted-time.json").read_text("utf-8"))
    return datetime.fromisoformat(record["issued"])


def received(page: Page, field: str) -> str:
    """A value that the window was given."""
    found = re.search(rf'data-received="{field}" data-value="([^"]*)"', page.text)
    assert found, page.text[:2000]
    return found.group(1)


def citizen(country: Country, who: str) -> Citizen:
    """A new browser of somebody whose token stands before every hall."""
    return Citizen(_HALLS, country.browser(persona(who)), persona(who), country.built)


def arrives(person: Citizen, here: Place, there: Place) -> None:
    """From a link that names the hall where the person is signed in to the window, by redirects and scripts alone."""
    page = person.travels(there.domain, person.comes(here.domain, there.domain))
    assert person.at_window(here.domain, page), (page.status, page.url, page.text[:2000])
    assert person.person.name in page.text
