"""The bundle over real HTTP and TLS on loopback: resumed, bounded, timed, from the right server only."""

from __future__ import annotations

import hashlib
import socket
import threading
import time
from pathlib import Path

import pytest

from ca_bridge.errors import FederationError
from nodes.transport import HttpSource, fetch, read
from tests.unit.nodes.web import Answer, Web, certificate, folder, plain
from tests.unit.nodes.world import NOW, World

DATA = bytes(range(256)) * 1024
NAME = hashlib.sha256(DATA).hexdigest()


def _soon(seconds: float = 30) -> float:
    return time.monotonic() + seconds


def _code(answer: Answer, *, limit: int = 1 << 20, seconds: float = 30) -> str:
    """The code with which a read from such a server ends."""
    with Web(answer) as web, pytest.raises(FederationError) as caught:
        read(HttpSource(web.url), "file", limit, _soon(seconds))
    return caught.value.code


def _says(head: bytes, body: bytes = b"") -> Answer:
    def answer(to: socket.socket, path: str, headers: dict[str, str]) -> bool:
        to.sendall(head + b"\r\n\r\n" + body)
        return False

    return answer


def test_a_node_joins_over_one_kept_tls_connection(world: World, tmp_path: Path) -> None:
    """A whole update over TLS; the quiet check after it is one request on the same connection."""
    ca_file, context = certificate(tmp_path / "tls")
    node = world.node("a")
    with Web(folder(world.public), context) as web:
        source = HttpSource(web.url, str(ca_file))
        node.update(source)
        before = len(web.paths)
        assert not node.update(source).changed
        assert web.paths[before:] == ["metadata/timestamp.json"]
        assert web.connections == 1
    assert node.client.trusted(NOW).files


def test_an_absent_file_keeps_the_connection() -> None:
    """404 is the answer `absent`, and what follows on the connection is the next answer."""
    with Web(plain(lambda path: DATA if path == "file" else None)) as web:
        source = HttpSource(web.url)
        with pytest.raises(FederationError) as caught:
            read(source, "other", 10, _soon())
        assert caught.value.code == "federation.absent"
        assert read(source, "file", len(DATA), _soon()) == DATA
        assert web.connections == 1


def _cut(after: int) -> Answer:
    whole = plain(lambda _: DATA)

    def answer(to: socket.socket, path: str, headers: dict[str, str]) -> bool:
        if "range" in headers:
            return whole(to, path, headers)
        to.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(DATA)}\r\n\r\n".encode() + DATA[:after])
        return False

    return answer


@pytest.mark.parametrize("after", [1, 1000, 65_536, len(DATA) - 1])
def test_a_cut_file_goes_on_where_it_broke(tmp_path: Path, after: int) -> None:
    """What came before the cut is not fetched again."""
    half = tmp_path / "pending" / NAME
    with Web(_cut(after)) as web:
        source = HttpSource(web.url)
        with pytest.raises(FederationError) as caught:
            fetch(source, "file", len(DATA), half, _soon())
        assert caught.value.code == "federation.source"
        assert half.stat().st_size == after
        before = source.received
        assert fetch(source, "file", len(DATA), half, _soon()) == DATA
        assert source.received - before == len(DATA) - after
    assert not half.exists()


def test_another_sources_half_does_no_harm(tmp_path: Path) -> None:
    """A bad source that breaks off after wrong octets does not spoil what a good one gives in the same round."""
    half = tmp_path / NAME
    half.write_bytes(b"wrong" * 100)
    with Web(plain(lambda _: DATA)) as web:
        assert fetch(HttpSource(web.url), "file", len(DATA), half, _soon()) == DATA
        assert len(web.paths) == 2


def test_an_empty_file_is_fetched_as_any_other(tmp_path: Path) -> None:
    """A city that refuses nothing any more may publish an empty table: it stops nobody's sync."""
    half = tmp_path / "pending" / hashlib.sha256(b"").hexdigest()
    with Web(plain(lambda _: b"")) as web:
        for _ in range(2):
            assert fetch(HttpSource(web.url), "file", 0, half, _soon()) == b""
    with Web(plain(lambda _: b"x")) as web, pytest.raises(FederationError, match=r"federation\.size"):
        fetch(HttpSource(web.url), "file", 0, half, _soon())


def test_a_server_without_ranges_begins_anew(tmp_path: Path) -> None:
    """A server that answers 200 to a range gives the whole file, and the whole is taken."""
    half = tmp_path / NAME
    half.write_bytes(DATA[:500])
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(DATA)}".encode()
    with Web(_says(head, DATA)) as web:
        assert fetch(HttpSource(web.url), "file", len(DATA), half, _soon()) == DATA


def test_a_false_range_is_refused(tmp_path: Path) -> None:
    """Octets of another range than was asked for are not appended."""
    half = tmp_path / NAME
    half.write_bytes(DATA[:500])
    answer = _says(b"HTTP/1.1 206 Partial\r\nContent-Range: bytes 400-999/1000\r\nContent-Length: 600", DATA[400:1000])
    with Web(answer) as web, pytest.raises(FederationError) as caught:
        fetch(HttpSource(web.url), "file", len(DATA), half, _soon())
    assert caught.value.code == "federation.source"


def test_a_longer_file_is_refused(tmp_path: Path) -> None:
    """Never more octets than are listed, and the half of such a file is thrown away."""
    half = tmp_path / NAME
    with Web(plain(lambda _: DATA)) as web, pytest.raises(FederationError) as caught:
        fetch(HttpSource(web.url), "file", 1000, half, _soon())
    assert caught.value.code == "federation.size"
    assert half.stat().st_size == 0


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
def test_redirects_are_refused(status: str) -> None:
    """A source is who it is: no redirect is followed."""
    with Web(plain(lambda _: DATA)) as other:
        head = f"HTTP/1.1 {status}\r\nLocation: {other.url}file\r\nContent-Length: 0".encode()
        assert _code(_says(head)) == "federation.source"
        assert other.paths == []


