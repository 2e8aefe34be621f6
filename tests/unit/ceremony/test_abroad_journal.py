"""Copies of sign-ins for the province: sealed, signed, without a name; readable after the node was cut off."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ca_bridge.ceremony import journal
from ca_bridge.ceremony.journal import Journal
from ca_bridge.crypto import between
from ca_bridge.crypto.between import NodeKeys
from ca_bridge.errors import CrosshallError, StoreError
from ca_bridge.trust.roster import Roster
from tests.unit.web.federation import CITY, COUNTY, OTHER, PROVINCE, new_key, public, roster_of

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
NAMES = (PROVINCE, CITY, OTHER, COUNTY)


@pytest.fixture(scope="module")
def keys() -> dict[str, NodeKeys]:
    """Of four nodes."""
    return {name: NodeKeys(new_key(), new_key()) for name in NAMES}


def record(at: datetime = NOW) -> dict[str, object]:
    """A sign-in."""
    return {"at": at.isoformat(), "certificate_key": f"{'0' * 64}:1", "way": "token", "level": 4, "source": ""}


def append(folder: Path, name: str, keys: dict[str, NodeKeys], *, roster: Roster | None = None) -> list[Path]:
    """One copy by node `name`; the files there are then."""
    listed = roster if roster is not None else roster_of(keys)
    journal_of = Journal(
        folder / name,
        name,
        keys=lambda: keys[name],
        roster=lambda: listed,
        clock=lambda: NOW,
        random=lambda count: bytes(range(count)),
    )
    journal_of(record())
    return sorted((folder / name).glob("*")) if (folder / name).is_dir() else []


def test_from_the_node_to_the_list(tmp_path: Path, keys: dict[str, NodeKeys]) -> None:
    """Taken in while the node is known, listed with those below it when it is cut off."""
    inbox = tmp_path / "inbox"
    for name in (CITY, COUNTY, OTHER):
        (file,) = append(tmp_path / "out", name, keys)
        assert file.stat().st_mode & 0o777 == 0o600
        for _ in range(2):  # again changes nothing
            assert journal.take_in(inbox, keys[PROVINCE], roster_of(keys), file.name, file.read_text()) == name
    found = list(journal.read(inbox, keys[PROVINCE], CITY, NOW))
    assert sorted(copy.node for copy in found) == [CITY, COUNTY]
    assert found[0].certificate_key == f"{'0' * 64}:1"
    assert list(journal.read(inbox, keys[PROVINCE], CITY, NOW + timedelta(seconds=1))) == []
    assert list(journal.read(inbox, keys[PROVINCE], "gd/guang", NOW)) == []


def test_the_outbox_says_nothing(tmp_path: Path, keys: dict[str, NodeKeys]) -> None:
    """Only the province opens it."""
    (file,) = append(tmp_path, CITY, keys)
    assert f"{'0' * 64}" not in file.read_text()
    with pytest.raises(CrosshallError, match=r"crypto\.jwe"):
        between.unseal(file.read_text(), keys[OTHER].box, journal.SEALED_TYP, journal.MAX_COPY)


def test_no_copies_without_a_province(tmp_path: Path, keys: dict[str, NodeKeys]) -> None:
    """The province itself; a node that is not in the roster; one that stands alone."""
    assert append(tmp_path, PROVINCE, keys) == []
    assert append(tmp_path, CITY, keys, roster=Roster()) == []
    assert append(tmp_path, CITY, keys, roster=roster_of({PROVINCE: keys[PROVINCE]})) == []


def test_a_full_disk_stops_the_sign_in(tmp_path: Path, keys: dict[str, NodeKeys]) -> None:
    """No sign-in without its copy."""
    (tmp_path / "gd").write_text("a file where the folder should be")
    with pytest.raises(StoreError, match=r"store\.full"):
        append(tmp_path, CITY, keys)


@pytest.mark.parametrize("name", ["../../x.jwe", "x", "", "1-2.jwe", f"{1:020d}-{'0' * 16}.jwe.pem"])
def test_names_of_files_are_ours(tmp_path: Path, keys: dict[str, NodeKeys], name: str) -> None:
    """What arrives names no path."""
    (file,) = append(tmp_path, CITY, keys)
    with pytest.raises(CrosshallError, match=r"abroad\.form"):
        journal.take_in(tmp_path, keys[PROVINCE], roster_of(keys), name, file.read_text())


def test_who_may_send(tmp_path: Path, keys: dict[str, NodeKeys]) -> None:
    """A node speaks for itself; one that was cut off for nobody; a broken copy is refused."""
    (file,) = append(tmp_path, CITY, keys)
    roster, box = roster_of(keys), public(keys[PROVINCE].box)
    without = roster_of({name: key for name, key in keys.items() if name != CITY})
    with pytest.raises(CrosshallError, match=r"abroad\.unknown_hall"):
        journal.take_in(tmp_path, keys[PROVINCE], without, file.name, file.read_text())
    sign = keys[CITY].sign
    for claims, code in (
        ({**record(), "iss": OTHER}, "abroad.form"),
        ({"iss": CITY}, "abroad.form"),
        ({**record(), "iss": CITY, "at": "today"}, "abroad.form"),
        ({**record(), "iss": CITY, "at": "2026-11-23T08:00:00"}, "abroad.form"),
    ):
        text = between.sign(sign, sign.thumbprint(), journal.COPY_TYP, claims)
        with pytest.raises(CrosshallError) as caught:
            journal.take_in(tmp_path, keys[PROVINCE], roster, file.name, between.seal(text, box, journal.SEALED_TYP))
        assert caught.value.code == code
    text = between.sign(sign, sign.thumbprint(), "crosshall-evidence+jwt", {**record(), "iss": CITY})
    with pytest.raises(CrosshallError, match=r"crypto\.jws"):
        journal.take_in(tmp_path, keys[PROVINCE], roster, file.name, between.seal(text, box, journal.SEALED_TYP))
