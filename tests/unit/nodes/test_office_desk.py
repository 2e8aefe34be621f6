"""The office's round with a desk: outboxes are taken in beside reports, and one node's fault holds up nobody."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from ca_bridge.ceremony import journal
from ca_bridge.ceremony.journal import INBOX
from ca_bridge.crypto.between import NodeKeys
from ca_bridge.trust.roster import Roster
from nodes.desk import Desk
from nodes.office import Office
from nodes.outbox import HEAD
from nodes.publish import Publisher
from nodes.report import NodeReport, write_report
from nodes.transport import FileSource
from tests.unit.nodes.pilots import Line
from tests.unit.verdict.conftest import NOW, Federation
from tests.unit.web.federation import CITY, COUNTY, OTHER, PROVINCE, new_key

NODES = (CITY, OTHER, COUNTY)


class Nothing:
    """A publisher whose own work is not looked at here."""

    def alone(self) -> AbstractContextManager[None]:
        """Nobody else is there."""
        return nullcontext()

    def stamp(self) -> None:
        """Stamped."""

    def status(self, _files: object) -> None:
        """Published."""

    def collect(self, _source: object, _ticks: object) -> tuple[str, ...]:
        """Nothing newer."""
        return ()


@pytest.fixture
def line(tmp_path: Path) -> Line:
    """Three nodes that have reported, each with a sign-in."""
    made = Line(tmp_path / "line", Federation(tmp_path / "bundle"))
    made.trust.write("roster.json", json.dumps(made.roster.model_dump(mode="json")))
    for name in NODES:
        report = NodeReport(name, "", NOW.isoformat(), "1", "live", "fresh", -1, 0)
        made.public(name).mkdir(parents=True)
        write_report(made.public(name), made.keys[name].sign, report)
        made.sign_in(name)
        made.outbox(name)
    return made


def office(line: Line, shown: list[Roster]) -> Office:
    """The province's office, which reads nodes' folders from the disk."""
    made = Office(
        cast(Publisher, Nothing()),
        bundle=line.trust.folder,
        province="gd",
        reports=line.state(PROVINCE) / "reports",
        clock=line.clock,
        desk=line.desk,
        after=shown.append,
        ticks=line.ticks,
    )
    made._sources = {line.row(name).hall: FileSource(line.public(name), ticks=line.ticks) for name in NODES}
    return made


def listed(line: Line, name: str) -> int:
    """How many of a node's own the province lists."""
    since = NOW - timedelta(days=1)
    found = journal.read(line.state(PROVINCE) / INBOX, line.keys[PROVINCE], name, since)
    return sum(copy.node == name for copy in found)


def test_every_outbox_in_one_round(line: Line):
    """Taken in, acknowledged, gone from the nodes; the page is drawn from the same roster."""
    shown: list[Roster] = []
    line.decide()
    done = office(line, shown).round()
    assert done.codes.keys() <= {"status"}
    assert [listed(line, name) for name in NODES] == [1, 1, 1]
    for name in (CITY, OTHER):
        line.outbox(name)
    assert (len(line.waiting(CITY)), line.waiting(OTHER)) == (1, [])  # the verdict came after the first batch
    assert len(shown) == 1


@pytest.mark.parametrize("head", [b"no hash", b"0" * 64])
def test_a_bad_outbox_holds_up_nobody(line: Line, head: bytes):
    """Its own report is kept, and the others' copies are taken."""
    (line.public(CITY) / HEAD).write_bytes(head)
    office(line, []).round()
    assert [listed(line, name) for name in NODES] == [0, 1, 1]
    assert (line.state(PROVINCE) / "reports" / "gd.guangzhou.jws").exists()


def test_a_batch_that_cannot_be_opened_is_told(line: Line):
    """By the node's name in the round's codes; the next round tries again."""
    desk = line.desk
    stranger = NodeKeys(new_key(), new_key())
    line.desk = Desk(
        line.state(PROVINCE) / INBOX,
        line.public(PROVINCE),
        keys=lambda: stranger,
        shadow=line.shadow,
        clock=line.clock,
    )
    done = office(line, []).round()
    line.desk = desk
    assert {name: done.codes[name] for name in NODES} == dict.fromkeys(NODES, "node.batch")
    assert not any(listed(line, name) for name in NODES)
    office(line, []).round()
    assert [listed(line, name) for name in NODES] == [1, 1, 1]


def test_a_page_that_cannot_be_written_stops_nothing(line: Line):
    """It is told, and the words are kept all the same."""

    def broken(_roster: object) -> Any:
        raise OSError("full")

    made = office(line, [])
    made._after = broken
    done = made.round()
    assert done.codes["page"] == "federation.disk"
    assert listed(line, CITY) == 1
