"""`/health` tells the truth about trust: every state is provoked here, and each has its stable code."""

from __future__ import annotations

import json
import sqlite3
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ca_bridge.errors import catalogue
from ca_bridge.provider.health import FEDERATION, PROBE_EVERY
from ca_bridge.store.tables import items
from ca_bridge.verdict.currency import currencies
from tests.parts.bridge import Bridge
from tests.pki import Authority, der, pem
from tests.unit.verdict.conftest import NOW, Federation, federation

__all__ = ["federation"]


def red(bridge: Bridge) -> list[str]:
    """The reasons; 503 exactly when there are some, and the database is looked at afresh."""
    bridge.clock.forward(PROBE_EVERY.total_seconds())
    answer = bridge.browser().get("/health", base_url="http://localhost")
    body: dict[str, Any] = answer.json or {}
    assert (answer.status_code, body["status"]) == ((503, "red") if body["reasons"] else (200, "ok"))
    return list(body["reasons"])


def agent_says(bridge: Bridge, body: object = None, **changes: object) -> None:
    """The sync agent's status file: a good one with `changes` (None leaves a field out), or any `body`."""
    if body is None:
        good = {"at": in_hours(bridge, 0), "expires": {"root": in_hours(bridge, 9)}, "failing": {}, "codes": {}}
        body = {name: value for name, value in (good | changes).items() if value is not None}
    file = bridge.parts.services.settings.node.state / FEDERATION
    file.parent.mkdir(exist_ok=True)
    file.write_text(body if isinstance(body, str) else json.dumps(body))


def in_hours(bridge: Bridge, hours: float) -> str:
    """An RFC 3339 time."""
    return (bridge.clock() + timedelta(hours=hours)).isoformat()


@pytest.mark.parametrize(
    ("hours", "reasons"),
    [(0, []), (0.3, []), (4, []), (4.01, ["trust.offline"]), (25, ["trust.offline"]), (80, ["trust.offline"])],
)
def test_a_rung_below_near_is_red(bridge: Bridge, hours: float, reasons: list[str]):
    """Fresh and near are well; from four hours on somebody must look."""
    bridge.ladder.cut(hours=hours)
    assert red(bridge) == reasons


@pytest.mark.parametrize("code", ["trust.time", "trust.time_missing"])
def test_no_trusted_time_is_red(bridge: Bridge, code: str):
    """A city without a signed time, or with a damaged file, is closed: the code says which."""
    bridge.ladder.code = code
    assert red(bridge) == [code]


@pytest.mark.parametrize(
    ("seconds", "reasons"), [(60, []), (-60, []), (61, ["trust.skew"]), (-61, ["trust.skew"]), (86400, ["trust.skew"])]
)
def test_a_clock_that_is_wrong_is_red(bridge: Bridge, seconds: float, reasons: list[str]):
    """More than 60 s from trusted time, ahead or behind: sessions and tokens live by that clock."""
    bridge.ladder.ahead = timedelta(seconds=seconds)
    assert red(bridge) == reasons


def test_an_expired_role_is_red(bridge: Bridge):
    """By trusted time, at the second of its expiry; the other roles do not make up for it."""
    expires = {"root": in_hours(bridge, 9), "timestamp": in_hours(bridge, 1)}
    agent_says(bridge, expires=expires)
    assert red(bridge) == []
    bridge.ladder.ahead = timedelta(hours=1)
    agent_says(bridge, at=in_hours(bridge, 1), expires=expires)
    assert "trust.role_expired" in red(bridge)


def test_what_the_agent_refused_is_told(bridge: Bridge):
    """Its codes stand among the reasons, its own machine's fault too; what is no code is never echoed.

    A line that is cut is the ladder's to tell, and what the province suspended is no fault.
    """
    failing = {"targets": "federation.threshold", "status": "<script>", "border": "federation.suspended"}
    codes = {"https://hall.example/federation/": "federation.unreachable", "here": "federation.disk"}
    agent_says(bridge, failing=failing, codes=codes)
    assert red(bridge) == ["federation.disk", "federation.threshold"]


