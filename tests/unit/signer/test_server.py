"""The signer as a process: loopback only, stops when asked, says nothing of who."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import tomli_w

from ca_bridge.errors import ConfigError
from demo import pki
from signer.server import make
from signer.settings import SignerSettings
from signer.wallet import Wallet
from signer.web import create_app


@pytest.fixture
def served(run: pki.DemoRun, settings: SignerSettings, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """`crosshall signer run` on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    raw = settings.model_dump(mode="json", exclude_none=True)
    path = tmp_path / "signer.toml"
    path.write_text(tomli_w.dumps({**raw, "port": port}))
    command = [sys.executable, "-m", "crosshall", "signer", "run", "--settings", str(path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert process.stdout is not None
        assert "signer.ready" in process.stdout.readline()
        yield process, port
    finally:
        process.kill()
        process.communicate()


def test_served_on_loopback_and_stopped_by_sigterm(served: tuple[subprocess.Popen[str], int]) -> None:
    """It answers on 127.0.0.1, on no other address of the machine, and ends within seconds of SIGTERM, exit code 0."""
    process, port = served
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", "/v1/status")
    answer = connection.getresponse()
    assert answer.status == 200
    assert "Werkzeug" not in (answer.getheader("Server") or "")
    connection.close()
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.2", port), timeout=1):
        pass
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0


def test_logs_hold_no_request_id(served: tuple[subprocess.Popen[str], int]) -> None:
    """Addresses hold ids of requests: they are not logged."""
    process, port = served
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", "/requests/very-secret-id")
    assert connection.getresponse().status == 404
    connection.close()
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=10)
    assert "very-secret-id" not in output


def test_taken_port_is_told(settings: SignerSettings, wallet: Wallet) -> None:
    """A second signer on the same port does not start."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(ConfigError, match=r"run\.port_taken"):
            make(create_app(settings, wallet), other.getsockname()[1])


def test_no_setting_listens_elsewhere() -> None:
    """There is no address in the settings."""
    assert "host" not in SignerSettings.model_fields
    assert os.environ.get("SOFTHSM2_CONF")
