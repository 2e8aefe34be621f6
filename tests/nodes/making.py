"""Files that the tests' nodes begin with: settings, TLS."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import tomli_w

from ca_bridge.files import write_atomically
from demo.pki import certificates, keys
from demo.pki.certificates import Template
from tests.nodes.places import KEYCLOAK, MANAGEMENT, PLACES, PORT, WINDOW, Place

TLS_CA = "tls-ca.pem"
_TLS = [["O", "Crosshall tests"], ["CN", "TLS CA of the tests"]]


def write_settings(root: Path, place: Place) -> None:
    """`node.toml` of a place: what its operator wrote, and what the tests need besides."""
    path = root / place.name / "node.toml"
    raw = tomllib.loads(path.read_text("utf-8")) if path.exists() else {}
    section: dict[str, dict[str, object]] = raw
    hall, sso = place.url("hall"), place.url("sso")
    if place.role == "province":
        section["node"] = {"name": place.domain, "role": place.role}
        section["bridge"] = {"issuer": hall, "certificate_host": place.certificate_host}
        internal = f"http://127.0.0.1:{KEYCLOAK}"
        section["keycloak"] = {"issuer": f"{sso}/realms/gd", "internal": internal, "management_port": MANAGEMENT}
        section["front"] = {"listen": f"{place.address}:{PORT}", "published": "federation/public"}
    section["bridge"] |= {
        "certificate_host": place.certificate_host,
        "rejudge_seconds": 2,
        "rate_per_minute": 6000,
    }
    section["front"] |= {
        "certificate": str(root / f"{place.name}.pem"),
        "certificate_key": str(root / f"{place.name}.key"),
        "ca_file": str(root / TLS_CA),
        "upstreams": {f"police.{place.base}": f"127.0.0.1:{WINDOW}"},
    }
    section.setdefault("sync", {}).update({"ca_file": str(root / TLS_CA), "interval_seconds": 5})
    write_atomically(path, tomli_w.dumps(section).encode(), mode=0o600)


def write_tls(root: Path) -> None:
    """What people's browsers trust, and a certificate of each place's front."""
    ca, now = keys.generate("ecdsa-p256"), datetime.now(UTC)
    start, end = now - timedelta(days=3), datetime(now.year + 2, 1, 1, tzinfo=UTC)
    extensions = certificates.authority_extensions(ca, ca, path_length=0, extra=(), crl_url=None)
    der = certificates.issue(Template(_TLS, _TLS, ca.spki, start, end, extensions), ca, certificates.new_serial())
    (root / TLS_CA).write_text(certificates.pem(der))
    for place in PLACES:
        key = keys.generate("ecdsa-p256")
        hosts = [f"{name}.{place.base}" for name in ("hall", "sso", "police", "*.cert")]
        extra = (certificates.alternative_names(hosts), certificates.extended_usage(["server_auth"]))
        extensions = certificates.holder_extensions(key, ca, usage={"digital_signature"}, extra=extra, crl_url=None)
        template = Template([["CN", hosts[0]]], _TLS, key.spki, start, end, extensions)
        keys.save(key, root / f"{place.name}.key")
        (root / f"{place.name}.pem").write_text(
            certificates.pem(certificates.issue(template, ca, certificates.new_serial()))
        )
