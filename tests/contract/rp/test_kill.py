"""`kill -9` of one of two workers in the middle of refreshes; `make deep K=refresh` does it at full size."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract.rp.conftest import empty
from tests.parts.kill import run


@pytest.mark.parametrize("kind", ["sqlite", "postgresql", "redis"])
def test_nobody_is_signed_out(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """A worker dies while refreshes are under way: nobody is signed out, and no refresh token is spent twice."""
    report = run(empty(kind, request, tmp_path), tmp_path, sessions=24, rounds=2)
    assert (report.signed_out, report.spent_twice) == (0, 0)
    assert report.killed_in_flight > 0, "no worker died in a refresh: this shows nothing"
    assert report.refreshes >= report.sessions
