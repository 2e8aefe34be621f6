"""K=sync: what the trust bundle costs a node on the line: 143 nodes, 30 CAs in all, and 30 CAs for each.

Octets are counted on the wire, both ways, headers included, by a relay before a plain web server. Certificates are real
(P-256); each CA has a profile and a CRL of one entry; each node has a role of its own with one table of denials.

Then 30 CAs with 10⁴ to 10⁶ certificates, 0.5 to 3 % revoked (`bench.filter`): with filters, with filters and the CRLs
afterwards (a city), and without filters; and the first check over TLS, a connection of its own.
"""

from __future__ import annotations

import functools
import http.server
import random
import socket
import ssl
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest import mock

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from bench.crl import build as crl_of
from bench.filter import sizes
from nodes import filters
from nodes.client import Client
from nodes.drafts import sign_draft
from nodes.keys import new_key
from nodes.own_role import OwnRole
from nodes.publish import Publisher
from nodes.transport import FileSource, open_source

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
NODES = 143


class Relay(threading.Thread):
    """Passes connections on to a port and counts."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.octets = 0
        self._port = port
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port = self._door.getsockname()[1]

    def run(self) -> None:
        while True:
            near, _ = self._door.accept()
            far = socket.create_connection(("127.0.0.1", self._port))
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(one, other), daemon=True).start()

    def _pump(self, one: socket.socket, other: socket.socket) -> None:
        while data := one.recv(65536):
            self.octets += len(data)
            other.sendall(data)


class Quiet(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass


def run() -> None:
    for name, authorities in (("30", 30), ("30_each", 30 * NODES)):
        measure(name, [1] * authorities)
    entries = sizes(30, random.Random(1))
    measure("filters", entries)
    with mock.patch.object(filters, "SMALL", sys.maxsize):
        measure("whole", entries)


def measure(name: str, entries: list[int]) -> None:
    """Print `bytes` and `rate` lines for a federation with CRLs of so many entries."""
    with tempfile.TemporaryDirectory() as folder:
        _measure(name, entries, Path(folder))


def _measure(name: str, entries: list[int], folder: Path) -> None:
    clock = lambda: NOW  # noqa: E731
    publisher = Publisher(folder / "home", clock)
    holder = new_key("ed25519")
    keys = [holder.public_key]
    publisher.init(
        "gd", root=keys, root_threshold=1, targets=keys, targets_threshold=1, border=keys, border_threshold=1
    )
    role = new_key("ed25519")
    domains = [f"gd/n{number}" for number in range(NODES)]
    for domain in domains:
        draft = publisher.delegate(domain, [role.public_key])
    files, crls, change = make(entries)
    metadata = publisher._working("targets")
    metadata.signed.targets = {path: publisher.repository.put_file(path, data) for path, data in files.items()}
    draft = publisher._draft("targets", metadata)
    for path in (folder / "home" / "drafts" / "1.root.json", draft):
        sign_draft(path, holder)
    publisher.assemble()
    publisher.status(crls)
    lanes = folder / "lanes"
    for number, domain in enumerate(domains):
        row = f'[[deny]]\nwhy = "stolen"\ndomain = "{domain}"\n# {number}\n'
        OwnRole(lanes, domain, [role], clock).refuse({"a.toml": row.encode()})
    publisher.collect(FileSource(lanes))
    publisher.online.snapshot(whole=True)
    server = _server(folder)
    relay = Relay(server.server_port)
    relay.start()
    client = Client(folder / "node")
    client.folder.start(publisher.first_root())
    source = open_source(f"http://127.0.0.1:{relay.port}/")

    def step(what: str, act: Callable[[], object] = lambda: client.update(source, NOW)) -> None:
        before, started = relay.octets, time.process_time()
        act()
        time.sleep(0.2)
        print(f"bytes sync_{what}_{name} {relay.octets - before}")
        print(f"rate sync_{what}_{name} {1 / max(time.process_time() - started, 1e-9):.2f} updates/CPU-second")

    step("cold")
    if client.missing_whole(NOW):
        step("then_whole_crls", lambda: [client.bring(source, ref) for ref in client.missing_whole(NOW)])
    publisher.stamp()
    step("quiet")
    publisher.status({**crls, "denials/one.toml": b'[[deny]]\nwhy = "x"\ndomain = "mo"\n'})
    step("one_refusal")
    publisher.status({**crls, **change})
    step("one_new_crl")
    server.shutdown()
    if name == "filters":
        _first_over_tls(folder, client, publisher)


def _first_over_tls(folder: Path, client: Client, publisher: Publisher) -> None:
    """A check without news on a connection that is made for it, handshake included."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(datetime.now(UTC) - timedelta(days=1))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    made = builder.not_valid_after(datetime.now(UTC) + timedelta(days=1)).sign(key, hashes.SHA256())
    (folder / "tls.pem").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + made.public_bytes(Encoding.PEM)
    )
    (folder / "ca.pem").write_bytes(made.public_bytes(Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls.pem")
    server = _server(folder)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    relay = Relay(server.server_port)
    relay.start()
    publisher.stamp()
    client.update(open_source(f"https://localhost:{relay.port}/", ca_file=str(folder / "ca.pem")), NOW)
    time.sleep(0.2)
    print(f"bytes sync_quiet_cold_tls {relay.octets}")
    server.shutdown()


def _server(folder: Path) -> http.server.ThreadingHTTPServer:
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder / "home" / "public"))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def make(entries: list[int]) -> tuple[dict[str, bytes], dict[str, bytes], dict[str, bytes]]:
    """Certificates with profiles, CRLs, and one CRL of middling size with another entry."""
    key = ec.generate_private_key(ec.SECP256R1())
    files, crls, change = {}, {}, {}
    middling = sorted(range(len(entries)), key=lambda number: entries[number])[len(entries) // 2]
    for number, count in enumerate(entries):
        label = f"ca-{number}"
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"Test CA {number}")])
        own = ec.generate_private_key(ec.SECP256R1())
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(own.public_key())
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(NOW).not_valid_after(NOW + timedelta(days=3650))
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        files[f"cross/{label}.pem"] = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
        text = Path("demo/bundle/profiles/gz-public.toml").read_bytes()
        files[f"profiles/{label}.toml"] = text.replace(b"gz-public", label.encode())
        crls[f"crls/{label}.crl"] = crl_of(count, own, subject.public_bytes())
        if number == middling:
            change[f"crls/{label}.crl"] = crl_of(count + 1, own, subject.public_bytes(), 2)
    return files, crls, change
