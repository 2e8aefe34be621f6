"""What `demo/federation.toml` says, checked and typed."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ca_bridge.errors import LANGUAGES, ConfigError
from demo.personas import Persona, read_personas
from demo.pki.certificates import Names

DEMO = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Authority:
    """One CA key with its name. `published`: its CRL goes into the bundle."""

    id: str
    key_kind: str
    subject: Names
    published: bool


@dataclass(frozen=True, slots=True)
class Crossing:
    """One certificate of an authority: self-signed, subordinate or cross-certificate."""

    subject: str
    issuer: str
    folder: str
    """Where the bundle keeps it: `anchors`, `cross`, `lists`; empty when it is not published."""
    path_length: int | None
    permitted: tuple[Names, ...]
    policies: tuple[str, ...]
    mappings: tuple[tuple[str, str], ...]
    require_explicit: int | None
    inhibit_mapping: int | None
    inhibit_any: int | None

    @property
    def file(self) -> str:
        """Name of its PEM file."""
        return f"{self.subject}.pem" if self.self_signed else f"{self.subject}-by-{self.issuer}.pem"

    @property
    def self_signed(self) -> bool:
        """Whether subject and issuer are one authority."""
        return self.subject == self.issuer


@dataclass(frozen=True, slots=True)
class Federation:
    """The whole description. Spans of days count from the day of building."""

    authorities: Mapping[str, Authority]
    crossings: tuple[Crossing, ...]
    personas: tuple[Persona, ...]
    hall_name: Mapping[str, str]
    crl_days: int
    leaf_days: tuple[int, int]
    authority_days: tuple[int, int]
    usable_days: int
    origins_days: int
    tls_days: int
    bundle: Path
    """Folder of the parts of the bundle that need no building: levels, policy, profiles, lists."""
    hash: str
    """SHA-256 over the description and the builder's own sources, hexadecimal."""

    def root_of(self, authority: str) -> Iterator[Crossing]:
        """The certificates from an authority up to its own root's self-signed one, bridge left out."""
        seen: set[str] = set()
        while authority not in seen:
            seen.add(authority)
            rows = [row for row in self.crossings if row.subject == authority]
            own = next((row for row in rows if row.self_signed), None)
            if own is not None:
                yield own
                return
            yield rows[0]
            authority = rows[0].issuer


def read_federation(folder: Path = DEMO) -> Federation:
    """The description in `folder`. Raises ConfigError `config.invalid`: unknown names, doubled ids, missing texts."""
    try:
        raw = tomllib.loads((folder / "federation.toml").read_text("utf-8"))
        federation = _federation(raw, folder)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ConfigError("config.invalid", f"federation.toml: {type(error).__name__}: {error}") from error
    _check(federation)
    return federation


def _federation(raw: Mapping[str, Any], folder: Path) -> Federation:
    if raw["format"] != 1:
        raise ValueError(f"format {raw['format']!r} is not known")
    rows = [_authority(row) for row in raw["authorities"]]
    if len({row.id for row in rows}) != len(rows):
        raise ValueError("two authorities share an id")
    return Federation(
        authorities={row.id: row for row in rows},
        crossings=tuple(_crossing(row) for row in raw["certificates"]),
        personas=read_personas(folder / "personas.toml"),
        hall_name={language: raw["hall_name"][language] for language in LANGUAGES},
        crl_days=raw["crl_days"],
        leaf_days=_span(raw["leaf_days"]),
        authority_days=_span(raw["authority_days"]),
        usable_days=raw["usable_days"],
        origins_days=raw["origins_days"],
        tls_days=raw["tls_days"],
        bundle=folder / "bundle",
        hash=_hash(folder),
    )


def _authority(row: Mapping[str, Any]) -> Authority:
    return Authority(row["id"], row["key"], row["subject"], row.get("published", True))


def _crossing(row: Mapping[str, Any]) -> Crossing:
    return Crossing(
        subject=row["subject"],
        issuer=row.get("issuer", row["subject"]),
        folder=row.get("folder", ""),
        path_length=row.get("path_length"),
        permitted=tuple(row.get("permitted", ())),
        policies=tuple(row.get("policies", ())),
        mappings=tuple((ours, theirs) for ours, theirs in row.get("mappings", ())),
        require_explicit=row.get("require_explicit"),
        inhibit_mapping=row.get("inhibit_mapping"),
        inhibit_any=row.get("inhibit_any"),
    )


def _span(value: Any) -> tuple[int, int]:
    first, last = value
    if not int(first) < int(last):
        raise ValueError(f"days {value!r} do not go forwards")
    return int(first), int(last)


def _check(federation: Federation) -> None:
    known = federation.authorities
    for row in federation.crossings:
        if row.subject not in known or row.issuer not in known or row.folder not in ("", "anchors", "cross", "lists"):
            raise ConfigError("config.invalid", f"federation.toml: certificate {row.file} names what is not there")
    for person in federation.personas:
        if person.issuer not in known or person.ca not in known:
            raise ConfigError("config.invalid", f"personas.toml: {person.id} names an unknown authority")


def _hash(folder: Path) -> str:
    """A change of the description or of the builder asks for a new cache."""
    digest = hashlib.sha256()
    files = [folder / "federation.toml", folder / "personas.toml", *sorted((folder / "bundle").rglob("*.toml"))]
    for file in [*files, *sorted((DEMO / "pki").glob("*.py")), DEMO / "softhsm.py", DEMO / "personas.py"]:
        data = file.read_bytes()
        digest.update(f"{file.name}\0{len(data)}\0".encode() + data)
    return digest.hexdigest()
