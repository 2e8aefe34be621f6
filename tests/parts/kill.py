"""`kill -9` of one of two gunicorn workers in the middle of refreshes: who is signed out, what is spent twice?"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import urllib3

from relying_party_sdk import RelyingParty, Settings
from relying_party_sdk.clientauth import ClientKey
from relying_party_sdk.testing import CITIZEN, FakeProvider
from relying_party_sdk.testing.server import Answer, Call

BASE = "https://window.test"
LATENCY = 0.03
"""How long the provider's answer to a refresh is on its way, seconds: time in which a worker dies."""


class SlowProvider(FakeProvider):
    """Answers a refresh a little after the token is spent."""

    def _dispatch(self, call: Call) -> Answer:
        answer = super()._dispatch(call)
        if call.form.get("grant_type") == "refresh_token":
            threading.Event().wait(LATENCY)
        return answer


@dataclass
class Person:
    """A browser with its cookies; what it asks of the window goes to the workers, whatever their address is."""

    port: int
    pool: urllib3.PoolManager
    cookies: dict[str, str] = field(default_factory=dict)
    trips: int = 0
    """How often it was sent to the provider."""

    def open(self, path: str, **headers: str) -> tuple[int, str]:
        """Status and text of a page, all redirects followed. A connection that died is tried again, as browsers do."""
        address = BASE + path
        for _ in range(8):
            status, location, text = self._ask(address, headers)
            if location is None:
                return status, text
            self.trips += "/authorize" in location
            address = location if urlsplit(location).netloc else BASE + location
        raise AssertionError("sent round in a loop")

    def _ask(self, address: str, headers: dict[str, str]) -> tuple[int, str | None, str]:
        here = address.startswith(BASE + "/")
        target = f"http://127.0.0.1:{self.port}{address.removeprefix(BASE)}" if here else address
        sent = {"Accept": "text/html", **headers}
        if here:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        for attempt in range(40):
            with contextlib.suppress(urllib3.exceptions.HTTPError):
                answer = self.pool.request("GET", target, headers=sent, redirect=False, retries=False, timeout=30)
                if here:
                    self._keep(answer.headers.getlist("set-cookie"))
                return answer.status, answer.headers.get("location"), answer.data.decode()
            threading.Event().wait(0.01 * attempt)
        raise AssertionError("no worker answers")

    def _keep(self, lines: list[str]) -> None:
        for line in lines:
            name, _, rest = line.partition("=")
            value, *attributes = rest.split("; ")
            if "Max-Age=0" in attributes:
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = value


@dataclass(frozen=True, slots=True)
class Report:
    """What happened to everybody."""

    sessions: int
    rounds: int
    refreshes: int
    killed_in_flight: int
    """Refreshes that were at the provider when their worker died."""
    signed_out: int
    """Answers that were not the person's own page."""
    silent: int
    """Trips to the provider that nobody sees."""
    spent_twice: int


def run(store: str, folder: Path, sessions: int, rounds: int) -> Report:
    """Sign everybody in, then: time passes, everybody asks at once, one worker dies; round after round."""
    ahead = folder / "ahead"
    ahead.write_text("0")
    with SlowProvider(lambda: time.time() + float(ahead.read_text() or 0)) as provider:
        provider.person = CITIZEN
        provider._server._server.handle_error = lambda *_: None  # type: ignore[method-assign] # connections of the dead
        settings = provider.settings(folder, store=store)
        provider.register(settings, ClientKey(settings.key_file, os.urandom).jwks)
        with _workers(settings, ahead, folder) as (port, arbiter), _pool() as pool:
            people = [Person(port, pool) for _ in range(sessions)]
            with ThreadPoolExecutor(8) as threads:
                wrong = sum(threads.map(lambda person: _asks(person) != 1, people))
                begun = sum(person.trips for person in people)
                lost: set[str] = set()
                for number in range(1, rounds + 1):
                    later = ahead.with_suffix(".new")
                    later.write_text(str(61 * number))
                    later.replace(ahead)
                    some = provider.calls["refresh"] + sessions // 4
                    asked = [threads.submit(_asks, person) for person in people]
                    _until(functools.partial(_reached, provider, some))
                    victim = _children(arbiter)[number % 2]
                    os.kill(victim, signal.SIGKILL)
                    wrong += sum(each.result(120) != 1 for each in asked)
                    _until(functools.partial(_replaced, arbiter, victim))
                    lost |= _flagged(settings, people)
                    wrong += sum(threads.map(lambda person: _asks(person, "application/json") != 1, people))
        twice = sum("twice" in refusal for refusal in provider.refusals)
        silent = sum(person.trips for person in people) - begun
        return Report(sessions, rounds, provider.calls["refresh"], len(lost), wrong, silent, twice)


def _asks(person: Person, accept: str = "text/html") -> int:
    """1 for the person's own page."""
    status, text = person.open("/who", Accept=accept)
    return int((status, text) == (200, CITIZEN.subject("window")))


def _reached(provider: FakeProvider, refreshes: int) -> bool:
    return provider.calls["refresh"] >= refreshes


def _replaced(arbiter: int, victim: int) -> bool:
    return len(set(_children(arbiter)) - {victim}) == 2


def _flagged(settings: Settings, people: list[Person]) -> set[str]:
    """The sessions whose refresh was sent and never answered, as the store has them."""
    party = RelyingParty(settings)
    keys = (party.sessions.key_of(person.cookies[settings.cookie("session")]) for person in people)
    found = (party.sessions.get(key) for key in keys if key)
    flagged = {session.key for session in found if session and session.refreshing}
    party.close()
    return flagged


@contextlib.contextmanager
def _pool() -> Iterator[urllib3.PoolManager]:
    with urllib3.PoolManager(maxsize=16, retries=False) as pool:
        yield pool


@contextlib.contextmanager
def _workers(settings: Settings, ahead: Path, folder: Path) -> Iterator[tuple[int, int]]:
    """Port and process of a gunicorn with two workers of four threads."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    names = ("issuer", "client_id", "base_url", "key_file", "store", "attributes_url")
    given = {f"CROSSHALL_RP_{name.upper()}": str(getattr(settings, name)) for name in names}
    command = [sys.executable, "-m", "gunicorn", "-w", "2", "--threads", "4", "-b", f"127.0.0.1:{port}"]
    with (folder / "gunicorn.log").open("ab") as output:
        running = subprocess.Popen(
            [*command, "tests.parts.kill_app:create()"],
            env={**os.environ, **given, "CROSSHALL_TEST_AHEAD": str(ahead)},
            stdout=output,
            stderr=output,
        )
    try:
        _until(lambda: len(_children(running.pid)) == 2)
        yield port, running.pid
    finally:
        running.terminate()
        running.wait(30)


def _children(process: int) -> list[int]:
    text = Path(f"/proc/{process}/task/{process}/children").read_text()
    return sorted(int(child) for child in text.split())


def _until(true: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not true():
        if time.monotonic() > until:
            raise AssertionError("waited in vain")
        threading.Event().wait(0.01)
