"""A real nginx with a recipe of the documentation, and a browser that speaks TLS to it."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

import urllib3

from relying_party_sdk.testing.conformance import open_server
from tests.unit.rp.tls import server_tls

ROOT = Path(__file__).parents[3]


def recipe(number: int) -> str:
    """The n-th nginx block of the page on proxies."""
    text = (ROOT / "docs" / "windows-proxy.md").read_text("utf-8")
    return re.findall(r"```nginx\n(.*?)```", text, re.DOTALL)[number]


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def served(app: Any) -> Iterator[int]:
    """A WSGI application on a free port of this machine."""
    with open_server(app, ("127.0.0.1", 0), None) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def nginx(folder: Path, block: str, name: str, port: int, ports: dict[int, int]) -> Iterator[Path]:
    """nginx with a block of the documentation, its names and ports replaced; yields the file of its root."""
    _, root, _ = server_tls(folder, name)
    text = re.sub(r"listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;", block)
    text = re.sub(r"server_name [^;]+;", f"server_name {name};", text)
    text = re.sub(r"(ssl_certificate(?:_key)?) [^;]+;", rf"\1 {folder}/server.pem;", text)
    for documented, real in ports.items():
        text = text.replace(f"http://127.0.0.1:{documented}", f"http://127.0.0.1:{real}")
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    main = f"daemon off;worker_processes 1;pid {folder}/nginx.pid;error_log {folder}/error.log;{_user()}\n"
    http = f"events {{}}\nhttp {{ access_log off;{temporary}\n{text}\n}}\n"
    (folder / "nginx.conf").write_text(main + http)
    command = ["nginx", "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")]
    paths = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin"}
    with subprocess.Popen(command, env=paths) as process:
        try:
            _wait(port, process, folder)
            yield root
        finally:
            process.terminate()


def _user() -> str:
    return "user root;" if os.geteuid() == 0 else ""


def _wait(port: int, process: subprocess.Popen[bytes], folder: Path) -> None:
    for _ in range(200):
        if process.poll() is not None:
            raise RuntimeError((folder / "error.log").read_text())
        try:
            socket.create_connection(("127.0.0.1", port), 0.5).close()
        except OSError:
            time.sleep(0.02)  # a start of another program has no event to wait for
        else:
            return
    raise RuntimeError("nginx does not listen")


@dataclass
class Person:
    """A browser: cookies by host, redirects followed; connects to this machine whatever the name."""

    root: Path
    cookies: dict[str, dict[str, str]] = field(default_factory=dict)
    hops: list[str] = field(default_factory=list)

    def open(
        self, url: str, method: str = "GET", headers: dict[str, str] | None = None, form: dict[str, str] | None = None
    ) -> tuple[int, str]:
        """Status and text of the page where it ends."""
        self.hops = []
        for _ in range(10):
            self.hops.append(url)
            parts = urlsplit(url)
            jar = self.cookies.setdefault(parts.netloc, {})
            sent = {"Host": parts.netloc, "Accept": "text/html", **(headers or {})}
            if jar:
                sent["Cookie"] = "; ".join(f"{k}={v}" for k, v in jar.items())
            answer = self._send(method, url, sent, form)
            for each in answer.headers.getlist("set-cookie"):
                name, _, value = each.partition(";")[0].partition("=")
                if "Max-Age=0" in each:
                    jar.pop(name, None)
                else:
                    jar[name] = value
            if "location" not in answer.headers:
                return answer.status, answer.data.decode()
            url, method, form, headers = urljoin(url, answer.headers["location"]), "GET", None, None
        raise AssertionError("\n".join(self.hops))

    def _send(self, method: str, url: str, headers: dict[str, str], form: dict[str, str] | None) -> Any:
        parts = urlsplit(url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        body = urlencode(form).encode() if form is not None else None
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        port = parts.port or 80
        if parts.scheme == "http":
            with urllib3.HTTPConnectionPool("127.0.0.1", port, retries=False) as pool:
                return pool.urlopen(method, target, body, headers, redirect=False)
        name = parts.hostname or ""
        with urllib3.HTTPSConnectionPool(
            "127.0.0.1", port, ca_certs=str(self.root), server_hostname=name, assert_hostname=name, retries=False
        ) as tls:
            return tls.urlopen(method, target, body, headers, redirect=False)
