"""Where a node stands: install → data → trial → live, each stage by checks that a machine makes (R26).

A check that fails has a stable code, whose words say what to do; a stage is reached when all checks up to it pass.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509

from ca_bridge.errors import ConfigError, CrosshallError, FederationError
from ca_bridge.registry import load_windows
from ca_bridge.settings import Settings
from ca_bridge.trust.bundle import MANIFEST, read_bundle
from ca_bridge.verdict.snapshot import compile_bundle
from ca_bridge.version import VERSION
from nodes.identity import public, read_node_keys

STAGES = ("install", "data", "trial", "live")
TLS_SPARE = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at. `code` is empty when it is well."""

    stage: str
    name: str
    code: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """All checks, and the last stage of which everything before holds too; empty when nothing is installed."""

    checks: tuple[Check, ...]
    stage: str

    @property
    def failing(self) -> tuple[Check, ...]:
        """What is not well."""
        return tuple(check for check in self.checks if check.code)


def look(settings: Settings, now: datetime, health: Callable[[], Mapping[str, Any]]) -> Standing:
    """Look at the node on this machine. `health()` is the bridge's own answer; whatever it raises counts as red."""
    checks = tuple(_all(settings, now, health))
    reached = ""
    for stage in STAGES:
        if any(check.code for check in checks if check.stage == stage):
            break
        reached = stage
    return Standing(checks, reached)


def _all(settings: Settings, now: datetime, health: Callable[[], Mapping[str, Any]]) -> Iterator[Check]:
    yield _try("install", "keys", lambda: _keys(settings))
    yield _try("install", "software", lambda: _software(settings))
    yield _try("install", "tls", lambda: check_tls(settings, now))
    yield _try("data", "bundle", lambda: _bundle(settings))
    yield _try("data", "roster", lambda: _roster(settings))
    yield _try("trial", "windows", lambda: _windows(settings))
    yield _try("trial", "health", lambda: _health(health))
    yield _try("live", "stage", lambda: _live(settings))


def _try(stage: str, name: str, step: Callable[[], None]) -> Check:
    try:
        step()
    except CrosshallError as error:
        return Check(stage, name, error.code, error.detail)
    return Check(stage, name)


def _keys(settings: Settings) -> None:
    folder = settings.bridge.keys
    if settings.node.role != "province":
        read_node_keys(folder)
    _joined(settings, folder / "master")
    for name in ("master", "attributes", "channel"):
        path = folder / name
        if not path.is_file():
            raise ConfigError("config.key", f"{path} is missing; the first start makes it")
        if path.stat().st_mode & 0o077:
            raise ConfigError("config.key", f"{path} can be read by others: chmod 600")


def check_tls(settings: Settings, now: datetime) -> None:
    """The front's certificate is good for two weeks more and names hall, Keycloak and the certificate host.

    Raises ConfigError `config.tls`.
    """
    path = settings.front.certificate
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, x509.ExtensionNotFound) as error:
        raise ConfigError("config.tls", f"{path}: {type(error).__name__}") from error
    if not certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc - TLS_SPARE:
        raise ConfigError("config.tls", f"{path} is good until {certificate.not_valid_after_utc:%Y-%m-%d}")
    dns = {name.lower() for name in names.get_values_for_type(x509.DNSName)}
    addresses = {str(address) for address in names.get_values_for_type(x509.IPAddress)}
    wanted = {settings.bridge.certificate_host.rpartition(":")[0] or settings.bridge.certificate_host}
    wanted |= {urlsplit(url).hostname or "" for url in (settings.bridge.issuer, settings.keycloak.issuer)}
    missing = sorted(name for name in wanted if not _named(name, dns, addresses))
    if missing:
        raise ConfigError("config.tls", f"{path} does not name {', '.join(missing)}")


def _named(host: str, dns: set[str], addresses: set[str]) -> bool:
    try:
        return str(ipaddress.ip_address(host)) in addresses
    except ValueError:
        return host in dns or f"*.{host.partition('.')[2]}" in dns


def _joined(settings: Settings, file: Path | None = None) -> None:
    """What comes with the admission is there; without it a fault of the bundle's would be told where there is none."""
    path = file or settings.node.bundle / MANIFEST
    if settings.node.role != "province" and not path.exists():
        raise FederationError("node.not_joined", f"{path} is missing")


def _bundle(settings: Settings) -> None:
    _joined(settings)
    snapshot = compile_bundle(read_bundle(settings.node.bundle))
    if not snapshot.bundle.anchors:
        raise FederationError("node.no_anchors", "the bundle holds no anchor")


def _software(settings: Settings) -> None:
    """Not below the floor of the roster in force; without a bundle there is none yet: `data` says so."""
    try:
        software = read_bundle(settings.node.bundle).roster.software
    except CrosshallError:
        return
    if software.below(VERSION):
        raise FederationError("node.below_floor", f"{VERSION} is running, {software.floor} is the lowest allowed")


def _roster(settings: Settings) -> None:
    if settings.node.role == "province":
        return
    _joined(settings)
    row = read_bundle(settings.node.bundle).roster.find(settings.node.name)
    if row is None:
        raise FederationError("node.not_admitted", f"the roster does not hold {settings.node.name}")
    if row.sign != public(read_node_keys(settings.bridge.keys).sign) or row.hall != settings.bridge.issuer:
        raise FederationError("node.not_admitted", "the roster's row has another key, or another hall")


def _windows(settings: Settings) -> None:
    if not load_windows(settings.node.state):
        raise FederationError("node.no_windows", "no window is registered")


def _health(health: Callable[[], Mapping[str, Any]]) -> None:
    answer = health()
    if answer.get("status") != "ok":
        raise FederationError("node.red", ", ".join(map(str, answer.get("reasons", ()))) or "no answer")


def _live(settings: Settings) -> None:
    if settings.node.role == "province":
        return
    _joined(settings)
    row = read_bundle(settings.node.bundle).roster.find(settings.node.name)
    if row is None or row.stage != "live":
        raise FederationError("node.pilot", f"the roster says {row.stage if row else 'nothing'}")


def state_file(settings: Settings, name: str) -> Path:
    """A file of the sync agent."""
    return settings.node.state / "federation" / name
