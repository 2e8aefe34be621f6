"""The demo's TLS CA, good for names under `localhost` only, and a run's server certificate."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from ca_bridge.files import write_atomically
from demo.addresses import Addresses
from demo.pki import certificates, keys
from demo.pki.certificates import Template
from demo.pki.keys import Key

_NAME = [["O", "Crosshall demo"], ["CN", "Crosshall demo TLS CA (localhost only)"]]
_CA_DAYS = 730


def write_tls_ca(folder: Path, built: datetime) -> None:
    """Make the TLS CA: `ca.pem` and `ca.key` (0600) in `folder`.

    Its name constraints admit nothing but `localhost` and loopback addresses: who trusts it in a browser for the demo
    risks no other site, whatever becomes of the key.
    """
    key = keys.generate("ecdsa-p256")
    limits = certificates.permitted_names(hosts=["localhost"], networks=["127.0.0.0/8"])
    extensions = certificates.authority_extensions(key, key, path_length=0, extra=(limits,), crl_url=None)
    template = Template(_NAME, _NAME, key.spki, built - timedelta(days=1), built + timedelta(days=_CA_DAYS), extensions)
    keys.save(key, folder / "ca.key")
    der = certificates.issue(template, key, certificates.new_serial())
    write_atomically(folder / "ca.pem", certificates.pem(der).encode())


def write_server(ca_folder: Path, folder: Path, addresses: Addresses, now: datetime, days: int) -> None:
    """A key and certificate for every host name of the copy: `server.key` (0600), `server.pem`; the CA as `ca.pem`."""
    ca = keys.load(ca_folder / "ca.key", "ecdsa-p256")
    key = keys.generate("ecdsa-p256")
    hosts = [addresses.host(name) for name in ("hall", "sso", *addresses.window_ports, "*.cert")]
    der = _issue_server(ca, key, hosts, now, days)
    keys.save(key, folder / "server.key")
    write_atomically(folder / "server.pem", certificates.pem(der).encode())
    write_atomically(folder / "ca.pem", (ca_folder / "ca.pem").read_bytes())


def _issue_server(ca: Key, key: Key, hosts: list[str], now: datetime, days: int) -> bytes:
    extra = (certificates.alternative_names(hosts), certificates.extended_usage(["server_auth"]))
    extensions = certificates.holder_extensions(key, ca, usage={"digital_signature"}, extra=extra, crl_url=None)
    subject = [["O", "Crosshall demo"], ["CN", hosts[0]]]
    start, end = now - timedelta(hours=1), now + timedelta(days=days)
    return certificates.issue(Template(subject, _NAME, key.spki, start, end, extensions), ca, certificates.new_serial())
