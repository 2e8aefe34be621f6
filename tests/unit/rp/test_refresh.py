"""Recheck by refresh: once for all threads and processes; ended means ended; an outage signs nobody out."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from relying_party_sdk import ProviderError, RelyingParty, StoreError
from relying_party_sdk.refresh import Refresher
from relying_party_sdk.session import Session
from relying_party_sdk.testing import CITIZEN, Browser, FakeProvider, Fault, Persona
from relying_party_sdk.transport import Urllib3Transport
from tests.unit.rp.conftest import Clock, Window, make_window


def test_fresh_session_asks_nobody(browser: Browser, provider: FakeProvider, clock: Clock) -> None:
    """Within `recheck` and the access token's life a page needs no call to the provider."""
    browser.open("/matters/7")
    clock.pass_(59)
    browser.open("/matters/7")
    assert provider.calls["refresh"] == 0


def test_recheck_after_sixty_seconds(browser: Browser, provider: FakeProvider, clock: Clock) -> None:
    """A session in use is confirmed once a minute, and goes on."""
    browser.open("/matters/7")
    for minute in range(1, 4):
        clock.pass_(60)
        assert browser.open("/matters/7").text == "7 level 2 "
        browser.open("/matters/7")
        assert provider.calls["refresh"] == minute
    assert provider.refusals == []


def test_ended_session_is_ended_within_recheck(browser: Browser, provider: FakeProvider, clock: Clock) -> None:
    """A sign-out whose call never came is noticed at the next recheck: the page asks for a new sign-in."""
    browser.open("/matters/7")
    provider.end_login()
    provider.person = None
    assert browser.open("/").text == "citizen"
    clock.pass_(60)
    assert browser.open("/").text == "nobody"
    assert "rp.denied" in browser.open("/matters/7").text


def test_fifty_parallel_requests_are_one_refresh(
    browser: Browser, window: Window, provider: FakeProvider, clock: Clock
) -> None:
    """Fifty requests with an expired token, in two processes that share a store, cause one refresh; all succeed."""
    browser.open("/matters/7")
    cookie = window.cookie(browser)
    other = RelyingParty(window.settings, clock=clock)
    clock.pass_(61)
    start = threading.Barrier(50)

    def request(number: int) -> bool:
        start.wait(10)
        return (window.party, other)[number % 2].current(cookie) is not None

    with ThreadPoolExecutor(50) as pool:
        assert all(pool.map(request, range(50)))
    other.close()
    assert provider.calls["refresh"] == 1
    assert provider.refusals == []


_WORKER = """
import sys, time
from concurrent.futures import ThreadPoolExecutor
from relying_party_sdk import RelyingParty, Settings
party = RelyingParty(Settings.from_toml(sys.argv[1]), clock=lambda: time.time() + 61)
print("ready", flush=True)
sys.stdin.readline()
with ThreadPoolExecutor(10) as pool:
    print(sum(session is not None for session in pool.map(lambda _: party.current(sys.argv[2]), range(10))))
"""


