"""Copies of sign-ins reach the province over published folders: each once, read by nobody else, kept until taken."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from pathlib import Path

import pytest

from ca_bridge.ceremony import journal
from ca_bridge.ceremony.journal import INBOX
from ca_bridge.crypto import between
from ca_bridge.errors import CrosshallError, FederationError
from nodes import outbox
from nodes.outbox import BATCH_TYP, FOLDER, HEAD, STEP, TAKEN_TYP, taken_path
from nodes.transport import FileSource
from tests.unit.nodes.pilots import DEADLINE, Line
from tests.unit.verdict.conftest import Federation
from tests.unit.web.federation import CITY, COUNTY, OTHER, PROVINCE, public


@pytest.fixture
def line(tmp_path: Path) -> Line:
    """A city that is live."""
    return Line(tmp_path / "line", Federation(tmp_path / "bundle"), stage="live")


def listed(line: Line, name: str = CITY) -> int:
    """How many sign-ins of a node the province can list."""
    since = line.clock() - timedelta(days=9)
    return len(list(journal.read(line.state(PROVINCE) / INBOX, line.keys[PROVINCE], name, since)))


def batches(line: Line) -> list[Path]:
    """What lies in the city's published folder."""
    return sorted((line.public() / FOLDER).glob("*.jwe"))


def test_there_and_back(line: Line) -> None:
    """Listed at the province, gone from the outbox and the published folder."""
    for _ in range(3):
        line.sign_in()
    assert line.there_and_back() == 3
    assert listed(line) == 3
    assert (line.waiting(), batches(line)) == ([], [])
    assert not (line.public() / HEAD).exists()


def test_nothing_is_removed_before_the_word(line: Line) -> None:
    """Taken, but the acknowledgement is lost: copies stay, are not counted again, and go when it comes."""
    line.sign_in()
    line.outbox()
    assert line.fetch() == 1
    (line.public(PROVINCE) / taken_path(CITY)).unlink()
    line.outbox()
    assert len(line.waiting()) == 1
    line.desk = line.new_desk()  # the office starts again
    assert line.fetch() == 0
    line.outbox()
    assert (line.waiting(), listed(line)) == ([], 1)


def test_what_comes_meanwhile_waits_for_the_next(line: Line) -> None:
    """A batch that is out does not change; an acknowledgement removes what was in it and nothing else."""
    line.sign_in()
    line.outbox()
    first = line.names_out()
    line.sign_in()
    line.outbox()
    assert line.names_out() == first
    line.fetch()
    line.outbox()
    assert len(line.waiting()) == 1
    assert line.names_out() == line.waiting()
    assert line.fetch() == 1
    assert listed(line) == 2


def test_the_public_folder_tells_nothing(line: Line) -> None:
    """One sign-in or nine: the same size; only the province opens it."""
    sizes = set()
    for count in (1, 9):
        for _ in range(count):
            line.sign_in()
        line.outbox()
        (batch,) = batches(line)
        sizes.add(batch.stat().st_size)
        with pytest.raises(CrosshallError, match=r"crypto\.jwe"):
            between.unseal(batch.read_text(), line.keys[OTHER].box, BATCH_TYP, outbox.BATCH_LIMIT)
        assert {path.name for path in line.public().rglob("*") if path.is_file()} <= {
            batch.name,
            "head",
            "gd.guangzhou.jws",
        }
        line.fetch()
        line.outbox()
    assert len(sizes) == 1
    assert sizes.pop() >= STEP


