"""How the SDK reaches the provider: a protocol of one method, and its implementation on urllib3.

What it guarantees: no redirect is followed, every answer has a size limit and a time limit, TLS is verified, names
under `localhost` are connected to 127.0.0.1 while TLS (SNI, certificate) and `Host` keep the name (RFC 6761 §6.3).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlencode, urlsplit

import urllib3
from urllib3.exceptions import InsecureRequestWarning
from urllib3.util import Timeout

from relying_party_sdk.errors import ProviderError
from relying_party_sdk.settings import Settings, is_loopback

log = logging.getLogger("relying_party_sdk")

_NOT_SENT = (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError, urllib3.exceptions.SSLError)
"""Failures before anything of the request was sent."""
BODY_LIMIT = 1_048_576
"""Largest answer that is read, in bytes."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request that the core wants sent."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    limit: int = BODY_LIMIT


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """What came back; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport(Protocol):
    """Sends one request; raises ProviderError `rp.provider_unreachable` or `rp.provider_answer` (too large)."""

    def send(self, request: HttpRequest) -> HttpResponse:
        """Send once; follow nothing."""


def get(url: str, **headers: str) -> HttpRequest:
    """A GET that asks for JSON."""
    return HttpRequest("GET", url, {"Accept": "application/json", **headers})


def post_form(url: str, form: Mapping[str, str], **extra: str) -> HttpRequest:
    """A POST of a form that asks for JSON; `extra` are more headers."""
    headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded", **extra}
    return HttpRequest("POST", url, headers, urlencode(form).encode())


class Urllib3Transport:
    """The transport of production: pooled connections, safe for threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._total = settings.total_timeout
        self._timeout = Timeout(connect=settings.connect_timeout, read=settings.read_timeout)
        self._blind = settings.dangerously_skip_tls_verification
        if self._blind:
            log.warning("TLS of the provider is not verified: dangerously_skip_tls_verification")
            urllib3.disable_warnings(InsecureRequestWarning)  # said once is enough
        self._pools = urllib3.PoolManager(
            num_pools=8,
            maxsize=8,
            cert_reqs="CERT_NONE" if self._blind else "CERT_REQUIRED",
            ca_certs=str(settings.ca_file) if settings.ca_file else None,
            retries=False,
        )

    def send(self, request: HttpRequest) -> HttpResponse:
        """Send once, without redirects or retries (a code or refresh token must not be spent twice)."""
        deadline = time.monotonic() + self._total
        try:
            pool, target, headers = self._route(request)
            response = pool.urlopen(
                request.method,
                target,
                body=request.body,
                headers=headers,
                redirect=False,
                retries=False,
                timeout=self._timeout,
                preload_content=False,
                decode_content=False,
            )
            try:
                body = _read(response, request.limit, deadline)
            except BaseException as error:
                response.close()
                if isinstance(error, ProviderError):
                    error.unsure = True
                raise
            response.release_conn()
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            failure = ProviderError("rp.provider_unreachable", type(error).__name__)
            failure.unsure = not isinstance(error, _NOT_SENT)
            raise failure from error
        return HttpResponse(response.status, {k.lower(): v for k, v in response.headers.items()}, body)

    def close(self) -> None:
        """Close all pooled connections."""
        self._pools.clear()

    def _route(self, request: HttpRequest) -> tuple[urllib3.HTTPConnectionPool, str, dict[str, str]]:
        parts = urlsplit(request.url)
        host = parts.hostname or ""
        loopback = is_loopback(host)
        if parts.scheme != "https" and not (loopback or self._settings.dangerously_allow_http):
            raise ProviderError("rp.provider_answer", "the provider names an address that is not https")
        headers = {"User-Agent": "crosshall-rp", **request.headers, "Host": parts.netloc.rpartition("@")[2]}
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        names: dict[str, Any] = {}
        connect = host
        if loopback and host not in ("127.0.0.1", "::1"):
            connect = "127.0.0.1"
            if parts.scheme == "https":
                names = {"server_hostname": host, "assert_hostname": False if self._blind else host}
        pool = self._pools.connection_from_host(connect, parts.port, parts.scheme, pool_kwargs=names)
        return pool, target, headers


def _read(response: urllib3.BaseHTTPResponse, limit: int, deadline: float) -> bytes:
    """The body, if it is whole before `deadline` (a drip of bytes never trips a read timeout) and within `limit`."""
    chunks: list[bytes] = []
    size = 0
    while chunk := response.read1(65_536):
        chunks.append(chunk)
        size += len(chunk)
        if size > limit:
            raise ProviderError("rp.provider_answer", f"an answer of more than {limit} bytes")
        if time.monotonic() > deadline:
            raise ProviderError("rp.provider_unreachable", "the answer took too long")
    return b"".join(chunks)
