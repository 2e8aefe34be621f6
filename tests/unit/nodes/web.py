"""A web server on loopback that does to each request what the test says, with or without TLS."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

Answer = Callable[[socket.socket, str, dict[str, str]], bool]
"""Answers one request (connection, path, headers in lower case); whether the connection is kept."""


class Web:
    """Serves until it is left; counts connections and requests."""

    def __init__(self, answer: Answer, context: ssl.SSLContext | None = None) -> None:
        self._answer = answer
        self._context = context
        self._door = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.connections = 0
        self.paths: list[str] = []
        scheme = "https" if context else "http"
        self.url = f"{scheme}://127.0.0.1:{self._door.getsockname()[1]}/base/"

    def __enter__(self) -> Web:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()
        for one in self._open:
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._door.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(near)
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        try:
            if self._context is not None:
                near = self._context.wrap_socket(near, server_side=True)
                self._open.append(near)
            near.settimeout(10)
            with near, near.makefile("rb") as lines:
                while line := lines.readline():
                    path = line.split()[1].decode().removeprefix("/base/")
                    self.paths.append(path)
                    headers = {}
                    while (line := lines.readline()) not in (b"\r\n", b""):
                        name, _, value = line.decode().partition(":")
                        headers[name.lower()] = value.strip()
                    if not self._answer(near, path, headers):
                        return
        except OSError:
            return


def plain(files: Callable[[str], bytes | None]) -> Answer:
    """An ordinary server of files, with ranges and kept connections."""

    def answer(to: socket.socket, path: str, headers: dict[str, str]) -> bool:
        data = files(path)
        if data is None:
            to.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            return True
        start = int(headers.get("range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        status = f"206 Partial\r\nContent-Range: bytes {start}-{len(data) - 1}/{len(data)}" if start else "200 OK"
        to.sendall(f"HTTP/1.1 {status}\r\nContent-Length: {len(data) - start}\r\n\r\n".encode() + data[start:])
        return True

    return answer


def folder(path: Path) -> Answer:
    """The files of a folder."""
    return plain(lambda name: (path / name).read_bytes() if (path / name).is_file() else None)


def certificate(place: Path, name: str = "localhost") -> tuple[Path, ssl.SSLContext]:
    """A server's own CA file, and its TLS context, for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    place.mkdir(parents=True, exist_ok=True)
    pem = made.public_bytes(serialization.Encoding.PEM)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (place / "server.pem").write_bytes(pem + key.private_bytes(*form))
    (place / "ca.pem").write_bytes(pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(place / "server.pem")
    return place / "ca.pem", context
