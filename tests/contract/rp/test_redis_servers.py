"""Redis over TLS with a root of one's own, and a node of a cluster: the one works, the other says what is wrong."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from relying_party_sdk import StoreError
from relying_party_sdk.stores import open_store
from tests.unit.rp.conftest import Clock
from tests.unit.rp.front import free_port


@contextlib.contextmanager
def _server(folder: Path, *options: str, **client: object) -> Iterator[None]:
    command = ["redis-server", "--save", "", "--appendonly", "no", *options]
    with (
        (folder / "redis.log").open("ab") as log,
        subprocess.Popen(command, cwd=folder, stdout=log, stderr=log) as server,
    ):
        try:
            until = time.monotonic() + 20
            with redis.Redis(host="127.0.0.1", **client) as probe:  # type: ignore[call-overload]
                while True:
                    try:
                        probe.ping()
                        break
                    except redis.ConnectionError:
                        if time.monotonic() > until or server.poll() is not None:
                            raise
                        with contextlib.suppress(subprocess.TimeoutExpired):
                            server.wait(0.02)
            yield
        finally:
            server.kill()


def test_tls_with_a_root_of_ones_own(tmp_path: Path, clock: Clock) -> None:
    """The root that the address names is believed, no other, and never nothing."""
    words = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "k.pem", "-out", "c.pem"]
    name = ["-subj", "/CN=redis", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    subprocess.run(["openssl", "req", "-x509", *words, *name], cwd=tmp_path, check=True, capture_output=True)
    port, root = free_port(), str(tmp_path / "c.pem")
    tls = ["--tls-port", str(port), "--tls-cert-file", root, "--tls-key-file", "k.pem", "--tls-auth-clients", "no"]
    with _server(tmp_path, "--port", "0", *tls, "--tls-ca-cert-file", root, port=port, ssl=True, ssl_ca_certs=root):
        store = open_store(f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={root}", clock)
        store.put("kind", "key", b"value", clock() + 60)
        assert store.take("kind", "key") == b"value"
        store.close()
        for address in (f"rediss://127.0.0.1:{port}/0", f"redis://127.0.0.1:{port}/0"):
            strange = open_store(address, clock)
            with pytest.raises(StoreError):
                strange.get("kind", "key")
            strange.close()


def test_a_node_of_a_cluster(tmp_path: Path, clock: Clock) -> None:
    """Every call is `rp.store`, and the operator reads that it is a cluster."""
    port = free_port()
    bus = str(free_port())
    with _server(tmp_path, "--port", str(port), "--cluster-enabled", "yes", "--cluster-port", bus, port=port):
        store = open_store(f"redis://127.0.0.1:{port}/0", clock)
        with pytest.raises(StoreError, match="a node of a cluster"):
            store.get("kind", "key")
        with pytest.raises(StoreError, match="a node of a cluster"):
            store.put("kind", "key", b"value", clock() + 60)
        store.close()