def test_an_agent_that_fell_silent_is_red(bridge: Bridge):
    """It writes every 45 s, line or no line: after five minutes it is dead, and no refusal arrives."""
    agent_says(bridge)
    bridge.clock.forward(300 - PROBE_EVERY.total_seconds())
    assert red(bridge) == []
    assert red(bridge) == ["trust.roles_unknown"]


@pytest.mark.parametrize(
    "changes",
    [{"at": None}, {"at": "soon"}, {"at": "2026-11-23T08:00:00"}, {"at": ""}, {"expires": None}, {"expires": []},
     {"expires": {"root": "soon"}}, {"expires": {"root": 5}}, {"failing": []}, {"failing": {"root": 5}},
     {"codes": None}, {"codes": {"here": 5}}],
    ids=str,
)  # fmt: skip
def test_a_status_that_cannot_be_read_is_red(bridge: Bridge, changes: dict[str, object]):
    """A value that is missing or is not what it must be is no good news."""
    agent_says(bridge, **changes)
    assert red(bridge) == ["trust.roles_unknown"]


@pytest.mark.parametrize("body", ["", "{", "[]", "null", "[" * 5000, {}])
def test_a_damaged_status_is_red(bridge: Bridge, body: object):
    """Whatever lies in its place."""
    agent_says(bridge, body)
    assert red(bridge) == ["trust.roles_unknown"]


def test_a_city_whose_agent_never_spoke_is_red(tmp_path: Path, bridge: Bridge):
    """The province needs no agent; every other node does."""
    settings = bridge.parts.services.settings
    object.__setattr__(settings.node, "role", "city")
    assert red(bridge) == ["trust.roles_unknown"]


def test_a_database_that_cannot_grow_is_red(bridge: Bridge):
    """Red with `store.full` before the first citizen meets it; well again when there is room. Nothing stays behind."""
    full = True

    @sa.event.listens_for(bridge.parts.services.store.database.engine, "begin", insert=True)
    def small(connection: sa.Connection) -> None:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages if full else 1000000}")

    assert red(bridge) == ["store.full"]
    full = False
    assert red(bridge) == []
    with bridge.parts.services.store.database.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(items)) == 0


def test_a_locked_database_is_red_and_soon_told(bridge: Bridge):
    """`store.locked`; asking again within five seconds does not touch the database at all."""
    holder = sqlite3.connect(
        bridge.parts.services.settings.database.url.removeprefix("sqlite:///"), isolation_level=None
    )
    holder.execute("BEGIN IMMEDIATE")
    assert red(bridge) == ["store.locked"]
    holder.execute("ROLLBACK")
    answer = bridge.browser().get("/health", base_url="http://localhost")
    assert (answer.json or {})["reasons"] == ["store.locked"]
    assert red(bridge) == []
    holder.close()


def test_several_reasons_are_all_told(bridge: Bridge):
    """One fault does not hide another."""
    bridge.ladder.cut(hours=30)
    bridge.source.problem = "a hash differs"
    (bridge.parts.services.settings.bridge.keys / "signing" / "keys.json").unlink()
    assert set(red(bridge)) == {"trust.offline", "trust.bundle", "config.signing_keys"}


def test_every_code_has_its_words():
    """What an operator reads stands in the catalogue."""
    codes = ("offline", "time", "time_missing", "skew", "role_expired", "roles_unknown", "stale_crl", "no_anchors")
    assert {f"trust.{code}" for code in codes} <= set(catalogue())


# ---- CRLs


def stale(federation: Federation, at: datetime) -> set[str]:
    """CAs whose lists are out of date."""
    return {known.ca for known in currencies(federation.snapshot()) if known.stale(at)}


def test_crls_in_force_are_well(federation: Federation):
    """Every CA that is needed has a list of its own, signed by it."""
    found = currencies(federation.snapshot())
    assert len(found) == 3
    assert stale(federation, NOW) == set()
    assert all(known.issued(NOW) is not None for known in found)