def test_a_batch_is_bounded(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest first; as many rounds as it takes."""
    monkeypatch.setattr(outbox, "MOST_COPIES", 2)
    for _ in range(5):
        line.sign_in()
        line.clock.pass_(seconds=1)
    order = line.waiting()
    taken = []
    for _ in range(3):
        line.outbox()
        taken += line.names_out()
        line.fetch()
    assert taken == order
    monkeypatch.setattr(outbox, "MOST_OCTETS", 1)  # one that is too large alone goes all the same
    line.outbox()
    line.sign_in()
    line.sign_in()
    line.outbox()
    assert len(line.names_out()) == 1


def test_a_crash_while_putting_out(line: Line) -> None:
    """A head or a file that was lost is put there again; nothing is lost or stuck."""
    line.sign_in()
    line.outbox()
    (line.public() / HEAD).unlink()
    line.outbox()
    assert (line.public() / HEAD).exists()
    batches(line)[0].unlink()
    line.outbox()
    assert line.fetch() == 1
    line.sign_in()
    (line.state() / "outbox" / "batch.json").write_text("{")
    assert line.there_and_back() == 2  # sent again; the province has it once
    assert listed(line) == 2


def test_a_county_behind_its_city(line: Line) -> None:
    """The province fetches from the county; the word comes back by the city, which need have sent nothing."""
    line.sign_in(COUNTY)
    line.outbox(COUNTY, CITY)
    assert line.fetch(COUNTY) == 1
    line.outbox(COUNTY, CITY)
    assert len(line.waiting(COUNTY)) == 1  # the city has not looked yet
    line.outbox(CITY)
    line.outbox(COUNTY, CITY)
    assert line.waiting(COUNTY) == []
    assert listed(line) == 1  # the county below the city


def test_the_word_is_asked_for_once_a_minute_for_others(line: Line) -> None:
    """A city without news of its own does not read more often."""
    line.outbox()
    word = line.public(PROVINCE) / taken_path(CITY)
    text = between.sign(
        line.keys[PROVINCE].sign, line.keys[PROVINCE].sign.thumbprint(), TAKEN_TYP, {"at": "", "taken": {COUNTY: "x"}}
    )
    word.parent.mkdir(parents=True)
    word.write_text(text)
    line.ticks.now += outbox.RELAY_SECONDS - 1
    line.outbox()
    assert not (line.public() / taken_path(CITY)).exists()
    line.ticks.now += 1
    line.outbox()
    assert (line.public() / taken_path(CITY)).read_text() == text


@pytest.mark.parametrize("spoil", ["another key", "another kind", "nothing", "no table", "not ascii"])
def test_a_false_word_removes_nothing(line: Line, spoil: str) -> None:
    """Only the province says what it has taken."""
    line.sign_in()
    line.outbox()
    keys = line.keys[OTHER if spoil == "another key" else PROVINCE].sign
    name = (line.public() / HEAD).read_text()
    claims = {"taken": [CITY, name] if spoil == "no table" else {CITY: name}}
    typ = "crosshall-sign-in+jwt" if spoil == "another kind" else TAKEN_TYP
    text = between.sign(keys, line.keys[PROVINCE].sign.thumbprint(), typ, claims)
    word = line.public(PROVINCE) / taken_path(CITY)
    word.parent.mkdir(parents=True)
    word.write_bytes({"nothing": b"", "not ascii": "省".encode()}.get(spoil, text.encode()))
    line.outbox()
    assert len(line.waiting()) == 1


def test_an_old_word_removes_nothing_new(line: Line) -> None:
    """The acknowledgement of another batch, replayed."""
    line.sign_in()
    line.outbox()
    line.fetch()
    old = (line.public(PROVINCE) / taken_path(CITY)).read_bytes()
    line.outbox()
    line.sign_in()
    line.outbox()
    (line.public(PROVINCE) / taken_path(CITY)).write_bytes(old)
    line.outbox()
    assert len(line.waiting()) == 1


def test_who_is_in_no_roster_sends_nothing(line: Line) -> None:
    """A node that was cut off neither sends nor asks."""
    line.sign_in()
    del line.keys[CITY]
    line.outbox()
    assert batches(line) == []


def test_a_batch_of_another_node_is_refused(line: Line) -> None:
    """A node cannot send in another's name, nor the batch it fetched from another's public folder."""
    line.sign_in()
    line.outbox()
    with pytest.raises(FederationError, match=r"node\.batch"):
        line.fetch(OTHER, place=CITY)
    assert listed(line) == 0


@pytest.mark.parametrize("head", [b"", b"../../secret", b"A" * 64, b"0" * 63])
def test_a_head_that_is_no_hash(line: Line, head: bytes) -> None:
    """It names a file of the outbox, or nothing."""
    (line.public() / HEAD).parent.mkdir(parents=True)
    (line.public() / HEAD).write_bytes(head)
    with pytest.raises(FederationError, match=r"node\.batch"):
        line.fetch()


@pytest.mark.parametrize("spoil", ["changed", "sealed to another", "not a batch", "endless"])
def test_a_spoilt_batch_is_not_acknowledged(line: Line, spoil: str) -> None:
    """It stays at the node, and nothing is listed."""
    line.sign_in()
    line.outbox()
    (batch,) = batches(line)
    data = batch.read_bytes()
    if spoil == "changed":
        batch.write_bytes(data[:-1] + b"A" if data[-1:] != b"A" else data[:-1] + b"B")
    else:
        to = public(line.keys[OTHER if spoil == "sealed to another" else PROVINCE].box)
        text = " " * (3 << 20) if spoil == "endless" else '{"node": "gd/guangzhou", "copies": [1]}'
        made = between.seal(text, to, BATCH_TYP).encode()
        name = hashlib.sha256(made).hexdigest()
        (line.public() / FOLDER / f"{name}.jwe").write_bytes(made)
        (line.public() / HEAD).write_text(name)
    with pytest.raises(FederationError, match=r"node\.batch|federation\.size"):
        line.fetch()
    assert not (line.public(PROVINCE) / taken_path(CITY)).exists()
    assert listed(line) == 0


def test_a_damaged_copy_does_not_hold_up_the_others(line: Line) -> None:
    """It is left out; those behind it arrive, and the batch is acknowledged."""
    line.sign_in()
    line.sign_in()
    (line.state() / "outbox" / line.waiting()[0]).write_text("spoilt")
    assert line.there_and_back() == 2
    assert listed(line) == 1
    assert line.waiting() == []


def test_nothing_out_is_no_fault(line: Line) -> None:
    """Most nodes, most of the time."""
    assert line.desk.fetch(FileSource(line.public()), line.row(), DEADLINE) is None
