"""Sign-ins of a cut: kept sealed, judged again when the line is back, reported when refused, then forgotten."""

from __future__ import annotations

import hashlib
import secrets
from base64 import b64encode
from datetime import timedelta
from pathlib import Path

import pytest

from ca_bridge.errors import StoreError
from ca_bridge.verdict.cuts import DAMAGED, REPORT, Cuts, Settled
from tests.pki import der
from tests.unit.verdict.conftest import NOW, Federation, federation

__all__ = ["federation"]
LATER = NOW + timedelta(hours=5)


@pytest.fixture
def cuts(tmp_path: Path) -> Cuts:
    """An empty journal."""
    return Cuts(tmp_path / "cuts", secrets.token_bytes)


def sign_in(cuts: Cuts, federation: Federation, count: int = 1) -> list[bytes]:
    """So many people sign in during the cut."""
    snapshot = federation.snapshot()
    leaves = [federation.leaf() for _ in range(count)]
    for leaf in leaves:
        cuts.note(snapshot, der(leaf), snapshot.judge(der(leaf), NOW))
    federation_serials[id(federation)] = [leaf.serial_number for leaf in leaves]
    return [der(leaf) for leaf in leaves]


federation_serials: dict[int, list[int]] = {}


def revoke(federation: Federation, *indices: int) -> None:
    """The CA has revoked some of them meanwhile."""
    federation.crls([federation_serials[id(federation)][index] for index in indices])


def test_who_was_revoked_meanwhile_is_reported(cuts: Cuts, federation: Federation):
    """Which certificate, when it signed in, why it is refused now; everybody else leaves no trace."""
    sign_in(cuts, federation, 5)
    revoke(federation, 1, 3)
    assert cuts.waiting() == 5
    assert cuts.settle(federation.snapshot(), NOW) == Settled(5, 2)
    rows = list(cuts.rows())
    assert [(row.code, row.ca, row.signed_in, row.level) for row in rows] == [("revocation.revoked", "gd", NOW, 4)] * 2
    serials = federation_serials[id(federation)]
    assert {int(row.certificate_key.partition(":")[2], 16) for row in rows} == {serials[1], serials[3]}
    assert cuts.waiting() == 0


def test_what_was_judged_is_forgotten_and_never_judged_twice(cuts: Cuts, federation: Federation, tmp_path: Path):
    """The keys are destroyed, whatever came of it; a second call finds nothing."""
    sign_in(cuts, federation, 3)
    revoke(federation, 0)
    cuts.settle(federation.snapshot(), NOW)
    assert cuts.settle(federation.snapshot(), LATER) == Settled()
    assert len(list(cuts.rows())) == 1
    assert not list((tmp_path / "cuts" / "keys").iterdir())


def test_no_certificate_lies_open(cuts: Cuts, federation: Federation, tmp_path: Path):
    """Nothing of a leaf stands in the journal's files in clear: neither its octets nor their hash."""
    (leaf,) = sign_in(cuts, federation)
    telling = (leaf, b64encode(leaf)[:60], hashlib.sha256(leaf).hexdigest().encode())
    for file in (tmp_path / "cuts").rglob("*"):
        if file.is_file():
            data = file.read_bytes()
            assert not [one for one in telling if one in data]


def test_a_limit_leaves_the_rest_for_the_next_round(cuts: Cuts, federation: Federation):
    """A long cut is worked off in pieces: nobody is left out, nobody comes twice."""
    sign_in(cuts, federation, 7)
    revoke(federation, 0, 6)
    rounds = [cuts.settle(federation.snapshot(), NOW, 3) for _ in range(4)]
    assert [found.judged for found in rounds] == [3, 3, 1, 0]
    assert len(list(cuts.rows())) == 2


def test_a_report_written_twice_is_told_once(cuts: Cuts, federation: Federation, tmp_path: Path):
    """A crash between report and key: the sign-in is judged again, and still one row."""
    sign_in(cuts, federation)
    revoke(federation, 0)
    keys = {file: file.read_bytes() for file in (tmp_path / "cuts/keys").iterdir()}
    records = {file: file.read_bytes() for file in (tmp_path / "cuts/records").iterdir()}
    cuts.settle(federation.snapshot(), NOW)
    for file, data in (keys | records).items():
        file.write_bytes(data)
    assert cuts.settle(federation.snapshot(), NOW).refused == 1
    assert len((tmp_path / "cuts" / REPORT).read_text().splitlines()) == 2
    assert len(list(cuts.rows())) == 1


def test_a_record_that_cannot_be_opened_is_reported(cuts: Cuts, federation: Federation, tmp_path: Path):
    """Unknown never passes: a damaged record says that somebody signed in who cannot be judged again."""
    sign_in(cuts, federation)
    (file,) = (tmp_path / "cuts/records").iterdir()
    text = file.read_text()
    at = text.index('"sealed":"') + 20
    file.write_text(text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :])
    assert cuts.settle(federation.snapshot(), NOW) == Settled(1, 1)
    assert [(row.code, row.certificate_key) for row in cuts.rows()] == [(DAMAGED, "")]


def test_torn_lines_stop_nothing(cuts: Cuts, federation: Federation, tmp_path: Path):
    """Half a record, half a report line: the others count; the day goes when it is over."""
    sign_in(cuts, federation, 2)
    (file,) = (tmp_path / "cuts/records").iterdir()
    lines = file.read_text().splitlines()
    file.write_text(f"{lines[0][:50]}\n{lines[1]}\n")
    (tmp_path / "cuts" / REPORT).write_text('{"id": \n[]\n')
    assert cuts.settle(federation.snapshot(), NOW).judged == 1
    assert cuts.waiting() == 1
    cuts.settle(federation.snapshot(), NOW + timedelta(days=2))
    assert cuts.waiting() == 0
    assert list(cuts.rows()) == []


def test_a_journal_that_cannot_be_written_stops_the_sign_in(tmp_path: Path, federation: Federation):
    """No sign-in during a cut without its record."""
    (tmp_path / "cuts").write_text("a file in its place")
    with pytest.raises(StoreError):
        sign_in(Cuts(tmp_path / "cuts", secrets.token_bytes), federation)
