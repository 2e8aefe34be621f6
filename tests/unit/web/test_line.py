"""The rung and the age of trust data, in plain words, at the sign-in page and at `/status`."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from ca_bridge.errors import LANGUAGES, CrosshallError, StoreError
from ca_bridge.policy.rungs import Rung
from ca_bridge.policy.trusted_time import TrustedTime
from ca_bridge.types import Verdict
from ca_bridge.web.language import locale
from ca_bridge.web.line import words_of
from tests.unit.web.hall import LI, START, Authority, Hall, code_of, make_hall, session_of


@pytest.fixture
def city(tmp_path: Path) -> Hall:
    """A hall with two CAs: the province's and one from across the border."""
    return make_hall(tmp_path, [Authority("gd-public", "gd-ca-01"), Authority("hk-post", "hk-ca-01", "hk")])


@pytest.mark.parametrize(
    ("age", "key", "number"),
    [(0, "now", 0), (59, "now", 0), (60, "minutes", 1), (61, "minutes", 2), (7200, "minutes", 120), (7201, "hours", 3)],
)
def test_an_age_is_never_told_younger(age: int, key: str, number: int):
    """Rounded up, in minutes and then in hours."""
    told = words_of(TrustedTime(START, timedelta(seconds=age), Rung.FRESH))
    assert (told.age, told.number) == (f"status.age_{key}", number)


@pytest.mark.parametrize("tongue", LANGUAGES)
@pytest.mark.parametrize(("hours", "rung"), [(0, "fresh"), (2, "near"), (5, "day"), (30, "days"), (73, "closed")])
def test_status_says_the_rung_in_four_languages(city: Hall, tongue: str, hours: float, rung: str):
    """Whoever asks, in their language; no cookie or sign-in is needed."""
    city.ladder.cut(hours=hours)
    page = city.browser().get(f"/status?lang={tongue}")
    assert page.status_code == 200
    assert locale(tongue)[f"status.{rung}"] in page.text
    assert locale(tongue)[f"status.rung_{rung}"] in page.text
    assert page.headers["Cache-Control"] == "no-store"


def test_status_as_json(city: Hall):
    """For windows: node, rung, age in whole seconds; null when there is no trusted time."""
    city.ladder.cut(hours=5)
    ask = {"headers": {"Accept": "application/json"}}
    assert city.browser().get("/status", **ask).json == {"node": "gd", "rung": "day", "age": 18000}
    city.ladder.code = "trust.time"
    assert city.browser().get("/status", **ask).json == {"node": "gd", "rung": "closed", "age": None}


def test_status_is_the_halls_alone(city: Hall):
    """The certificate host has no such page."""
    page = city.browser().get("/status", base_url=f"https://{'a' * 26}.cert.hall.test:8443")
    assert (page.status_code, code_of(page.text)) == (404, "ceremony.no_page")


@pytest.mark.parametrize(("hours", "rung"), [(0, "fresh"), (5, "day"), (30, "days"), (73, "closed")])
def test_the_sign_in_page_says_it_before_anybody_begins(city: Hall, hours: float, rung: str):
    """A citizen need not fetch the UKey first to learn that nobody signs in."""
    city.ladder.cut(hours=hours)
    visitor = city.browser()
    page = visitor.get(f"/sign-in/{visitor.begin().id}?lang=en")
    assert f'data-rung="{rung}"' in page.text
    assert (locale("en")[f"status.{rung}"] in page.text) == (rung != "fresh")


@pytest.mark.parametrize(("hours", "rung"), [(0, "fresh"), (2, "near"), (5, "day"), (30, "days")])
def test_a_sign_in_carries_the_rung(city: Hall, hours: float, rung: str):
    """Into the session, and from there into the token; on `days` the level is 2."""
    city.ladder.cut(hours=hours)
    visitor = city.browser()
    held = city.snapshots.authorities[0].issue("李", LI)
    visitor.token(visitor.begin().id, held)
    session = session_of(visitor)
    assert (session.rung, session.level) == (rung, 2 if rung == "days" else 4)


@pytest.mark.parametrize(
    ("hours", "level", "authority", "code"),
    [(5, 1, 1, "policy.offline_border"), (30, 3, 0, "policy.offline"), (73, 1, 0, "policy.offline")],
)
def test_what_the_rung_forbids_is_refused(city: Hall, hours: float, level: int, authority: int, code: str):
    """Border at `day`, level 3 at `days`, everybody on `closed`: a page with the code, and no session."""
    city.ladder.cut(hours=hours)
    visitor = city.browser()
    held = city.snapshots.authorities[authority].issue("李", LI)
    page = visitor.token(visitor.begin(level=level).id, held)
    assert (page.status_code, code_of(page.text)) == (503, code)
    assert session_of(visitor) is None


def test_without_trusted_time_nothing_is_judged(city: Hall):
    """A certificate cannot be judged at no time: refused before the snapshot is asked."""
    city.ladder.code = "trust.time_missing"
    visitor = city.browser()
    page = visitor.token(visitor.begin().id, city.snapshots.authorities[0].issue("李", LI))
    assert code_of(page.text) == "policy.offline"
    assert city.snapshots.judged == 0


def test_certificates_are_judged_at_trusted_now(city: Hall):
    """Not at the machine's: a wall clock set back revives no expired certificate. The session runs on the machine's."""
    seen = []
    judge = city.snapshots.judge
    city.snapshots.judge = lambda leaf, at: seen.append(at) or judge(leaf, at)  # type: ignore[func-returns-value, method-assign]
    city.ladder.ahead = timedelta(days=3)
    visitor = city.browser()
    visitor.token(visitor.begin().id, city.snapshots.authorities[0].issue("李", LI))
    assert set(seen) == {START + timedelta(days=3)}
    assert session_of(visitor).checked_at == START


class Noted:
    """A journal of cuts that remembers who was noted."""

    def __init__(self, fault: CrosshallError | None = None) -> None:
        self.leaves: list[bytes] = []
        self.fault = fault

    def note(self, _snapshot: object, leaf: bytes, verdict: Verdict) -> None:
        if self.fault:
            raise self.fault
        assert verdict.accepted
        self.leaves.append(leaf)


@pytest.mark.parametrize(("minutes", "noted"), [(0, 0), (3, 0), (4, 1), (20, 1), (300, 1)])
def test_sign_ins_of_a_cut_are_noted(city: Hall, minutes: float, noted: int):
    """From the first minutes on, before the rung falls: what was revoked in them was not known here either."""
    journal = Noted()
    object.__setattr__(city.services, "cuts", journal)
    city.ladder.cut(minutes=minutes)
    visitor = city.browser()
    visitor.token(visitor.begin().id, city.snapshots.authorities[0].issue("李", LI))
    assert session_of(visitor) is not None
    assert len(journal.leaves) == noted


def test_what_cannot_be_noted_does_not_sign_in(city: Hall):
    """The disk is full during a cut: a page with the code, no session."""
    object.__setattr__(city.services, "cuts", Noted(StoreError("store.full", "no space")))
    city.ladder.cut(hours=1)
    visitor = city.browser()
    page = visitor.token(visitor.begin().id, city.snapshots.authorities[0].issue("李", LI))
    assert code_of(page.text) == "store.full"
    assert session_of(visitor) is None
