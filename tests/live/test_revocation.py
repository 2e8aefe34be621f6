"""A certificate or a whole domain refused from now on: sessions that stand on it end within 60 seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from cryptography import x509

from ca_bridge.types import utc_now
from crosshall import domain
from demo import pki
from demo.browser import Browser
from demo.personas import Persona, persona
from demo.selfcheck import new_browser, sign_in
from demo.stack import Demo
from tests.live.witness import assert_refused, refusal, rows

pytestmark = pytest.mark.live
ZHANG, LI, HO = persona("gd-zhang"), persona("gz-li"), persona("mo-ho")
WITHIN = 60.0
RECHECK = 15


def at(demo: Demo, browser: Browser, window: str) -> bool:
    """Whether the browser is signed in at the window, without following it anywhere."""
    return browser.once("GET", f"{demo.addresses.url(window)}/me").status == 200


def both(demo: Demo, who: Persona) -> Browser:
    """A browser in which `who` is signed in at both windows."""
    browser = new_browser(demo.pki, who)
    assert who.name in sign_in(browser, demo.addresses).text
    assert browser.get(f"{demo.addresses.url('env')}/me").status == 200
    assert at(demo, browser, "police")
    assert at(demo, browser, "env")
    return browser


def ended(demo: Demo, browser: Browser, window: str, since: float) -> float:
    """Seconds since the monotonic time `since` until the browser is signed out at `window`; fails after `WITHIN`."""
    while at(demo, browser, window):
        assert time.monotonic() - since < WITHIN, f"still signed in at {window} after {WITHIN} s"
        time.sleep(0.5)
    return time.monotonic() - since


@dataclass(frozen=True)
class Revoked:
    """LI was signed in at both windows and then revoked, while the environment window was down."""

    browser: Browser
    at: float
    """Monotonic time."""


@pytest.fixture(scope="module", name="revoked")
def _revoked(demo: Demo) -> Iterator[Revoked]:
    """Revoked for this module only: afterwards the CRLs are as they were."""
    state, window = demo.pki.state.read_bytes(), demo.folder.root / "windows" / "env" / "window.toml"
    browser, settings = both(demo, LI), window.read_text()
    try:
        # A window may look more often than once a minute: so this test need not take one.
        since = _revoke_while_down(demo, browser, lambda: window.write_text(f"recheck = {RECHECK}\n{settings}"))
        yield Revoked(browser, since)
    finally:
        demo.pki.state.write_bytes(state)
        pki.renew(demo.pki.folder, utc_now())
        window.write_text(settings)
        demo.restart("env")


def _revoke_while_down(demo: Demo, browser: Browser, change: Callable[[], object]) -> float:
    stopped = demo.supervisor.stop("env")
    try:
        change()
        pki.revoke(demo.pki.folder, LI.id, utc_now())
        since = time.monotonic()
        print(f"revoked: ended at the police window after {ended(demo, browser, 'police', since):.1f} s")  # noqa: T201
        return since
    finally:
        demo.supervisor.start(stopped)


def test_a_revoked_certificate(demo: Demo, revoked: Revoked) -> None:
    """Who is revoked is out at once, is refused with the reason, and has no session left at the hall."""
    assert not at(demo, revoked.browser, "police")
    serial = x509.load_pem_x509_certificate(LI.files(demo.pki.folder).certificate.read_bytes()).serial_number
    keys = [key for (key,) in rows(demo, "SELECT certificate_key FROM sessions")]
    assert not [key for key in keys if int(key.partition(":")[2], 16) == serial]
    with refusal(demo, "revocation.revoked"):
        page = sign_in(new_browser(demo.pki, LI), demo.addresses)
    assert_refused(page, "revocation.revoked")
    assert_refused(sign_in(revoked.browser, demo.addresses), "revocation.revoked")


def test_a_domain_switched_off(demo: Demo, revoked: Revoked) -> None:
    """`crosshall domain off mo` ends Macao's sessions within 60 s and no other's; `on` lets them in again (R4)."""
    macao, province = both(demo, HO), both(demo, ZHANG)
    domain.off("mo", settings=demo.folder.settings)
    try:
        since = time.monotonic()
        took = [ended(demo, macao, window, since) for window in ("police", "env")]
        print(f"domain off: ended at both windows after {max(took):.1f} s")  # noqa: T201
        assert (at(demo, province, "police"), at(demo, province, "env")) == (True, True)
        assert {row[0] for row in rows(demo, "SELECT domain FROM sessions")} >= {"gd"}
        page = sign_in(new_browser(demo.pki, HO), demo.addresses)
        assert_refused(page, "trust.denied")
    finally:
        domain.on("mo", settings=demo.folder.settings)
    assert HO.name in sign_in(_later(demo, HO), demo.addresses).text


def _later(demo: Demo, who: Persona) -> Browser:
    """A new browser, once the hall has looked at its bundle again (at most once a second)."""
    time.sleep(1.1)
    return new_browser(demo.pki, who)


def test_a_window_that_was_down(demo: Demo, revoked: Revoked) -> None:
    """A window that was down when it was called learns it by its own recheck, well within 60 s."""
    took = ended(demo, revoked.browser, "env", revoked.at)
    print(f"revoked: ended at the window that was down after {took:.1f} s")  # noqa: T201
