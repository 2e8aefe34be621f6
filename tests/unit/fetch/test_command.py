"""`crosshall bridge fetch`, and the fetcher as a process that runs until it is stopped."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ca_bridge.verdict.snapshot import SnapshotSource
from crosshall import bridge
from tests.pki import NOW, der
from tests.unit.fetch.conftest import World, plain

SETTINGS = """
[node]
bundle = "bundle"
[bridge]
issuer = "https://hall.example"
certificate_host = "cert.example"
[keycloak]
issuer = "https://sso.example/realms/gd"
internal = "http://127.0.0.1:1"
"""


@pytest.fixture
def settings(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A node whose clock stands at the time of the test."""
    monkeypatch.setattr(bridge, "utc_now", lambda: world.now)
    monkeypatch.setattr(bridge.logs, "configure", lambda: None)
    path = tmp_path / "node.toml"
    path.write_text(SETTINGS)
    return path


def fetch(settings: Path, *options: str) -> tuple[int, str]:
    """Exit code and what is said."""
    done = CliRunner().invoke(bridge.app, ["fetch", "--settings", str(settings), "--once", *options])
    return done.exit_code, done.output


def test_one_round(world: World, settings: Path, tmp_path: Path) -> None:
    """What was done is said; a target that fails makes exit code 1, with CA, host and code."""
    world.publish(number=2, issued=NOW)
    assert fetch(settings) == (0, "asked: 1; new: 1; unchanged: 0; failed: 0\n")
    assert fetch(settings) == (0, "asked: 0; new: 0; unchanged: 0; failed: 0\n")
    snapshot = SnapshotSource(world.federation.folder, lambda: world.now, tmp_path / "state" / "status").current()
    assert snapshot.overlay
    assert snapshot.judge(der(world.federation.leaf()), world.now).accepted
    world.server.reply = plain(b"x", status="500 Oops")
    code, said = fetch(settings, "--all")
    assert code == 1
    assert "gd: crl from 127.0.0.1: revocation.fetch_failed" in said


def test_it_runs_until_it_is_stopped(world: World) -> None:
    """A round at once; the end comes without waiting for the next one."""
    stop, asked = threading.Event(), threading.Event()
    data = der(world.federation.issuing.crl(number=2, issued=NOW))

    def reply(_request: bytes, _connection: socket.socket) -> bytes:
        asked.set()
        return plain(data)

    world.server.reply = reply
    thread = threading.Thread(target=world.fetcher.run, args=(stop,))
    thread.start()
    assert asked.wait(20)
    stop.set()
    thread.join(20)
    assert not thread.is_alive()
    assert world.numbers() == [2]


def test_a_bundle_that_cannot_be_read_does_not_end_it(world: World) -> None:
    """It is logged, and tried again."""
    manifest = world.federation.folder / "bundle.json"
    manifest.write_text(json.dumps({"format": 99}))
    stop = threading.Event()
    thread = threading.Thread(target=world.fetcher.run, args=(stop,))
    thread.start()
    stop.set()
    thread.join(20)
    assert not thread.is_alive()
    with pytest.raises(Exception, match=r"trust\.format"):
        world.fetcher.round()
