"""Every test of the store's contract runs on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ca_bridge.store import Box, Store, migrate, open_store
from tests.parts.postgres import Cluster, postgres

START = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
_numbers = itertools.count()


class Hand:
    """A clock moved by hand."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """One PostgreSQL for the whole run."""
    with postgres() as running:
        yield running


@pytest.fixture
def clock() -> Hand:
    """A clock that stands still until moved."""
    return Hand()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a new, empty database of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/bridge.sqlite"
        return
    cluster: Cluster = request.getfixturevalue("cluster")
    with cluster.database(f"contract_{next(_numbers)}") as made:
        yield made


@pytest.fixture
def box() -> Box:
    """The attribute key."""
    return Box(bytes(range(32)))


@pytest.fixture
def store(url: str, box: Box, clock: Hand) -> Iterator[Store]:
    """A store on a database that has been brought to this version."""
    migrate(url)
    store = open_store(url, box, clock, busy_seconds=2)
    yield store
    store.close()
