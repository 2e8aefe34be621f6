"""Signatures of CRLs that were found good are not checked again at the next snapshot; nothing else is kept."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ca_bridge.crypto import signatures
from ca_bridge.errors import CryptoError
from ca_bridge.verdict import lint_status
from ca_bridge.verdict.currency import currencies
from tests.unit.verdict.conftest import Federation, federation

__all__ = ["federation"]


@pytest.fixture(autouse=True)
def _nothing_kept() -> Iterator[None]:
    lint_status._VERIFIED.clear()
    yield
    lint_status._VERIFIED.clear()


def _refuse(*_args: object, **_more: object) -> None:
    raise CryptoError("crypto.signature", "asked again")


def test_a_good_list_is_verified_once(federation: Federation, monkeypatch: pytest.MonkeyPatch):
    """A second snapshot with the same lists asks for no signature, and says the same."""
    first, second = currencies(federation.snapshot()), federation.snapshot()
    monkeypatch.setattr(signatures, "verify", _refuse)
    assert [bool(known.scopes) for known in first] == [True] * 3
    assert currencies(second) == first


def test_a_list_that_failed_is_not_kept(federation: Federation, monkeypatch: pytest.MonkeyPatch):
    """A signature that does not verify makes no list count and leaves nothing behind."""
    snapshot = federation.snapshot()
    monkeypatch.setattr(signatures, "verify", _refuse)
    assert [known.scopes for known in currencies(snapshot)] == [()] * 3
    assert lint_status._VERIFIED == {}
