"""Parts that stop, die, hang or come back in the middle of a sign-in; after each fault people sign in without hands."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from ca_bridge.provider.keys import read_ring, rotate
from ca_bridge.types import utc_now
from demo.browser import Browser, Page
from demo.personas import persona
from demo.selfcheck import new_browser, present_certificate, sign_in
from demo.stack import Demo
from idp.admin import connect
from idp.server import read_password
from tests.live import raw
from tests.live.alone import alone
from tests.live.ceremony import SignIn, begin, begin_in, button
from tests.live.witness import Log, assert_refused, codes, rows, sids, who
from tests.parts.postgres import Cluster

pytestmark = pytest.mark.live
ZHANG, LI, CHAN = persona("gd-zhang"), persona("gz-li"), persona("hk-chan")
_HOUR, _NOTHING = timedelta(hours=1), timedelta(0)


def signs_in(demo: Demo) -> None:
    """A normal sign-in by a new browser works, at both windows, at once."""
    browser = new_browser(demo.pki, ZHANG)
    page = sign_in(browser, demo.addresses)
    assert (page.status, urlsplit(page.url).hostname) == (200, demo.addresses.host("police")), page.url
    assert ZHANG.name in page.text
    there = browser.get(f"{demo.addresses.url('env')}/me")
    assert (there.status, urlsplit(there.url).hostname) == (200, demo.addresses.host("env"))


def within(seconds: float, ready: Callable[[], bool]) -> None:
    """Return as soon as `ready` holds; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, f"not in {seconds} s"
        time.sleep(0.2)


def confirm(here: SignIn) -> Page:
    """Go on from the sign-in page by certificate."""
    return present_certificate(here.browser, here.demo.addresses, here.page)


@contextmanager
def unavailable(demo: Demo, part: str) -> Iterator[None]:
    """`part` is stopped inside, and started again after."""
    stopped = demo.supervisor.stop(part)
    try:
        yield
    finally:
        demo.supervisor.start(stopped)


# ---- Keycloak


def test_keycloak_restarts_in_the_middle(demo: Demo) -> None:
    """Keycloak stops while a person is at the hall: they are told in our words; back again, the same click works."""
    here, fresh = begin(demo, ZHANG), Browser(demo.pki.tls_ca)
    with unavailable(demo, "keycloak"):
        page = confirm(here)
        assert (page.status, urlsplit(page.url).hostname) == (502, demo.addresses.host("sso")), page.url
        assert "upstream.unavailable" in codes(page)
        assert page.headers["Retry-After"] == "10"
        window = fresh.get(f"{demo.addresses.url('police')}/me")
        assert window.status in (502, 503)
        assert codes(window) == {"rp.provider_unreachable"}
        assert fresh.get(f"{demo.addresses.url('police')}/").status == 200
        assert fresh.get(f"{demo.addresses.url('hall')}/").status == 200
    # the person is signed in at the hall: the window's page leads them through without a certificate
    ended = here.browser.get(f"{demo.addresses.url('police')}/me")
    assert (ended.status, urlsplit(ended.url).hostname) == (200, demo.addresses.host("police")), ended.url
    signs_in(demo)


def test_keycloak_is_killed_in_the_middle(demo: Demo) -> None:
    """Keycloak is killed with -9 between two steps; started again, people sign in, and earlier ones are still known."""
    known = new_browser(demo.pki, LI)
    assert LI.name in sign_in(known, demo.addresses).text
    here = begin(demo, ZHANG)
    demo.restart("keycloak", kill=True)
    page = confirm(here)
    # Keycloak keeps sign-ins under way in memory: it says that this one has ended, and the window begins anew
    again = page if page.status == 200 else here.browser.get(f"{demo.addresses.url('police')}/me")
    assert (again.status, urlsplit(again.url).hostname) == (200, demo.addresses.host("police")), again.url
    signs_in(demo)
    still = known.get(f"{demo.addresses.url('police')}/me")
    assert urlsplit(still.url).hostname == demo.addresses.host("police")


