"""The province's corpus, judged by a node: only the one that was asked, of one version, each certificate once."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ca_bridge.crypto import between
from ca_bridge.errors import FederationError, PathError
from nodes import corpus
from nodes.identity import sign
from nodes.tally import Tally
from tests.pki import der
from tests.unit.nodes.pilots import Line, begun, tally
from tests.unit.verdict.conftest import NOW, Federation
from tests.unit.web.federation import CITY, OTHER, PROVINCE


@pytest.fixture
def line(tmp_path: Path) -> Line:
    """A city in pilot; what is in force has been so for an hour."""
    return begun(tmp_path)


def asked(line: Line, leaves: list[bytes], name: str = CITY) -> str:
    """The corpus for a node."""
    return corpus.ask(line.shadow, line.keys[PROVINCE], line.row(name), leaves, at=NOW, version=line.trust.version)[0]


def answered(line: Line, sealed: str, trust: Federation | None = None) -> str:
    """The city's answer."""
    snapshot = (trust or line.trust).snapshot()
    return corpus.answer(sealed, line.keys[CITY], line.row(PROVINCE), CITY, snapshot, now=line.clock()).text


def compared(line: Line, text: str) -> Tally:
    """The province compares."""
    return corpus.compare(
        line.shadow, line.keys[PROVINCE], line.row(), text, now=line.clock(), version=line.trust.version
    )


def test_the_corpus_there_and_back(line: Line):
    """Good and bad certificates judged alike; the copy is removed, a second answer is none."""
    sealed = asked(line, [der(line.trust.leaf()), der(line.trust.leaf(extensions=[])), b"no certificate"])
    text = answered(line, sealed)
    found = compared(line, text)
    assert (found.corpus, found.corpus_equal, found.corpus_alone) == (3, 3, 0)
    with pytest.raises(FederationError, match=r"node\.corpus"):
        compared(line, text)


def test_the_corpus_shows_who_accepts_alone(line: Line):
    """By other data the node accepts what is revoked here."""
    leaf = line.trust.leaf()
    sealed = asked(line, [der(line.trust.leaf()), der(leaf)])
    text = answered(line, sealed)
    line.trust.crls([leaf.serial_number])
    line.clock.pass_(minutes=-10)
    line.desk.open(line.roster)
    line.clock.pass_(minutes=10)
    found = compared(line, text)
    assert (found.corpus, found.corpus_equal, found.corpus_alone) == (2, 1, 1)
    (row,) = line.shadow.differences(line.row())
    assert (row.source, row.province["code"], row.node["accepted"]) == ("corpus", "revocation.revoked", True)
    assert [leaf_ for _, leaf_ in line.shadow.leaves([row.id])] == [der(leaf)]


