"""A country that stands for as long as its tests, and what it leaves behind: its logs."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.nodes.country import PLACES, Country, Place
from tests.nodes.wires import PEOPLE
from tests.parts.previous import Tree

LOGS = Path(__file__).resolve().parents[2] / ".run"


@contextmanager
def standing(*places: Place, trees: Mapping[str, Tree] | None = None, logs: str = "nodes-logs") -> Iterator[Country]:
    """The province and these places, all up; `trees`: by place, whose software is another version's."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root: NOTHING of whole nodes was tested")
    root, kept = Path(tempfile.mkdtemp(prefix="crosshall-nodes-")), LOGS / logs
    country = Country(root, trees=dict(trees or {}))
    try:
        country.wires.up()
        for place in PLACES[1:]:
            country.wires.shape(place.name, "10mbit")
        with country.wires.standing(PEOPLE):
            country.rise(*places)
            yield country
    finally:
        country.supervisor.stop_all()
        country.wires.down()
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(root / "logs", kept / "nodes", dirs_exist_ok=True)
        for place in PLACES:
            if (country.folder(place) / "run" / "logs").is_dir():
                shutil.copytree(country.folder(place) / "run" / "logs", kept / place.name)
    shutil.rmtree(root, ignore_errors=True)
