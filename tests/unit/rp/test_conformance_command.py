"""`crosshall-rp conformance`: the small relying party for other people's suites, as they meet it."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

import pytest
import urllib3
from werkzeug.test import Client

from relying_party_sdk.cli import main
from relying_party_sdk.testing import CITIZEN, Browser, FakeProvider, Fault
from relying_party_sdk.testing.conformance import Conformance, addresses, open_server


@pytest.fixture(name="plain")
def _plain() -> Iterator[FakeProvider]:
    with FakeProvider(standard=True, par=False) as provider:
        provider.person = CITIZEN
        provider.iss = False
        yield provider


@pytest.fixture(name="site", params=["flask", "asgi"])
def _site(request: pytest.FixtureRequest, plain: FakeProvider, tmp_path: Path) -> Iterator[tuple[Conformance, Browser]]:
    values = {"userinfo": "on", "sign_out_return": "signed-out", "store": "memory:"}
    app = Conformance(plain.settings(tmp_path, **values), request.param)
    plain.register(app.settings, app.party.jwks)
    yield app, Browser(Client(app), plain, app.settings.base_url)  # type: ignore[arg-type]
    app.close()


def test_each_start_asks_again(site: tuple[Conformance, Browser], plain: FakeProvider) -> None:
    """Nothing of one test module is in the next: metadata and keys are fetched again, sessions stay."""
    site[1].open("/start")
    site[1].open("/start")
    assert (plain.calls[".well-known/openid-configuration"], plain.calls["jwks"]) == (2, 2)


@pytest.mark.parametrize("first", ["/start", "/me", "/oidc/login?return_to=/me"])
@pytest.mark.parametrize("named", [True, False])
def test_modules_in_a_row(
    site: tuple[Conformance, Browser], plain: FakeProvider, tmp_path: Path, first: str, *, named: bool
) -> None:
    """Each module has new keys, with or without `kid`, seconds after the one before: no restart, no stale key."""
    plain.mint.named = named
    for _ in range(4):
        plain.mint.rotate()
        plain.login = None
        page = Browser(Client(site[0]), plain, site[1].base_url).open(first)  # type: ignore[arg-type]
        assert (page.status, "sub: " in page.text) == (200, True)
    plain.faults.add(Fault.FOREIGN_KEY)
    page = Browser(Client(site[0]), plain, site[1].base_url).open(first)  # type: ignore[arg-type]
    assert (page.status, "rp.token_signature" in page.text) == (403, True)


def test_leave(site: tuple[Conformance, Browser], plain: FakeProvider) -> None:
    """A driver that only opens addresses can sign out: at the provider, and back with `state`."""
    site[1].open("/start")
    page = site[1].open("/leave")
    assert any("/logout?" in hop and "id_token_hint" in hop for hop in page.hops)
    assert (plain.login, "nobody" in page.text) == (None, True)


def test_command_serves(plain: FakeProvider, tmp_path: Path) -> None:
    """The command listens at a free port, prints every address, and signs in with the printed keys registered."""
    command = [sys.executable, "-m", "relying_party_sdk.cli", "conformance", "--port", "0", "--adapter", "asgi"]
    command += ["--issuer", plain.issuer, "--client-id", "window", "--folder", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            lines = [process.stdout.readline().strip() for _ in range(8)]
            told = dict(line.split(": ", 1) for line in lines)
            settings = plain.settings(tmp_path, base_url=told["start"].removesuffix("/start"))
            plain.register(settings.with_(sign_out_return="signed-out"), json.loads(told["jwks"]))
            assert told["redirect_uri"] == settings.redirect_uri
            cookies: dict[str, str] = {}
            address, text, hops = told["start"], "", 0
            with urllib3.PoolManager() as pool:
                while address and hops < 9:
                    sent = {"Cookie": "; ".join(f"{k}={v}" for k, v in cookies.items())}
                    url = address.replace("//localhost", "//127.0.0.1")
                    answer = pool.request("GET", url, headers=sent, redirect=False)
                    for each in answer.headers.getlist("set-cookie"):
                        name, _, value = each.partition(";")[0].partition("=")
                        cookies[name] = value
                    text, hops = answer.data.decode(), hops + 1
                    address = urljoin(address, answer.headers["location"]) if "location" in answer.headers else ""
            assert "sub: " in text
        finally:
            process.terminate()


def test_server_and_addresses(site: tuple[Conformance, Browser]) -> None:
    """The server answers over HTTP; the addresses to register are told."""
    with open_server(site[0], ("127.0.0.1", 0), None) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_port}/oidc/jwks.json"
            with urllib3.PoolManager() as pool:
                assert pool.request("GET", url).json() == site[0].party.jwks
        finally:
            server.shutdown()
            thread.join()
    assert addresses(site[0].settings)["post_logout_redirect_uri"] == "https://window.test/oidc/signed-out"


@pytest.mark.parametrize(
    "extra",
    [
        ["--issuer", "ftp://x"],
        ["--issuer", "https://x.example", "--tls-cert", "a.pem"],
        ["--issuer", "https://x.example", "--client-auth", "client_secret_post"],
        ["--issuer", "http://suite.example/test/a/window/"],
    ],
)
def test_command_refuses(extra: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Arguments that do not hold are told in a line, with exit status 2."""
    assert main(["conformance", "--client-id", "c", *extra]) == 2
    assert "rp.settings" in capsys.readouterr().err
