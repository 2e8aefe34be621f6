"""A bridge for each test, on SQLite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.parts.bridge import Bridge, make_bridge


@pytest.fixture
def bridge(tmp_path: Path) -> Iterator[Bridge]:
    """A bridge whose database gives up waiting after 50 ms."""
    made = make_bridge(tmp_path, rate_per_minute=10000, busy_seconds=0.05)
    yield made
    made.parts.services.store.close()
