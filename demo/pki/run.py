"""The federation in one run: its own bundle with fresh CRLs, its tokens, its TLS certificate, and later revocations."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import tomli_w
from filelock import FileLock

from ca_bridge.errors import ConfigError
from ca_bridge.files import write_atomically
from demo import softhsm
from demo.addresses import Addresses
from demo.pki import keys
from demo.pki.authorities import Authorities, Revoked, load_authorities, write_crl, write_crls
from demo.pki.bundle import public_pem, rfc3339, write_manifest, write_origins
from demo.pki.cache import build, read_manifest
from demo.pki.description import Federation, read_federation
from demo.pki.tls import write_server

_LOCK_SECONDS = 30


@dataclass(frozen=True, slots=True)
class DemoRun:
    """Where a run keeps what the federation gives it; everything lies below `folder`."""

    folder: Path

    @property
    def bundle(self) -> Path:
        """The trust bundle."""
        return self.folder / "bundle"

    @property
    def tls_ca(self) -> Path:
        """The demo's TLS CA, PEM: what a browser must trust."""
        return self.folder / "tls" / "ca.pem"

    @property
    def tls_certificate(self) -> Path:
        """Server certificate for every host name of the copy, PEM."""
        return self.folder / "tls" / "server.pem"

    @property
    def tls_key(self) -> Path:
        """Its key, PKCS#8 PEM, mode 0600."""
        return self.folder / "tls" / "server.key"

    @property
    def tokens(self) -> Path:
        """Folder of the tokens: `softhsm2.conf`, `softhsm/`, `files/`."""
        return self.folder / "tokens"

    @property
    def softhsm_configuration(self) -> Path:
        """What `SOFTHSM2_CONF` must name."""
        return self.tokens / "softhsm2.conf"

    @property
    def signer_settings(self) -> Path:
        """Settings of the local signer for this run's tokens, origins and port."""
        return self.folder / "signer.toml"

    @property
    def state(self) -> Path:
        """What `revoke` and `renew` must know; the CA keys stay in the cache that it names."""
        return self.folder / "demo-pki.json"


def materialise(folder: Path, addresses: Addresses, now: datetime, *, cache: Path | None = None) -> DemoRun:
    """A run's files in `folder`: bundle with CRLs as of `now` (aware UTC), personas, tokens, TLS, signer's settings.

    An earlier run's files there are replaced, its revocations forgotten, its denials kept. Builds the federation when
    need be (raises as `build`).
    """
    federation = read_federation()
    built, run = build(cache, now=now, federation=federation), DemoRun(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "demo-pki.lock", timeout=_LOCK_SECONDS):
        for name in ("personas", "tokens"):
            shutil.rmtree(folder / name, ignore_errors=True)
            shutil.copytree(built / name, folder / name)
        softhsm.write_configuration(run.tokens)
        write_server(built / "tls", folder / "tls", addresses, now, federation.tls_days)
        manifest = read_manifest(built)
        state = {"cache": str(built), "port": addresses.port, "revoked": manifest["revoked"]}
        write_atomically(run.state, json.dumps(state, indent=1).encode())
        shutil.copytree(built / "bundle", run.bundle, dirs_exist_ok=True)
        _refresh(federation, run, now)
        _write_signer_settings(run, addresses, built)
    return run


def renew(folder: Path, now: datetime) -> None:
    """New CRLs and origins list in a run that is going on; `bundle.json` last. Raises ConfigError `run.not_running`."""
    run = DemoRun(folder)
    _read_state(run)  # before the lock, whose file would make the folder
    with FileLock(folder / "demo-pki.lock", timeout=_LOCK_SECONDS):
        _refresh(read_federation(), run, now)


def revoke(folder: Path, persona_id: str, now: datetime) -> None:
    """Revoke a persona's certificate in a run: its CA's CRL is signed anew, then `bundle.json` replaced.

    Safe while everything runs: a reader between the two sees a hash that does not fit and keeps its snapshot. Revoking
    twice changes only the CRL's number. Raises ConfigError `run.not_running`, `config.invalid` (no such persona).
    """
    run = DemoRun(folder)
    _read_state(run)
    with FileLock(folder / "demo-pki.lock", timeout=_LOCK_SECONDS):
        state = _read_state(run)
        built = Path(state["cache"])
        holder = read_manifest(built)["personas"].get(persona_id)
        if holder is None:
            raise ConfigError("config.invalid", f"no demo persona {persona_id!r}")
        authorities = load_authorities(read_federation(), built / "authorities")
        if not authorities.row(holder["authority"]).published:
            raise ConfigError("config.invalid", f"the CA of {persona_id!r} has no CRL in the bundle")
        if not any(row["serial"] == holder["serial"] for row in state["revoked"]):
            state["revoked"].append({**holder, "at": rfc3339(now)})
        write_atomically(run.state, json.dumps(state, indent=1).encode())
        revoked = _revoked(state)[holder["authority"]]
        write_crl(authorities, holder["authority"], run.bundle / "crls", revoked, now)
        write_manifest(run.bundle, now)


def _refresh(federation: Federation, run: DemoRun, now: datetime) -> None:
    state = _read_state(run)
    built, addresses = Path(state["cache"]), Addresses(state["port"])
    authorities: Authorities = load_authorities(federation, built / "authorities")
    write_crls(authorities, run.bundle / "crls", _revoked(state), now)
    origins = {addresses.url("hall"): federation.hall_name}
    write_origins(run.bundle, keys.load(built / "origins.pem", "ecdsa-p256"), origins, now, federation.origins_days)
    write_manifest(run.bundle, now)


def _revoked(state: Mapping[str, Any]) -> Revoked:
    found: dict[str, list[tuple[int, datetime]]] = {}
    for row in state["revoked"]:
        found.setdefault(row["authority"], []).append((int(row["serial"], 16), datetime.fromisoformat(row["at"])))
    return found


def _read_state(run: DemoRun) -> dict[str, Any]:
    try:
        state: dict[str, Any] = json.loads(run.state.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError("run.not_running", f"{run.folder} holds no demo federation") from error
    if not Path(state["cache"]).is_dir():
        raise ConfigError("run.not_running", "the federation's cache has been deleted; start the demo again")
    return state


def _write_signer_settings(run: DemoRun, addresses: Addresses, built: Path) -> None:
    key = keys.load(built / "origins.pem", "ecdsa-p256")
    write_atomically(run.folder / "origins-key.pem", public_pem(key))
    settings = {
        "port": addresses.signer_port,
        "origins_file": str(run.bundle / "origins.json"),
        "origins_key_file": str(run.folder / "origins-key.pem"),
        "tokens": [
            {"kind": "pkcs11", "module": "softhsm", "softhsm_configuration": str(run.softhsm_configuration)},
            {"kind": "file", "folder": str(run.tokens / "files")},
        ],
    }
    write_atomically(run.signer_settings, tomli_w.dumps(settings).encode())
