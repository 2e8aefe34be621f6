"""The province's page of all nodes: who is silent, badly signed, below the floor or says so itself is red."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest

from ca_bridge.crypto.between import NodeKeys
from ca_bridge.errors import LANGUAGES
from ca_bridge.trust.roster import Roster, Software
from nodes.report import FILE, NodeReport, write_report
from nodes.status_page import NodeRow, as_html, as_json, rows
from tests.unit.verdict.conftest import NOW
from tests.unit.web.federation import CITY, OTHER, PROVINCE, new_key, roster_of

KEYS = {name: NodeKeys(new_key(), new_key()) for name in (PROVINCE, CITY, OTHER)}
GOOD = NodeReport(
    node=CITY,
    at=NOW.isoformat(),
    made=NOW.isoformat(),
    version="1.2.0",
    stage="live",
    rung="fresh",
    age_seconds=20,
    bundle=7,
)


def page(
    folder: Path, report: NodeReport | None = GOOD, *, signer: str = CITY, floor: str = "", stage: str = "live"
) -> NodeRow:
    """The city's row."""
    if report is not None:
        write_report(folder, KEYS[signer].sign, report)
        (folder / FILE).rename(folder / "gd.guangzhou.jws")
    made = roster_of(KEYS, gd_guangzhou=stage)
    found = rows(Roster(nodes=made.nodes, software=Software(floor=floor)), folder, NOW, "1.2.0")
    (row,) = (row for row in found if row.name == CITY)
    return row


def test_a_node_that_is_well(tmp_path: Path):
    """Its rung, age, version and time; no code."""
    row = page(tmp_path)
    assert (row.codes, row.step, row.rung, row.age_seconds) == ((), "N", "fresh", 20)


@pytest.mark.parametrize(
    ("changes", "floor", "step", "codes"),
    [
        ({"made": (NOW - timedelta(minutes=5, seconds=1)).isoformat()}, "", "N", ("node.silent",)),
        ({"made": (NOW + timedelta(seconds=61)).isoformat()}, "", "N", ("trust.skew",)),
        ({"reasons": ("trust.stale_crl",)}, "", "N", ("trust.stale_crl",)),
        ({"failing": ("node.red", "config.tls")}, "", "N", ("node.red", "config.tls")),
        ({"version": "1.1.9"}, "", "N-1", ()),
        ({"version": "1.1.9"}, "1.1.9", "N-1", ()),
        ({"version": "1.1.9"}, "1.2.0", "below", ("node.below_floor",)),
        ({"version": "1.3"}, "1.2.0", "N+1", ()),
        ({"version": "newest"}, "1.2.0", "below", ("node.below_floor",)),
        ({"version": "newest"}, "", "", ()),
        ({"node": OTHER}, "", "", ("node.report",)),
    ],
)
def test_what_is_red(tmp_path: Path, changes: dict[str, object], floor: str, step: str, codes: tuple[str, ...]):
    """Late, ahead, red by its own word, below the floor, in another's name."""
    row = page(tmp_path, replace(GOOD, **changes), floor=floor)  # type: ignore[arg-type]
    assert (row.step, row.codes) == (step, codes)


def test_who_never_spoke_is_red(tmp_path: Path):
    """No report, and one that another key signed."""
    assert page(tmp_path, None).codes == ("node.silent",)
    assert page(tmp_path, signer=OTHER).codes == ("node.signature",)


def test_pilot_is_no_fault(tmp_path: Path):
    """While the roster says so."""
    report = replace(GOOD, failing=("node.pilot",))
    assert page(tmp_path, report, stage="pilot").codes == ()
    assert page(tmp_path, report).codes == ("node.pilot",)


def test_the_province_is_below_its_own_floor(tmp_path: Path):
    """Nobody reports it: the page itself looks."""
    made = roster_of({PROVINCE: KEYS[PROVINCE]})
    (row,) = rows(Roster(nodes=made.nodes, software=Software(floor="1.3")), tmp_path, NOW, "1.2.0")
    assert row.codes == ("node.below_floor",)


class Seen(HTMLParser):
    """Tags and texts."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page(tmp_path: Path):
    """Four languages, red first, nothing of a report is markup, no script, nothing from elsewhere."""
    hostile = replace(GOOD, version="<script>alert(1)</script>", rung='"><img src=x>', reasons=("<b>", "trust.skew"))
    page(tmp_path, hostile)
    found = rows(roster_of(KEYS), tmp_path, NOW, "1.2.0")
    text = as_html(found, NOW)
    seen = Seen()
    seen.feed(text)
    assert seen.tags.count("section") == len(LANGUAGES)
    assert not {"script", "img", "b", "link"} & set(seen.tags)
    assert "<script>alert(1)</script>" in seen.text
    assert "width=device-width" in text
    assert all(word in seen.text for word in ("全省节点", "全省節點", "Nodes of the province", "Nós da província"))
    assert [bool(row.codes) for row in found] == [True, True, False]


def test_the_page_for_programs(tmp_path: Path):
    """How many are red, and every row."""
    page(tmp_path)
    table = json.loads(as_json(rows(roster_of(KEYS), tmp_path, NOW, "1.2.0"), NOW))
    assert table["red"] == 1
    assert {row["name"] for row in table["nodes"]} == {PROVINCE, CITY, OTHER}
