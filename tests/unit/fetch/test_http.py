"""One exchange with a real server on loopback that is slow, endless, lying or hostile."""

from __future__ import annotations

import socket
import time
import zlib
from typing import Any

import pytest

from ca_bridge.errors import RevocationError
from ca_bridge.fetch.address import Allowed
from ca_bridge.fetch.http import Answer, Ask, Client
from tests.unit.fetch.conftest import Server, plain

SECONDS = 0.6


def ask(server: Server, *, path: str = "/x", octets: int = 1000, others: tuple[str, ...] = (), **more: Any) -> Answer:
    """Ask the server, which lies in a listed private network."""
    address = f"http://{server.host}{path}"
    allowed = Allowed.of((address, *others), ("127.0.0.1/32",))
    return Client().ask(Ask(address, allowed, octets, SECONDS, **more))


def failure(server: Server, **more: Any) -> str:
    """The code of a failing exchange, which ends in time."""
    started = time.monotonic()
    with pytest.raises(RevocationError) as error:
        ask(server, **more)
    assert time.monotonic() - started < 3 * SECONDS
    return error.value.code


def test_a_whole_answer(server: Server) -> None:
    """Body and validators; the host that was asked for is named, identity encoding only."""
    server.reply = plain(b"body", 'ETag: "1"', "Last-Modified: Mon, 01 Jun 2026 00:00:00 GMT")
    assert ask(server, path="/a?b=c") == Answer(200, b"body", '"1"', "Mon, 01 Jun 2026 00:00:00 GMT")
    head = server.requests[0].decode()
    assert head.startswith("GET /a?b=c HTTP/1.1\r\n")
    assert f"Host: {server.host}\r\n" in head
    assert "Accept-Encoding: identity\r\n" in head


def test_a_post_and_chunks(server: Server) -> None:
    """What OCSP needs; chunked answers are put together."""
    server.reply = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    assert ask(server, body=b"question", headers={"Content-Type": "x/y"}).body == b"abcde"
    assert server.requests[0].startswith(b"POST /x ")
    assert server.requests[0].endswith(b"\r\n\r\nquestion")


def test_not_modified_only_when_it_was_asked(server: Server) -> None:
    """A 304 to an unconditional question says nothing."""
    server.reply = b"HTTP/1.1 304 Not Modified\r\n\r\n"
    assert ask(server, headers={"If-None-Match": '"1"'}).status == 304
    assert failure(server) == "revocation.fetch_failed"


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"\r\n\r\n",
        b"SSH-2.0-x\r\n",
        b"HTTP/1.1 200",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        plain(b"abc", length=10),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        plain(zlib.compress(b"x" * 10**6), "Content-Encoding: deflate"),
        plain(b"x", status="500 Oops"),
        plain(b"x", status="404 Not Found"),
        plain(b"x", status="206 Partial Content"),
        plain(b"", status="204 No Content"),
        plain(b"", status="407 Proxy Authentication Required"),
    ],
)
def test_answers_that_are_not_whole(server: Server, reply: bytes) -> None:
    """Cut off in flight, malformed, encoded, or another status: a code, never another exception."""
    server.reply = reply
    assert failure(server) == "revocation.fetch_failed"


def test_too_large_by_its_own_word(server: Server) -> None:
    """Refused before a single octet of the body is read."""
    server.reply = b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n"
    assert failure(server) == "revocation.fetch_too_large"


@pytest.mark.parametrize("head", [b"", b"Transfer-Encoding: chunked\r\n"])
def test_endless_answers_end_at_the_cap(server: Server, head: bytes) -> None:
    """100 MB and more, without a length."""
    sent = 0

    def reply(_request: bytes, connection: socket.socket) -> None:
        nonlocal sent
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n")
        block = b"x" * 65536 if not head else b"10000\r\n" + b"x" * 65536 + b"\r\n"
        while sent < 100_000_000:
            connection.sendall(block)
            sent += 65536

    server.reply = reply
    assert failure(server, octets=32 << 10) == "revocation.fetch_too_large"
    assert sent < 20_000_000


@pytest.mark.parametrize(
    "octets",
    [
        b"H",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 4000,
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 4000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 1000,
    ],
)
def test_dripping_answers_end_at_the_deadline(server: Server, octets: bytes) -> None:
    """However slowly it comes, the whole exchange has one deadline: in the status line, the headers, the body."""
    server.reply = server.drip(octets)
    assert failure(server, octets=1 << 20) == "revocation.fetch_failed"


