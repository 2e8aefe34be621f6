"""Where a bundle is read from: a web server over kept connections, or a folder (`file:`, a carried disk).

Every read has a greatest size and ends by a deadline, however slowly a server sends. Nothing here is trusted.
"""

from __future__ import annotations

import hashlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol
from urllib.parse import unquote, urlsplit

import urllib3
from urllib3.util import SKIP_HEADER

from ca_bridge.errors import FederationError
from ca_bridge.provider.http import is_localhost

CONNECT_SECONDS = 5.0
IDLE_SECONDS = 10.0
FILE = "file"
"""Name of a folder or carried disk as a source."""
_CHUNK = 64 * 1024
Ticks = Callable[[], float]
Opened = AbstractContextManager[tuple[int, Iterator[bytes]]]


class Source(Protocol):
    """A published folder."""

    name: str
    """For reports: scheme and host, or `file`."""

    def open(self, path: str, offset: int, deadline: float) -> Opened:
        """A context: where the octets really begin (0 or `offset`), and the octets. Raises FederationError."""


def read(source: Source, path: str, limit: int, deadline: float) -> bytes:
    """A whole file of at most `limit` octets. FederationError `federation.size`, `.absent`, `.source`, `.slow`."""
    parts, size = [], 0
    with source.open(path, 0, deadline) as (_, chunks):
        for chunk in chunks:
            size += len(chunk)
            if size > limit:
                raise FederationError("federation.size", f"{path}: more than {limit} octets")
            parts.append(chunk)
    return b"".join(parts)


def fetch(source: Source, path: str, length: int, half: Path, deadline: float) -> bytes:
    """A file of exactly `length` octets, going on from what `half` holds of it; `half` keeps what came when it breaks.

    `half` is named by the file's SHA-256: what goes on from wrong octets, which another source may have sent, is
    fetched once more from its beginning; the caller checks the hash. Raises FederationError `federation.size` (longer),
    `federation.length` (shorter), and as `read`.
    """
    resumed = half.exists() and half.stat().st_size > 0
    data = _fetch(source, path, length, half, deadline)
    if resumed and hashlib.sha256(data).hexdigest() != half.name:
        data = _fetch(source, path, length, half, deadline)
    return data


def _fetch(source: Source, path: str, length: int, half: Path, deadline: float) -> bytes:
    half.parent.mkdir(parents=True, exist_ok=True)
    have = half.stat().st_size if half.exists() else 0
    if have >= length:
        half.unlink(missing_ok=True)  # an empty file has no half
        have = 0
    with source.open(path, have, deadline) as (start, chunks), half.open("r+b" if have else "wb") as file:
        file.truncate(start)
        file.seek(start)
        size = start
        for chunk in chunks:
            size += len(chunk)
            if size > length:
                file.truncate(0)
                raise FederationError("federation.size", f"{path}: longer than is listed")
            file.write(chunk)
    data = half.read_bytes()
    if len(data) != length:
        raise FederationError("federation.length", f"{path}: shorter than is listed")
    half.unlink()
    return data


class _Watch:
    """Ends a connection at a time, whatever it is waiting for: a server may drip head, handshake or chunks forever."""

    def __init__(self) -> None:
        self._handle: socket.socket | None = None
        self.ended = False

    def take(self, connection: socket.socket) -> None:
        """Watch this connection; a handle of our own, because TLS takes the other one over."""
        self.forget()
        self._handle = connection.dup()

    def forget(self) -> None:
        """Give the handle back."""
        handle, self._handle = self._handle, None
        if handle is not None:
            handle.close()

    @contextmanager
    def until(self, seconds: float) -> Iterator[None]:
        """End what is watched `seconds` from now, unless the block has ended."""
        self.ended = False
        timer = threading.Timer(min(seconds, threading.TIMEOUT_MAX), self._end)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _end(self) -> None:
        self.ended = True
        handle = self._handle
        if handle is not None:
            with suppress(OSError):
                handle.shutdown(socket.SHUT_RDWR)


