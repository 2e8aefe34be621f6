"""A run's trust bundle: what needs no building, the CA certificates, fresh CRLs, origins, and the manifest last."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import tomllib
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

import tomli_w
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from ca_bridge.files import write_atomically
from ca_bridge.trust.bundle import MANIFEST, write_bundle_manifest
from demo.pki.authorities import Authorities
from demo.pki.keys import Key

_FOLDERS = ("anchors", "cross", "profiles", "lists", "crls", "denials")


def write_static(authorities: Authorities, certificates: Path, bundle: Path) -> None:
    """Everything of the bundle but CRLs, origins and manifest. Profiles get the hash of their CA's key."""
    federation = authorities.federation
    for folder in _FOLDERS:
        (bundle / folder).mkdir(parents=True, exist_ok=True)
    for crossing in federation.crossings:
        if crossing.folder:
            shutil.copyfile(certificates / crossing.file, bundle / crossing.folder / crossing.file)
    for name in ("levels.toml", "policy.toml"):
        shutil.copyfile(federation.bundle / name, bundle / name)
    for source in sorted((federation.bundle / "lists").glob("*.toml")):
        shutil.copyfile(source, bundle / "lists" / source.name)
    for source in sorted((federation.bundle / "profiles").glob("*.toml")):
        profile = tomllib.loads(source.read_text("utf-8"))
        profile["keys"] = [hashlib.sha256(authorities.key(profile["id"]).spki).hexdigest()]
        write_atomically(bundle / "profiles" / source.name, tomli_w.dumps(profile).encode())


def write_origins(bundle: Path, key: Key, origins: Mapping[str, Mapping[str, str]], now: datetime, days: int) -> None:
    """`origins.json`: which pages may ask a person's signer, and the names it shows; signed by the province (ES256)."""
    payload = {
        "origins": [{"origin": origin, "name": dict(names)} for origin, names in origins.items()],
        "issued": rfc3339(now),
        "expires": rfc3339(now + timedelta(days=days)),
    }
    body = json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
    r, s = decode_dss_signature(key.sign(body).value)
    signed = {"payload": _base64url(body), "signature": _base64url(r.to_bytes(32, "big") + s.to_bytes(32, "big"))}
    write_atomically(bundle / "origins.json", json.dumps(signed, indent=1).encode())


def public_pem(key: Key) -> bytes:
    """The public key in PEM, for a signer's settings."""
    public = serialization.load_der_public_key(key.spki)
    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def write_manifest(bundle: Path, now: datetime) -> None:
    """`bundle.json` over every file there is; its version is the time in milliseconds, and always rises."""
    path = bundle / MANIFEST
    last = int(json.loads(path.read_text("utf-8"))["version"]) if path.exists() else 0
    write_bundle_manifest(bundle, max(int(now.timestamp() * 1000), last + 1), now)


def rfc3339(moment: datetime) -> str:
    """RFC 3339 in UTC, whole seconds."""
    return moment.replace(microsecond=0).isoformat().replace("+00:00", "Z")


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
