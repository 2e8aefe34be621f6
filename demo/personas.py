"""The demo's people: who they are, which files they have, and what must happen when they sign in.

All of them are invented; their numbers have right check digits and area codes that no person is given. The
description is `demo/personas.toml`; certificates and keys come from `demo.pki`.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ca_bridge.errors import ConfigError
from ca_bridge.types import Capacity, Way

PIN = "123456"
"""PIN of every demo token and password of every demo PKCS#12 file."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """What signing in must come to: `ok` and the level, or the refusal's code; the same by every way that applies."""

    code: str
    level: int = 0
    held: bool = False
    """Accepted as a certificate, but the person is already known by another CA: held until proved (design §5)."""

    @property
    def accepted(self) -> bool:
        """Whether the person ends up at the window."""
        return self.code == "ok"


@dataclass(frozen=True, slots=True)
class PersonaFiles:
    """Where a persona's certificate and keys lie below a run's folder."""

    certificate: Path
    """PEM, the leaf alone."""
    chain: Path
    """PEM, leaf first, with the CA certificates up to the CA's own root."""
    key: Path
    """PKCS#8 PEM without a password (RSA and ECDSA only), mode 0600."""
    pkcs12: Path
    """For a browser (RSA and ECDSA only); password `PIN`."""
    encrypted_key: Path
    """PKCS#8 PEM under `PIN`; what a file token holds."""


@dataclass(frozen=True, slots=True)
class Persona:
    """One demo person with one certificate."""

    id: str
    ca: str
    """Profile id of the CA that issued the certificate, or seems to have."""
    issuer: str
    """The key that really signed it: an authority's id in `demo/federation.toml`."""
    type: str
    """Certificate type in the CA's profile; empty when the profile knows none."""
    name: str = field(repr=False)
    description: Mapping[str, str]
    """In zh-Hans, zh-Hant, en, pt."""
    key_kind: str
    """rsa-2048, ecdsa-p256, ecdsa-p384 or sm2."""
    storage: str
    """`pkcs11` (a SoftHSM token) or `file` (an encrypted file)."""
    ways: tuple[Way, ...]
    expected: Expectation
    capacities: tuple[Capacity, ...] = ()
    identifiers: tuple[tuple[str, str, str], ...] = field(default=(), repr=False)
    """(type, state, normalised value), strongest first."""
    organisation: tuple[str, str] | None = field(default=None, repr=False)
    """(name, USCC)."""
    certificate: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """How the builder fills the certificate: subject, extensions, usage, dates."""

    @property
    def token_label(self) -> str:
        """Label of the persona's token, in SoftHSM or as a folder of the file tokens."""
        return self.id

    def files(self, run: Path) -> PersonaFiles:
        """The persona's files below a run's folder (or the cache's)."""
        folder = run / "personas" / self.id
        return PersonaFiles(
            certificate=folder / "certificate.pem",
            chain=folder / "chain.pem",
            key=folder / "key.pem",
            pkcs12=folder / "persona.p12",
            encrypted_key=folder / "encrypted-key.pem",
        )


@functools.cache
def personas() -> tuple[Persona, ...]:
    """Every persona, in the order of the description."""
    return read_personas(Path(__file__).with_name("personas.toml"))


def persona(persona_id: str) -> Persona:
    """The persona of that id. Raises ConfigError `config.invalid`."""
    for found in personas():
        if found.id == persona_id:
            return found
    raise ConfigError("config.invalid", f"no demo persona {persona_id!r}")


def read_personas(path: Path) -> tuple[Persona, ...]:
    """The personas described at `path`. Raises ConfigError `config.invalid` for an incomplete or doubled one."""
    try:
        rows = tomllib.loads(path.read_text("utf-8"))["personas"]
        found = tuple(_persona(row) for row in rows)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ConfigError("config.invalid", f"{path.name}: {type(error).__name__}: {error}") from error
    if len({row.id for row in found}) != len(found):
        raise ConfigError("config.invalid", f"{path.name}: two personas share an id")
    return found


def _persona(row: Mapping[str, Any]) -> Persona:
    expected = row["expected"]
    organisation = row.get("organisation")
    return Persona(
        id=row["id"],
        ca=row["ca"],
        issuer=row.get("issuer", row["ca"]),
        type=row.get("type", ""),
        name=row["name"],
        description={language: row["description"][language] for language in ("zh-Hans", "zh-Hant", "en", "pt")},
        key_kind=row["key"],
        storage=row["storage"],
        ways=tuple(Way(way) for way in row["ways"]),
        expected=Expectation(expected["code"], expected.get("level", 0), expected.get("held", False)),
        capacities=tuple(Capacity(name) for name in row.get("capacities", ())),
        identifiers=tuple((i["type"], i["state"], i["value"]) for i in row.get("identifiers", ())),
        organisation=(organisation["name"], organisation["uscc"]) if organisation else None,
        certificate=row.get("certificate", {}),
    )
