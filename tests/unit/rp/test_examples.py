"""The examples run: each signs people in, or refuses, as its page says."""

from __future__ import annotations

import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from flask.testing import FlaskClient
from werkzeug.test import Client

from examples import fastapi_api, flask_window, old_wsgi
from relying_party_sdk import RelyingParty, Settings
from relying_party_sdk.proxy import make_app
from relying_party_sdk.rules import ProxySettings
from relying_party_sdk.testing import CITIZEN, OFFICER, Browser, FakeProvider, sign_in_as
from relying_party_sdk.testing.provider import Login
from tests.unit.rp.front import served

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.fixture(name="provider")
def _provider() -> Iterator[FakeProvider]:
    with FakeProvider() as provider:
        provider.person = CITIZEN
        yield provider


@pytest.fixture(name="party")
def _party(provider: FakeProvider, tmp_path: Path) -> Iterator[RelyingParty]:
    accounts = f"sqlite:{tmp_path / 'accounts.sqlite'}"
    party = RelyingParty(provider.settings(tmp_path, accounts=accounts))
    provider.register(party.settings, party.jwks)
    yield party
    party.close()


def test_flask_window(party: RelyingParty, provider: FakeProvider) -> None:
    """Pages ask their levels, the button signs out."""
    app = flask_window.create_app(party)
    browser = Browser(FlaskClient(app, app.response_class), provider, party.settings.base_url)
    assert "登录" in browser.open("/").text
    for matter, level in (("residence-permit", 2), ("household-transfer", 3), ("no-record-certificate", 4)):
        assert f'data-received="level" data-value="{level}"' in browser.open(f"/matters/{matter}").text
    assert "登录" in browser.open("/oidc/logout", method="POST").text


def test_fastapi_api(party: RelyingParty, provider: FakeProvider) -> None:
    """Without a token, with a cookie only, and with a token that is none: 401; with one it answers."""
    client = TestClient(fastapi_api.create_app(party), base_url=party.settings.base_url)
    assert client.get("/api/cases").status_code == 401
    assert client.get("/api/cases", headers={"Authorization": "Bearer none"}).status_code == 401
    sign_in_as(client, CITIZEN)
    assert client.get("/api/cases").status_code == 401
    token = provider.apis.give(provider._clients["window"], Login(CITIZEN, 2, time.time()), "")
    answer = client.get("/api/cases", headers={"Authorization": f"Bearer {token}"})
    assert answer.json() == {"asked by": "window", "kind": "citizen"}


def test_old_system_behind_the_proxy(party: RelyingParty, provider: FakeProvider) -> None:
    """The old system serves whom the proxy names, nobody else's cookie, and its own button signs out."""
    table = tomllib.loads((EXAMPLES / "old_wsgi.toml").read_text("utf-8"))["proxy"]
    with served(old_wsgi.application) as port:
        proxy = ProxySettings.read({**table, "upstream": f"http://127.0.0.1:{port}"})
        app = make_app(party.settings, proxy, party)
        browser = Browser(Client(app), provider, party.settings.base_url)  # type: ignore[arg-type]
        spoofed = {"X-Remote-User": "admin"}
        assert browser.open("/help/a", headers=spoofed).text == "/help/a for nobody"
        subject = CITIZEN.subject("window")[:11]
        assert browser.open("/cases").text == f"/cases for {subject}"
        assert browser.open("/cases", headers=spoofed).text == f"/cases for {subject}"
        assert browser.open("/admin/x").text == f"/admin/x for {subject}"
        browser.open("/quit", headers={"Sec-Fetch-Site": "same-origin"}, stop_before="/authorize")
        assert provider.login is None
        provider.person = OFFICER
        assert browser.open("/cases").text == f"/cases for {OFFICER.subject('window')[:11]}"


def test_settings_of_the_examples() -> None:
    """The settings file beside an example holds together."""
    assert Settings.from_toml(EXAMPLES / "old_wsgi.toml").client_id == "old"
    assert ProxySettings.from_toml(EXAMPLES / "old_wsgi.toml").rule("/admin").wanted.level == 3


DJANGO = """
import sys
from pathlib import Path
from examples import django_window
from django.contrib.auth.models import User
from django.test import Client, override_settings
from relying_party_sdk import RelyingParty
from relying_party_sdk.testing import CITIZEN, OFFICER, FakeProvider, sign_in_as

folder = Path(sys.argv[1])
for _ in range(2):  # every start
    django_window.prepare()
    assert User.objects.count() == 1
with FakeProvider() as provider:
    party = RelyingParty(provider.settings(folder, accounts=f"sqlite:{folder / 'accounts.sqlite'}"))
    provider.register(party.settings, party.jwks)
    with override_settings(CROSSHALL_RP=party):
        client = Client(headers={"accept": "text/html"})
        assert client.get("/", secure=True).status_code == 303
        sign_in_as(client, CITIZEN)
        assert b"action=\\"/link\\"" in client.get("/", secure=True).content
        form = {"username": "zhang", "password": "guessed"}
        assert client.post("/link", form, secure=True).status_code >= 400
        assert b"action=\\"/link\\"" in client.get("/", secure=True).content
        done = client.post("/link", {**form, "password": "of long ago"}, secure=True)
        assert done.status_code == 302, done.content
        assert b'data-account="zhang"' in client.get("/", secure=True).content
        other = Client(headers={"accept": "text/html"})
        sign_in_as(other, OFFICER)
        assert other.post("/link", {**form, "password": "of long ago"}, secure=True).status_code >= 400
        assert b"zhang" not in other.get("/", secure=True).content
        again = Client(headers={"accept": "text/html"})
        sign_in_as(again, CITIZEN)
        assert b'data-account="zhang"' in again.get("/", secure=True).content
    party.close()
print("done")
"""


def test_django_window_with_accounts(tmp_path: Path) -> None:
    """An old account is linked once by its password, opens by signing in from then on, and to nobody else."""
    paths = {"PYTHONPATH": str(EXAMPLES.parent), "PATH": "/usr/bin:/bin", "DATABASE": str(tmp_path / "old.sqlite")}
    paths["OLD_ACCOUNT"] = "zhang:of long ago"
    command = [sys.executable, "-W", "ignore::ResourceWarning", "-c", DJANGO, str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, env=paths, capture_output=True, text=True, check=False)
    assert done.stdout.endswith("done\n"), done.stderr
