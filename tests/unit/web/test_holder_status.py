"""A sign-in is judged under the snapshot with the responder's answer beside it, and recorded under the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ca_bridge.types import Verdict
from tests.unit.web.hall import Hall, Held


class Turned:
    """A snapshot that refuses what the one below it would accept: what an answer "revoked" does."""

    def __init__(self, below: Any) -> None:
        self._below = below

    def __getattr__(self, name: str) -> Any:
        return getattr(self._below, name)

    def judge_certificate(self, leaf: Any, at: Any) -> Verdict:
        found: Verdict = self._below.judge_certificate(leaf, at)
        return replace(found, accepted=False, code="revocation.revoked")


def test_the_answer_decides(hall: Hall, li: Held) -> None:
    """What the responder says of the certificate that proved its key refuses the sign-in; nobody is asked before."""
    asked: list[bytes] = []
    kept: list[tuple[Any, str]] = []

    def answered(snapshot: Any, leaf: bytes, *, ask: bool = True) -> Any:
        assert ask
        asked.append(leaf)
        return Turned(snapshot)

    def recorder(snapshot: Any, _leaf: bytes, verdict: Verdict) -> None:
        kept.append((snapshot, verdict.code))

    replace(hall.services, answered=answered, recorder=recorder).install(hall.app)
    browser = hall.browser()
    begun = browser.begin()
    assert not asked
    answer = browser.tls(begun.id, li)
    assert "revocation.revoked" in answer.get_data(as_text=True)
    assert asked == [li.der]
    assert [code for _, code in kept] == ["revocation.revoked"]
    assert isinstance(kept[0][0], Turned)
