"""K=adapter: what the Flask adapter adds to an authenticated request, in CPU seconds of the window's process.

The same page without and with `@rp.require(level=2)` and `rp.person`, called as a server calls it; the session lies in
the store and is not due for its recheck. Rounds are interleaved; the figure is the median of their differences.
`vs_budget` is 150 µs divided by it. CPU of the database's or Redis' own process is not counted.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

from flask import Flask

from relying_party_sdk import RelyingParty
from relying_party_sdk.adapters.flask import CrosshallRP
from relying_party_sdk.testing import CITIZEN, Browser, FakeProvider
from tests.parts.postgres import postgres
from tests.parts.redis import redis_server

ROUNDS = 15
REQUESTS = 200
BUDGET = 150e-6


def run() -> None:
    """Print `rate` and `ratio` lines for each store."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        cluster = stack.enter_context(postgres())
        stores = {
            "memory": "memory:",
            "sqlite": f"sqlite:{folder / 'store.sqlite'}",
            "postgresql": stack.enter_context(cluster.database("bench")),
            "redis": stack.enter_context(redis_server()).url,
        }
        for name, address in stores.items():
            seconds = _measure(address, folder / name)
            print(f"rate adapter.flask.{name}.overhead {seconds * 1e6:.1f} us", flush=True)
            print(f"ratio adapter.flask.{name}.vs_budget {BUDGET / seconds:.2f}", flush=True)


def _measure(address: str, folder: Path) -> float:
    """What one authenticated request costs more, in CPU seconds."""
    folder.mkdir()
    with FakeProvider(access_seconds=3600) as provider, _window(provider, address, folder) as (app, cookie):
        bare = Flask("bare")
        bare.add_url_rule("/page", view_func=lambda: "level 2")
        plain, guarded = _caller(bare, cookie), _caller(app, cookie)
        return statistics.median((_spent(guarded) - _spent(plain)) / REQUESTS for _ in range(ROUNDS))


@contextmanager
def _window(provider: FakeProvider, address: str, folder: Path) -> Iterator[tuple[Flask, str]]:
    """An application with a person signed in, and the cookie."""
    settings = provider.settings(folder, store=address, recheck=3600)
    party = RelyingParty(settings)
    provider.register(settings, party.jwks)
    app = Flask("window")
    rp = CrosshallRP(app, party=party)

    @app.get("/page")
    @rp.require(level=2)
    def page() -> str:
        assert rp.person
        return f"level {rp.person.level}"

    client = app.test_client()
    assert Browser(client, provider, settings.base_url).sign_in_as(CITIZEN, "/page").text == "level 2"
    found = client.get_cookie(settings.cookie("session"), domain="window.test")
    assert found is not None
    yield app, f"{found.key}={found.value}"
    party.close()


def _caller(app: Flask, cookie: str) -> Callable[[], bytes]:
    """One request of a browser, as a WSGI server hands it over."""

    def call() -> bytes:
        environ: dict[str, Any] = {
            "REQUEST_METHOD": "GET",
            "SCRIPT_NAME": "",
            "PATH_INFO": "/page",
            "QUERY_STRING": "",
            "SERVER_NAME": "window.test",
            "SERVER_PORT": "443",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_HOST": "window.test",
            "HTTP_COOKIE": cookie,
            "HTTP_ACCEPT": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "HTTP_ACCEPT_LANGUAGE": "zh-CN,zh;q=0.9,en;q=0.8",
            "HTTP_SEC_FETCH_MODE": "navigate",
            "HTTP_USER_AGENT": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/150.0 Safari/537.36",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "https",
            "wsgi.input": BytesIO(),
            "wsgi.errors": BytesIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
        }
        return b"".join(app.wsgi_app(environ, _start))

    assert call() == b"level 2"
    return call


def _start(_status: str, _headers: object, _exc_info: object = None) -> Callable[[bytes], object]:
    return lambda _: None


def _spent(call: Callable[[], bytes]) -> float:
    started = time.process_time()
    for _ in range(REQUESTS):
        call()
    return time.process_time() - started
