"""When a part fails: a clear answer with a stable code, nothing half done, nothing in the log that says who."""

from __future__ import annotations

import io
import json
import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa
import structlog

from ca_bridge.errors import PathError
from ca_bridge.provider import logs
from ca_bridge.provider.health import UNWATCHED
from ca_bridge.provider.watcher import EVERY, Watcher
from ca_bridge.store.tables import items
from tests.parts.bridge import NAME, NUMBER, Bridge, FakeSnapshot, make_bridge, parameters


@pytest.fixture
def locked(bridge: Bridge) -> Iterator[sqlite3.Connection]:
    """Another process's connection, which can hold the database's write lock; the bridge waits 50 ms."""
    path = urlsplit(bridge.parts.services.settings.database.url).path.replace("//", "/")
    holder = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    yield holder
    holder.close()


def test_a_locked_database_at_the_beginning(bridge: Bridge, locked: sqlite3.Connection):
    """503, a page with `store.locked`; when it is free again the same request works."""
    locked.execute("BEGIN IMMEDIATE")
    answer = bridge.authorize(bridge.browser())
    assert answer.status_code == 503
    assert "store.locked" in answer.get_data(as_text=True)
    locked.execute("ROLLBACK")
    assert "/sign-in/" in bridge.authorize(bridge.browser()).location


def test_a_locked_database_at_the_token(bridge: Bridge, locked: sqlite3.Connection):
    """503 as JSON; neither code nor assertion is half used: the same request works afterwards."""
    code = bridge.code(bridge.browser())
    assertion = bridge.realm.assertion()
    locked.execute("BEGIN IMMEDIATE")
    answer = bridge.token(code, client_assertion=assertion)
    assert (answer.status_code, answer.json["error_description"]) == (503, "store.locked")
    locked.execute("ROLLBACK")
    assert bridge.token(code, client_assertion=assertion).status_code == 200


def test_a_locked_database_at_the_end_of_a_sign_in(bridge: Bridge, locked: sqlite3.Connection):
    """`/authorize/continue`: 503, the transaction is not used up, the second try gets the code."""
    client = bridge.browser()
    answer = bridge.authorize(client)
    bridge.sign_in(client, answer)
    tx = urlsplit(answer.location).path.removeprefix("/sign-in/")
    locked.execute("BEGIN IMMEDIATE")
    assert bridge.get(client, "/authorize/continue", query_string={"tx": tx}).status_code == 503
    locked.execute("ROLLBACK")
    assert "code" in parameters(bridge.get(client, "/authorize/continue", query_string={"tx": tx}))


def test_a_full_database(bridge: Bridge):
    """503 with `store.full`, nothing written; with room again the same request works."""
    database = bridge.parts.services.store.database

    @sa.event.listens_for(database.engine, "begin", insert=True)
    def small(connection: sa.Connection) -> None:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages if full else 1000000}")

    full = True
    before = count(bridge)
    statuses = [bridge.authorize(bridge.browser(), state="s" * 2000) for _ in range(40)]
    refused = [answer for answer in statuses if answer.status_code == 503]
    assert refused
    assert "store.full" in refused[0].get_data(as_text=True)
    assert count(bridge) == before + len(statuses) - len(refused)
    full = False
    assert "/sign-in/" in bridge.authorize(bridge.browser(), state="s" * 2000).location


def count(bridge: Bridge) -> int:
    """How many values the store holds."""
    with bridge.parts.services.store.database.read() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(items)) or 0


def health(bridge: Bridge) -> Any:
    """GET /health as the supervisor asks it, by no public name."""
    return bridge.browser().get("/health", base_url="http://localhost")


def test_health_is_green_only_when_people_can_sign_in(bridge: Bridge):
    """200 and no reasons; else 503 with codes: no anchors, bundle not readable, no database, no keys."""
    assert (health(bridge).status_code, health(bridge).json) == (200, {"status": "ok", "reasons": []})
    bridge.source.snapshot = FakeSnapshot(anchors=())
    assert health(bridge).json == {"status": "red", "reasons": ["trust.no_anchors"]}
    bridge.source.problem = "hash of crls/x differs"
    assert "trust.bundle" in health(bridge).json["reasons"]
    bridge.source.fault = PathError("trust.bundle", "/secret/path")
    answer = health(bridge)
    assert (answer.status_code, answer.json["reasons"]) == (503, ["trust.bundle"])
    assert "secret" not in answer.get_data(as_text=True)