def test_one_refresh_for_several_processes(tmp_path: Path) -> None:
    """Forty requests in four real processes that share a SQLite file: one refresh, nobody signed out."""
    ahead = 0.0
    with FakeProvider(lambda: time.time() + ahead) as provider:
        provider.person = CITIZEN
        settings = provider.settings(tmp_path)
        window = make_window(provider, settings, time.time)
        browser = window.browser()
        browser.open("/matters/7")
        file = tmp_path / "window.toml"
        file.write_text(
            f'issuer = "{provider.issuer}"\nclient_id = "window"\nbase_url = "https://window.test"\n'
            'key_file = "window.pem"\nstore = "window.sqlite"\n'
        )
        ahead = 61.0
        command = [sys.executable, "-c", _WORKER, str(file), window.cookie(browser)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        workers = [subprocess.Popen(command, **pipes) for _ in range(4)]  # type: ignore[call-overload]
        for worker in workers:
            assert worker.stdout.readline() == "ready\n"
        for worker in workers:
            worker.stdin.write("go\n")
            worker.stdin.flush()
        assert [worker.communicate(timeout=60)[0] for worker in workers] == ["10\n"] * 4
        assert (provider.calls["refresh"], provider.refusals) == (1, [])
        window.party.close()


_VICTIM = """
import sys, time
from relying_party_sdk import RelyingParty, Settings
party = RelyingParty(Settings.from_toml(sys.argv[1]), clock=lambda: time.time() + 61)
party.current(sys.argv[2])
"""


def test_kill_in_the_middle_of_a_refresh(tmp_path: Path) -> None:
    """`kill -9` of a process in its refresh: the token is not sent again, and the person is back without noticing."""
    ahead = 0.0
    with FakeProvider(lambda: time.time() + ahead) as provider:
        provider.person = CITIZEN
        settings = provider.settings(tmp_path, total_timeout=5.0)
        window = make_window(provider, settings, lambda: time.time() + ahead)
        browser = window.browser()
        browser.open("/matters/7")
        file = tmp_path / "window.toml"
        file.write_text(
            f'issuer = "{provider.issuer}"\nclient_id = "window"\nbase_url = "https://window.test"\n'
            'key_file = "window.pem"\nstore = "window.sqlite"\nread_timeout = 20.0\ntotal_timeout = 20.0\n'
        )
        ahead = 61.0
        provider.faults.add(Fault.SLOW_REFRESH)
        victim = subprocess.Popen([sys.executable, "-c", _VICTIM, str(file), window.cookie(browser)])
        assert provider.reached.wait(30)
        victim.kill()
        victim.wait(10)
        provider.faults.clear()
        ahead += 70
        for request in ({}, {"headers": {"Accept": "application/json"}}, {"method": "POST", "data": {"note": "x"}}):
            page = browser.open("/matters/7", **request)
            assert (page.status, len(page.hops)) == (200, 1)
        page = browser.open("/matters/7", headers={"Sec-Fetch-Mode": "navigate"})
        assert (page.status, page.text) == (200, "7 level 2 ")
        assert any("/authorize" in hop for hop in page.hops)
        assert len(browser.open("/matters/7", headers={"Sec-Fetch-Mode": "navigate"}).hops) == 1
        assert (provider.calls["refresh"], provider.refusals) == (1, [])
        window.party.close()


def _impatient(window: Window, seconds: float) -> None:
    """From now on the window waits so long for the provider."""
    transport = Urllib3Transport(window.settings.with_(read_timeout=seconds))
    window.party._sender._transport = window.party._endpoint._transport = transport


def _lost(window: Window, provider: FakeProvider, clock: Clock) -> None:
    """The refresh token is spent at the provider, and its answer never came."""
    _impatient(window, 0.2)
    provider.faults.add(Fault.SLOW_REFRESH)
    clock.pass_(60)


def test_answer_that_never_came(browser: Browser, window: Window, provider: FakeProvider, clock: Clock) -> None:
    """A refresh without a whole answer is not tried again: served through the grace, then signed in anew, silently."""
    browser.open("/matters/7")
    _lost(window, provider, clock)
    assert browser.open("/matters/7").status == 200
    provider.faults.clear()
    for _ in range(3):
        clock.pass_(90)
        assert len(browser.open("/matters/7").hops) == 1
    clock.pass_(30)
    assert browser.open("/matters/7", headers={"Accept": "application/json"}).status == 401
    page = browser.open("/matters/7")
    assert (page.status, any("/authorize" in hop for hop in page.hops)) == (200, True)
    assert (provider.calls["refresh"], provider.refusals) == (1, [])


def test_lost_session_ends_by_the_back_channel(
    browser: Browser, window: Window, provider: FakeProvider, clock: Clock
) -> None:
    """A session whose refresh was lost is ended by the provider's call as any other."""
    browser.open("/matters/7")
    _lost(window, provider, clock)
    browser.open("/matters/7")
    assert window.party.back_channel(provider.logout_token("window")) == 1
    assert window.party.current(window.cookie(browser)) is None


def test_lost_session_and_the_provider_away(
    browser: Browser, window: Window, provider: FakeProvider, clock: Clock
) -> None:
    """When the silent sign-in cannot begin either, the page is served within the grace."""
    browser.open("/matters/7")
    _lost(window, provider, clock)
    browser.open("/matters/7")
    provider.faults.add(Fault.DOWN)
    assert browser.open("/matters/7", headers={"Sec-Fetch-Mode": "navigate"}).text == "7 level 2 "


def test_store_that_fails_while_tokens_are_written(
    browser: Browser, window: Window, provider: FakeProvider, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Renewed tokens are written again to a store that failed for a moment: they are nowhere else."""
    browser.open("/matters/7")
    write, failures = window.party._sessions.replace, iter([False, True, True])

    def failing(session: Session, *, lock: str, token: int) -> bool:
        if next(failures, False):
            raise StoreError("rp.store", "invented")
        return write(session, lock=lock, token=token)

    monkeypatch.setattr(window.party._sessions, "replace", failing)
    clock.pass_(60)
    assert browser.open("/matters/7").status == 200
    clock.pass_(60)
    assert browser.open("/matters/7").status == 200
    assert (provider.calls["refresh"], provider.refusals) == (2, [])


@pytest.mark.parametrize("fault", [Fault.DOWN, Fault.HTML, Fault.HUGE, Fault.SLOW, Fault.REDIRECT])
def test_outage_signs_nobody_out_before_the_grace(
    browser: Browser, window: Window, provider: FakeProvider, clock: Clock, fault: Fault
) -> None:
    """Provider away: served until the access token's end plus grace, then 503; back again: the session goes on."""
    browser.open("/matters/7")
    _impatient(window, 0.5)
    provider.faults.add(fault)
    clock.pass_(60 + 299)
    assert browser.open("/matters/7").status == 200
    clock.pass_(6)
    page = browser.open("/matters/7")
    assert (page.status in (502, 503), "rp.provider_" in page.text) == (True, True)
    provider.faults.clear()
    _impatient(window, 20.0)
    clock.pass_(6)
    assert browser.open("/matters/7").text == "7 level 2 "
    assert provider.refusals == []


def test_outage_is_not_waited_for_by_each_request(browser: Browser, provider: FakeProvider, clock: Clock) -> None:
    """While the provider fails, it is asked once in five seconds, not at every page."""
    browser.open("/matters/7")
    provider.faults.add(Fault.DOWN)
    clock.pass_(60)
    for _ in range(10):
        assert browser.open("/matters/7").status == 200
    assert provider.calls["refresh"] == 1


def test_level_of_the_session_follows(browser: Browser, provider: FakeProvider, clock: Clock) -> None:
    """A step-up at another window shows here at the next recheck, without a trip of the browser."""
    browser.open("/matters/7")
    assert provider.login is not None
    provider.login.level = 4
    clock.pass_(60)
    assert browser.open("/matters/7").text == "7 level 4 "


@pytest.mark.parametrize(
    "fault", [Fault.OTHER_PERSON_AT_REFRESH, Fault.BAD_SIGNATURE, Fault.WRONG_AUD, Fault.NO_CLAIM, Fault.NO_SUB]
)
def test_wrong_answer_ends_the_session(
    browser: Browser, window: Window, provider: FakeProvider, clock: Clock, fault: Fault
) -> None:
    """A refresh that brings another person, or a token that cannot be trusted, ends the session."""
    browser.open("/matters/7")
    cookie = window.cookie(browser)
    provider.faults.add(fault)
    clock.pass_(60)
    assert window.party.current(cookie) is None
    provider.faults.clear()
    assert window.party.current(cookie) is None


def test_sub_changed_at_refresh(browser: Browser, window: Window, provider: FakeProvider, clock: Clock) -> None:
    """`sub` must stay the same over a refresh (OpenID Connect Core §12.2)."""
    browser.open("/matters/7")
    assert provider.login is not None
    provider.login.person = Persona("somebody else")
    clock.pass_(60)
    assert window.party.current(window.cookie(browser)) is None


def test_sign_out_wins_over_a_refresh_under_way(window: Window, browser: Browser, clock: Clock) -> None:
    """A session that ends while it is refreshed is not written back."""
    browser.open("/matters/7")
    cookie, party = window.cookie(browser), window.party
    session = party.current(cookie)
    assert session is not None
    exchange = party._exchange

    def ending(current):  # type: ignore[no-untyped-def]
        renewed = exchange(current)
        party._sessions.end(current.key)
        return renewed

    refresher = Refresher(window.settings, party._sessions, party._store, ending, clock=clock, sleep=lambda _: None)
    clock.pass_(60)
    assert refresher.confirm(session) is None
    assert party.current(cookie) is None


def test_holder_that_lost_its_lock_writes_nothing(window: Window, browser: Browser, clock: Clock) -> None:
    """A process that slept past its lease is fenced off: the newer holder's tokens stay."""
    browser.open("/matters/7")
    party = window.party
    session = party.current(window.cookie(browser))
    assert session is not None
    name = f"refresh:{session.key}"
    stale = party._store.lock(name, 60)
    assert stale is not None
    clock.pass_(61)
    fresh = party._store.lock(name, 60)
    assert fresh is not None
    assert fresh > stale
    assert party._sessions.replace(session, lock=name, token=stale) is False
    assert party._sessions.replace(session, lock=name, token=fresh) is True


def test_lock_of_a_dead_process_does_not_sign_out(window: Window, browser: Browser, clock: Clock) -> None:
    """While a dead process's lock stands the session is served within its grace, and refreshed after the lease."""
    browser.open("/matters/7")
    session = window.party.current(window.cookie(browser))
    assert session is not None
    clock.pass_(60)
    assert window.party._store.lock(f"refresh:{session.key}", 60) is not None
    assert browser.open("/matters/7").status == 200
    assert window.provider.calls["refresh"] == 0
    clock.pass_(61)
    assert browser.open("/matters/7").status == 200
    assert window.provider.calls["refresh"] == 1


def test_restart_keeps_sessions(window: Window, browser: Browser, provider: FakeProvider, clock: Clock) -> None:
    """A new process on the same store and key files knows the person, without a trip to the provider."""
    browser.open("/matters/7")
    cookie = window.cookie(browser)
    window.party.close()
    again = make_window(provider, window.settings, clock)
    session = again.party.current(cookie)
    assert session is not None
    assert again.party.person(session).subject == CITIZEN.subject("window")
    again.party.close()


def test_session_has_a_longest_life(window: Window, browser: Browser, clock: Clock) -> None:
    """After `session` seconds it is over, however often it was confirmed."""
    browser.open("/matters/7")
    cookie = window.cookie(browser)
    clock.pass_(window.settings.session)
    assert window.party.current(cookie) is None


def test_attributes_are_asked_once_per_session(browser: Browser, provider: FakeProvider, clock: Clock) -> None:
    """Name and identifiers come from the attribute endpoint on demand, once, and are kept for the session."""
    for _ in range(3):
        assert "张三" in browser.open("/who").text.encode().decode("unicode_escape")
    assert provider.calls["attributes"] == 1


def test_attributes_are_sealed_in_the_store(browser: Browser, window: Window) -> None:
    """A copy of the store's file shows no name, number, subject, token, sid or nonce."""
    browser.open("/who")
    session = window.party.current(window.cookie(browser))
    assert session is not None
    path = window.settings.store.removeprefix("sqlite:")
    raw = b"".join(Path(path + end).read_bytes() for end in ("", "-wal"))
    assert session.key.encode() in raw
    secrets = ("张三", "110105", session.access_token, session.refresh_token, session.sub, str(session.sid))
    for secret in (*secrets, CITIZEN.subject("window"), session.nonce):
        assert secret.encode() not in raw


def test_attributes_of_another_person_are_refused(browser: Browser, provider: FakeProvider) -> None:
    """An answer about another subject is refused and not kept."""
    provider.faults.add(Fault.OTHER_SUBJECT)
    assert "rp.attributes" in browser.open("/who").text
    provider.faults.clear()
    assert browser.open("/who").status == 200


@pytest.mark.parametrize(
    "attributes", [{"name": 7}, {"identifiers": [{"type": "x"}]}, {"identifiers": "text"}, {"organisation": {"x": "y"}}]
)
def test_attributes_of_another_shape_are_refused(
    browser: Browser, provider: FakeProvider, attributes: dict[str, object]
) -> None:
    """What the endpoint answers in another shape is an error, not a guess."""
    provider.person = Persona("odd", attributes=attributes)
    page = browser.open("/who")
    assert (page.status, "rp.attributes" in page.text) == (502, True)


def test_provider_down_at_sign_in(browser: Browser, provider: FakeProvider) -> None:
    """Each way of being down is an error page with 502 or 503, never a stack trace or a hang."""
    for fault in (Fault.DOWN, Fault.HTML, Fault.HUGE, Fault.REDIRECT, Fault.WRONG_ISSUER, Fault.PLAIN_HTTP):
        provider.faults = {fault}
        page = browser.open("/matters/7")
        assert page.status in (502, 503), fault
        assert "rp." in page.text


def test_metadata_of_another_issuer(window: Window, provider: FakeProvider) -> None:
    """The issuer in the metadata is compared character by character: a slash more is another issuer."""
    provider.faults.add(Fault.WRONG_ISSUER)
    with pytest.raises(ProviderError) as caught:
        window.party.begin("/")
    assert caught.value.code == "rp.issuer"