def test_silence_ends_at_the_deadline(server: Server) -> None:
    """Accepted, and then nothing."""
    server.reply = lambda _request, _connection: server.stopped.wait(5) and None
    assert failure(server) == "revocation.fetch_failed"
    server.stopped.set()


def test_nobody_there(server: Server) -> None:
    """A closed port."""
    server.stop()
    assert failure(server) == "revocation.fetch_failed"


def test_redirects_on_the_same_origin(server: Server) -> None:
    """Relative or whole; the validators are those of the last answer."""

    def reply(request: bytes, _connection: socket.socket) -> bytes:
        if request.startswith(b"GET /x "):
            return plain(b"", "Location: /y", status="302 Found")
        if request.startswith(b"GET /y "):
            return plain(b"", f"Location: http://{server.host}/z", status="308 Permanent Redirect")
        return plain(b"there")

    server.reply = reply
    assert ask(server).body == b"there"


@pytest.mark.parametrize(
    "location",
    [
        "http://localhost:{port}/y",
        "http://127.0.0.2:{port}/y",
        "http://127.0.0.1:1/y",
        "https://127.0.0.1:{port}/y",
        "//169.254.169.254/latest/meta-data",
        "http://u@127.0.0.1:{port}/y",
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
        "http://[::1",
        "",
    ],
)
def test_redirects_elsewhere_are_refused(server: Server, location: str) -> None:
    """To another host, port or scheme, to loopback or a metadata service: nothing is asked there."""
    server.reply = plain(b"", f"Location: {location.format(port=server.port)}", status="302 Found")
    assert failure(server) == "revocation.fetch_address"
    assert len(server.requests) == 1


def test_another_listed_host_is_another_host_too(server: Server) -> None:
    """The allow-list does not make a cross-host redirect good."""
    other = f"http://localhost:{server.port}/y"
    server.reply = plain(b"", f"Location: {other}", status="301 Moved")
    assert failure(server, others=(other,)) == "revocation.fetch_address"


def test_redirects_in_a_circle(server: Server) -> None:
    """Counted."""
    server.reply = plain(b"", "Location: /x", status="302 Found")
    assert failure(server) == "revocation.fetch_failed"
    assert len(server.requests) == 4


def test_a_post_is_not_sent_on(server: Server) -> None:
    """A question about a certificate goes to the responder that is listed."""
    server.reply = plain(b"", "Location: /y", status="307 Temporary Redirect")
    assert failure(server, body=b"x") == "revocation.fetch_failed"


def test_the_name_is_resolved_once_and_the_checked_address_is_used(server: Server) -> None:
    """A name that answers loopback to the second question (rebinding) has no second question."""
    asked = []

    def resolve(host: str, _port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["127.0.0.2"]

    server.reply = plain(b"body")
    address = f"http://crl.example.gov:{server.port}/x"
    allowed = Allowed.of((address,), ("127.0.0.1/32",))
    assert Client(resolve).ask(Ask(address, allowed, 100, SECONDS)).body == b"body"
    assert asked == ["crl.example.gov"]
    assert f"Host: crl.example.gov:{server.port}".encode() in server.requests[0]
    with pytest.raises(RevocationError, match=r"revocation\.fetch_address"):
        Client(resolve).ask(Ask(address, allowed, 100, SECONDS))


def test_private_addresses_that_are_not_listed_are_never_connected_to(server: Server) -> None:
    """Loopback without its network in the profile: the server hears nothing."""
    address = f"http://{server.host}/x"
    with pytest.raises(RevocationError, match=r"revocation\.fetch_address"):
        Client().ask(Ask(address, Allowed.of((address,)), 100, SECONDS))
    assert not server.requests


@pytest.mark.parametrize("etag", ["x" * 300, "a\r\n b", "é"])
def test_validators_that_cannot_be_sent_back_are_dropped(server: Server, etag: str) -> None:
    """A header of theirs never becomes a header of ours that breaks."""
    server.reply = plain(b"x", f"ETag: {etag}")
    assert ask(server).etag == ""


def test_tls_needs_a_certificate_for_the_name(server: Server) -> None:
    """A server that does not speak TLS, at an https address."""
    server.reply = plain(b"x")
    address = f"https://{server.host}/x"
    with pytest.raises(RevocationError, match=r"revocation\.fetch_failed"):
        Client().ask(Ask(address, Allowed.of((address,), ("127.0.0.1/32",)), 100, SECONDS))
