"""The country of all tests here: made once, by the operators' commands, each node on a machine of its own."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.nodes.country import PLACES, Country
from tests.nodes.wires import PEOPLE

LOGS = Path(__file__).resolve().parents[2] / ".run" / "nodes-logs"


@pytest.fixture(scope="session", name="country")
def _country() -> Iterator[Country]:
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root: NOTHING of whole nodes was tested")
    root = Path(tempfile.mkdtemp(prefix="crosshall-nodes-"))
    country = Country(root)
    try:
        country.wires.up()
        for place in PLACES[1:]:
            country.wires.shape(place.name, "10mbit")
        with country.wires.standing(PEOPLE):
            country.rise(*PLACES[1:])
            yield country
    finally:
        country.supervisor.stop_all()
        country.wires.down()
        shutil.rmtree(LOGS, ignore_errors=True)
        shutil.copytree(root / "logs", LOGS / "nodes", dirs_exist_ok=True)
        for place in PLACES:
            if (country.folder(place) / "run" / "logs").is_dir():
                shutil.copytree(country.folder(place) / "run" / "logs", LOGS / place.name)
    shutil.rmtree(root, ignore_errors=True)
