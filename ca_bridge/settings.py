"""Settings of one node: a TOML file, over which environment variables `CROSSHALL_<SECTION>__<KEY>` win.

Secrets are files, never values here: each `…_file` and `keys` names a path with mode 0600 (or 0700 for a folder).
Relative paths are relative to the settings file.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ca_bridge.errors import ConfigError

ENV_PREFIX = "CROSSHALL_"
S = TypeVar("S", bound="_Section")


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Node(_Section):
    """Which node this is."""

    name: str = "gd"
    """Trust domain that the node stands in: `gd`, `gd/guangzhou` …"""
    role: Literal["province", "city", "county"] = "province"
    """The province is a node that also holds the keys of the federation."""
    parent: str = ""
    """The node above: `gd` for a city, the city for a county; empty for the province."""
    state: Path = Path("state")
    """Folder of everything the node must keep: keys, windows, realm; what `crosshall backup` takes."""
    bundle: Path = Path("bundle")
    """The trust bundle in force (design §3)."""


class Bridge(_Section):
    """The OpenID provider and its pages."""

    issuer: str
    """`https://hall…`: scheme, host and port, no path, no trailing slash."""
    certificate_host: str
    """Host and port of the TLS way; `*.cert…` gives each sign-in a host of its own, so that a browser asks again."""
    keys: Path = Path("state/keys")
    """Folder of the signing keys, the master person key and the attribute key."""
    channel_secret_file: Path = Path("state/keys/channel")
    """Shared by nginx and the bridge: proves that a certificate header came from the certificate host."""
    signer: str = "http://127.0.0.1:28443"
    """Origin of the local signer on the person's machine."""
    session_seconds: int = Field(default=8 * 3600, ge=60)
    """How long a sign-in lasts at the most."""
    abroad_seconds: int = Field(default=8 * 3600, ge=60, le=8 * 3600)
    """How old a sign-in at another hall may be to count here; never more than `session_seconds`."""
    rejudge_seconds: int = Field(default=10, ge=1)
    """How often changed trust data and pending logouts are looked at."""
    rate_per_minute: int = Field(default=120, ge=1)
    """Sign-ins that one address may begin in a minute, in each worker; a hall of people behind one address needs more.

    Each sign-in may take as many steps, at least 60; steps of unknown ones count against the address."""
    evidence: bool = False
    """Keep every verdict of a sign-in, sealed, in `state/evidence`, for `crosshall replay`."""


class Database(_Section):
    """Where the bridge's state lies."""

    url: str = "sqlite:///state/bridge.sqlite"
    """SQLAlchemy URL: SQLite (WAL) or `postgresql+psycopg://`."""


class Keycloak(_Section):
    """The one relying party of the bridge: the node's realm."""

    realm: str = "gd"
    """Name of the realm."""
    issuer: str
    """What tokens say: `https://sso…/realms/gd`."""
    internal: str
    """Address for calls between servers, `http://127.0.0.1:…`: token keys, logout, admin."""
    client_id: str = "keycloak"
    """Name under which the realm speaks to the bridge."""
    alias: str = "bridge"
    """Name of the bridge as identity provider of the realm."""
    ca_file: Path | None = None
    """Certificates that `internal` is checked against when it is https; none: the machine's own."""
    admin_user: str = "admin"
    """Who administers Keycloak for `crosshall realm`."""
    admin_password_file: Path = Path("state/keys/keycloak-admin")
    """One line, mode 0600."""
    management_port: int = Field(default=9000, ge=1, le=65535)
    """Loopback port on which Keycloak tells its health; for `crosshall node run`."""
    database_url_file: Path | None = None
    """File (0600) with `postgresql://user:password@host:port/name` for Keycloak; none: its own file database."""

    @property
    def redirect_uri(self) -> str:
        """Where the realm's broker takes our answers."""
        return f"{self.issuer}/broker/{self.alias}/endpoint"

    @property
    def jwks_url(self) -> str:
        """Keys of the realm, by the internal address."""
        return f"{self.internal}/realms/{self.realm}/protocol/openid-connect/certs"

    @property
    def logout_url(self) -> str:
        """Back-channel logout of the realm, by the internal address."""
        return f"{self.internal}/realms/{self.realm}/protocol/openid-connect/logout/backchannel-logout"


