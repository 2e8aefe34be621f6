"""The federation as built: every key and certificate, in a folder of the user's cache, made once."""

from __future__ import annotations

import base64
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from filelock import FileLock

from ca_bridge.files import write_atomically
from ca_bridge.types import utc_now
from demo import softhsm
from demo.personas import PIN, Persona
from demo.pki import keys
from demo.pki.authorities import Authorities, generate_authorities, write_certificates
from demo.pki.bundle import rfc3339, write_static
from demo.pki.description import Federation, read_federation
from demo.pki.holders import write_holder
from demo.pki.keys import Key
from demo.pki.tls import write_tls_ca

_KEPT = 3
_LOCK_SECONDS = 120


def default_cache() -> Path:
    """`$XDG_CACHE_HOME/crosshall`, or `~/.cache/crosshall`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "crosshall"


def build(cache: Path | None = None, *, now: datetime | None = None, federation: Federation | None = None) -> Path:
    """The folder of the built federation, made at first call and after a change of its description (about 10 s).

    Two callers at once wait for each other; a build that is interrupted leaves nothing behind that counts. `now`: aware
    UTC. Raises ConfigError `config.invalid` (the description), `run.missing_part` (no SoftHSM), `run.part_failed`.
    """
    cache, now = cache or default_cache(), now or utc_now()
    federation = federation or read_federation()
    folder = cache / f"demo-{federation.hash[:16]}"
    cache.mkdir(parents=True, exist_ok=True, mode=0o700)
    with FileLock(cache / "demo.lock", timeout=_LOCK_SECONDS):
        if _usable(folder, now):
            return folder
        made = Path(tempfile.mkdtemp(dir=cache, prefix=".demo-"))
        try:
            _build(federation, made, now)
            shutil.rmtree(folder, ignore_errors=True)
            made.rename(folder)
        finally:
            shutil.rmtree(made, ignore_errors=True)
        _forget_old(cache, folder)
    return folder


def read_manifest(folder: Path) -> Mapping[str, Any]:
    """What `build` wrote: when, until when usable, each persona's issuer and serial number, what is revoked."""
    manifest: Mapping[str, Any] = json.loads((folder / "manifest.json").read_text("utf-8"))
    return manifest


def _usable(folder: Path, now: datetime) -> bool:
    try:
        manifest = read_manifest(folder)
        return datetime.fromisoformat(manifest["built"]) <= now < datetime.fromisoformat(manifest["usable_until"])
    except (OSError, KeyError, ValueError):
        return False


def _build(federation: Federation, folder: Path, now: datetime) -> None:
    authorities = generate_authorities(federation, folder / "authorities")
    write_certificates(authorities, folder / "certificates", now)
    write_static(authorities, folder / "certificates", folder / "bundle")
    write_tls_ca(folder / "tls", now)
    keys.save(keys.generate("ecdsa-p256"), folder / "origins.pem")
    holders = _build_personas(authorities, folder, now)
    revoked = [
        {"authority": person.issuer, "serial": holders[person.id]["serial"], "at": rfc3339(now)}
        for person in federation.personas
        if person.certificate.get("revoked")
    ]
    manifest = {
        "built": rfc3339(now),
        "usable_until": rfc3339(now + timedelta(days=federation.usable_days)),
        "personas": holders,
        "revoked": revoked,
    }
    write_atomically(folder / "manifest.json", json.dumps(manifest, indent=1).encode())


def _build_personas(authorities: Authorities, folder: Path, now: datetime) -> dict[str, dict[str, str]]:
    holders: dict[str, dict[str, str]] = {}
    tokens: list[softhsm.TokenContent] = []
    for person in authorities.federation.personas:
        key, serial = write_holder(authorities, person, folder, folder / "certificates", now)
        holders[person.id] = {"authority": person.issuer, "serial": f"{serial:x}"}
        if person.storage == "file":
            _file_token(person, folder)
        else:
            tokens.append(_token(person, key, folder))
    softhsm.create_tokens(folder / "tokens", tokens, PIN)
    return holders


def _file_token(person: Persona, folder: Path) -> None:
    """A file token is a folder with `certificate.pem` and the encrypted `key.pem` (docs/signer.md)."""
    files, token = person.files(folder), folder / "tokens" / "files" / person.token_label
    write_atomically(token / "certificate.pem", files.certificate.read_bytes())
    write_atomically(token / "key.pem", files.encrypted_key.read_bytes(), mode=0o600)


def _token(person: Persona, key: Key, folder: Path) -> softhsm.TokenContent:
    private = serialization.load_pem_private_key(key.pem(), None)
    der = private.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    lines = person.files(folder).certificate.read_text().splitlines()
    return softhsm.TokenContent(person.token_label, base64.b64decode("".join(lines[1:-1])), der)


def _forget_old(cache: Path, current: Path) -> None:
    """Keep the newest few builds: other checkouts may be using theirs."""
    others = [path for path in cache.glob("demo-*") if path.is_dir() and path != current]
    for path in sorted(others, key=lambda found: found.stat().st_mtime, reverse=True)[_KEPT - 1 :]:
        shutil.rmtree(path, ignore_errors=True)
