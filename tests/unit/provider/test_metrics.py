"""`/metrics`: at the bridge's own socket only, counts of all workers, no word of who anybody is."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ca_bridge import metrics
from ca_bridge.errors import PathError, StoreError
from ca_bridge.files import config_dir
from ca_bridge.provider.health import FEDERATION
from crosshall.node import NodeFolder, bridge_parts
from tests.parts.bridge import ISSUER, NAME, NUMBER, Bridge
from tests.unit.verdict.conftest import NOW, Federation, federation

__all__ = ["federation"]


def told(bridge: Bridge) -> dict[tuple[str, ...], float]:
    """Value by name and labels' values, asked at the socket itself."""
    answer = bridge.browser().get("/metrics", base_url="http://localhost")
    assert answer.status_code == 200
    assert answer.content_type.startswith("text/plain; version=0.0.4")
    families = text_string_to_metric_families(answer.text)
    return {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}


@pytest.mark.parametrize("header", ["X-Forwarded-For", "X-Forwarded-Host", "Forwarded", "Via"])
@pytest.mark.parametrize("base", [ISSUER, "http://localhost"])
def test_what_a_front_handed_on_is_refused(bridge: Bridge, header: str, base: str):
    """nginx sets two of these on every request: nobody outside reads the figures, under whatever name."""
    answer = bridge.browser().get("/metrics", base_url=base, headers={header: "192.0.2.7"})
    assert answer.status_code == 404
    assert "crosshall_sessions" not in answer.text


def test_nginx_itself_does_not_hand_it_on():
    """At both hosts that lead to the bridge; and it sets the headers that the bridge looks for."""
    main = (config_dir() / "nginx" / "main.conf").read_text("utf-8")
    assert main.count("location = /metrics { return 404; }") == 2
    for name in ("X-Forwarded-For $$remote_addr", "X-Forwarded-Host $$http_host"):
        assert f"proxy_set_header {name};" in main


def test_sessions_logouts_and_time(bridge: Bridge):
    """Live sessions only; sign-outs not yet told; the age of trust and the rung."""
    bridge.realm.down = True
    client = bridge.browser()
    opened = bridge.sign_in(client, bridge.authorize(client))
    found = told(bridge)
    assert found["crosshall_sessions",] == 1
    assert found["crosshall_logouts_pending",] == 0
    assert sum(found["crosshall_rung", rung] for rung in ("fresh", "near", "day", "days", "closed")) == 1
    assert found["crosshall_trust_age_seconds",] >= 0
    bridge.parts.services.sessions.end(opened.session.sid, "signed_out")
    found = told(bridge)
    assert (found["crosshall_sessions",], found["crosshall_logouts_pending",]) == (0, 1)


def test_a_session_that_is_over_is_not_live(bridge: Bridge):
    """By its time, also before anybody purges it."""
    client = bridge.browser()
    bridge.sign_in(client, bridge.authorize(client))
    bridge.clock.forward(bridge.parts.services.settings.bridge.session_seconds + 1)
    assert told(bridge)["crosshall_sessions",] == 0


def test_crls_and_roles(bridge: Bridge, federation: Federation):
    """Ages at trusted now, expiry of roles as the agent told them."""
    bridge.source.snapshot = federation.snapshot()  # type: ignore[assignment]
    bridge.ladder.ahead = NOW - bridge.clock()
    file = bridge.parts.services.settings.node.state / FEDERATION
    file.parent.mkdir()
    row = {"at": NOW.isoformat(), "expires": {"timestamp": (NOW + timedelta(days=8)).isoformat()}}
    file.write_text(json.dumps({**row, "failing": {}, "codes": {}}))
    found = told(bridge)
    assert found["crosshall_crl_stale", "gd"] == 0
    assert found["crosshall_crl_age_seconds", "gd"] >= 0
    assert found["crosshall_snapshot_age_seconds",] == 0
    assert found["crosshall_role_expiry_timestamp_seconds", "timestamp"] == (NOW + timedelta(days=8)).timestamp()
    bridge.ladder.ahead += timedelta(days=400)
    assert told(bridge)["crosshall_crl_stale", "gd"] == 1


def test_what_cannot_be_told_is_left_out(bridge: Bridge, monkeypatch: pytest.MonkeyPatch):
    """One part that fails hides no other: no trust, no database, no trusted time."""
    bridge.source.fault = PathError("trust.bundle", "none")
    found = told(bridge)
    assert ("crosshall_sessions",) in found
    assert ("crosshall_snapshot_age_seconds",) not in found

    def fails() -> int:
        raise StoreError("store.locked", "busy")

    monkeypatch.setattr(type(bridge.parts.services.sessions), "count", lambda _: fails())
    bridge.ladder.code = "trust.time"
    found = told(bridge)
    assert ("crosshall_sessions",) not in found
    assert ("crosshall_trust_age_seconds",) not in found
    assert found["crosshall_rung", "closed"] == 1
    assert ("crosshall_logouts_pending",) in found


def test_nothing_says_who_anybody_is(bridge: Bridge):
    """With a person signed in: no name, number, key, subject or session in any line."""
    client = bridge.browser()
    opened = bridge.sign_in(client, bridge.authorize(client))
    text = bridge.browser().get("/metrics", base_url="http://localhost").text
    session = opened.session
    for secret in (NAME, NUMBER, session.person, session.sid, opened.secret, *session.subjects.values()):
        assert secret not in text
    assert set(re.findall(r"[{,]([a-z]+)=", text)) <= {"way", "code", "rung", "ca", "role", "le"}


def test_a_code_that_is_not_ours_is_no_label():
    """Labels are a closed set: whatever else comes counts as `other`."""
    metrics.sign_in("tls", "张三 44010", "fresh")
    labels = {s.labels["code"] for family in metrics.SIGN_INS.collect() for s in family.samples}
    assert "other" in labels
    assert "张三 44010" not in labels


def test_workers_share_their_counts(tmp_path: Path):
    """Two processes count one each: whichever answers tells two, and one that has ended is not forgotten."""
    count = "from ca_bridge import metrics; metrics.sign_in('tls', 'ok', 'fresh')"
    tell = "; from prometheus_client import generate_latest; print(generate_latest(metrics.counted()).decode())"
    environment = {**os.environ, metrics.SHARED: str(tmp_path)}
    outputs = [
        subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True).stdout
        for code in (count, count + tell)
    ]
    assert 'crosshall_sign_ins_total{code="ok",rung="fresh",way="tls"} 2.0' in outputs[1]


def test_a_node_starts_with_a_clean_folder(tmp_path: Path):
    """Counts of an earlier start are gone; the folder is its owner's; the watcher counts by itself."""
    folder = NodeFolder(tmp_path)
    folder.counts.mkdir(parents=True)
    (folder.counts / "counter_1.db").write_bytes(b"old")
    bridge, watcher = bridge_parts(folder)
    assert list(folder.counts.iterdir()) == []
    assert folder.counts.stat().st_mode & 0o077 == 0
    assert bridge.environment[metrics.SHARED] == str(folder.counts)
    assert metrics.SHARED not in watcher.environment