class Front(_Section):
    """nginx, the one door of the node; for `crosshall node run`."""

    listen: str = "0.0.0.0:443"
    """`address:port` that browsers reach."""
    certificate: Path = Path("tls/server.pem")
    """TLS certificate with its chain: for the hall, Keycloak and, by wildcard, the certificate host."""
    certificate_key: Path = Path("tls/server.key")
    """Its key, mode 0600."""
    ca_file: Path | None = None
    """CA of that certificate when it is not a public one: Keycloak then trusts it for its own calls."""
    upstreams: dict[str, str] = {}
    """Host name → `address:port`: systems without a front of their own may share this one."""
    published: Path | None = None
    """Folder handed out below `/federation/` at the hall: the province's repository, or a city's mirror of it."""


class Sync(_Section):
    """Where the trust bundle comes from; nothing for the province's own node."""

    sources: tuple[str, ...] = ()
    """In order: `https://…/federation/` of the node above, `file:/…` for a carried disk."""
    interval_seconds: float = Field(default=30, ge=1, le=37)
    """Between two looks, ± 20 %: a refusal must be here within 60 s."""
    ca_file: Path | None = None
    """Certificates that `https` sources are checked against; none: the machine's own."""


class Pilot(_Section):
    """At the province: what a node in pilot must have reached before `crosshall node promote` makes it live."""

    sign_ins: int = Field(default=300, ge=1)
    """Real sign-ins at the node since its pilot began, and at least as many verdicts compared."""
    corpus: int = Field(default=10_000, ge=1)
    """Different certificates of the province that the node has judged (`crosshall node shadow`)."""
    days: float = Field(default=14, ge=0)
    """Since the pilot began."""
    equal_percent: float = Field(default=99.99, gt=0, le=100)
    """Of all verdicts compared, sign-ins and corpus together."""
    accepted_alone: int = Field(default=0, ge=0)
    """The most verdicts by which the node accepted what the province refuses."""
    keep_days: float = Field(default=30, ge=3)
    """How long what was in force is kept, for sign-ins told late; and differences of pilots that have ended."""
    keep_differences: int = Field(default=1000, ge=1)
    """The most differences that are recorded of a node; further ones are counted alone."""
    keep_snapshots: int = Field(default=1000, ge=1)
    """The most versions of what was in force, beside those that a recorded difference needs."""


class Settings(_Section):
    """All of a node's settings."""

    node: Node = Node()
    bridge: Bridge
    database: Database = Database()
    keycloak: Keycloak
    front: Front = Front()
    sync: Sync = Sync()
    pilot: Pilot = Pilot()


def load_settings(path: Path, environ: Mapping[str, str] | None = None) -> Settings:
    """The settings at `path`, paths made absolute. Raises ConfigError `config.missing` or `config.invalid`."""
    try:
        raw: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise ConfigError("config.missing", f"no settings file at {path}") from error
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError("config.invalid", f"{path}: {error}") from error
    for name, value in (os.environ if environ is None else environ).items():
        section, separator, key = name.removeprefix(ENV_PREFIX).lower().partition("__")
        if name.startswith(ENV_PREFIX) and separator:
            raw.setdefault(section, {})[key] = value
    try:
        settings = Settings.model_validate(raw)
    except ValidationError as error:
        where = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ConfigError("config.invalid", f"{path}: {where}") from error
    return _absolute(settings, path.resolve().parent)


def _absolute(settings: Settings, base: Path) -> Settings:
    url = settings.database.url
    if url.startswith("sqlite:///") and not url.startswith("sqlite:////"):
        url = f"sqlite:///{base / url.removeprefix('sqlite:///')}"
    return Settings(
        node=_paths(settings.node, base),
        bridge=_paths(settings.bridge, base),
        database=Database(url=url),
        keycloak=_paths(settings.keycloak, base),
        front=_paths(settings.front, base),
        sync=_paths(settings.sync, base),
        pilot=settings.pilot,
    )


def _paths(section: S, base: Path) -> S:
    changed = {name: base / value for name, value in section if isinstance(value, Path)}
    return section.model_copy(update=changed)