class HttpSource:
    """A web server; one kept connection. No redirects: a source is who it is."""

    def __init__(self, url: str, ca_file: str = "", *, ticks: Ticks = time.monotonic) -> None:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.scheme not in ("http", "https") or not host or parts.query or parts.username:
            raise FederationError("federation.source", "not an http(s) address")
        self.name = f"{parts.scheme}://{parts.netloc}"
        self.received = 0
        """Octets of bodies so far."""
        self._base = parts.path.rstrip("/")
        self._host = parts.netloc
        self._ticks = ticks
        self._watch = _Watch()
        address = "127.0.0.1" if is_localhost(host) else host
        if parts.scheme == "https":
            context = ssl.create_default_context(cafile=ca_file or None)
            self._pool: urllib3.HTTPConnectionPool = urllib3.HTTPSConnectionPool(
                address, parts.port or 443, ssl_context=context, server_hostname=host, assert_hostname=host, maxsize=1
            )
        else:
            self._pool = urllib3.HTTPConnectionPool(address, parts.port or 80, maxsize=1)
        self._pool.ConnectionCls = _watched(self._pool.ConnectionCls, self._watch)

    @contextmanager
    def open(self, path: str, offset: int, deadline: float) -> Iterator[tuple[int, Iterator[bytes]]]:
        """See Source."""
        left = deadline - self._ticks()
        if left <= 0:
            raise FederationError("federation.slow", f"{path}: no time left")
        # Few headers: the check of every node every half minute is mostly these.
        headers = {"Host": self._host, "User-Agent": SKIP_HEADER, "Accept-Encoding": SKIP_HEADER}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        with self._watch.until(left):
            response = self._ask(path, headers, left)
            try:
                yield self._start(response, path, offset), self._chunks(response, path, deadline)
            finally:
                if not response.closed:  # what was not read to its end must not be taken for the next answer
                    response.close()
                response.release_conn()

    def _ask(self, path: str, headers: dict[str, str], left: float) -> urllib3.BaseHTTPResponse:
        try:
            return self._pool.urlopen(
                "GET",
                f"{self._base}/{path}",
                headers=headers,
                retries=False,
                redirect=False,
                timeout=urllib3.Timeout(connect=min(CONNECT_SECONDS, left), read=min(IDLE_SECONDS, left)),
                preload_content=False,
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._fault(path, error) from error

    def _fault(self, path: str, error: Exception) -> FederationError:
        if self._watch.ended:
            return FederationError("federation.slow", f"{path}: the answer took too long")
        return FederationError("federation.source", f"{self.name}: {type(error).__name__}")

    def _start(self, response: urllib3.BaseHTTPResponse, path: str, offset: int) -> int:
        if response.status in (404, 410):
            if int(response.headers.get("Content-Length") or _CHUNK) < _CHUNK:
                response.drain_conn()
            raise FederationError("federation.absent", path)
        if response.status == 206 and offset:
            if not (response.headers.get("Content-Range") or "").startswith(f"bytes {offset}-"):
                raise FederationError("federation.source", f"{self.name}: another range than asked")
            return offset
        if response.status != 200 or response.headers.get("Content-Encoding") is not None:
            raise FederationError("federation.source", f"{self.name}: status {response.status}")
        return 0

    def _chunks(self, response: urllib3.BaseHTTPResponse, path: str, deadline: float) -> Iterator[bytes]:
        try:
            while chunk := response.read1(_CHUNK):
                self.received += len(chunk)
                yield chunk
                if self._ticks() > deadline:
                    raise FederationError("federation.slow", f"{path}: the answer took too long")
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._fault(path, error) from error
        if self._watch.ended:  # a body without a length ends with its connection
            raise FederationError("federation.slow", f"{path}: the answer took too long")


def _watched(kind: Any, watch: _Watch) -> Any:
    """A class of connections that `watch` can end."""

    class Watched(kind):  # type: ignore[misc]
        def _new_conn(self) -> socket.socket:
            made: socket.socket = super()._new_conn()
            watch.take(made)
            return made

        def close(self) -> None:
            watch.forget()
            super().close()

    return Watched


class FileSource:
    """A folder. Links are not followed out of it."""

    def __init__(self, folder: Path, *, ticks: Ticks = time.monotonic) -> None:
        self.name = FILE
        self._folder = folder
        self._ticks = ticks

    @contextmanager
    def open(self, path: str, offset: int, deadline: float) -> Iterator[tuple[int, Iterator[bytes]]]:
        """See Source."""
        if self._ticks() > deadline:
            raise FederationError("federation.slow", f"{path}: no time left")
        try:
            full = (self._folder / path).resolve(strict=True)
            if not full.is_relative_to(self._folder.resolve()) or not full.is_file():
                raise FileNotFoundError(path)
            file = full.open("rb")
        except (FileNotFoundError, NotADirectoryError) as error:
            raise FederationError("federation.absent", path) from error
        except OSError as error:
            raise FederationError("federation.source", f"{path}: {error.strerror}") from error
        with file:
            file.seek(offset)
            yield offset, self._chunks(file, path, deadline)

    def _chunks(self, file: BinaryIO, path: str, deadline: float) -> Iterator[bytes]:
        while True:
            try:
                chunk = file.read(_CHUNK)
            except OSError as error:
                raise FederationError("federation.source", f"{path}: {error.strerror}") from error
            if not chunk:
                return
            yield chunk
            if self._ticks() > deadline:
                raise FederationError("federation.slow", f"{path}: reading took too long")


def open_source(url: str, *, ca_file: str = "", ticks: Ticks = time.monotonic) -> Source:
    """The source of an address: `http(s)://…/` or `file:<folder>`. Raises FederationError `federation.source`."""
    if url.startswith("file:"):
        return FileSource(Path(unquote(urlsplit(url).path)), ticks=ticks)
    return HttpSource(url, ca_file, ticks=ticks)
