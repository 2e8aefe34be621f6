"""What the ceremony's tests share."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ca_bridge.store import Box, Store, migrate, open_store

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store at `NOW`."""
    url = f"sqlite:///{tmp_path}/bridge.sqlite"
    migrate(url)
    made = open_store(url, Box(bytes(32)), lambda: NOW)
    yield made
    made.close()
