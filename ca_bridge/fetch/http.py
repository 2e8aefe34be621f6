"""One exchange with a server that may be slow, endless or hostile: bounded in time and size, to a pinned address.

The deadline holds for the whole exchange, redirects included, whatever the pace of the octets; the cap for the body as
it arrives. Only identity encoding is taken, so that nothing unpacks into more. No cookie, no proxy, no credentials.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin

from ca_bridge.errors import RevocationError
from ca_bridge.fetch.address import CODE, Allowed, Place, Resolver, pin, place, resolve_by_system

CONNECT_SECONDS = 5.0
MAX_REDIRECTS = 3
MAX_TRIES = 3
"""How many of a host's addresses are tried."""
_CHUNK = 64 * 1024
_FAILED = "revocation.fetch_failed"
_REDIRECTS = (301, 302, 303, 307, 308)


@dataclass(frozen=True, slots=True)
class Ask:
    """What to ask: with `body` a POST of that kind, else a GET; at most `octets` in at most `seconds`."""

    address: str
    allowed: Allowed
    octets: int
    seconds: float
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer: 200, or 304 without a body."""

    status: int
    body: bytes = field(repr=False)
    etag: str = ""
    last_modified: str = ""


class Client:
    """Asks; keeps nothing between two exchanges."""

    def __init__(self, resolve: Resolver = resolve_by_system, context: ssl.SSLContext | None = None) -> None:
        self._resolve = resolve
        self._context = context or ssl.create_default_context()

    def ask(self, ask: Ask) -> Answer:
        """The answer, whole. Raises RevocationError:

        `revocation.fetch_address` (not on the list, not public, a redirect to another host), `revocation.fetch_failed`
        (no whole answer in time, or none that helps), `revocation.fetch_too_large`.
        """
        deadline = time.monotonic() + ask.seconds
        wanted = place(ask.address)
        for _ in range(MAX_REDIRECTS + 1):
            try:
                found = self._exchange(ask, wanted, deadline)
            except (OSError, http.client.HTTPException, ValueError) as error:
                raise RevocationError(_FAILED, f"{wanted.host}: {type(error).__name__}") from error
            if isinstance(found, Answer):
                return found
            wanted = _redirected(ask, wanted, found)
        raise RevocationError(_FAILED, f"{wanted.host}: more than {MAX_REDIRECTS} redirects")

    def _exchange(self, ask: Ask, wanted: Place, deadline: float) -> Answer | str:
        """The answer, or the place that a redirect names."""
        with self._connect(wanted, pin(wanted, ask.allowed, self._resolve), deadline) as raw:
            connection = http.client.HTTPConnection(wanted.host, wanted.port)
            connection.sock = _Timed(raw, deadline)  # all that http.client asks of a socket
            headers = {
                "Host": wanted.authority,
                "Accept-Encoding": "identity",
                "User-Agent": "crosshall",
                "Connection": "close",
                **ask.headers,
            }
            connection.request("GET" if ask.body is None else "POST", wanted.target, body=ask.body, headers=headers)
            response = connection.getresponse()
            if response.status in _REDIRECTS:
                return response.getheader("Location") or ""
            return _answer(response, ask, deadline)

    def _connect(self, wanted: Place, addresses: tuple[str, ...], deadline: float) -> socket.socket:
        fault: OSError = OSError("no address")
        for address in addresses[:MAX_TRIES]:
            try:
                raw = socket.create_connection((address, wanted.port), min(CONNECT_SECONDS, _left(deadline)))
            except OSError as error:
                fault = error
                continue
            if wanted.scheme == "http":
                return raw
            try:
                raw.settimeout(_left(deadline))
                return self._context.wrap_socket(raw, server_hostname=wanted.host)
            except (OSError, ValueError):
                raw.close()
                raise
        raise fault


def _redirected(ask: Ask, wanted: Place, location: str) -> Place:
    """Only to the same host, at an origin that is listed, and never down from https."""
    if ask.body is not None:
        raise RevocationError(_FAILED, f"{wanted.host}: a request that is sent is not sent on")
    base = f"{wanted.scheme}://{wanted.authority}{wanted.target}"
    try:
        found = place(urljoin(base, location))
    except ValueError as error:
        raise RevocationError(CODE, f"{wanted.host}: a redirect to no address") from error
    if not location or found.host != wanted.host or found.origin not in ask.allowed.origins:
        raise RevocationError(CODE, f"{wanted.host}: a redirect to another host")
    if wanted.scheme == "https" and found.scheme != "https":
        raise RevocationError(CODE, f"{wanted.host}: a redirect from https to http")
    return found


def _answer(response: http.client.HTTPResponse, ask: Ask, deadline: float) -> Answer:
    etag, modified = _plain(response.getheader("ETag")), _plain(response.getheader("Last-Modified"))
    if response.status == 304 and ask.headers:
        return Answer(304, b"", etag, modified)
    if response.status != 200:
        raise RevocationError(_FAILED, f"the server answers {response.status}")
    if (response.getheader("Content-Encoding") or "identity").lower() != "identity":
        raise RevocationError(_FAILED, "an encoding that was not asked for")
    declared = response.length
    if declared is not None and declared > ask.octets:
        raise RevocationError("revocation.fetch_too_large", f"{declared} octets are announced")
    parts: list[bytes] = []
    size = 0
    while chunk := response.read1(_CHUNK):
        size += len(chunk)
        if size > ask.octets:
            raise RevocationError("revocation.fetch_too_large", f"more than {ask.octets} octets")
        parts.append(chunk)
        _left(deadline)
    if not size:
        raise RevocationError(_FAILED, "an empty answer")
    if declared is not None and size != declared:
        raise RevocationError(_FAILED, f"{size} of {declared} octets came")
    return Answer(200, b"".join(parts), etag, modified)


def _plain(value: str | None) -> str:
    """A header's value that can be sent back; empty when it cannot."""
    return value if value is not None and len(value) <= 200 and value.isascii() and value.isprintable() else ""


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("the time is over")
    return left


class _Timed:
    """A socket whose every operation ends by the deadline, for `http.client`."""

    def __init__(self, raw: socket.socket, deadline: float) -> None:
        self._raw = raw
        self._deadline = deadline

    def sendall(self, data: Any) -> None:
        """Send; the timeout of a socket holds for the whole of sendall."""
        self._raw.settimeout(_left(self._deadline))
        self._raw.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        """What responses are read from."""
        assert mode == "rb"
        return io.BufferedReader(_Reader(self._raw, self._deadline), _CHUNK)

    def close(self) -> None:
        """The caller closes."""


class _Reader(io.RawIOBase):
    def __init__(self, raw: socket.socket, deadline: float) -> None:
        self._raw = raw
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._raw.settimeout(_left(self._deadline))
        return self._raw.recv_into(buffer)