def test_a_large_corpus_travels(line: Line):
    """Megabytes of certificates, sealed, judged and compared."""
    found = [der(line.trust.leaf()) + bytes([n % 256, n // 256]) for n in range(2_000)]
    assert compared(line, answered(line, asked(line, found))).corpus == 2_000


@pytest.mark.parametrize("spoil", ["another node", "not sealed", "not the province", "changed"])
def test_a_corpus_that_is_not_ours_is_not_judged(line: Line, spoil: str):
    """A node answers its province alone, about what was sent to it."""
    sealed = asked(line, [der(line.trust.leaf())], OTHER if spoil == "another node" else CITY)
    province = line.row(OTHER if spoil == "not the province" else PROVINCE)
    if spoil == "not sealed":
        sealed = "x"
    if spoil == "changed":
        sealed = f"{sealed[:-4]}AAAA"
    with pytest.raises(FederationError, match=r"node\.corpus"):
        corpus.answer(sealed, line.keys[CITY], province, CITY, line.trust.snapshot(), now=NOW)


def test_an_answer_to_another_corpus_is_none(line: Line):
    """Nor one by another node's key, nor with rows left out."""
    first = answered(line, asked(line, [der(line.trust.leaf())]))
    second = asked(line, [der(line.trust.leaf())])
    with pytest.raises(FederationError, match=r"node\.corpus"):
        compared(line, first)
    good = answered(line, second)
    with pytest.raises(FederationError, match=r"node\.corpus"):
        compared(line, f"{good[:-4]}AAAA")
    assert compared(line, good).corpus == 1


def test_each_certificate_of_a_corpus_counts_once(line: Line, tmp_path: Path):
    """Ten thousand copies of one are one; what cannot be read is refused."""
    leaf = line.trust.leaf()
    folder = tmp_path / "leaves"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.der").write_bytes(der(leaf))
    (folder / "other.der").write_bytes(der(line.trust.leaf()))
    assert len(list(corpus.leaves([folder]))) == 2
    (folder / "z.jsonl").write_text("{}")
    with pytest.raises(FederationError, match=r"node\.corpus"):
        list(corpus.leaves([folder]))
    with pytest.raises(FederationError, match=r"node\.corpus"):
        asked(line, [])


def asked_otherwise(line: Line, **changes: Any) -> str:
    """A corpus with other claims, rightly signed by the province and sealed to the city; the copy here is the same."""
    leaf = corpus.b64encode(der(line.trust.leaf())).decode()
    claims = {"node": CITY, "at": NOW.isoformat(), "version": line.trust.version, "leaves": [leaf], **changes}
    claims = {name: value for name, value in claims.items() if value is not None}
    text = sign(line.keys[PROVINCE].sign, claims, corpus.ASK_TYP)
    asked(line, [der(line.trust.leaf())])
    corpus._kept(line.shadow, line.row()).write_text(text)
    return between.seal(text, line.row().box, corpus.SEALED_TYP)


LEAF = "AAAA"


@pytest.mark.parametrize(
    "changes",
    [
        {"leaves": [LEAF, LEAF]},
        {"leaves": [LEAF, "?"]},
        {"leaves": None},
        {"leaves": 5},
        {"at": "2026-11-24T00:00:00"},
        {"at": None},
        {"version": None},
        {"version": "7"},
        {"version": True},
        {"node": OTHER},
    ],
    ids=str,
)
def test_a_wrong_corpus_is_not_judged(line: Line, changes: dict[str, Any]):
    """Not even with the province's own signature: twice the same, not base64, without time or version, another's."""
    with pytest.raises(FederationError, match=r"node\.corpus\b"):
        answered(line, asked_otherwise(line, **changes))


def test_the_same_twice_is_not_asked(line: Line):
    """Ten thousand copies of one are one, whoever puts them together."""
    leaf = der(line.trust.leaf())
    with pytest.raises(FederationError, match=r"node\.corpus"):
        asked(line, [leaf, der(line.trust.leaf()), leaf])


def test_a_node_with_an_older_bundle_does_not_answer(line: Line):
    """It would be compared with what it cannot know; the next version up is asked of nobody."""
    version = line.trust.version
    old = line.trust.snapshot()
    line.trust.crls()
    sealed = asked(line, [der(line.trust.leaf())])
    with pytest.raises(FederationError, match=r"node\.corpus_version"):
        corpus.answer(sealed, line.keys[CITY], line.row(PROVINCE), CITY, old, now=NOW)
    assert old.bundle.version == version < line.trust.version


@pytest.mark.parametrize("by", [-1, 1])
def test_an_answer_of_another_version_is_refused(line: Line, by: int):
    """Older than was asked, or one that nobody published."""
    sealed = asked(line, [der(line.trust.leaf())])
    text = spoilt(line, answered(line, sealed), version=line.trust.version + by)
    with pytest.raises(FederationError, match=r"node\.corpus_version"):
        compared(line, text)
    assert tally(line).corpus == 0
    assert compared(line, answered(line, sealed)).corpus == 1  # the corpus still waits for its answer


def spoilt(line: Line, text: str, **changes: Any) -> str:
    """The city's answer with other claims, signed by the city."""
    claims = dict(between.verify(text, line.row().sign, corpus.ANSWER_TYP, corpus.LIMIT))
    claims = {name: value for name, value in {**claims, **changes}.items() if value is not None}
    return sign(line.keys[CITY].sign, claims, corpus.ANSWER_TYP)


@pytest.mark.parametrize(
    "changes",
    [
        {"rows": []},
        {"rows": [[True, "0" * 64]] * 2},
        {"rows": [[1, "0" * 64]]},
        {"rows": [[True, "0" * 63]]},
        {"rows": [[True]]},
        {"rows": None},
        {"version": True},
        {"version": None},
        {"judged": None},
        {"judged": "now"},
        {"judged": "2026-11-24T00:00:00"},
        {"judged": (NOW - timedelta(minutes=2)).isoformat()},
        {"judged": (NOW + timedelta(minutes=2)).isoformat()},
        {"corpus": "0" * 64},
        {"node": OTHER},
    ],
    ids=str,
)
def test_a_wrong_answer_counts_nothing(line: Line, changes: dict[str, Any]):
    """Too few rows, too many, of another form, of another time or corpus."""
    text = answered(line, asked(line, [der(line.trust.leaf())]))
    with pytest.raises(FederationError, match=r"node\.corpus\b"):
        compared(line, spoilt(line, text, **changes))
    assert tally(line).corpus == 0


def test_another_provinces_corpus_has_no_answer_here(line: Line):
    """Asked with another province's key, of the same node: its answer is to nothing that was asked here."""
    asked(line, [der(line.trust.leaf())])
    stranger = line.keys[OTHER]
    claims = {"node": CITY, "at": NOW.isoformat(), "version": line.trust.version, "leaves": ["AAAA"]}
    sealed = between.seal(sign(stranger.sign, claims, corpus.ASK_TYP), line.row().box, corpus.SEALED_TYP)
    with pytest.raises(FederationError, match=r"node\.corpus\b"):
        answered(line, sealed)
    text = corpus.answer(sealed, line.keys[CITY], line.row(OTHER), CITY, line.trust.snapshot(), now=NOW).text
    with pytest.raises(FederationError, match=r"node\.corpus\b"):
        compared(line, text)


def test_a_corpus_that_was_changed_here_is_none(line: Line):
    """The province's own copy is signed: nobody swaps certificates in it while the answer is on its way."""
    text = answered(line, asked(line, [der(line.trust.leaf())]))
    kept = corpus._kept(line.shadow, line.row())
    head, payload, signature = kept.read_text().split(".")
    kept.write_text(f"{head}.{payload[:-4]}AAAA.{signature}")
    with pytest.raises(FederationError, match=r"node\.corpus\b"):
        compared(line, text)


def test_what_was_revoked_since_the_answer_is_no_difference(line: Line):
    """The answer travels for hours: what held here when the node judged is compared."""
    leaf = line.trust.leaf()
    text = answered(line, asked(line, [der(leaf)]))
    line.clock.pass_(hours=2)
    line.trust.crls([leaf.serial_number])
    line.shadow.remember()
    line.clock.pass_(hours=1)
    found = compared(line, text)
    assert (found.corpus, found.corpus_equal, found.corpus_alone) == (1, 1, 0)


def test_what_was_revoked_long_before_the_answer_is_one(line: Line):
    """A node that did not know it for more than a minute accepts alone."""
    leaf = line.trust.leaf()
    sealed = asked(line, [der(leaf)])
    stale = line.trust.snapshot()
    line.trust.crls([leaf.serial_number])
    line.shadow.remember()
    line.clock.pass_(minutes=5)
    text = corpus.answer(sealed, line.keys[CITY], line.row(PROVINCE), CITY, stale, now=line.clock()).text
    found = compared(line, text)
    assert (found.corpus, found.corpus_equal, found.corpus_alone) == (1, 0, 1)


def test_without_data_of_its_own_nothing_is_compared(line: Line):
    """The province must have been there: the corpus waits."""
    text = answered(line, asked(line, [der(line.trust.leaf())]))
    (line.shadow.evidence.folder / "history.jsonl").unlink()
    with pytest.raises(PathError, match=r"trust\.bundle"):
        compared(line, text)
    assert corpus._kept(line.shadow, line.row()).is_file()
