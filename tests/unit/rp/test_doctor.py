"""`crosshall-rp doctor`: each fault is found, named, and said how to mend in two languages."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from werkzeug.test import Client

from relying_party_sdk import ProviderError, RelyingParty, Settings
from relying_party_sdk.cli import main
from relying_party_sdk.doctor import Doctor
from relying_party_sdk.findings import FAULT, OK, Finding, as_json, as_text, faulty
from relying_party_sdk.testing import FakeProvider, Fault
from relying_party_sdk.transport import HttpRequest, HttpResponse, Urllib3Transport
from tests.unit.rp.applications import flask_app

Change = Callable[[HttpResponse], HttpResponse]


class Site:
    """The window at its public address; `spoil` is what a proxy does to its answers."""

    def __init__(self, app: Any, settings: Settings, spoil: Change | None = None) -> None:
        self.client = Client(app)
        self.settings = settings
        self.spoil = spoil

    def send(self, request: HttpRequest) -> HttpResponse:
        """Without the path of `base_url`, as a proxy passes it on."""
        parts = urlsplit(request.url)
        path = parts.path.removeprefix(self.settings.base_path) + (f"?{parts.query}" if parts.query else "")
        media = request.headers.get("Content-Type")
        answer = self.client.open(
            path, method=request.method, headers=dict(request.headers), data=request.body, content_type=media
        )
        found = HttpResponse(answer.status_code, {k.lower(): v for k, v in answer.headers}, answer.data)
        return self.spoil(found) if self.spoil else found


class Nowhere:
    """A site that does not answer."""

    def send(self, request: HttpRequest) -> HttpResponse:
        """Never."""
        raise ProviderError("rp.provider_unreachable", "ConnectTimeout")


def examine(provider: FakeProvider, folder: Path, spoil: Change | None = None, **changes: Any) -> dict[str, Finding]:
    """Findings by check, for a window that answers."""
    site = changes.pop("site", None)
    clock = changes.pop("clock", __import__("time").time)
    settings = provider.settings(folder, **changes)
    party = RelyingParty(settings)
    provider.register(settings, party.jwks)
    transport = Urllib3Transport(settings)
    with flask_app(party) as app:
        doctor = Doctor(settings, transport, clock=clock, site=site or Site(app, settings, spoil))
        found = {finding.check: finding for finding in doctor.run()}
    transport.close()
    party.close()
    return found


@pytest.fixture(name="provider")
def _provider() -> Any:
    with FakeProvider() as provider:
        yield provider


def test_healthy(provider: FakeProvider, tmp_path: Path) -> None:
    """A window that is set up right has no finding but good ones, and nobody was signed in."""
    found = examine(provider, tmp_path)
    assert {finding.state for finding in found.values()} == {OK}
    assert {"base_url", "store", "provider", "clock", "keys", "levels", "window", "cookies", "redirect"} <= set(found)
    assert {"jwks.json", "backchannel"} <= set(found)
    assert provider.login is None


@pytest.mark.parametrize(
    ("fault", "check", "hint"),
    [
        (Fault.WRONG_ISSUER, "provider", "character by character"),
        (Fault.DOWN, "provider", "firewall"),
        (Fault.HTML, "provider", "proxy"),
        (Fault.PLAIN_HTTP, "provider", "https"),
    ],
)
def test_provider(provider: FakeProvider, tmp_path: Path, fault: Fault, check: str, hint: str) -> None:
    """What is wrong at the provider is told with its remedy, in both languages."""
    provider.faults.add(fault)
    found = examine(provider, tmp_path)
    assert found[check].state == FAULT
    assert hint in found[check].fix_en
    assert found[check].fix_zh


def _headers(**changed: str) -> Change:
    def change(response: HttpResponse) -> HttpResponse:
        return HttpResponse(response.status, {**response.headers, **changed}, response.body)

    return change


@pytest.mark.parametrize(
    ("spoil", "check"),
    [
        (lambda _: HttpResponse(404, {}, b""), "window"),
        (lambda _: HttpResponse(200, {"content-type": "text/html"}, b"<h1>maintenance</h1>"), "window"),
        (lambda _: HttpResponse(403, {}, b"csrf"), "backchannel"),
        (lambda _: HttpResponse(302, {"location": "https://elsewhere.example/"}, b""), "window"),
        (_headers(**{"set-cookie": "__Host-window-tab-1=x; Path=/"}), "cookies"),
        (_headers(**{"set-cookie": "__Host-window-tab-1=x; Path=/app; Secure; HttpOnly; SameSite=Lax"}), "cookies"),
        (_headers(**{"set-cookie": ""}), "cookies"),
        (lambda r: HttpResponse(r.status, r.headers, b"{}"), "jwks.json"),
    ],
    ids=["404", "html", "csrf", "elsewhere", "flags", "path", "none", "keys"],
)
def test_proxy(provider: FakeProvider, tmp_path: Path, spoil: Change, check: str) -> None:
    """What a proxy in between spoils is found: paths, cookies, blocked addresses."""
    found = examine(provider, tmp_path, spoil)
    assert found[check].state == FAULT
    assert found[check].fix_zh != found[check].fix_en != ""


def test_nobody_at_home(provider: FakeProvider, tmp_path: Path) -> None:
    """An application that does not answer is one fault, not five."""
    found = examine(provider, tmp_path, site=Nowhere())
    assert [finding.check for finding in found.values() if finding.state == FAULT] == ["window"]


@pytest.mark.parametrize("off", [-60, 60])
def test_clock(provider: FakeProvider, tmp_path: Path, off: int) -> None:
    """A clock that is a minute off is told, with its sign."""
    found = examine(provider, tmp_path, clock=lambda: __import__("time").time() + off)
    told = re.search(r"[+-]\d+", found["clock"].zh)
    assert found["clock"].state == FAULT
    assert told is not None
    assert abs(int(told.group()) - off) <= 2  # the other clock is told in whole seconds


def test_redirect_not_registered(provider: FakeProvider, tmp_path: Path) -> None:
    """An unregistered redirect address is named, to be copied."""
    register, provider.par = provider.register, False

    def elsewhere(settings: Settings, jwks: Any) -> None:
        register(settings.with_(base_url="https://elsewhere.test"), jwks)

    provider.register = elsewhere  # type: ignore[method-assign]
    found = examine(provider, tmp_path)
    assert found["redirect"].state == FAULT
    assert "https://window.test/oidc/callback" in found["redirect"].fix_zh


def test_weakened(provider: FakeProvider, tmp_path: Path) -> None:
    """Memory store and dangerous switches are warnings; a readable key file and an http address are faults."""
    found = examine(provider, tmp_path, store="memory:", dangerously_allow_http=True, base_url="http://window.example")
    assert (found["store"].state, found["dangerously_allow_http"].state, found["base_url"].state) == (
        "warn",
        "warn",
        FAULT,
    )
    (tmp_path / "window.pem").chmod(0o644)
    settings = provider.settings(tmp_path)
    doctor = Doctor(settings, Urllib3Transport(settings), site=Nowhere())
    assert any(each.state == FAULT and "chmod 600" in each.fix_zh for each in doctor.run())


def test_levels(provider: FakeProvider, tmp_path: Path) -> None:
    """A level that a page asks and the provider has no name for is found before the first citizen."""
    settings = provider.settings(tmp_path, claims="standard", attributes_url="", acr_levels=("a", "b"))
    doctor = Doctor(settings, Urllib3Transport(settings), levels=(3,), site=Nowhere())
    assert [each.state for each in doctor.run() if each.check == "levels"] == [FAULT]


def test_line(provider: FakeProvider, tmp_path: Path) -> None:
    """The hall's `/status` is asked when the settings name it; one that tells no rung is a fault."""
    address = f"{provider.issuer}/status"
    assert examine(provider, tmp_path, status_url=address)["status_url"].state == OK
    assert examine(provider, tmp_path, status_url=f"{provider.issuer}/jwks")["status_url"].state == FAULT
    assert "status_url" not in examine(provider, tmp_path, status_url="")


def test_output() -> None:
    """A person reads both languages and the remedy; a machine reads JSON."""
    findings = [Finding("clock", FAULT, "时钟不准", "the clock is off", "校时", "set it")]
    assert "时钟不准 / the clock is off\n      → 校时\n      → set it" in as_text(findings)
    assert json.loads(as_json(findings))["healthy"] is False
    assert faulty(findings)


def test_command(provider: FakeProvider, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 1 and JSON for a window that does not answer; settings that do not hold are a finding as well."""
    file = tmp_path / "w.toml"
    text = f'issuer = "{provider.issuer}"\nclient_id = "w"\nbase_url = "https://127.0.0.1:9"\nkey_file = "w.pem"\n'
    file.write_text(f'{text}store = "w.sqlite"\n')
    assert main(["doctor", str(file), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert {row["check"] for row in told["findings"] if row["state"] == FAULT} == {"window"}
    assert not (tmp_path / "w.pem").exists()
    file.write_text("colour = 1\n")
    assert main(["doctor", str(file)]) == 1
    assert "rp.settings" in capsys.readouterr().out