def test_keycloak_is_slow(demo: Demo) -> None:
    """Keycloak hangs (SIGSTOP): a window answers within its time-out, with a code; the hall answers at once."""
    here = begin(demo, ZHANG)
    group = demo.supervisor.pid("keycloak")
    os.killpg(group, signal.SIGSTOP)
    try:
        started = time.monotonic()
        assert Browser(demo.pki.tls_ca).get(f"{demo.addresses.url('hall')}/").status == 200
        assert here.browser.get(here.address()).status == 200
        assert time.monotonic() - started < 3
        page = Browser(demo.pki.tls_ca).get(f"{demo.addresses.url('police')}/me")
        assert codes(page) == {"rp.provider_unreachable"}
        assert time.monotonic() - started < 25
    finally:
        os.killpg(group, signal.SIGCONT)
    assert urlsplit(confirm(here).url).hostname == demo.addresses.host("police")
    signs_in(demo)


# ---- bridge and nginx


def _workers(demo: Demo, part: str = "bridge") -> list[int]:
    master = demo.supervisor.pid(part)
    return [int(pid) for pid in Path(f"/proc/{master}/task/{master}/children").read_text().split()]


def test_bridge_workers_are_killed_in_the_middle(demo: Demo) -> None:
    """Every worker dies (-9) between two steps: the next step works, for nothing of a sign-in lives in a worker."""
    here = begin(demo, ZHANG)
    there = here.certificate_page()
    old = _workers(demo)
    for pid in old:
        os.kill(pid, signal.SIGKILL)
    within(20, lambda: len(set(_workers(demo)) - set(old)) == len(old))
    within(20, lambda: Browser(demo.pki.tls_ca).get(f"{demo.addresses.url('hall')}/health").status == 200)
    page = here.browser.submit(there, button(there))
    assert urlsplit(page.url).hostname == demo.addresses.host("police"), page.url
    signs_in(demo)


def test_the_bridge_is_away(demo: Demo) -> None:
    """While the bridge is stopped every host of the hall says so in our words; started again, the same page goes on."""
    here = begin(demo, ZHANG)
    link = here.certificate_page().url
    with unavailable(demo, "bridge"):
        for url in (here.address(), link, f"{demo.addresses.url('hall')}/"):
            page = here.browser.get(url)
            assert (page.status, codes(page)) == (502, {"upstream.unavailable"})
    assert urlsplit(confirm(here).url).hostname == demo.addresses.host("police")
    signs_in(demo)


def test_nginx_restarts_in_the_middle(demo: Demo) -> None:
    """nginx starts anew between two steps: the browser connects again and goes on."""
    here = begin(demo, ZHANG)
    there = here.certificate_page()
    demo.restart("nginx", kill=True)
    here.browser._pools.clear()  # a browser opens new connections by itself
    page = here.browser.submit(there, button(there))
    assert urlsplit(page.url).hostname == demo.addresses.host("police"), page.url
    signs_in(demo)


# ---- the database


def test_postgresql_restarts_in_the_middle(demo: Demo, cluster: Cluster) -> None:
    """PostgreSQL away: a page with a code and a red health; back again, the same sign-in goes on by itself."""
    here = begin(demo, ZHANG)
    log, hall = Log(demo), demo.addresses.url("hall")
    cluster.control("-m", "fast", "stop")
    try:
        page = here.browser.get(here.address())
        assert_refused(page, "store.unavailable")
        assert page.status == 503
        assert here.post("/challenge").status == 503
        assert here.browser.get(f"{hall}/health").status == 503
        assert "store.unavailable" in log.codes()
        assert not [one for one in who() if one in log.text()]
    finally:
        cluster.start()
    within(20, lambda: here.browser.get(f"{hall}/health").status == 200)
    assert urlsplit(confirm(here).url).hostname == demo.addresses.host("police")
    signs_in(demo)


