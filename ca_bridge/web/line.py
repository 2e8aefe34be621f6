"""The hall's line to the province in plain words: the rung of the offline ladder, and the age of the trust data."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from flask import Blueprint, Response, jsonify, request

from ca_bridge.ceremony.services import services
from ca_bridge.errors import CeremonyError
from ca_bridge.policy.rungs import Rung
from ca_bridge.policy.trusted_time import TrustedTime
from ca_bridge.web import guard, pages

line = Blueprint("line", __name__)

_MINUTES = timedelta(minutes=120)
"""Ages below are told in minutes, above in hours."""


@dataclass(frozen=True, slots=True)
class Line:
    """What the pages show."""

    rung: str
    well: bool
    """Nothing is held back yet: a quiet line, not a note."""
    age: str
    """Key of the words."""
    number: int


def words_of(time: TrustedTime) -> Line:
    """The trusted time as the pages show it; an age is never told younger than it is."""
    well = time.rung in (Rung.FRESH, Rung.NEAR)
    if time.code:
        return Line(time.rung.value, well, "status.age_unknown", 0)
    if time.age < timedelta(minutes=1):
        return Line(time.rung.value, well, "status.age_now", 0)
    unit, key = (timedelta(minutes=1), "minutes") if time.age <= _MINUTES else (timedelta(hours=1), "hours")
    return Line(time.rung.value, well, f"status.age_{key}", -(-time.age // unit))


@line.get("/status")
def status() -> Response:
    """The state of this hall, for everybody; JSON for who asks for it: `node`, `rung`, `age` (seconds or null)."""
    here = services()
    if not guard.is_hall(here.settings.bridge, request.host):
        raise CeremonyError("ceremony.no_page", "asked of another host than the hall")
    time = here.trusted()
    if pages.wants_json():
        age = None if time.code else max(0, round(time.age.total_seconds()))
        return jsonify(node=here.settings.node.name, rung=time.rung.value, age=age)
    return pages.page("status.html", line=words_of(time), node=here.settings.node.name)
