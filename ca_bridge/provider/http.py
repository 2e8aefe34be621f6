"""Calls to the realm and other servers of the node: short timeouts, no redirects, bounded answers.

Names under `localhost` are loopback (RFC 6761 §6.3) although most resolvers do not know them: such names are connected
to at 127.0.0.1, while `Host`, SNI and the certificate's name stay what the address says.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import urllib3

from ca_bridge.errors import UpstreamError

CONNECT_SECONDS = 2.0
TOTAL_SECONDS = 5.0
MAX_BYTES = 512 * 1024
_CHUNK = 16 * 1024
_KEPT = 8
"""Connections kept to one server: as many as logouts are told at once."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered; `body` is whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class HttpClient:
    """Calls that end within `TOTAL_SECONDS`, one way or the other. Thread safe."""

    def __init__(self, ca_file: Path | None = None, *, total_seconds: float = TOTAL_SECONDS) -> None:
        self._context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
        self._total = total_seconds
        self._pools: dict[tuple[str, str, int], urllib3.HTTPConnectionPool] = {}
        self._lock = threading.Lock()

    def get(self, url: str, headers: Mapping[str, str] | None = None) -> Answer:
        """GET `url`. UpstreamError `upstream.unavailable` (no answer in time) or `upstream.answer` (too large)."""
        return self._call("GET", url, None, headers or {})

    def post(self, url: str, form: Mapping[str, str]) -> Answer:
        """POST `form` to `url`. Raises as `get`."""
        body = urlencode(form).encode()
        return self._call("POST", url, body, {"Content-Type": "application/x-www-form-urlencoded"})

    def _call(self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
        if parts.scheme not in ("http", "https") or not host:
            raise UpstreamError("upstream.unavailable", "not an http(s) address")
        target = parts.path or "/"
        if parts.query:
            target += f"?{parts.query}"
        deadline = time.monotonic() + self._total
        try:
            response = self._pool(parts.scheme, host, port).urlopen(
                method,
                target,
                body=body,
                headers={"Host": parts.netloc.rpartition("@")[2], "Accept-Encoding": "identity", **headers},
                retries=False,
                redirect=False,
                timeout=urllib3.Timeout(connect=min(CONNECT_SECONDS, self._total), total=self._total),
                preload_content=False,
            )
            try:
                return Answer(response.status, dict(response.headers), _read(response, deadline))
            finally:
                response.release_conn()
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise UpstreamError("upstream.unavailable", f"{method} {host}: {type(error).__name__}") from error

    def _pool(self, scheme: str, host: str, port: int) -> urllib3.HTTPConnectionPool:
        with self._lock:
            pool = self._pools.get((scheme, host, port))
            if pool is None:
                address = "127.0.0.1" if is_localhost(host) else host
                if scheme == "https":
                    pool = urllib3.HTTPSConnectionPool(
                        address,
                        port,
                        ssl_context=self._context,
                        server_hostname=host,
                        assert_hostname=host,
                        maxsize=_KEPT,
                    )
                else:
                    pool = urllib3.HTTPConnectionPool(address, port, maxsize=_KEPT)
                self._pools[scheme, host, port] = pool
            return pool


def is_localhost(host: str) -> bool:
    """Whether `host` is `localhost` or a name under it: loopback by RFC 6761 §6.3."""
    name = host.rstrip(".").lower()
    return name == "localhost" or name.endswith(".localhost")


def _read(response: urllib3.BaseHTTPResponse, deadline: float) -> bytes:
    parts: list[bytes] = []
    size = 0
    while chunk := response.read1(_CHUNK):
        parts.append(chunk)
        size += len(chunk)
        if size > MAX_BYTES:
            response.close()
            raise UpstreamError("upstream.answer", f"more than {MAX_BYTES} bytes")
        if time.monotonic() > deadline:
            response.close()
            raise UpstreamError("upstream.unavailable", "the answer took too long")
    return b"".join(parts)
