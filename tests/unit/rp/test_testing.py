"""What the SDK ships for other people's tests: `sign_in_as` in each framework's client, fixtures, a menu of faults."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from django.test import Client as DjangoClient
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient
from flask import Flask

from relying_party_sdk import RelyingParty, Settings
from relying_party_sdk.adapters import flask, starlette
from relying_party_sdk.testing import CITIZEN, OFFICER, FakeProvider, Fault, SignInFailed, sign_in_as
from tests.unit.rp.applications import django_app

ROOT = Path(__file__).parents[3]


@pytest.fixture(name="party")
def _party(provider: FakeProvider, settings: Settings, clock: Any) -> Any:
    party = RelyingParty(settings, clock=clock)
    provider.register(settings, party.jwks)
    yield party
    party.close()


def _flask(party: RelyingParty) -> Any:
    app = Flask("window")
    rp = flask.CrosshallRP(app, party=party)
    app.add_url_rule("/", view_func=lambda: rp.person.kind if rp.person else "nobody", endpoint="home")
    app.add_url_rule("/high", view_func=rp.require(level=3)(lambda: "high"), endpoint="high")
    return app.test_client()


def _fastapi(party: RelyingParty) -> Any:
    app = FastAPI()
    rp = starlette.CrosshallRP(app, party=party)

    async def home(request: Request) -> str:
        person = await rp.person(request)
        return person.kind if person else "nobody"

    home.__annotations__ = {"request": Request}
    app.get("/")(home)
    return TestClient(app)


@pytest.mark.parametrize("make", [_flask, _fastapi])
def test_sign_in_as(party: RelyingParty, make: Any) -> None:
    """The client is signed in afterwards at its own address, as the last one who signed in."""
    client = make(party)
    assert "nobody" in client.get("/").text
    sign_in_as(client, CITIZEN)
    assert "citizen" in client.get("/").text
    sign_in_as(client, OFFICER, level=4)
    assert "officer" in client.get("/").text


def test_sign_in_as_with_django(party: RelyingParty) -> None:
    """Django's client likewise; levels are reached when they are asked for."""
    with django_app(party):
        client = DjangoClient()
        sign_in_as(client, CITIZEN, level=3)
        assert client.get("/high", secure=True).content == b"high"


def test_sign_in_fails_loudly(party: RelyingParty, provider: FakeProvider) -> None:
    """What stands in the way is said, with the page's code; another level than asked is no success."""
    client = _flask(party)
    provider.faults.add(Fault.ALG_NONE)
    with pytest.raises(SignInFailed, match=r"rp\.token_alg"):
        sign_in_as(client, CITIZEN)
    provider.faults = {Fault.DOWN}
    with pytest.raises(SignInFailed):
        sign_in_as(client, CITIZEN)
    provider.faults = {Fault.LOWER_LEVEL}
    with pytest.raises(SignInFailed, match=r"rp\.level_unmet"):
        sign_in_as(client, CITIZEN, level=3)
    with pytest.raises(TypeError):
        sign_in_as(object(), CITIZEN)


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault.SLOW_JWKS, "rp.provider_unreachable"),
        (Fault.HTML_JWKS, "rp.provider_answer"),
        (Fault.EMPTY_JWKS, "rp.provider_answer"),
    ],
)
def test_keys_that_cannot_be_had(provider: FakeProvider, tmp_path: Path, fault: Fault, code: str) -> None:
    """Without the provider's keys nobody is signed in: slow, a page instead, none; and nothing hangs."""
    party = RelyingParty(provider.settings(tmp_path, read_timeout=0.3, total_timeout=3.0))
    provider.register(party.settings, party.jwks)
    provider.clock = provider.mint.clock = time.time
    provider.faults.add(fault)
    with pytest.raises(SignInFailed, match=code):
        sign_in_as(_flask(party), CITIZEN)
    party.close()


def test_which_provider_is_meant(party: RelyingParty, provider: FakeProvider) -> None:
    """With two providers, or two windows, nothing is guessed."""
    with FakeProvider() as other:
        other.person = CITIZEN
        with pytest.raises(RuntimeError):
            sign_in_as(_flask(party), CITIZEN)
        sign_in_as(_flask(party), CITIZEN, provider)
    provider.register(party.settings.with_(client_id="second"), party.jwks)
    with pytest.raises(LookupError):
        sign_in_as(_flask(party), CITIZEN, provider)
    sign_in_as(_flask(party), CITIZEN, provider, window="window")


PROGRAM = """
from flask import Flask
from relying_party_sdk.adapters.flask import CrosshallRP
from relying_party_sdk.testing import OFFICER, Fault

def create_app(party):
    app = Flask("police")
    rp = CrosshallRP(app, party=party)
    app.add_url_rule("/matters/<name>", view_func=rp.require(level=3)(lambda name: f"{name} {rp.person.kind}"))
    return app

def test_officer(crosshall_window, crosshall_sign_in_as):
    client = create_app(crosshall_window("police")).test_client()
    crosshall_sign_in_as(client, OFFICER)
    assert client.get("/matters/7").text == "7 officer"

def test_bad_day(crosshall_window, crosshall_provider):
    client = create_app(crosshall_window()).test_client()
    crosshall_provider.faults.add(Fault.DOWN)
    assert client.get("/matters/7").status_code == 503
"""


def test_fixtures(tmp_path: Path) -> None:
    """The plugin's fixtures work in somebody else's project, without a line of set-up."""
    (tmp_path / "test_police.py").write_text(PROGRAM)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "relying_party_sdk.testing.plugin", "-p", "no:cacheprovider"]
    paths = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=paths, capture_output=True, text=True, check=False)
    assert "2 passed" in done.stdout, done.stdout + done.stderr
