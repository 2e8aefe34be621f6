"""What stands before every request: its number, its rate, the scheme; and after it: HSTS and one log line."""

from __future__ import annotations

import ipaddress
import re
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import structlog
from flask import Flask, Response, g, jsonify, request
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from ca_bridge.ceremony.services import Services
from ca_bridge.ceremony.transaction import peek
from ca_bridge.errors import CrosshallError, ProviderError

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

MAX_BODY = 256 * 1024
REQUEST_ID = "X-Request-Id"
RETRY_AFTER = "60"
_NUMBER = re.compile(r"[A-Za-z0-9-]{8,64}")
_BEGINS = ("/authorize", "/logout", "/abroad", "/abroad/sign", "/abroad/evidence")
_STEP = re.compile(r"/(?:sign-in|c)/([^/]*)")
_SERVERS = ("/token", "/attributes", "/abroad/logout")
_UNLOGGED = ("openid.health", "openid.metrics", "static")
_LONGEST_ID = 64
_LEAST_STEPS = 60
"""Steps in a minute that every sign-in has; a person takes about ten."""
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Rates:
    """What is let in within a minute, counted in each worker.

    An address may begin so many sign-ins, and each of them may take as many steps: a hall full of people behind one
    address is not held back for its steps. A step of a sign-in that nobody knows counts against the address.
    Strangers' calls of `/token`, `/attributes` and `/abroad/logout` count as well: who calls these with a good
    signature is a server of a node or a window, for everybody, and is not held back.
    """

    limiter: MovingWindowRateLimiter
    begins: RateLimitItemPerMinute
    steps: RateLimitItemPerMinute
    failures: RateLimitItemPerMinute
    known: Callable[[str], bool]
    """Whether a sign-in of that id is under way; asked only for an address that has named too many unknown ones."""

    @classmethod
    def of(cls, per_minute: int, known: Callable[[str], bool]) -> Rates:
        """Limits for `per_minute` sign-ins begun."""
        begins, steps = RateLimitItemPerMinute(per_minute), RateLimitItemPerMinute(max(_LEAST_STEPS, per_minute))
        failures = RateLimitItemPerMinute(max(10, per_minute // 4))
        return cls(MovingWindowRateLimiter(MemoryStorage()), begins, steps, failures, known)

    def allow(self, path: str, tx: str, address: str) -> bool:
        """Whether this request may go on; counts it. `tx`: the sign-in that it is a step of, if any."""
        line = _line(address)
        if tx:
            if not self.limiter.test(self.begins, "unknown", line) and not self.known(tx):
                return False
            return self.limiter.hit(self.steps, "step", tx)
        if path in _BEGINS:
            return self.limiter.hit(self.begins, "begin", line)
        if path in _SERVERS:
            return self.limiter.test(self.failures, path, line)
        return True

    def unknown(self, address: str) -> None:
        """Count a step of a sign-in that nobody knows."""
        self.limiter.hit(self.begins, "unknown", _line(address))

    def failed(self, path: str, address: str) -> None:
        """Count a stranger's call."""
        if path in _SERVERS:
            self.limiter.hit(self.failures, path, _line(address))


def _step_of(path: str, asked: str) -> str:
    """The sign-in whose step a request is, by its path or, when it goes on, by `asked`; `""` for none."""
    if path == "/authorize/continue":
        return asked[:_LONGEST_ID] or "-"
    found = _STEP.match(path)
    return (found[1][:_LONGEST_ID] or "-") if found else ""


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

    def known(tx: str) -> bool:
        try:
            peek(services.store, tx, services.clock())
        except CrosshallError:
            return False
        return True

    rates = Rates.of(bridge.rate_per_minute, known)

    @app.before_request
    def before() -> Response | None:
        g.started = time.perf_counter()
        given = request.headers.get(REQUEST_ID, "")
        g.request_id = given if _NUMBER.fullmatch(given) else secrets.token_hex(16)
        g.step = _step_of(request.path, request.args.get("tx", ""))
        g.held_back = not rates.allow(request.path, g.step, request.remote_addr or "")
        if not g.held_back:
            return None
        if request.path in _SERVERS:
            answer = jsonify(error="temporarily_unavailable", error_description="provider.rate")
            answer.status_code = 429
            return answer
        raise ProviderError("provider.rate", "too many sign-ins of one address, or steps of one sign-in")

    @app.after_request
    def after(response: Response) -> Response:
        if g.get("step") and not g.held_back and response.status_code >= 400 and not g.get("transaction"):
            rates.unknown(request.remote_addr or "")
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
