"""Each end of a sign-in is counted once, by way, code and rung."""

from __future__ import annotations

from ca_bridge.metrics import SIGN_INS, VERDICT
from tests.unit.web.hall import LI, Hall, Held


def counts() -> dict[tuple[str, str, str], float]:
    """What was counted so far."""
    samples = [s for family in SIGN_INS.collect() for s in family.samples if s.name.endswith("_total")]
    return {(s.labels["way"], s.labels["code"], s.labels["rung"]): s.value for s in samples}


def more(before: dict[tuple[str, str, str], float]) -> dict[tuple[str, str, str], float]:
    """What was counted since."""
    return {key: value - before.get(key, 0) for key, value in counts().items() if value != before.get(key, 0)}


def judged() -> float:
    """How many verdicts were timed."""
    return sum(s.value for family in VERDICT.collect() for s in family.samples if s.name.endswith("_count"))


def test_a_sign_in_that_is_done(hall: Hall, li: Held) -> None:
    """Once, however many steps it took; its verdict is timed."""
    browser, before, verdicts = hall.browser(), counts(), judged()
    browser.tls(browser.begin(level=3).id, li)
    assert more(before) == {("tls", "ok", "fresh"): 1}
    assert judged() > verdicts


def test_a_refused_certificate(hall: Hall, li: Held) -> None:
    """Under the verdict's own code."""
    hall.snapshots.refuse = "revocation.revoked"
    browser, before = hall.browser(), counts()
    browser.tls(browser.begin().id, li)
    assert more(before) == {("tls", "revocation.revoked", "fresh"): 1}


def test_a_level_that_is_not_reached(hall: Hall, li: Held) -> None:
    """A page that stands in the way counts as a refusal does."""
    hall.snapshots.level = 2
    browser, before = hall.browser(), counts()
    browser.tls(browser.begin(level=3).id, li)
    assert more(before) == {("tls", "policy.level", "fresh"): 1}


def test_a_question_is_no_end(hall: Hall) -> None:
    """Choosing a capacity comes before it."""
    held = hall.snapshots.authorities[0].issue("李示范", LI, "经办人证书", "样例有限公司")
    browser, before = hall.browser(), counts()
    browser.tls(browser.begin().id, held)
    assert more(before) == {}


def test_what_does_not_get_to_a_way_is_not_counted(hall: Hall) -> None:
    """A page that is asked for, an unknown transaction: nobody began to sign in."""
    before = counts()
    browser = hall.browser()
    browser.get(f"/sign-in/{'x' * 43}")
    browser.get(f"/sign-in/{browser.begin().id}")
    assert more(before) == {}
