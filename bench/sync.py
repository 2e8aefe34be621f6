"""K=sync: what the trust bundle costs a node on the line: 143 nodes, 30 CAs in all, and 30 CAs for each.

Octets are counted on the wire, both ways, headers included, by a relay before a plain web server. Certificates are real
(P-256); each CA has a profile and an empty CRL; each node has a role of its own with one table of denials.
"""

from __future__ import annotations

import functools
import http.server
import socket
import tempfile
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

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
        with tempfile.TemporaryDirectory() as folder:
            measure(name, authorities, Path(folder))


def measure(name: str, authorities: int, folder: Path) -> None:
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
    files, crls = make(authorities)
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
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder / "home" / "public"))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    relay = Relay(server.server_port)
    relay.start()
    client = Client(folder / "node")
    client.folder.start(publisher.first_root())
    source = open_source(f"http://127.0.0.1:{relay.port}/")

    def step(what: str) -> None:
        before, started = relay.octets, time.process_time()
        client.update(source, NOW)
        time.sleep(0.2)
        print(f"bytes sync_{what}_{name} {relay.octets - before}")
        print(f"rate sync_{what}_{name} {1 / max(time.process_time() - started, 1e-9):.2f} updates/CPU-second")

    step("cold")
    publisher.stamp()
    step("quiet")
    publisher.status({**crls, "denials/one.toml": b'[[deny]]\nwhy = "x"\ndomain = "mo"\n'})
    step("one_refusal")
    server.shutdown()


def make(count: int) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Certificates with profiles, and CRLs."""
    key = ec.generate_private_key(ec.SECP256R1())
    files, crls = {}, {}
    for number in range(count):
        label = f"ca-{number}"
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"Test CA {number}")])
        public = ec.generate_private_key(ec.SECP256R1()).public_key()
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(public)
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(NOW).not_valid_after(NOW + timedelta(days=3650))
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        files[f"cross/{label}.pem"] = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
        text = Path("demo/bundle/profiles/gz-public.toml").read_bytes()
        files[f"profiles/{label}.toml"] = text.replace(b"gz-public", label.encode())
        crl = x509.CertificateRevocationListBuilder().issuer_name(subject)
        crl = crl.last_update(NOW).next_update(NOW + timedelta(days=1))
        crls[f"crls/{label}.crl"] = crl.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
    return files, crls
