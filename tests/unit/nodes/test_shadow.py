"""Pilot: the province judges again what a node decided, counts, keeps what differs; numbers alone make it live."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from secrets import token_bytes

import pytest

from ca_bridge.ceremony.journal import INBOX
from ca_bridge.errors import CrosshallError, StoreError
from ca_bridge.settings import Pilot
from ca_bridge.verdict.replay import Outcome, parse, record
from ca_bridge.verdict.replay import replay as judge_again
from nodes.shadow import Shadow
from nodes.tally import Tally, parse_tally, short
from tests.pki import der
from tests.unit.nodes.pilots import Line, begun, tally
from tests.unit.verdict.conftest import NOW
from tests.unit.web.federation import OTHER, PROVINCE


@pytest.fixture
def line(tmp_path: Path) -> Line:
    """A city in pilot; what is in force has been so for an hour."""
    return begun(tmp_path)


def test_equal_verdicts_leave_a_number_alone(line: Line):
    """Accepted and refused ones; no certificate stays at the province."""
    good = line.decide()
    line.decide(der(line.trust.leaf(extensions=[])))  # no key usage
    line.decide(b"no certificate")
    line.sign_in()
    assert line.there_and_back() == 4
    found = tally(line)
    assert (found.sign_ins, found.compared, found.equal, found.alone, found.unreadable) == (1, 3, 3, 0, 0)
    assert found.first == found.last == NOW.isoformat()
    assert list(line.shadow.differences(line.row())) == []
    assert list(line.shadow.evidence.lines()) == []
    assert good not in b"".join(path.read_bytes() for path in line.state(PROVINCE).rglob("*") if path.is_file())


def test_a_live_node_sends_no_certificates(line: Line):
    """Once it is live its verdicts are its own affair."""
    line.stage = "live"
    line.decide()
    assert line.waiting() == []


def test_accepted_by_the_node_alone(line: Line):
    """The danger: recorded with both verdicts, replayable, the certificate sealed."""
    leaf = line.trust.leaf()
    line.decide(der(leaf))  # by data in which it is good
    line.trust.crls([leaf.serial_number])
    line.clock.pass_(minutes=-30)
    line.desk.open(line.roster)  # revoked at the province for half an hour
    line.clock.pass_(minutes=30)
    line.there_and_back()
    found = tally(line)
    assert (found.compared, found.equal, found.alone, found.refused_alone) == (1, 0, 1, 0)
    (row,) = line.shadow.differences(line.row())
    assert (row.node["code"], row.province["code"], row.source) == ("ok", "revocation.revoked", "sign-in")
    assert list(line.shadow.leaves([row.id])) == [(row.id, der(leaf))]
    evidence = line.shadow.evidence
    (kept,) = evidence.lines()
    assert judge_again(kept, evidence.key, evidence.of).outcome is Outcome.SAME
    assert parse(kept).id == row.id


def test_refused_by_the_node_alone(line: Line):
    """Different too: people would stand before a closed window."""
    leaf = line.trust.leaf()
    line.trust.crls([leaf.serial_number])
    line.decide(der(leaf))
    line.trust.crls()
    line.clock.pass_(minutes=5)
    line.there_and_back()
    found = tally(line)
    assert (found.compared, found.equal, found.alone, found.refused_alone) == (1, 0, 0, 1)


def test_what_held_then_decides_not_what_holds_now(line: Line):
    """The copies of a cut arrive late: a revocation of an hour later is no difference."""
    leaf = line.trust.leaf()
    line.decide(der(leaf))
    line.clock.pass_(hours=1)
    line.trust.crls([leaf.serial_number])
    line.desk.open(line.roster)
    line.clock.pass_(hours=1)
    line.there_and_back()
    assert (tally(line).compared, tally(line).equal) == (1, 1)


@pytest.mark.parametrize(("seconds", "equal"), [(59, 1), (61, 0)])
def test_news_has_a_minute_to_arrive(line: Line, seconds: float, equal: int):
    """A node may be that far behind; longer counts as different."""
    leaf = line.trust.leaf()
    old = line.trust.snapshot()
    line.trust.crls([leaf.serial_number])
    line.desk.open(line.roster)
    line.clock.pass_(seconds=seconds)
    line.journal().verdict(old, der(leaf), old.judge(der(leaf), line.clock()))
    line.there_and_back()
    assert (tally(line).equal, tally(line).alone) == (equal, 1 - equal)


def test_a_batch_counts_once(line: Line):
    """However often the office starts again before it could say so."""
    line.decide()
    line.sign_in()
    line.outbox()
    assert line.fetch() == 2
    line.shadow = line.new_shadow()
    line.desk = line.new_desk()
    assert line.fetch() == 0
    assert (tally(line).compared, tally(line).sign_ins) == (1, 1)


def test_what_is_not_the_nodes_own_is_no_sign_in(line: Line):
    """Evidence of another hall, and ceremonies of before the pilot."""
    line.sign_in(source=OTHER)
    line.sign_in(at=NOW - timedelta(days=2))
    line.sign_in()
    line.there_and_back()
    assert tally(line).sign_ins == 1


@pytest.mark.parametrize("spoil", ["no record", "another key", "tomorrow", "no key", "a number"])
def test_what_cannot_be_judged_again_is_different(line: Line, spoil: str):
    """Unknown is never equal."""
    made, key = recorded(line, der(line.trust.leaf()), days=1 if spoil == "tomorrow" else 0)
    claims = {"kind": "verdict", "at": NOW.isoformat(), "record": made, "key": key}
    claims |= {"no record": {"record": "{}"}, "another key": {"key": "A" * 44}, "a number": {"record": 5}}.get(
        spoil, {}
    )
    if spoil == "no key":
        del claims["key"]
    line.journal()._append(claims)
    line.there_and_back()
    found = tally(line)
    assert (found.compared, found.equal, found.unreadable) == (1, 0, 1)


def recorded(line: Line, leaf: bytes, days: float) -> tuple[str, str]:
    """A record and its key, judged some days later."""
    judged = line.trust.snapshot()
    made, key = record(judged, leaf, judged.judge(leaf, NOW + timedelta(days=days)), token_bytes)
    return made.line(), b64encode(key).decode()


def test_without_data_of_its_own_nothing_is_taken(line: Line):
    """The province has nothing to judge by: the batch stays at the node."""
    line.decide()
    (line.shadow.evidence.folder / "history.jsonl").unlink()
    line.outbox()
    with pytest.raises(CrosshallError, match=r"trust\.bundle"):
        line.fetch()
    assert len(line.waiting()) == 1
    assert tally(line).compared == 0


def test_a_pilot_begins_anew(line: Line):
    """By command, or because the node was admitted anew: nothing of before counts."""
    line.decide()
    line.there_and_back()
    line.clock.pass_(hours=1)
    line.shadow.restart(line.row())
    assert tally(line).began == line.clock()
    assert tally(line).compared == 0
    later = line.row().model_copy(update={"since": line.clock() + timedelta(days=1)})
    assert line.shadow.tally(later).began == later.since


def test_a_damaged_tally_is_no_tally(line: Line):
    """Numbers that cannot be read never count as good ones."""
    line.decide()
    line.there_and_back()
    for text in ("", "{}", "[]", tally(line).text().replace('"equal": 1', '"equal": "1"'), '{"began": 5}'):
        (line.shadow.folder / "gd.guangzhou.json").write_text(text)
        with pytest.raises(StoreError, match=r"store\.unavailable"):
            tally(line)
    with pytest.raises(StoreError):
        parse_tally(tally_text(alone=-1))


def tally_text(**changes: int) -> bytes:
    """A tally in JSON."""
    return replace(REACHED, **changes).text().encode()


REACHED = Tally(
    began=NOW - timedelta(days=14), sign_ins=300, compared=300, equal=300, corpus=10_000, corpus_equal=10_000
)


def test_what_was_agreed_is_enough():
    """Exactly the numbers, and one verdict of 10,300 that differs."""
    assert short(REACHED, Pilot(), NOW) == ()
    assert short(replace(REACHED, equal=299, refused_alone=1), Pilot(), NOW) == ()
    assert parse_tally(REACHED.text().encode()) == REACHED


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"sign_ins": 299}, "sign-ins: 299 of 300"),
        ({"compared": 299, "equal": 299}, "verdicts compared: 299 of 300"),
        ({"corpus": 9_999, "corpus_equal": 9_999}, "certificates of the corpus: 9999 of 10000"),
        ({"began": NOW - timedelta(days=14) + timedelta(seconds=1)}, "days: 14.00 of 14"),
        ({"equal": 298, "refused_alone": 2}, "equal verdicts: 10298 of 10300, wanted 99.99 %"),
        ({"equal": 299, "corpus_equal": 9_999}, "equal verdicts: 10298 of 10300, wanted 99.99 %"),
        ({"equal": 299, "alone": 1}, "accepted by the node alone: 1, at most 0"),
        ({"corpus_equal": 9_999, "corpus_alone": 1}, "accepted by the node alone: 1, at most 0"),
    ],
)
def test_one_below_refuses(changes: dict[str, int], told: str):
    """Each threshold alone, with the number wanted and the number reached."""
    assert short(replace(REACHED, **changes), Pilot(), NOW) == (told,)


def test_everything_short_is_told():
    """At once, not one after the other."""
    assert len(short(Tally(began=NOW), Pilot(), NOW)) == 4


def test_nobody_in_pilot_nothing_is_kept(line: Line, tmp_path: Path):
    """The province archives what is in force only while somebody is compared with it."""
    line.stage = "live"
    line.shadow = Shadow(tmp_path / "new", line.trust.folder, clock=line.clock, random=bytes)
    line.desk = line.new_desk()
    line.desk.open(line.roster)
    assert not (tmp_path / "new").exists()
    assert not (line.state(PROVINCE) / INBOX).exists()
