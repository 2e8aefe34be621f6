"""A system that cannot be changed: says back what it was sent; over real HTTP on a free port."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Behind:
    """What arrived there, newest last."""

    port: int = 0
    seen: list[dict[str, Any]] = field(default_factory=list)
    go_on: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def last(self) -> dict[str, Any]:
        """The newest request: method, target, headers (lower case; a list each), body."""
        return self.seen[-1]

    def header(self, name: str) -> str:
        """One header of the newest request; empty when absent, an error when there are several."""
        found = self.last["headers"].get(name, [""])
        assert len(found) == 1, name
        return str(found[0])


@contextmanager
def behind() -> Iterator[Behind]:  # noqa: C901 - a handler class inside
    """The system, serving until the block ends."""
    system = Behind()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 20

        def _answer(self) -> None:
            headers: dict[str, list[str]] = {}
            for name, value in self.headers.items():
                headers.setdefault(name.lower(), []).append(value)
            body = self._body()
            system.seen.append({"method": self.command, "target": self.path, "headers": headers, "body": body})
            path = self.path.partition("?")[0].removeprefix("/app")
            {"/slow": self._slow, "/stream": self._stream, "/big": self._big, "/moved": self._moved}.get(
                path, self._plain
            )()

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") == "chunked":
                parts = []
                while size := int(self.rfile.readline(), 16):
                    parts.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(parts)
            return self.rfile.read(int(self.headers.get("Content-Length", "0")))

        def _start(self, status: int, *headers: tuple[str, str]) -> None:
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.end_headers()

        def _plain(self) -> None:
            body = json.dumps({"target": self.path}).encode()
            more = [("Set-Cookie", "old=1; Path=/app; Domain=127.0.0.1; HttpOnly")] if "login" in self.path else []
            more += [("Set-Cookie", "__Host-window-session=planted; Path=/")] if "plant" in self.path else []
            hops = [("Connection", "X-Hop, keep-alive"), ("X-Hop", "1"), ("X-Crosshall-Level", "4")]
            self._start(200, ("Content-Type", "application/json"), ("Content-Length", str(len(body))), *more, *hops)
            if self.command != "HEAD":
                self.wfile.write(body)

        def _slow(self) -> None:
            system.go_on.wait(10)
            self._start(200, ("Content-Length", "0"))

        def _stream(self) -> None:
            self._start(200, ("Transfer-Encoding", "chunked"), ("Content-Type", "text/event-stream"))
            self.wfile.write(b"5\r\nfirst\r\n")
            self.wfile.flush()
            system.go_on.wait(10)
            self.wfile.write(b"4\r\nlast\r\n0\r\n\r\n")

        def _big(self) -> None:
            self._start(200, ("Content-Length", str(3_000_000)))
            try:
                self.wfile.write(b"x" * 3_000_000)
            except OSError:
                self.close_connection = True

        def _moved(self) -> None:
            self._start(302, ("Location", f"http://127.0.0.1:{system.port}/app/there?a=1"), ("Content-Length", "0"))

        do_GET = do_POST = do_HEAD = do_PUT = do_DELETE = _answer  # noqa: N815 - names of http.server

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    system.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield system
    finally:
        system.go_on.set()
        server.shutdown()
        thread.join()
        server.server_close()
