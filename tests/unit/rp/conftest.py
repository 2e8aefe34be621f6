"""A window on the fake provider, with a clock that the test moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, request

from relying_party_sdk import RelyingParty, Settings
from relying_party_sdk.adapters.flask import CrosshallRP
from relying_party_sdk.testing import CITIZEN, Browser, FakeProvider


@dataclass
class Clock:
    """Seconds since 1970 that pass only when the test says so."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class Window:
    """One process of a window: its application, relying party and settings."""

    app: Flask
    rp: CrosshallRP
    party: RelyingParty
    settings: Settings
    provider: FakeProvider
    posted: list[str] = field(default_factory=list)

    def browser(self) -> Browser:
        """A browser of its own, without cookies."""
        return Browser(self.app.test_client(), self.provider, self.settings.base_url)

    def cookie(self, browser: Browser, use: str = "session") -> str:
        """The value of one of the SDK's cookies in a browser, or empty."""
        host = self.settings.base_url.removeprefix("https://").partition("/")[0]
        found = browser.client.get_cookie(self.settings.cookie(use), domain=host)
        return found.value if found else ""


def make_window(provider: FakeProvider, settings: Settings, clock: Callable[[], float]) -> Window:
    """An application with pages of several requirements; called twice with one store: two processes."""
    party = RelyingParty(settings, clock=clock, sleep=lambda _: None)
    provider.register(settings, party.jwks)
    app = Flask(__name__)
    app.testing = True
    rp = CrosshallRP(app, party=party)
    window = Window(app, rp, party, settings, provider)

    @app.get("/")
    def home() -> str:
        return rp.person.kind if rp.person else "nobody"

    @app.route("/matters/<name>", methods=["GET", "POST"])
    @rp.require(level=2)
    def matter(name: str) -> str:
        assert rp.person is not None
        if request.method == "POST":
            window.posted.append(request.form["note"])
        return f"{name} level {rp.person.level} {request.args.get('q', '')}"

    @app.get("/high")
    @rp.require(level=3, max_age=600)
    def high() -> str:
        assert rp.person is not None
        return f"high level {rp.person.level}"

    @app.get("/line")
    @rp.require(rung="near")
    def line() -> str:
        return "line"

    @app.get("/who")
    @rp.require()
    def who() -> dict[str, Any]:
        assert rp.person is not None
        known = rp.person.attributes()
        return {"name": known.name, "numbers": [i.value for i in known.identifiers]}

    return window


@pytest.fixture(name="clock")
def _clock() -> Clock:
    return Clock()


@pytest.fixture(name="provider")
def _provider(clock: Clock) -> Iterator[FakeProvider]:
    with FakeProvider(clock) as provider:
        provider.person = CITIZEN
        yield provider


@pytest.fixture(name="settings")
def _settings(provider: FakeProvider, tmp_path: Path) -> Settings:
    return provider.settings(tmp_path, read_timeout=20.0, connect_timeout=20.0, total_timeout=20.0)


@pytest.fixture(name="window")
def _window(provider: FakeProvider, settings: Settings, clock: Clock) -> Iterator[Window]:
    window = make_window(provider, settings, clock)
    yield window
    window.party.close()


@pytest.fixture(name="browser")
def _browser(window: Window) -> Browser:
    return window.browser()