def test_health_is_red_when_nobody_watches(bridge: Bridge):
    """A live session whose certificate nobody judged for long: revocations end nothing. Red until a watcher works."""
    services = bridge.parts.services
    services.sessions.open(bridge.signin())
    watcher = Watcher(services, services.settings.bridge.keys / "signing")
    for _ in range(40):
        watcher.tick()
        bridge.clock.forward(services.settings.bridge.rejudge_seconds)
        assert health(bridge).status_code == 200
    bridge.clock.forward((EVERY + UNWATCHED).total_seconds() + 2 * services.settings.bridge.rejudge_seconds)
    assert (health(bridge).status_code, health(bridge).json["reasons"]) == (503, ["run.watcher"])
    watcher.tick()
    assert health(bridge).status_code == 200
    bridge.clock.forward(services.settings.bridge.session_seconds)
    assert health(bridge).status_code == 200, "a session that is over needs nobody"


def test_health_is_red_without_the_database(bridge: Bridge):
    """The tables are gone: `store.version`."""
    with bridge.parts.services.store.database.write() as connection:
        connection.execute(sa.text("DROP TABLE items"))
    assert health(bridge).json["reasons"] == ["store.version"]


def test_health_is_red_without_a_signing_key(bridge: Bridge):
    """Nobody could be told who signed in."""
    (bridge.parts.services.settings.bridge.keys / "signing" / "keys.json").unlink()
    bridge.clock.forward(2)
    assert health(bridge).json["reasons"] == ["config.signing_keys"]


def test_too_many_steps_from_one_address(tmp_path: Path):
    """429 with Retry-After, as a page; another address goes on."""
    bridge = make_bridge(tmp_path, rate_per_minute=5)
    client = bridge.browser()
    for _ in range(5):
        assert bridge.authorize(client).status_code == 303
    answer = bridge.authorize(client)
    assert answer.status_code == 429
    assert answer.headers["Retry-After"] == "60"
    assert "provider.rate" in answer.get_data(as_text=True)
    other = bridge.get(client, "/authorize", query_string=bridge.asked(), headers={"X-Forwarded-For": "192.0.2.7"})
    assert other.status_code == 303


def test_one_line_with_many_addresses_is_one_address(tmp_path: Path):
    """IPv6 gives every line 2^64 addresses (RFC 6177): they count as one, else the limit limits nobody."""
    bridge = make_bridge(tmp_path, rate_per_minute=5)
    client = bridge.browser()

    def ask(address: str) -> int:
        headers = {"X-Forwarded-For": address}
        return int(bridge.get(client, "/authorize", query_string=bridge.asked(), headers=headers).status_code)

    assert [ask(f"2001:db8:1:2::{number:x}") for number in range(1, 7)] == [303] * 5 + [429]
    assert ask("2001:db8:1:3::1") == 303, "the neighbour goes on"
    assert [ask(f"::ffff:192.0.2.{number}") for number in range(1, 7)] == [303] * 6, "IPv4 in IPv6 is IPv4"


def test_a_hall_of_people_behind_one_address(tmp_path: Path):
    """Steps count for their sign-in: as many people as may begin go on together, beyond the limit of one address."""
    bridge = make_bridge(tmp_path, rate_per_minute=5)
    people = [bridge.browser() for _ in range(5)]
    begun = [bridge.authorize(client).location for client in people]
    for _ in range(10):
        for client, page in zip(people, begun, strict=True):
            assert bridge.get(client, urlsplit(page).path).status_code == 200


def test_steps_of_one_sign_in_have_an_end(tmp_path: Path):
    """Sixty in a minute, from whatever address; the next person's sign-in goes on."""
    bridge = make_bridge(tmp_path, rate_per_minute=5)
    client = bridge.browser()
    page = urlsplit(bridge.authorize(client).location).path
    answers = [
        bridge.get(client, page, headers={"X-Forwarded-For": f"192.0.2.{number}"}).status_code for number in range(61)
    ]
    assert answers == [200] * 60 + [429]
    other = bridge.browser()
    assert bridge.get(other, urlsplit(bridge.authorize(other).location).path).status_code == 200


@pytest.mark.parametrize("path", ["/sign-in/{}", "/sign-in/{}/certificate", "/authorize/continue?tx={}"])
def test_unknown_sign_ins_count_against_the_address(tmp_path: Path, path: str):
    """Who guesses is held back; who has a sign-in under way at the same address is not, nor is another address."""
    bridge = make_bridge(tmp_path, rate_per_minute=5)
    client = bridge.browser()
    page = urlsplit(bridge.authorize(client).location).path
    guesses = [bridge.get(bridge.browser(), path.format(f"{number:043}")).status_code for number in range(7)]
    assert 429 not in guesses[:5]
    assert guesses[5:] == [429] * 2
    assert bridge.get(client, page).status_code == 200
    elsewhere = bridge.get(bridge.browser(), path.format("x" * 43), headers={"X-Forwarded-For": "192.0.2.7"})
    assert elsewhere.status_code != 429


