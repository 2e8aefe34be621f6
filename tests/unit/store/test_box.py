"""Sealed values open with the same key in the same place, and only so."""

from __future__ import annotations

from pathlib import Path

import pytest

from ca_bridge.errors import ConfigError, StoreError
from ca_bridge.store import Box


def test_a_value_opens_where_it_was_sealed():
    """And two seals of one value differ: nobody sees that they are equal."""
    box = Box(b"k" * 32)
    assert box.open(box.seal(b"data", "here"), "here") == b"data"
    assert box.seal(b"data", "here") != box.seal(b"data", "here")


@pytest.mark.parametrize("change", ["place", "key", "byte", "short", "empty", "format"])
def test_anything_else_is_refused(change: str):
    """`store.sealed`; the detail does not name the row."""
    sealed = Box(b"k" * 32).seal(b"data", "table|row")
    key, place = b"k" * 32, "table|row"
    if change == "place":
        place = "table|other"
    elif change == "key":
        key = b"x" * 32
    else:
        sealed = {
            "byte": sealed[:-1] + bytes([sealed[-1] ^ 1]),
            "short": sealed[:8],
            "empty": b"",
            "format": b"\x02" + sealed[1:],
        }[change]
    with pytest.raises(StoreError) as refused:
        Box(key).open(sealed, place)
    assert refused.value.code == "store.sealed"
    assert "row" not in refused.value.detail


def test_a_key_file_must_hold_32_bytes(tmp_path: Path):
    """Absent, short or long: `config.key`."""
    for content in (None, b"", b"k" * 31, b"k" * 33):
        file = tmp_path / "attributes"
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(ConfigError) as refused:
            Box.from_file(file)
        assert refused.value.code == "config.key"
