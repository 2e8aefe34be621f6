"""The door to Keycloak's admin API, against a server that answers what a test wants."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from ca_bridge.errors import UpstreamError
from idp.admin import connect
from idp.seed import free_ports


class Fake:
    """Answers by path: (status, body); remembers what was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, str]] = {}
        self.asked: list[str] = []
        self.url = ""


@pytest.fixture(name="fake")
def _fake() -> Iterator[Fake]:
    fake = Fake()

    class Handler(BaseHTTPRequestHandler):
        def _any(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            path = self.path.partition("?")[0]
            fake.asked.append(f"{self.command} {path}")
            token = json.dumps({"access_token": "t", "expires_in": 60, "refresh_token": "r", "token_type": "Bearer"})
            status, body = fake.answers.get(path, (200, token) if path.endswith("/token") else (404, "{}"))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body.encode())))
            self.send_header("Location", f"{fake.url}/x/made-1")
            self.end_headers()
            self.wfile.write(body.encode())

        do_GET = do_POST = do_PUT = do_DELETE = _any  # noqa: N815

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    fake.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield fake
    server.shutdown()
    server.server_close()
    thread.join(5)


TOKEN = "/realms/master/protocol/openid-connect/token"


def test_the_administrator_is_of_master(fake: Fake) -> None:
    """Whatever realm is spoken of, the login is at the master realm."""
    connect(fake.url, "gd", "admin", "p")
    assert fake.asked == [f"POST {TOKEN}"]


def test_writes_are_counted_and_reads_are_not(fake: Fake) -> None:
    """Every POST, PUT and DELETE counts; GET does not; an id comes from Location."""
    for path in ("/a", "/b"):
        fake.answers[path] = (200, '{"k": 1}')
    admin = connect(fake.url, "gd", "admin", "p")
    assert admin.read("a") == {"k": 1}
    assert admin.find("nothing") is None
    assert admin.writes == 0
    assert admin.post("a", {}) == "made-1"
    admin.put("b", {"x": "张"})
    admin.delete("a")
    admin.delete("gone")
    assert admin.writes == 4


@pytest.mark.parametrize(
    ("status", "code"), [(400, "realm.admin_login"), (401, "realm.admin_login"), (503, "realm.unreachable")]
)
def test_a_refused_login(fake: Fake, status: int, code: str) -> None:
    """Wrong password, or a server that is not ready; the password is never in the error."""
    fake.answers[TOKEN] = (status, '{"error":"invalid_grant"}')
    with pytest.raises(UpstreamError) as caught:
        connect(fake.url, "gd", "admin", "hunter2")
    assert caught.value.code == code
    assert "hunter2" not in str(caught.value)


def test_nobody_listens() -> None:
    """Keycloak is down: `realm.unreachable`."""
    with pytest.raises(UpstreamError) as caught:
        connect(f"http://127.0.0.1:{free_ports(1)[0]}", "gd", "admin", "p", timeout=2)
    assert caught.value.code == "realm.unreachable"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ((500, "oops"), "realm.refused"),
        ((409, '{"errorMessage":"exists"}'), "realm.refused"),
        ((403, "{}"), "realm.admin_login"),
        ((302, ""), "realm.refused"),
    ],
    ids=["500", "409", "403", "302"],
)
def test_refused_writes(fake: Fake, answer: tuple[int, str], code: str) -> None:
    """Any answer but 2xx to a write is an error with Keycloak's words."""
    fake.answers["/a"] = answer
    admin = connect(fake.url, "gd", "admin", "p")
    for write in (lambda: admin.post("a", {}), lambda: admin.put("a", {}), lambda: admin.delete("a")):
        with pytest.raises(UpstreamError) as caught:
            write()
        assert caught.value.code == code


@pytest.mark.parametrize("answer", [(200, "<html>"), (500, "{}"), (404, "{}")], ids=["html", "500", "404"])
def test_refused_reads(fake: Fake, answer: tuple[int, str]) -> None:
    """What must be there and is not, or is not JSON: `realm.refused`."""
    fake.answers["/a"] = answer
    admin = connect(fake.url, "gd", "admin", "p")
    with pytest.raises(UpstreamError) as caught:
        admin.read("a")
    assert caught.value.code == "realm.refused"
