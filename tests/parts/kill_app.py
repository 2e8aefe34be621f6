"""The window that `tests.parts.kill` kills: a Flask application for gunicorn, with a clock that the test moves."""

from __future__ import annotations

import os
import time
from pathlib import Path

from flask import Flask

from relying_party_sdk import RelyingParty, Settings
from relying_party_sdk.adapters.flask import CrosshallRP

AHEAD = Path(os.environ["CROSSHALL_TEST_AHEAD"])


def now() -> float:
    """The machine's time, and as many seconds more as the test says."""
    return time.time() + float(AHEAD.read_text() or 0)


def create() -> Flask:
    """The application."""
    app = Flask("window")
    rp = CrosshallRP(app, party=RelyingParty(Settings.from_environment(), clock=now))

    @app.get("/who")
    @rp.require(level=2)
    def who() -> str:
        assert rp.person
        return rp.person.subject

    return app
