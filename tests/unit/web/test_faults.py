"""The store fails in the middle, two ends at once: a clear page, and nothing half done."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from ca_bridge.ceremony import complete, pending, transaction
from ca_bridge.ceremony.codes import Proven
from ca_bridge.errors import CeremonyError, PathError, StoreError
from ca_bridge.types import Way
from tests.unit.web.hall import Hall, Held, code_of, path_of, session_of


def test_the_end_of_the_transaction_fails(hall: Hall, li: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """The session that was opened is ended again; no cookie is set; the person may try once more."""

    def full(*_: Any) -> None:
        raise StoreError("store.full", "disk full")

    browser = hall.browser()
    tx = browser.begin()
    back = path_of(browser.click(tx.id, li).headers["Location"])
    with monkeypatch.context() as patch:
        patch.setattr(transaction, "mark_done", full)
        page = browser.get(back)
    assert code_of(page.text) == "store.full"
    assert page.status_code >= 500
    assert "Set-Cookie" not in page.headers
    assert hall.services.sessions.live() == ()
    assert browser.tls(tx.id, li).status_code == 200


@pytest.mark.parametrize("step", ["take", "get"])
def test_the_store_is_locked(hall: Hall, li: Held, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading or taking fails: a page with the store's code, and no session."""

    def locked(*_: Any) -> None:
        raise StoreError("store.locked", "database is locked")

    browser = hall.browser()
    tx = browser.begin()
    back = path_of(browser.click(tx.id, li).headers["Location"])
    with monkeypatch.context() as patch:
        patch.setattr(hall.services.store, step, locked)
        page = browser.get(back)
    assert code_of(page.text) == "store.locked"
    assert session_of(browser) is None


def test_no_trust_data(hall: Hall, li: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a bundle in force nobody signs in, and the page says whose fault it is not."""

    def none(*_: Any) -> None:
        raise PathError("trust.bundle", "no bundle")

    browser = hall.browser()
    monkeypatch.setattr(type(hall.snapshots), "current", none)
    page = browser.tls(browser.begin().id, li)
    assert code_of(page.text) == "trust.bundle"
    assert session_of(browser) is None


def test_two_ends_at_once(hall: Hall, li: Held) -> None:
    """Two requests complete one sign-in together: one session is left, and the transaction names it."""
    browser = hall.browser()
    tx = browser.begin()
    state = pending.Pending(Proven(li.der, Way.TLS, hall.clock()))
    start, results = threading.Barrier(2), []

    def end() -> None:
        start.wait()
        try:
            results.append(complete.complete(hall.services, tx, state, ""))
        except CeremonyError as error:
            results.append(error.code)

    threads = [threading.Thread(target=end) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    won = [one for one in results if isinstance(one, complete.SignedIn)]
    assert len(won) == 1
    assert "ceremony.expired" in results
    assert [one.sid for one in hall.services.sessions.live()] == [won[0].session.sid]
    assert transaction.finish(hall.services.store, tx.id, browser.cookie, hall.clock()).sid == won[0].session.sid


def test_the_verdict_is_of_now(hall: Hall, li: Held) -> None:
    """What is kept of the check is its time, not the proof's."""
    browser = hall.browser()
    tx = browser.begin()
    back = path_of(browser.click(tx.id, li).headers["Location"])
    proved = hall.clock()
    hall.clock.forward(30)
    browser.get(back)
    session = session_of(browser)
    assert (session.auth_time, session.checked_at) == (proved, hall.clock())