def test_a_crl_past_its_next_update_is_stale(federation: Federation):
    """From nextUpdate on, of a person's CA and of those above it alike."""
    until = currencies(federation.snapshot())[0].scopes[0][0].until
    assert until is not None
    assert stale(federation, until) == set()
    assert len(stale(federation, until + timedelta(seconds=1))) == 3


def test_the_grace_of_the_profile_counts(federation: Federation):
    """A CA with a grace is stale when that is over, too."""
    federation.profile("gd", federation.issuing, status={"grace_seconds": 3600})
    until = max(term.until for known in currencies(federation.snapshot()) for term in known.scopes[0] if term.until)
    assert "gd" not in stale(federation, until)
    assert "gd" in stale(federation, until + timedelta(seconds=1))


def test_a_missing_or_foreign_crl_is_stale(federation: Federation):
    """A list under the CA's name that another key signed is none."""
    (federation.folder / "crls/issuing.crl").unlink()
    federation.publish()
    assert stale(federation, NOW) == {"gd"}
    federation.write("crls/issuing.crl", der(Authority.create("Issuing").crl()))
    assert stale(federation, NOW) == {"gd"}


def test_a_domain_switched_off_needs_no_crls(federation: Federation):
    """Nobody of it signs in: its silence is no fault; the other domains' lists, and those above them, still count."""
    far = federation.root.subordinate("Far")
    federation.profile("far", far)
    federation.write("cross/far.pem", pem(far.certificate))
    assert stale(federation, NOW) == {"far"}
    federation.table("denials/domain-far.toml", {"deny": [{"domain": "far", "why": "a test"}]})
    assert stale(federation, NOW) == set()
    assert len(currencies(federation.snapshot())) == 3
    (federation.folder / "crls/root.crl").unlink()
    federation.publish()
    assert len(stale(federation, NOW)) == 1


def test_what_only_a_domain_switched_off_needs_is_left_out(federation: Federation):
    """With its last domain off, the CAs above have nobody to vouch for."""
    federation.table("denials/domain-gd.toml", {"deny": [{"domain": "gd", "why": "a test"}]})
    assert currencies(federation.snapshot()) == ()


def test_each_ca_gets_its_own_list_among_many(federation: Federation):
    """Lists are looked up by their issuer's name; one of the same name counts for the key that signed it alone."""
    namesake = federation.root.subordinate("Issuing")
    federation.profile("two", namesake)
    federation.write("cross/two.pem", pem(namesake.certificate))
    assert stale(federation, NOW) == {"two"}
    federation.write("crls/two.crl", der(namesake.crl()))
    assert stale(federation, NOW) == set()
    assert all(len(known.scopes) == 1 and len(known.scopes[0]) == 1 for known in currencies(federation.snapshot()))


def test_a_stale_crl_makes_the_node_red(bridge: Bridge, federation: Federation):
    """Through `/health`, at trusted now: the machine's clock does not decide it."""
    bridge.source.snapshot = federation.snapshot()  # type: ignore[assignment]
    bridge.ladder.ahead = NOW - bridge.clock()
    assert "trust.stale_crl" not in red(bridge)
    bridge.ladder.ahead += timedelta(days=400)
    assert "trust.stale_crl" in red(bridge)


@pytest.mark.parametrize(("floor", "below"), [("999.0", True), ("0.0.1", False), ("", False)])
def test_software_below_the_floor_is_red(bridge: Bridge, federation: Federation, floor: str, below: bool):
    """The roster says which version is the lowest that may stand."""
    federation.write("roster.json", json.dumps({"format": 1, "nodes": [], "software": {"floor": floor}}))
    bridge.source.snapshot = federation.snapshot()  # type: ignore[assignment]
    bridge.ladder.ahead = NOW - bridge.clock()
    assert ("node.below_floor" in red(bridge)) is below