def test_a_locked_table(demo: Demo, cluster: Cluster) -> None:
    """A lock that lasts (a careless migration) costs one bounded wait and a code; nothing is half done after it."""
    here = begin(demo, ZHANG)
    there = here.certificate_page()
    before = sids(demo)
    with psycopg.connect(f"host={cluster.socket} user=crosshall dbname=bridge") as connection:
        connection.execute("LOCK TABLE sessions IN ACCESS EXCLUSIVE MODE")
        started = time.monotonic()
        page = here.browser.submit(there, button(there))
        assert_refused(page, "store.locked")
        assert time.monotonic() - started < 18
        connection.rollback()
    assert sids(demo) == before
    assert urlsplit(confirm(here).url).hostname == demo.addresses.host("police")
    signs_in(demo)


def test_sqlite_locked_and_full(demo: Demo) -> None:
    """On SQLite too: a locked file, and one that may not grow, are told by their codes, and over when that is over."""
    with alone(demo) as bridge:  # one worker, so that the limit of a process is the limit of the bridge
        asked = _authorization(demo)
        assert raw.ask_bridge(bridge.socket, asked).status == 303
        held = bridge.sqlite()
        held.execute("BEGIN IMMEDIATE")
        locked = raw.ask_bridge(bridge.socket, asked)
        held.execute("ROLLBACK")
        assert_refused(locked, "store.locked")
        assert raw.ask_bridge(bridge.socket, asked).status == 303
        held.close()
        (worker,) = bridge.workers()
        unlimited = resource.prlimit(worker, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        full = raw.ask_bridge(bridge.socket, asked)
        resource.prlimit(worker, resource.RLIMIT_FSIZE, unlimited)
        assert codes(full) <= {"store.full", "store.unavailable"}
        assert full.status == 503
        assert raw.ask_bridge(bridge.socket, asked).status == 303
        assert "store.locked" in bridge.log()


def _authorization(demo: Demo) -> str:
    browser = Browser(demo.pki.tls_ca, stop_at=f"{demo.addresses.url('hall')}/authorize")
    return browser.get(f"{demo.addresses.url('police')}/me").url


# ---- two at once, and keys


def test_two_first_sign_ins_at_once(demo: Demo) -> None:
    """One new person in two browsers at the same moment: both get in, and there is one person and one Keycloak user."""
    hongkong = "SELECT DISTINCT person FROM proofs WHERE accreditation LIKE 'hk-%'"
    new = 0 if rows(demo, hongkong) else 1
    users, pages = _users(demo), [(here, here.certificate_page()) for here in (begin(demo, CHAN), begin(demo, CHAN))]
    with ThreadPoolExecutor(2) as pool:
        ended = list(pool.map(lambda pair: pair[0].browser.submit(pair[1], button(pair[1])), pages))
    for page in ended:
        assert (page.status, urlsplit(page.url).hostname) == (200, demo.addresses.host("police")), page.url
        assert CHAN.name in page.text
    assert len(rows(demo, hongkong)) == 1
    assert _users(demo) - users == new


def _users(demo: Demo) -> int:
    realm = demo.settings.keycloak
    admin = connect(realm.internal, realm.realm, realm.admin_user, read_password(realm.admin_password_file))
    return int(admin.read(f"{admin.base}/users/count"))


def test_keys_rotate_during_sign_ins(demo: Demo) -> None:
    """Keys change while people sign in, also at once (a stolen key): nobody is turned away, and the old key is gone."""
    folder = demo.settings.bridge.keys / "signing"
    here, late = begin(demo, ZHANG), begin_in(demo, new_browser(demo.pki, LI))
    first = read_ring(folder).signing(utc_now()).thumbprint()
    rotate(folder, utc_now(), keep=_HOUR, lead=_HOUR)
    signs_in(demo)
    assert read_ring(folder).signing(utc_now()).thumbprint() == first
    assert urlsplit(confirm(here).url).hostname == demo.addresses.host("police")
    rotate(folder, utc_now(), keep=_NOTHING, lead=_NOTHING)
    assert read_ring(folder).signing(utc_now()).thumbprint() != first
    signs_in(demo)
    assert urlsplit(confirm(late).url).hostname == demo.addresses.host("police")
    jwks = f"{demo.addresses.url('hall')}/jwks"
    # a worker looks at its keys once a second
    within(3, lambda: first not in Browser(demo.pki.tls_ca).get(jwks).text)
