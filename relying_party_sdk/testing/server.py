"""The HTTP under the fake provider: a threaded server on a free port of 127.0.0.1."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from relying_party_sdk.testing.faults import HTTP_FAULTS, Fault


@dataclass(frozen=True, slots=True)
class Call:
    """A request as it came; header names in lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    form: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back."""

    status: int
    media: str = "application/json"
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, value: Mapping[str, Any], status: int = 200) -> Answer:
        """A JSON object."""
        return cls(status, "application/json", json.dumps(value, ensure_ascii=False).encode())

    @classmethod
    def redirect(cls, location: str) -> Answer:
        """A redirect of the browser."""
        return cls(302, "text/plain", b"", {"Location": location})


class LoopbackServer:
    """Serves `handle` on a free port until stopped; `address` is known before it starts."""

    def __init__(self, handle: Callable[[Call], Answer]) -> None:
        self._stopping = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(handle))
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Stop answering; what hangs is let go."""
        self._stopping.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def hang(self) -> None:
        """Hold the calling request until the server stops."""
        self._stopping.wait(30)

    def fault(self, faults: set[Fault]) -> Answer | None:
        """The wrong answer that an HTTP fault asks for."""
        for fault in faults & HTTP_FAULTS:
            if fault is Fault.SLOW:
                self.hang()
            return {
                Fault.DOWN: Answer(503, "text/plain", b"down"),
                Fault.SLOW: Answer(503, "text/plain", b"slow"),
                Fault.HTML: Answer(200, "text/html", b"<!doctype html><title>maintenance</title>"),
                Fault.HUGE: Answer(200, "application/json", b'{"a": "' + b"x" * 8_000_000 + b'"}'),
                Fault.REDIRECT: Answer.redirect("http://127.0.0.1:9/elsewhere"),
            }[fault]
        return None


def _handler(handle: Callable[[Call], Answer]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30
        disable_nagle_algorithm = True  # head and body are two writes: the second must not wait for the first's ACK

        def _answer(self) -> None:
            parts = urlsplit(self.path)
            raw = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            headers = {name.lower(): value for name, value in self.headers.items()}
            form = dict(parse_qsl(raw.decode()))
            answer = handle(Call(self.command, parts.path, dict(parse_qsl(parts.query)), headers, form))
            try:
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.media)
                self.send_header("Content-Length", str(len(answer.body)))
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer.body)
            except OSError:  # the client hung up: a size or time limit of its own
                self.close_connection = True

        do_GET = do_POST = _answer  # noqa: N815 - names of http.server

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            """Say nothing: addresses hold codes and states."""

    return Handler
