"""The asynchronous adapters under uvicorn, two processes on one store, tokens bound to a key, at the real Keycloak."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import tomli_w
import urllib3

from demo.selfcheck import new_browser
from demo.stack import Demo
from relying_party_sdk import RelyingParty, Settings
from tests.live.rp_sites import ZHANG, RealSide, Site, SiteBrowser, registered, window_at, window_settings
from tests.parts.redis import redis_server
from tests.unit.rp.front import free_port

pytestmark = pytest.mark.live
ROOT = Path(__file__).resolve().parents[2]
NAMES = ("plain", "starlette")


@dataclass
class Served:
    """One window in two processes, and a party of the test's own on the same store."""

    site: Site
    ports: tuple[int, int]
    party: RelyingParty
    access_log: Path

    def answers(self, cookie: str, times: int = 2, path: str = "/") -> list[tuple[int, str]]:
        """(status, text) of that many requests at once, half of them to each process."""
        name = self.party.settings.cookie("session")
        headers = {"Host": self.site.host, "Cookie": f"{name}={cookie}"}

        def ask(number: int) -> tuple[int, str]:
            url = f"http://127.0.0.1:{self.ports[number % 2]}{path}"
            answer = urllib3.request("GET", url, headers=headers, redirect=False, retries=False, timeout=30)
            return answer.status, answer.data.decode()

        with ThreadPoolExecutor(times) as pool:
            return list(pool.map(ask, range(times)))

    def expire(self, cookie: str) -> None:
        """The access token's time is over, and the session was confirmed long ago."""
        session = self.party.current(cookie)
        assert session is not None
        name, now = f"refresh:{session.key}", time.time()
        token = self.party._store.lock(name, 10)
        assert token is not None
        old = replace(session, access_expires=now - 1, checked_at=now - 3600)
        assert self.party.sessions.replace(old, lock=name, token=token)
        self.party._store.unlock(name, token)

    def token_calls(self) -> int:
        """How often anybody called Keycloak's token endpoint."""
        return self.access_log.read_text().count(" POST /realms/gd/protocol/openid-connect/token ")


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(urllib3.exceptions.HTTPError):
            if urllib3.request("GET", f"http://127.0.0.1:{port}/oidc/jwks.json", retries=False).status == 200:
                return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
    raise RuntimeError("uvicorn did not start")


@contextlib.contextmanager
def _uvicorn(factory: str, settings: Path, port: int) -> Iterator[None]:
    command = [sys.executable, "-m", "uvicorn", "--factory", f"tests.live.asgi_window:{factory}", "--port", str(port)]
    environment = {**os.environ, "CROSSHALL_RP_SETTINGS": str(settings), "PYTHONWARNINGS": "ignore"}
    process = subprocess.Popen([*command, "--no-access-log", "--log-level", "warning"], cwd=ROOT, env=environment)
    try:
        _wait(port, process)
        yield
    finally:
        process.terminate()
        process.wait(20)


def _write(settings: Settings, file: Path) -> Path:
    given = {name: getattr(settings, name) for name in ("issuer", "client_id", "base_url", "store", "dpop")}
    paths = {name: str(getattr(settings, name)) for name in ("key_file", "ca_file")}
    file.write_text(tomli_w.dumps({**given, **paths, "attributes_url": settings.attributes_url}))
    return file


@pytest.fixture(scope="module", name="windows")
def _windows(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Served]]:
    """Both adapters, each in two processes, registered for the name."""
    folder = tmp_path_factory.mktemp("uvicorn")
    with redis_server() as redis, contextlib.ExitStack() as stack:
        served = {}
        for name in NAMES:
            settings = window_settings(demo, f"uvicorn-{name}", folder, redis.url).with_(
                dpop="on", attributes_url=f"{demo.settings.bridge.issuer}/attributes"
            )
            party = RelyingParty(settings)
            stack.callback(party.close)
            ports = (free_port(), free_port())
            for port in ports:
                stack.enter_context(_uvicorn(name, _write(settings, folder / f"{name}.toml"), port))
            served[name] = Served(Site(name, party, ports[0]), ports, party, demo.folder.logs / "nginx-access.log")
        windows = [window_at(each.party.settings, each.ports[0], ("name",)) for each in served.values()]
        with registered(demo, windows):
            yield served


def _browser(demo: Demo, windows: dict[str, Served]) -> SiteBrowser:
    plain = new_browser(demo.pki, ZHANG)
    inside = {each.site.host: each.ports[0] for each in windows.values()}
    return SiteBrowser(plain.ca_file, plain.certificate, inside=inside)


@pytest.mark.parametrize("name", NAMES)
def test_two_processes_are_one_window(demo: Demo, windows: dict[str, Served], name: str) -> None:
    """Known in both; the hall releases the name for a bound token's proof; 50 at once refresh once; out in both."""
    window, other = windows[name], windows[NAMES[1 - NAMES.index(name)]]
    side = RealSide(demo, {each.site.name: each.site for each in windows.values()})
    browser = _browser(demo, windows)
    assert window.answers("") == [(200, "nobody")] * 2
    page = side.enter(browser, window.site.url("/name"))
    assert (page.status, page.text) == (200, ZHANG.name)
    cookie = window.site.cookie(browser)
    session = window.party.current(cookie)
    assert session is not None
    assert window.answers(cookie) == [(200, "citizen")] * 2
    assert window.answers(cookie, path="/name") == [(200, ZHANG.name)] * 2

    for _ in range(2):  # a refresh token that was spent twice would have ended the session
        before = window.token_calls()
        window.expire(cookie)
        assert window.answers(cookie, 50) == [(200, "citizen")] * 50
        assert window.token_calls() - before == 1
    renewed = window.party.current(cookie)
    assert renewed is not None
    assert renewed.refresh_token != session.refresh_token

    page = browser.get(other.site.url("/name"))
    assert page.text == ZHANG.name
    side.sign_out(browser, other.site)  # Keycloak calls one process of this window
    assert window.answers(cookie) == [(200, "nobody")] * 2
    assert window.answers(cookie, path="/name")[1][0] == 303


@pytest.mark.parametrize("name", NAMES)
def test_a_bound_token_is_no_bearer_token(demo: Demo, windows: dict[str, Served], name: str) -> None:
    """What Keycloak bound to the window's key opens neither the hall's attributes nor userinfo without the proof."""
    window = windows[name]
    side = RealSide(demo, {each.site.name: each.site for each in windows.values()})
    browser = _browser(demo, windows)
    side.enter(browser, window.site.url("/name"))
    session = window.party.current(window.site.cookie(browser))
    assert session is not None
    for scheme in ("Bearer", "DPoP"):
        address = f"{demo.settings.bridge.issuer}/attributes"
        answer = browser.once("GET", address, None, {"Authorization": f"{scheme} {session.access_token}"})
        assert answer.status == 401
        assert "provider.dpop" in answer.text
        assert ZHANG.name not in answer.text