BAD = {
    "an error": b"HTTP/1.1 500 Error\r\nContent-Length: 0",
    "no content": b"HTTP/1.1 204 None",
    "a range unasked": b"HTTP/1.1 206 Partial\r\nContent-Range: bytes 0-1/2\r\nContent-Length: 2",
    "compressed": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2",
    "not HTTP": b"SSH-2.0-x",
    "nothing": b"",
    "a bad chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz",
    "a header too long": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000,
    "too many headers": b"HTTP/1.1 200 OK" + b"\r\nX: y" * 200,
}


@pytest.mark.parametrize("how", BAD)
def test_what_is_no_good_answer_is_refused(how: str) -> None:
    """Whatever a server says besides 200, plain and whole, is a fault of the source."""
    assert _code(_says(BAD[how])) == "federation.source"


def _endless(form: str) -> Answer:
    def answer(to: socket.socket, path: str, headers: dict[str, str]) -> bool:
        to.sendall(b"HTTP/1.1 200 OK\r\n" + (b"Transfer-Encoding: chunked\r\n\r\n" if form == "chunked" else b"\r\n"))
        piece = b"x" * 4096
        while True:  # until the other side has gone
            to.sendall(b"1000\r\n" + piece + b"\r\n" if form == "chunked" else piece)

    return answer


@pytest.mark.parametrize("form", ["chunked", "until closed"])
def test_an_endless_stream_is_refused(form: str) -> None:
    """A file has a greatest size, whatever the server says its length is."""
    assert _code(_endless(form), limit=100_000) == "federation.size"


def _drip(where: str) -> Answer:
    heads = {
        "headers": b"HTTP/1.1 200 OK\r\nX-Long: ",
        "body": b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n",
        "chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    }

    def answer(to: socket.socket, path: str, headers: dict[str, str]) -> bool:
        to.sendall(heads[where])
        gone = threading.Event()
        while not gone.wait(0.02):  # until the other side has gone
            to.sendall(b"0")
        return False

    return answer


@pytest.mark.parametrize("where", ["headers", "body", "chunk"])
def test_a_dripping_server_ends_at_the_deadline(where: str) -> None:
    """An octet now and then keeps nobody waiting, in the head, in the body, or between."""
    begun = time.monotonic()
    assert _code(_drip(where), seconds=0.4) == "federation.slow"
    assert time.monotonic() - begun < 5


def test_a_silent_server_ends_at_the_deadline() -> None:
    """A server that takes the request and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as door, pytest.raises(FederationError) as caught:
        read(HttpSource(f"http://127.0.0.1:{door.getsockname()[1]}/"), "file", 10, _soon(0.3))
    assert caught.value.code in ("federation.slow", "federation.source")


def test_a_silent_tls_server_ends_at_the_deadline() -> None:
    """A server that never ends the handshake."""
    with socket.create_server(("127.0.0.1", 0)) as door, pytest.raises(FederationError) as caught:
        read(HttpSource(f"https://127.0.0.1:{door.getsockname()[1]}/"), "file", 10, _soon(0.3))
    assert caught.value.code in ("federation.slow", "federation.source")


def test_no_time_left_asks_nobody() -> None:
    """After the deadline no request is sent."""
    with Web(plain(lambda _: DATA)) as web, pytest.raises(FederationError) as caught:
        read(HttpSource(web.url), "file", 10, _soon(-1))
    assert caught.value.code == "federation.slow"
    assert web.paths == []


def test_another_ca_is_refused(tmp_path: Path) -> None:
    """A server whose certificate another CA has signed is not the source; nothing is asked of it."""
    _, context = certificate(tmp_path / "tls")
    other, _ = certificate(tmp_path / "other")
    with Web(plain(lambda _: DATA), context) as web:
        for trusted in (str(other), ""):
            with pytest.raises(FederationError) as caught:
                read(HttpSource(web.url, trusted), "file", 10, _soon())
            assert caught.value.code == "federation.source"
        assert web.paths == []


def test_another_name_is_refused(tmp_path: Path) -> None:
    """A right certificate of another host."""
    ca_file, context = certificate(tmp_path / "tls")
    with Web(plain(lambda _: DATA), context) as web, pytest.raises(FederationError) as caught:
        read(HttpSource(web.url.replace("127.0.0.1", "gd.localhost"), str(ca_file)), "file", 10, _soon())
    assert caught.value.code == "federation.source"
    assert web.paths == []


def test_what_a_server_sends_too_much_is_in_no_later_answer() -> None:
    """After a refused answer the next read has no octet of it, nor of what came behind it."""
    first = iter([True])

    def answer(to: socket.socket, path: str, headers: dict[str, str]) -> bool:
        if next(first, False):
            to.sendall(
                b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
            )
            return True
        return plain(lambda _: b"good")(to, path, headers)

    with Web(answer) as web:
        source = HttpSource(web.url)
        with pytest.raises(FederationError):
            read(source, "file", 2, _soon())
        assert read(source, "file", 4, _soon()) == b"good"


@pytest.mark.parametrize("url", ["ftp://h/", "https:///x", "https://u:p@h/", "https://h/?q=1", "nothing"])
def test_odd_addresses_are_refused(url: str) -> None:
    """A source is a plain http or https address without secrets."""
    with pytest.raises(FederationError) as caught:
        HttpSource(url)
    assert caught.value.code == "federation.source"
