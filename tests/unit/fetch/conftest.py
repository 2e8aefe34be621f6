"""A federation whose issuing CA publishes at a real HTTP server on loopback, which does whatever a test tells it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ca_bridge.errors import RevocationError
from ca_bridge.fetch.fetcher import Fetcher, Report
from ca_bridge.fetch.http import Client
from ca_bridge.revocation.overlay import Overlay, read_overlay
from tests.pki import NOW, der
from tests.unit.verdict.conftest import Federation

Reply = Callable[[socket.socket], None]


def plain(body: bytes, *headers: str, status: str = "200 OK", length: int | None = None) -> bytes:
    """A whole response; `length` lies about its size."""
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


@dataclass
class Server:
    """Answers each connection with `reply`: octets, or a function that gets the request and the socket."""

    reply: bytes | Callable[[bytes, socket.socket], bytes | None] = b""
    requests: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.stopped = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    @property
    def host(self) -> str:
        """Host and port, as in an address."""
        return f"127.0.0.1:{self.port}"

    def stop(self) -> None:
        """Stop; every exchange that is under way ends."""
        self.stopped.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)
        assert not self._thread.is_alive()

    def _serve(self) -> None:
        while not self.stopped.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                connection.settimeout(5)
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            part = connection.recv(65536)
            if not part:
                return
            request += part
        head, _, body = request.partition(b"\r\n\r\n")
        wanted = [
            int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
        ]
        while wanted and len(body) < wanted[0]:
            body += connection.recv(65536)
        self.requests.append(head + b"\r\n\r\n" + body)
        answer = self.reply(self.requests[-1], connection) if callable(self.reply) else self.reply
        if answer is not None:
            connection.sendall(answer)

    def drip(self, octets: bytes) -> Callable[[bytes, socket.socket], None]:
        """A reply that sends one octet, again and again, until the other side has had enough."""

        def reply(_request: bytes, connection: socket.socket) -> None:
            for position in range(1 << 20):
                connection.sendall(octets[position % len(octets) :][:1])
                if self.stopped.wait(0.02):
                    return

        return reply


@dataclass
class World:
    """Federation, server, clock and fetcher."""

    federation: Federation
    server: Server
    status: Path
    now: datetime = NOW
    resolve: Callable[[str, int], list[str]] = lambda host, _port: [host]
    chance: float = 0.0

    def __post_init__(self) -> None:
        self.fetcher = self.new_fetcher()
        self.profile()

    def new_fetcher(self) -> Fetcher:
        """One that has just been started."""
        client = Client(lambda host, port: self.resolve(host, port))  # noqa: PLW0108 - tests change it
        return Fetcher(
            self.federation.folder,
            self.status,
            client,
            lambda: self.now,
            chance=lambda: self.chance,
            nonces=lambda size: b"n" * size,
        )

    def profile(self, **status: Any) -> None:
        """The issuing CA's profile, by default with one CRL at the server."""
        table = {"fetch": [f"http://{self.server.host}/ca.crl"], "private": ["127.0.0.1/32"], **status}
        self.federation.profile("gd", self.federation.issuing, status=table)

    def publish(self, *revoked: int, **wishes: Any) -> bytes:
        """Let the server have a new CRL of the issuing CA."""
        data = der(self.federation.issuing.crl(revoked, **wishes))
        self.server.reply = plain(data)
        return data

    def round(self) -> Report:
        """A round in which everything is due."""
        return self.fetcher.round(everything=True)

    def refused(self) -> str:
        """The code of the one target that fails in a round."""
        report = self.round()
        assert len(report.failed) == 1, report
        return report.failed[0][3]

    def kept(self) -> Overlay:
        """The overlay as the bridge reads it."""
        return read_overlay(self.status)

    def numbers(self) -> list[int | None]:
        """crlNumbers of the CRLs that are kept."""
        return [crl.number for crl in self.kept().crls.values()]

    def later(self, **passed: float) -> None:
        """Let time pass."""
        self.now += timedelta(**passed)


@pytest.fixture
def server() -> Iterator[Server]:
    """A server on loopback."""
    made = Server()
    yield made
    made.stop()


@pytest.fixture
def world(tmp_path: Path, server: Server) -> World:
    """A fresh world; the bundle's CRLs have number 1."""
    return World(Federation(tmp_path / "bundle"), server, tmp_path / "state" / "status")


def code_of(error: pytest.ExceptionInfo[RevocationError]) -> str:
    """The code of a refusal."""
    return error.value.code
