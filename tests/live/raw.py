"""Requests that no browser sends: over a bare TLS connection, or straight into the bridge's unix socket."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import subprocess
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from demo.browser import Page
from demo.stack import Demo

_SECONDS = 20


class _Unix(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_SECONDS)
        self.sock.connect(str(self._path))


def ask_bridge(
    path: Path, url: str, headers: Mapping[str, str] | None = None, *, method: str = "GET", body: str = ""
) -> Page:
    """A request for `url` at the bridge's own socket, past nginx."""
    parts = urlsplit(url)
    connection = _Unix(path)
    try:
        target = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
        connection.request(method, target, body or None, {"Host": parts.netloc, **(headers or {})})
        answer = connection.getresponse()
        return Page(url, answer.status, answer.read().decode("utf-8", "replace"), dict(answer.getheaders()))
    finally:
        connection.close()


def ask_front(
    demo: Demo, server_name: str, request: bytes, *, certificate: tuple[Path, Path] | None = None
) -> tuple[int, str]:
    """Status and text of the answer to the bytes of `request`, sent under the TLS server name `server_name`."""
    context = ssl.create_default_context(cafile=str(demo.pki.tls_ca))
    if certificate:
        context.load_cert_chain(*map(str, certificate))
    plain = socket.create_connection(("127.0.0.1", demo.addresses.port), _SECONDS)
    with context.wrap_socket(plain, server_hostname=server_name) as connection:
        connection.sendall(request)
        answer = b""
        try:
            while not _whole(answer) and (part := connection.recv(65536)):
                answer += part
        except (ConnectionResetError, ssl.SSLEOFError):
            pass  # the server stopped reading and closed: what it said until then is the answer
    text = answer.decode("utf-8", "replace")
    status = re.match(r"HTTP/1\.1 (\d{3})", text)
    return int(status[1]) if status else 0, text


def _whole(answer: bytes) -> bool:
    """Whether the answer is there by its Content-Length: a server that refuses a body waits before it closes."""
    head, end, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"\r\nContent-Length: (\d+)", head)
    return bool(end and length) and len(body) >= int(length[1] if length else 0)


def openssl(demo: Demo, server_name: str, request: str, *options: str | Path) -> str:
    """What `openssl s_client` prints of one connection: its session, and the server's answer."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{demo.addresses.port}", "-servername", server_name]
    command += ["-CAfile", str(demo.pki.tls_ca), "-ign_eof", *map(str, options)]
    done = subprocess.run(command, input=request.encode(), capture_output=True, timeout=_SECONDS, check=False)
    return done.stdout.decode("utf-8", "replace")
