"""The transport: TLS with the name kept, no redirects, limits of size and time."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from relying_party_sdk import ProviderError, Settings
from relying_party_sdk.transport import HttpRequest, Urllib3Transport, get
from tests.unit.rp.tls import server_tls

Answer = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def _serve(answer: Answer, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _plain(status: int, body: bytes, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


@pytest.fixture(name="transport")
def _transport(settings: Settings) -> Iterator[Urllib3Transport]:
    transport = Urllib3Transport(settings.with_(read_timeout=1.0))
    yield transport
    transport.close()


def test_host_keeps_the_name(transport: Urllib3Transport) -> None:
    """A name under `localhost` is connected to 127.0.0.1, and `Host` keeps name and port (RFC 6761 §6.3)."""
    seen: list[str] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        seen.append(handler.headers["Host"])
        _plain(200, b"{}")(handler)

    with _serve(answer) as port:
        assert transport.send(get(f"http://sso.gd.localhost:{port}/x")).status == 200
        assert seen == [f"sso.gd.localhost:{port}"]


def test_tls_keeps_the_name(settings: Settings, tmp_path: Path) -> None:
    """SNI and the certificate's check use the name, not 127.0.0.1; another name, or no such root, is refused."""
    context, root, asked = server_tls(tmp_path, "sso.gd.localhost")
    with _serve(_plain(200, b"{}"), context) as port:
        transport = Urllib3Transport(settings.with_(ca_file=root))
        assert transport.send(get(f"https://sso.gd.localhost:{port}/")).status == 200
        assert asked == ["sso.gd.localhost"]
        with pytest.raises(ProviderError, match="provider_unreachable"):
            transport.send(get(f"https://other.localhost:{port}/"))
        with pytest.raises(ProviderError, match="provider_unreachable"):
            transport.send(get(f"https://127.0.0.1:{port}/"))
        transport.close()
        strict = Urllib3Transport(settings)
        with pytest.raises(ProviderError, match="provider_unreachable"):
            strict.send(get(f"https://sso.gd.localhost:{port}/"))
        strict.close()


def test_redirect_is_not_followed(transport: Urllib3Transport) -> None:
    """A redirect is an answer like another; nobody goes there."""
    with _serve(_plain(302, b"", Location="http://127.0.0.1:1/")) as port:
        assert transport.send(get(f"http://127.0.0.1:{port}/")).status == 302


def test_body_has_a_limit(transport: Urllib3Transport) -> None:
    """An answer above the limit is refused without being read to its end; one at the limit is taken."""
    with _serve(_plain(200, b"x" * 5000)) as port:
        assert len(transport.send(HttpRequest("GET", f"http://127.0.0.1:{port}/", limit=5000)).body) == 5000
        with pytest.raises(ProviderError, match="provider_answer"):
            transport.send(HttpRequest("GET", f"http://127.0.0.1:{port}/", limit=4999))


def test_compressed_answer_is_not_unpacked(transport: Urllib3Transport) -> None:
    """Nothing is decompressed: a small answer cannot become a large one."""
    with _serve(_plain(200, b"\x1f\x8b-not-unpacked", Content_Encoding="gzip")) as port:
        assert transport.send(get(f"http://127.0.0.1:{port}/")).body == b"\x1f\x8b-not-unpacked"


def test_silence_has_an_end(transport: Urllib3Transport) -> None:
    """A server that accepts and says nothing is given up after the read timeout."""
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(ProviderError, match="provider_unreachable"):
        transport.send(get(f"http://127.0.0.1:{silent.getsockname()[1]}/"))


def test_drip_has_an_end(settings: Settings) -> None:
    """A server that sends a byte now and then, which never trips a read timeout, is given up after the total time."""
    done = threading.Event()

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            while not done.wait(0.05):
                handler.wfile.write(b" ")
        except OSError:
            return

    transport = Urllib3Transport(settings.with_(connect_timeout=0.2, read_timeout=0.4, total_timeout=0.4))
    with _serve(drip) as port:
        with pytest.raises(ProviderError, match="too long"):
            transport.send(get(f"http://127.0.0.1:{port}/"))
        done.set()
    transport.close()


@pytest.mark.parametrize("body", [b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", b"nonsense\r\n\r\n", b""])
def test_broken_answer(transport: Urllib3Transport, body: bytes) -> None:
    """A cut or broken answer is `rp.provider_unreachable`, never half an answer."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def once() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(body)

        thread = threading.Thread(target=once)
        thread.start()
        with pytest.raises(ProviderError, match="provider_unreachable"):
            transport.send(get(f"http://127.0.0.1:{server.getsockname()[1]}/"))
        thread.join()


@pytest.mark.parametrize("url", ["http://provider.example/", "ftp://127.0.0.1/", "http:///x", "https://[::1"])
def test_address_that_is_not_used(transport: Urllib3Transport, url: str) -> None:
    """Plain HTTP leaves the machine only by a dangerous name; other schemes and no hosts never."""
    with pytest.raises(ProviderError):
        transport.send(get(url))
