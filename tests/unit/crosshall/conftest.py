"""A land of folders per test, copied from one that is made once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.unit.crosshall.land import Land, clock_of_commands, found_in
from tests.unit.nodes.world import NOW, Clock


@pytest.fixture(scope="session")
def first_day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A province on its first day; not to be changed."""
    folder = tmp_path_factory.mktemp("land")
    found_in(folder)
    return folder


@pytest.fixture
def land(first_day: Path, tmp_path: Path) -> Iterator[Land]:
    """A land of the test's own, an hour later."""
    shutil.copytree(first_day, tmp_path / "land")
    clock = Clock(NOW + timedelta(hours=1))
    with clock_of_commands(clock):
        yield Land(tmp_path / "land", clock)
