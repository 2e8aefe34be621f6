"""Rung at use: the worse of what the sign-in said and what the hall says now; unknown is never good."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from relying_party_sdk.errors import SettingsError
from relying_party_sdk.testing import CITIZEN, Browser, FakeProvider
from relying_party_sdk.testing.faults import Fault
from tests.unit.rp.conftest import Clock, Window, make_window


@pytest.fixture
def at_line(provider: FakeProvider, clock: Clock, tmp_path: Path) -> tuple[Window, Browser]:
    """A person whose sign-in was fresh, at a window that knows the hall's `/status`."""
    settings = provider.settings(tmp_path, "lined", status_url=f"{provider.issuer}/status")
    window = make_window(provider, settings, clock)
    browser = window.browser()
    assert browser.sign_in_as(CITIZEN, "/line").status == 200
    return window, browser


def later(clock: Clock, window: Window) -> None:
    """When what is known of the hall has run out."""
    clock.pass_(window.settings.recheck + 1)


@pytest.mark.parametrize(("rung", "status"), [("fresh", 200), ("near", 200), ("day", 403), ("closed", 403)])
def test_the_hall_may_be_worse_than_the_sign_in(
    at_line: tuple[Window, Browser], provider: FakeProvider, clock: Clock, rung: str, status: int
) -> None:
    """After the line was cut the token still says fresh: the hall's word counts."""
    window, browser = at_line
    provider.rung = rung
    later(clock, window)
    page = browser.open("/line")
    assert page.status == status
    assert ("rp.rung_unmet" in page.text) == (status == 403)


def test_the_hall_is_asked_once_in_recheck_and_only_for_a_rung(
    at_line: tuple[Window, Browser], provider: FakeProvider, clock: Clock
) -> None:
    """Pages that ask no rung cost no call."""
    window, browser = at_line
    asked = provider.calls["status"]
    for _ in range(3):
        assert browser.open("/line").status == 200
    assert provider.calls["status"] == asked
    later(clock, window)
    assert browser.open("/matters/7").status == 200
    assert provider.calls["status"] == asked
    assert browser.open("/line").status == 200
    assert provider.calls["status"] == asked + 1


@pytest.mark.parametrize("told", ["good", "FRESH", "", None, ["fresh"], 0, {"fresh": 1}], ids=str)
def test_an_answer_without_a_rung_is_refused(
    at_line: tuple[Window, Browser], provider: FakeProvider, clock: Clock, told: Any
) -> None:
    """What cannot be read is not good, and no sign-in mends it."""
    window, browser = at_line
    provider.rung = told
    later(clock, window)
    page = browser.open("/line")
    assert page.status == 503
    assert "rp.rung_unknown" in page.text


def test_a_hall_that_is_down_is_refused(at_line: tuple[Window, Browser], provider: FakeProvider, clock: Clock) -> None:
    """While the session itself is served through its grace."""
    window, browser = at_line
    later(clock, window)
    provider.faults.add(Fault.DOWN)
    assert browser.open("/matters/7").status == 200
    page = browser.open("/line")
    assert (page.status, "rp.rung_unknown" in page.text) == (503, True)


def test_a_status_url_is_checked(provider: FakeProvider, tmp_path: Path) -> None:
    """Plain http elsewhere, or with a provider that has no rung: a fault of the settings."""
    with pytest.raises(SettingsError, match="status_url"):
        provider.settings(tmp_path, status_url="http://hall.example/status")
    with pytest.raises(SettingsError, match="status_url"):
        provider.settings(tmp_path, claims="standard", attributes_url="", status_url="https://hall.example/status")
