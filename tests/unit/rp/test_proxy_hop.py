"""The proxy over real HTTP: streams, limits, a system behind that is slow, down or endless."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIServer

import pytest
from werkzeug.test import Client

from relying_party_sdk.proxy import make_app
from relying_party_sdk.rules import ProxySettings
from relying_party_sdk.testing import FakeProvider
from relying_party_sdk.testing.conformance import open_server
from tests.unit.rp.behind import Behind, behind


@pytest.fixture(name="system")
def _system() -> Iterator[Behind]:
    with behind() as system:
        yield system


def _app(provider: FakeProvider, folder: Path, upstream: str, **table: Any) -> Any:
    values = {"upstream": upstream, "rules": [{"path": "/", "open": True}], "read_timeout": 0.3, **table}
    return make_app(provider.settings(folder, store="memory:"), ProxySettings.read(values))


@pytest.fixture(name="server")
def _server(provider: FakeProvider, system: Behind, tmp_path: Path) -> Iterator[WSGIServer]:
    app = _app(provider, tmp_path, system.url, response_limit=1_000_000, read_timeout=5.0)
    with open_server(app, ("127.0.0.1", 0), None) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_answer_is_streamed(server: WSGIServer, system: Behind) -> None:
    """The first bytes reach the browser while the system behind has not sent the last ones."""
    connection = HTTPConnection("127.0.0.1", server.server_port, timeout=5)
    connection.request("GET", "/stream")
    answer = connection.getresponse()
    assert answer.read(5) == b"first"
    assert not system.go_on.is_set()
    system.go_on.set()
    assert answer.read() == b"last"
    connection.close()


def test_endless_answer_is_cut(server: WSGIServer) -> None:
    """An answer over the limit is broken off, and does not look whole."""
    connection = HTTPConnection("127.0.0.1", server.server_port, timeout=5)
    connection.request("GET", "/big")
    answer = connection.getresponse()
    with pytest.raises(Exception, match="IncompleteRead"):
        answer.read()
    connection.close()


def test_head_and_body(server: WSGIServer, system: Behind) -> None:
    """HEAD has no body; a body arrives whole, with its length."""
    connection = HTTPConnection("127.0.0.1", server.server_port, timeout=5)
    connection.request("HEAD", "/a")
    assert (connection.getresponse().read(), system.last["method"]) == (b"", "HEAD")
    connection.close()
    connection.request("PUT", "/a", body=b"x" * 200_000)
    assert connection.getresponse().status == 200
    assert (len(system.last["body"]), system.header("content-length")) == (200_000, "200000")
    connection.close()


@pytest.mark.parametrize(
    ("path", "headers", "status", "code"),
    [
        ("/slow", {}, 502, "rp.proxy_upstream"),
        ("/a", {"Upgrade": "websocket", "Connection": "Upgrade"}, 501, "rp.proxy_upgrade"),
        ("/a", {"Content-Length": "2000001"}, 413, "rp.proxy_size"),
        ("/a", {"Content-Length": "1e3"}, 400, "rp.proxy_request"),
    ],
)
def test_refused(
    provider: FakeProvider, system: Behind, tmp_path: Path, path: str, headers: dict[str, str], status: int, code: str
) -> None:
    """Silence, upgrades and bodies over the limit are pages with their code."""
    app = _app(provider, tmp_path, system.url, request_limit=2_000_000)
    length = {"CONTENT_LENGTH": headers["Content-Length"]} if "Content-Length" in headers else {}
    answer = Client(app).get(path, headers=headers, environ_overrides=length)
    assert (answer.status_code, code in answer.get_data(as_text=True)) == (status, True)


def test_chunked_body_over_the_limit(provider: FakeProvider, system: Behind, tmp_path: Path) -> None:
    """A body that does not tell its length is passed on chunked, and stopped at the limit."""
    app = _app(provider, tmp_path, system.url, request_limit=100_000)
    for size, status in ((90_000, 200), (110_000, 413)):
        environ = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
        answer = Client(app).post("/a", data=b"x" * size, environ_overrides={**environ, "CONTENT_LENGTH": ""})
        assert answer.status_code == status
    assert len([each for each in system.seen if len(each["body"]) == 90_000]) == 1


def test_system_down(provider: FakeProvider, tmp_path: Path) -> None:
    """A system that is not there is 502, in words, not a stack trace."""
    with behind() as gone:
        url = gone.url
    answer = Client(_app(provider, tmp_path, url)).get("/a")
    assert (answer.status_code, "rp.proxy_upstream" in answer.get_data(as_text=True)) == (502, True)


def test_system_restarted(provider: FakeProvider, system: Behind, tmp_path: Path) -> None:
    """Many requests in a row use kept connections; none is answered with another one's answer."""
    client = Client(_app(provider, tmp_path, system.url))
    for number in range(10):
        assert client.get(f"/a/{number}").get_json() == {"target": f"/a/{number}"}
