"""Status of holders by OCSP, as sign-ins, sessions in use and the watcher ask for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ca_bridge.errors import StoreError
from ca_bridge.provider.watcher import judge, still_good
from tests.parts.bridge import Bridge


class Answers:
    """Stands for `fetch.holders.HolderStatus`: notes who asked how, and can refuse the certificate."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.asked: list[bool] = []
        self.fault = fault

    def __call__(self, snapshot: Any, leaf: bytes, *, ask: bool = True) -> Any:
        self.asked.append(ask)
        if self.fault is not None:
            raise self.fault
        return snapshot


def test_only_the_watcher_asks_about_live_sessions(bridge: Bridge) -> None:
    """A request that uses a session looks at what is kept; the watcher may ask the responder."""
    answers = Answers()
    services = replace(bridge.parts.services, answered=answers)
    session = services.sessions.open(bridge.signin()).session
    assert still_good(services, session)
    judge(services, services.snapshots.current(), (session,), ask=True)
    assert answers.asked == [False, True]


def test_a_store_that_fails_ends_nobody(bridge: Bridge) -> None:
    """Kept answers cannot be read: the round fails and is repeated; no session ends for it."""
    services = replace(bridge.parts.services, answered=Answers(StoreError("store.unavailable", "down")))
    opened = services.sessions.open(bridge.signin())
    with pytest.raises(StoreError):
        judge(services, services.snapshots.current(), (opened.session,), ask=True)
    assert services.sessions.find(opened.secret) is not None
