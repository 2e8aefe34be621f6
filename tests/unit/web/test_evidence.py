"""Evidence of verdicts is off by default; when it is on, every verdict of a sign-in is kept before it counts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ca_bridge.app import build
from ca_bridge.errors import StoreError
from ca_bridge.types import Verdict
from ca_bridge.verdict.evidence import Recorder
from tests.unit.web.hall import Authority, Hall, Held, code_of


class Spy:
    """A recorder that remembers, or has no room."""

    def __init__(self, *, full: bool = False) -> None:
        self.full = full
        self.kept: list[tuple[bytes, Verdict]] = []

    def __call__(self, _snapshot: object, leaf: bytes, verdict: Verdict) -> None:
        if self.full:
            raise StoreError("store.full", "evidence: no space left on device")
        self.kept.append((leaf, verdict))


def watched(hall: Hall, spy: Spy) -> None:
    """Give the hall a recorder."""
    replace(hall.services, recorder=spy).install(hall.app)


def test_off_by_default(hall: Hall) -> None:
    """Nothing is kept that nobody asked for."""
    assert hall.services.settings.bridge.evidence is False
    assert hall.services.recorder is None


@pytest.mark.parametrize("on", [True, False])
def test_the_setting_decides(hall: Hall, on: bool) -> None:
    """`bridge.evidence` puts a recorder into the services."""
    settings = hall.services.settings
    folder = settings.bridge.channel_secret_file.parent
    (folder / "attributes").write_bytes(bytes(32))
    (folder / "master").write_bytes(bytes(32))
    bridge = settings.bridge.model_copy(update={"evidence": on, "keys": folder})
    parts = build(settings.model_copy(update={"bridge": bridge}), store=hall.services.store)
    assert isinstance(parts.services.recorder, Recorder) is on


def test_each_verdict_of_a_sign_in_is_kept(hall: Hall, li: Held) -> None:
    """The certificate as it was judged, with its verdict."""
    spy = Spy()
    watched(hall, spy)
    browser = hall.browser()
    assert browser.tls(browser.begin().id, li).status_code == 200
    assert [verdict.code for _, verdict in spy.kept] == ["ok"]
    assert spy.kept[0][0] == li.der


def test_refusals_are_kept_too(hall: Hall) -> None:
    """Before the person is told."""
    spy = Spy()
    watched(hall, spy)
    browser = hall.browser()
    stranger = Authority("nobody", "nobody-01").issue("王样例", "11010119900307201X")
    browser.tls(browser.begin().id, stranger)
    assert [verdict.accepted for _, verdict in spy.kept] == [False]


def test_without_room_nobody_signs_in(hall: Hall, li: Held) -> None:
    """A verdict that cannot be kept does not count: its code is told, and no session begins."""
    watched(hall, Spy(full=True))
    browser = hall.browser()
    page = browser.tls(browser.begin().id, li)
    assert page.status_code >= 500
    assert code_of(page.text) == "store.full"
