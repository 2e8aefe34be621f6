"""Calls to other servers: loopback names, no redirects, bounded time and size. Real sockets on loopback."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from ca_bridge.errors import UpstreamError
from ca_bridge.provider.http import MAX_BYTES, HttpClient, is_localhost


def request(connection: socket.socket) -> bytes:
    """One whole request, body included, however it was cut into packets."""
    data = b""
    while chunk := connection.recv(65536):
        data += chunk
        head, end, body = data.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        if end and len(body) >= (int(length[1]) if length else 0):
            break
    return data


@contextmanager
def server(answer: Callable[[socket.socket, bytes], None]) -> Iterator[tuple[int, list[bytes]]]:
    """A server that lets `answer` write to each connection what it likes; its port, and the requests it saw."""
    seen: list[bytes] = []
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection:
                head = request(connection)
                if head:
                    seen.append(head)
                    try:
                        answer(connection, head)
                    except OSError:
                        continue

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listening.getsockname()[1], seen
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join(10)


def ok(connection: socket.socket, _head: bytes) -> None:
    """A small good answer."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")


def test_names_under_localhost_are_loopback():
    """RFC 6761 §6.3; Host keeps the name. The resolver is never asked: this name has no address."""
    with server(ok) as (port, seen):
        answer = HttpClient().get(f"http://sso.gd-7.localhost:{port}/realms/gd?x=1")
    assert (answer.status, answer.body) == (200, b"ok")
    assert seen[0].startswith(b"GET /realms/gd?x=1 HTTP/1.1\r\n")
    assert f"Host: sso.gd-7.localhost:{port}\r\n".encode() in seen[0]


@pytest.mark.parametrize("host", ["localhost.example", "notlocalhost", "localhost.evil.", "127.0.0.1.example"])
def test_other_names_are_not(host: str):
    """Only the name itself and names under it."""
    assert not is_localhost(host)


def test_a_form_is_posted():
    """application/x-www-form-urlencoded, encoded."""
    with server(ok) as (port, seen):
        HttpClient().post(f"http://127.0.0.1:{port}/logout", {"logout_token": "a+b/c="})
    assert seen[0].startswith(b"POST /logout ")
    assert b"logout_token=a%2Bb%2Fc%3D" in seen[0]


def test_a_redirect_is_not_followed():
    """The answer is the redirect itself."""

    def away(connection: socket.socket, _head: bytes) -> None:
        connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: /other\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    with server(away) as (port, seen):
        assert HttpClient().get(f"http://127.0.0.1:{port}/").status == 302
    assert len(seen) == 1


def test_an_answer_that_is_too_large_is_not_read():
    """`upstream.answer`, whatever length it claims."""

    def flood(connection: socket.socket, _head: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        for _ in range(2 * MAX_BYTES // 65536):
            connection.sendall(b"x" * 65536)

    with server(flood) as (port, _), pytest.raises(UpstreamError) as refused:
        HttpClient().get(f"http://127.0.0.1:{port}/")
    assert refused.value.code == "upstream.answer"


def test_a_server_that_says_nothing_costs_the_total_time_only():
    """`upstream.unavailable`."""
    done = threading.Event()
    with server(lambda _c, _h: done.wait(5) and None) as (port, _):
        begin = time.monotonic()
        with pytest.raises(UpstreamError) as refused:
            HttpClient(total_seconds=0.3).get(f"http://127.0.0.1:{port}/")
        assert time.monotonic() - begin < 2
        done.set()
    assert refused.value.code == "upstream.unavailable"


def test_a_server_that_drips_costs_the_total_time_only():
    """A byte now and then does not keep us waiting."""
    done = threading.Event()

    def drip(connection: socket.socket, _head: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        while not done.wait(0.05):
            connection.sendall(b"x")

    with server(drip) as (port, _):
        begin = time.monotonic()
        with pytest.raises(UpstreamError) as refused:
            HttpClient(total_seconds=0.3).get(f"http://127.0.0.1:{port}/")
        assert time.monotonic() - begin < 2
        done.set()
    assert refused.value.code == "upstream.unavailable"


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/", "https://127.0.0.1:1/", "ftp://127.0.0.1/", "rubbish", "http:///x"]
)
def test_what_cannot_be_reached(url: str):
    """`upstream.unavailable`, whatever the reason; the detail names no path or query."""
    with pytest.raises(UpstreamError) as refused:
        HttpClient().get(url)
    assert refused.value.code == "upstream.unavailable"