def test_another_browsers_sign_in_counts_against_the_address(tmp_path: Path):
    """An id that was seen somewhere opens nothing, and cannot be tried without end."""
    bridge = make_bridge(tmp_path, rate_per_minute=5)
    page = urlsplit(bridge.authorize(bridge.browser()).location).path
    for _ in range(5):
        assert bridge.get(bridge.browser(), page).status_code in (400, 403)
    assert bridge.get(bridge.browser(), f"/sign-in/{'x' * 43}").status_code == 429


def test_strangers_at_the_token_endpoint_are_held_back(tmp_path: Path):
    """Wrong assertions from one address: 429 in the end; Keycloak at another address is not held back, however busy."""
    bridge = make_bridge(tmp_path, rate_per_minute=40)
    for _ in range(10):
        assert bridge.token("0" * 64, client_assertion="x.y.z").status_code == 400
    assert bridge.token("0" * 64, client_assertion="x.y.z").status_code == 429
    form = {"grant_type": "authorization_code", "client_assertion": "x.y.z"}
    answer = bridge.post(bridge.browser(), "/token", form, headers={"X-Forwarded-For": "192.0.2.7"})
    assert answer.status_code == 400


def test_good_clients_are_not_counted(tmp_path: Path):
    """Keycloak asks for everybody: twenty tokens and refused codes in a minute are nothing."""
    bridge = make_bridge(tmp_path, rate_per_minute=40)
    for _ in range(20):
        assert bridge.token("0" * 64).json["error"] == "invalid_grant"


def test_every_answer_has_the_headers(bridge: Bridge):
    """CSP without inline, HSTS, nosniff, frame-ancestors none, COOP, number – on pages, JSON, redirects, errors."""
    client = bridge.browser()
    for answer in (
        bridge.authorize(client),
        bridge.authorize(client, client_id="x"),
        bridge.get(client, "/jwks"),
        bridge.token("x"),
        bridge.get(client, "/attributes"),
        bridge.get(client, "/nothing-here"),
        bridge.get(client, "/health"),
        bridge.get(client, "/logout"),
    ):
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] in ("no-referrer", "same-origin")
        assert answer.headers["Cross-Origin-Opener-Policy"]
        assert len(answer.headers["X-Request-Id"]) >= 8


def test_the_request_number_of_nginx_is_kept_and_others_are_not(bridge: Bridge):
    """One number in both logs; nothing a client can write lines with."""
    client = bridge.browser()
    given = "0123456789abcdef0123456789abcdef"
    assert bridge.get(client, "/jwks", headers={"X-Request-Id": given}).headers["X-Request-Id"] == given
    assert bridge.get(client, "/jwks", headers={"X-Request-Id": 'x" evil'}).headers["X-Request-Id"] != 'x" evil'


@pytest.fixture
def lines() -> Iterator[Any]:
    """What was logged, line by line, as JSON; the logging of before is put back."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    stream = io.StringIO()
    logs.configure(stream=stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers[:] = before
    root.setLevel(level)
    structlog.reset_defaults()


def test_the_log_does_not_say_who(bridge: Bridge, lines: Any):
    """A whole sign-in and refused ones: JSON lines with number and rule; no name, number, person, code or secret."""
    client = bridge.browser()
    code = bridge.code(client)
    claims = bridge.claims(bridge.token(code).json["id_token"])
    bridge.token(code)
    bridge.authorize(client, redirect_uri="https://evil.example/")
    bridge.get(client, "/attributes", headers={"Authorization": "Bearer x"})
    written = lines()
    assert {"request_id", "event", "level", "timestamp"} <= set(written[0])
    assert any(line.get("code") == "provider.code_reused" for line in written)
    text = json.dumps(written, ensure_ascii=False)
    for secret in (NAME, NUMBER, claims["sub"], claims["sid"], code, claims["crosshall_subject_police"]):
        assert secret not in text


def test_a_fault_is_logged_by_kind_and_place_only(lines: Any):
    """An exception's text and its frames may hold a name."""
    try:
        raise ValueError(NAME)
    except ValueError:
        logging.getLogger("x").exception("fault")
    (line,) = lines()
    assert line["exception"] == "ValueError"
    assert "test_faults.py" in line["place"]
    assert NAME not in json.dumps(line, ensure_ascii=False)
