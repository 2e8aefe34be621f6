"""A hall that a real browser can reach, and a person at that browser."""

from __future__ import annotations

import datetime
import ipaddress
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from flask import request
from playwright.sync_api import Browser, BrowserContext, Route
from werkzeug.serving import make_server

from tests.unit.web.hall import CHANNEL, SIGNER, Authority, Hall, Held, Visitor, make_hall, sign

WIDTHS = {"phone": (390, 844), "desktop": (1280, 900)}
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
NAMES = "--host-resolver-rules=MAP *.test 127.0.0.1"
"""Names that do not say loopback: only then does the page ask for the state of the browser's permission."""
SCREENSHOTS = Path(__file__).resolve().parents[3] / "screenshots"


@dataclass
class Served:
    """A hall that a browser can reach; `presents` is the certificate that its next handshake would bring."""

    hall: Hall
    issuer: str
    presents: Held | None = None


@contextmanager
def serve(folder: Path) -> Iterator[Served]:
    """The hall behind TLS, with a front that does what nginx does for the certificate host."""
    server = make_server("127.0.0.1", 0, lambda *_: [], threaded=True, ssl_context=tls_context(folder))
    issuer = f"https://hall.gd.test:{server.port}"
    authorities = [Authority("gd-public", "gd-ca-01"), Authority("gz-public", "gz-ca-01", "gd/guangzhou")]
    bridge = {"issuer": issuer, "certificate_host": f"*.cert.gd.test:{server.port}"}
    hall = make_hall(folder, authorities, bridge=bridge)
    hall.clock.follow_the_wall()
    running = Served(hall, issuer)

    @hall.app.get("/authorize/continue")
    def _continue() -> str:
        assert request.args["tx"]
        return "<!doctype html><link rel=icon href=/static/mark.svg><h1>window reached</h1>"

    def front(environ: dict[str, Any], start: Callable[..., Any]) -> Any:
        for name in ("CHANNEL", "CLIENT_CERT", "CLIENT_VERIFY"):
            environ.pop(f"HTTP_X_CROSSHALL_{name}", None)
        if ".cert." in environ["HTTP_HOST"]:
            environ["HTTP_X_CROSSHALL_CHANNEL"] = CHANNEL
            environ["HTTP_X_CROSSHALL_CLIENT_CERT"] = running.presents.header if running.presents else ""
        return hall.app.wsgi_app(environ, start)

    server.app = front
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield running
    server.shutdown()
    thread.join(10)
    server.server_close()
    hall.services.store.close()


class AtTheHall:
    """A person with a browser at the hall."""

    def __init__(self, served: Served, context: BrowserContext) -> None:
        self.served = served
        self.visitor = Visitor(served.hall, served.hall.app.test_client())
        context.grant_permissions(["local-network-access"])
        context.add_cookies(
            [
                {
                    "name": "__Host-crosshall-browser",
                    "value": self.visitor.cookie,
                    "url": served.issuer,
                    "secure": True,
                    "httpOnly": True,
                    "sameSite": "Lax",
                }
            ]
        )
        self.page = context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", lambda told: self.complaints.append(told.text) if told.type == "error" else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def open_sign_in(self, **asked: Any) -> str:
        tx = self.visitor.begin(**asked)
        self.page.goto(f"{self.served.issuer}/sign-in/{tx.id}")
        return tx.id

    def signer(self, **answers: Any) -> list[str]:
        """A signer on this machine, by the protocol; `answers` replaces what a path says. Returns what was asked."""
        asked: list[str] = []
        kept: dict[str, Any] = {}

        def handle(route: Route) -> None:
            call = route.request
            path = call.url.removeprefix(SIGNER)
            asked.append(f"{call.method} {path}")
            headers = {
                "Access-Control-Allow-Origin": self.served.issuer,
                "Access-Control-Allow-Headers": "authorization, content-type",
                "Access-Control-Allow-Private-Network": "true",
            }
            if call.method == "OPTIONS":
                return route.fulfill(status=204, headers=headers)
            if path == "/v1/status":
                body = answers.get("status", {"name": "crosshall-signer", "version": 1})
            elif path == "/v1/requests":
                kept.update(json.loads(call.post_data or "{}"))
                body = {"id": "r1", "secret": "s1", "page": answers.get("page", f"{SIGNER}/requests/r1")}
            elif path == "/v1/requests/r1":
                waiting = asked.count("GET /v1/requests/r1") < 2
                done = {"state": "done", **sign(kept["challenge"], answers["held"])} if "held" in answers else None
                body = {"state": "waiting"} if waiting else done or {"state": answers.get("state", "refused")}
            else:
                return route.fulfill(status=200, content_type="text/html", body="<title>signer</title>PIN")
            if body is None:
                return route.abort("connectionrefused")
            return route.fulfill(status=200, headers=headers, json=body)

        self.page.context.route(f"{SIGNER}/**", handle)
        return asked


def person_at(served: Served, chromium: Browser, width: int, height: int, scheme: Any) -> Iterator[AtTheHall]:
    """A person with an empty browser of that size, the hall as it is when nothing was turned."""
    served.presents, served.hall.snapshots.refuse, served.hall.snapshots.level = None, "", 4
    context = chromium.new_context(
        ignore_https_errors=True,
        viewport={"width": width, "height": height},
        color_scheme=scheme,
        reduced_motion="reduce",
        locale="zh-CN",
    )
    context.set_default_timeout(10000)
    yield AtTheHall(served, context)
    context.close()


def with_check_digit(first: str) -> str:
    """An identity number with its check digit (GB 11643), from its first 17 digits."""
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    return first + "10X98765432"[sum(int(digit) * weight for digit, weight in zip(first, weights, strict=True)) % 11]


def tls_context(folder: Path) -> ssl.SSLContext:
    """For every name of the tests."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hall of the tests")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("*.gd.test"), x509.DNSName("*.cert.gd.test")]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=4))
        .add_extension(x509.SubjectAlternativeName([*names, x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )
    file = folder / "tls.pem"
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(secret + made.public_bytes(Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context
