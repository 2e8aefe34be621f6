"""The province's tables: levels, validation policy, denials (docs/contracts.md)."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from ca_bridge.trust.model import DomainName, Level, Model, Oid, Sha256, Slug, build, load_table
from ca_bridge.types import IdentifierType, Way

CertificateKey = Annotated[str, Field(pattern=r"^[0-9a-f]{64}:-?[0-9a-f]{1,42}$")]


class Assigned(Model):
    """A level given to an issuing CA's certificates of one type."""

    ca: Slug
    type: Slug
    level: Level


class Levels(Model):
    """Asserted and assigned levels, and the ceilings above them (design §3, §5)."""

    policies: Mapping[Oid, Level] = Field(default_factory=dict)
    assigned: tuple[Assigned, ...] = ()
    storage: Mapping[Literal["token", "file", "cloud"], Level] = Field(default_factory=dict)
    ways: Mapping[Way, Level] = Field(default_factory=dict)

    def assigned_level(self, ca: str, certificate_type: str) -> int | None:
        """The level of the table, None when it has no row."""
        return self._table.get((ca, certificate_type))

    @functools.cached_property
    def _table(self) -> Mapping[tuple[str, str], int]:
        return {(row.ca, row.type): row.level for row in self.assigned}

    @model_validator(mode="after")
    def _once(self) -> Levels:
        rows = [(a.ca, a.type) for a in self.assigned]
        if len(set(rows)) != len(rows):
            raise ValueError("a CA and type are assigned twice")
        return self


class Equivalent(Model):
    """Accreditations that the province names equal for one type of identifier (design §5)."""

    type: IdentifierType
    accreditations: tuple[Slug, ...] = Field(min_length=2)


class Offline(Model):
    """What the offline ladder allows to certificates from across the border (design §6)."""

    home: tuple[DomainName, ...] = ()
    """Trust domains of the federation, each with all below it; empty: the first part of the node's own name."""
    border: Literal["fresh", "near"] = "near"
    """The lowest rung on which certificates from across the border still sign in."""


class TrustPolicy(Model):
    """Inputs of RFC 5280 §6.1.1, the same for every validation under a bundle."""

    initial_policies: tuple[Oid, ...] | None = None
    """None: anyPolicy; empty: no policy is acceptable to the user."""
    require_policy: bool = False
    inhibit_mapping: bool = False
    inhibit_any_policy: bool = False
    max_intermediates: int = Field(default=6, ge=0, le=30)
    equivalent: tuple[Equivalent, ...] = ()
    halls: tuple[Literal["trial", "pilot", "live"], ...] = ("pilot", "live")
    """Stages at which a node's evidence of a sign-in counts at other halls."""
    offline: Offline = Offline()


class Denial(Model):
    """One refusal, stronger than every trust: a domain with all below it, an issuing key, or one certificate."""

    why: str = Field(min_length=1)
    domain: DomainName | None = None
    key: Sha256 | None = None
    certificate: CertificateKey | None = None

    @field_validator("certificate")
    @classmethod
    def _one_spelling(cls, value: str | None) -> str | None:
        """The serial as `certificate_key` writes it: with a leading zero it would match nothing, in silence."""
        if value is None:
            return None
        issuer, _, serial = value.partition(":")
        return certificate_key(issuer, int(serial, 16))

    @model_validator(mode="after")
    def _one(self) -> Denial:
        if sum(value is not None for value in (self.domain, self.key, self.certificate)) != 1:
            raise ValueError("exactly one of domain, key, certificate")
        return self


class _Denials(Model):
    deny: tuple[Denial, ...] = ()


def parse_levels(data: bytes, where: str = "levels.toml") -> Levels:
    """Levels from TOML. Raises PathError `trust.levels`."""
    return build(Levels, load_table(data, "trust.levels", where), "trust.levels", where)


def parse_policy(data: bytes, where: str = "policy.toml") -> TrustPolicy:
    """Validation policy from TOML. Raises PathError `trust.policy`."""
    return build(TrustPolicy, load_table(data, "trust.policy", where), "trust.policy", where)


def parse_denials(data: bytes, where: str = "denials") -> tuple[Denial, ...]:
    """Denials from TOML. Raises PathError `trust.denials`."""
    return build(_Denials, load_table(data, "trust.denials", where), "trust.denials", where).deny


def certificate_key(issuer_key: str, serial: int) -> str:
    """`<issuer SPKI SHA-256>:<serial in lower-case hexadecimal>`: what denials and sessions call a certificate."""
    return f"{issuer_key}:{serial:x}"
