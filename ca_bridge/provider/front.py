"""What stands before every request: its number, its rate, the scheme; and after it: HSTS and one log line."""

from __future__ import annotations

import ipaddress
import re
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import structlog
from flask import Flask, Response, g, jsonify, request
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from ca_bridge.ceremony.services import Services
from ca_bridge.errors import ProviderError

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

MAX_BODY = 256 * 1024
REQUEST_ID = "X-Request-Id"
RETRY_AFTER = "60"
_NUMBER = re.compile(r"[A-Za-z0-9-]{8,64}")
_STEPS = ("/authorize", "/sign-in/", "/c/", "/logout")
_ABROAD = ("/abroad", "/abroad/sign", "/abroad/evidence")
_SERVERS = ("/token", "/attributes", "/abroad/logout")
_UNLOGGED = ("openid.health", "openid.metrics", "static")
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Rates:
    """Requests that one address may make in a minute, counted in each worker; refused ones count too.

    Steps of a sign-in, and calls of `/token`, `/attributes` and `/abroad/logout` by strangers: who calls these with a
    good signature is a server of a node or a window, for everybody, and is not held back.
    """

    limiter: MovingWindowRateLimiter
    steps: RateLimitItemPerMinute
    failures: RateLimitItemPerMinute

    @classmethod
    def of(cls, per_minute: int) -> Rates:
        """Limits for `per_minute` steps."""
        limiter = MovingWindowRateLimiter(MemoryStorage())
        return cls(limiter, RateLimitItemPerMinute(per_minute), RateLimitItemPerMinute(max(10, per_minute // 4)))

    def allow(self, path: str, address: str) -> bool:
        """Whether this request may go on; counts it when it is a step."""
        if path.startswith(_STEPS) or path in _ABROAD:
            return self.limiter.hit(self.steps, "steps", _line(address))
        if path in _SERVERS:
            return self.limiter.test(self.failures, path, _line(address))
        return True

    def failed(self, path: str, address: str) -> None:
        """Count a stranger's call."""
        if path in _SERVERS:
            self.limiter.hit(self.failures, path, _line(address))


def _line(address: str) -> str:
    """What one subscriber holds: an IPv4 address, or a /64 of IPv6 (RFC 6177 §2)."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.version == 4 or parsed.ipv4_mapped:
        return str(parsed if parsed.version == 4 else parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, 64), strict=False))


class Scheme:
    """WSGI middleware: every request came by `scheme`: the bridge is reached through nginx only."""

    def __init__(self, wsgi: WSGIApplication, scheme: str) -> None:
        self._wsgi = wsgi
        self._scheme = scheme

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve."""
        environ["wsgi.url_scheme"] = self._scheme
        return self._wsgi(environ, start_response)


def install(app: Flask, services: Services) -> None:
    """Put these before and after every request of `app`."""
    bridge = services.settings.bridge
    https = urlsplit(bridge.issuer).scheme == "https"
    rates = Rates.of(bridge.rate_per_minute)

    @app.before_request
    def before() -> Response | None:
        g.started = time.perf_counter()
        given = request.headers.get(REQUEST_ID, "")
        g.request_id = given if _NUMBER.fullmatch(given) else secrets.token_hex(16)
        if rates.allow(request.path, request.remote_addr or ""):
            return None
        if request.path in _SERVERS:
            answer = jsonify(error="temporarily_unavailable", error_description="provider.rate")
            answer.status_code = 429
            return answer
        raise ProviderError("provider.rate", "too many steps from one address")

    @app.after_request
    def after(response: Response) -> Response:
        if g.get("stranger"):
            rates.failed(request.path, request.remote_addr or "")
        if response.status_code == 429:
            response.headers["Retry-After"] = RETRY_AFTER
        response.headers.setdefault(REQUEST_ID, g.get("request_id", ""))
        if https:
            response.headers.setdefault("Strict-Transport-Security", "max-age=31536000")
        if request.endpoint not in _UNLOGGED:
            # the rule, not the path: paths hold transaction ids and codes
            log.info(
                "request",
                method=request.method,
                rule=str(request.url_rule or ""),
                status=response.status_code,
                milliseconds=round(1000 * (time.perf_counter() - g.get("started", time.perf_counter()))),
            )
        return response
