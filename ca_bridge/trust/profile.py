"""A CA's profile: what its certificates mean and may say, as data (docs/contracts.md, design §3).

Nothing here is guessed: a certificate that fits no type of its CA's profile is refused.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, field_validator, model_validator

from ca_bridge.asn1.certificate import Certificate
from ca_bridge.errors import LANGUAGES
from ca_bridge.trust.model import DomainName, Level, Model, Oid, Sha256, Slug, build, load_table
from ca_bridge.types import Capacity, IdentifierType

Algorithm = Literal["rsa", "ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "ed25519", "sm2"]
Storage = Literal["token", "file", "cloud"]
_SOURCE = re.compile(r"^(subject\.[A-Za-z0-9.]+|extension:[0-9.]+|san\.([0-9.]+|[A-Za-z0-9]+))$")
SourceText = Annotated[str, Field(pattern=_SOURCE.pattern)]
State = Annotated[str, Field(pattern=r"^[A-Z]{2,3}$")]
Distinguishing = Annotated[str, Field(min_length=1, max_length=64)]


def _address(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
        raise ValueError("not an http(s) address")
    if "@" in parts.netloc or parts.fragment or not re.fullmatch(r"[!-~]{1,1000}", text):
        raise ValueError("an address has no user, no fragment and no characters beyond ASCII")
    return text


def _network(text: str) -> str:
    network = ipaddress.ip_network(text)
    if network.prefixlen < (8 if network.version == 4 else 32):
        raise ValueError("the network is too large")
    return text


Address = Annotated[str, AfterValidator(_address)]
Network = Annotated[str, AfterValidator(_network)]


class Source(Model):
    """Where in the certificate a text stands: `subject.CN`, `extension:<OID>`, `san.<OID or kind>`."""

    source: SourceText = Field(alias="from")


class IdentifierRule(Model):
    """How one identifier is taken out: type, issuing state, place, and what is cut off."""

    type: IdentifierType
    state: State
    source: SourceText = Field(alias="from")
    prefix: str = ""
    """Cut off before normalising; the certificate is refused when it is not there."""
    pattern: str = ""
    """Regular expression with one group that must match the whole value; empty: the value itself."""

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            groups = re.compile(pattern).groups
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
        if pattern and groups != 1:
            raise ValueError("a pattern has exactly one group")
        return pattern


class OrganisationRule(Model):
    """Where an organisation's name and identifier stand."""

    name: SourceText
    identifier: IdentifierRule


class Match(Model):
    """What a certificate must have to be of a type; all that are given must hold."""

    subject_ou: str | None = None
    subject_o: str | None = None
    subject_title: str | None = None
    policy: Oid | None = None
    eku: Oid | None = None
    has_extension: Oid | None = None

    def holds(self, certificate: Certificate) -> bool:
        """Whether the certificate has all of it; names compare as RFC 5280 §7.1 has it."""
        for kind, wanted in (("OU", self.subject_ou), ("O", self.subject_o), ("title", self.subject_title)):
            if wanted is not None and not certificate.subject.has(kind, wanted):
                return False
        if self.policy is not None and self.policy not in (certificate.policies or ()):
            return False
        if self.eku is not None and self.eku not in (certificate.extended_key_usage or ()):
            return False
        return self.has_extension is None or self.has_extension in certificate.extensions


class CertificateType(Model):
    """One kind of certificate that may sign in."""

    id: Slug
    kind: Literal["person", "staff", "organisation"]
    storage: Storage
    capacities: tuple[Capacity, ...] = Field(min_length=1)
    match: Match = Match()
    name: Source | None = None
    organisation: OrganisationRule | None = None
    identifiers: tuple[IdentifierRule, ...] = ()


class Status(Model):
    """How the status of this CA's certificates is learnt."""

    source: Literal["crl", "ocsp"] = "crl"
    """`ocsp`: the responders are asked about a holder's certificate at a sign-in; of a CA across the border never."""
    crl_issuers: tuple[Sha256, ...] = Field(default=(), max_length=16)
    """Keys that sign CRLs of this CA's certificates beside its own: indirect CRLs, a key for CRLs alone."""
    no_rev_avail_seconds: int = Field(default=0, ge=0, le=30 * 86400)
    """A holder's certificate that says noRevAvail (RFC 9608) needs no status when it lives no longer; 0: it does."""
    grace_seconds: int = Field(default=0, ge=0, le=30 * 86400)
    """How long after nextUpdate a CRL still counts, in seconds."""
    fetch: tuple[Address, ...] = Field(default=(), max_length=64)
    """Addresses of CRLs and delta CRLs that the fetcher keeps fresh; no other is ever asked for."""
    ocsp: tuple[Address, ...] = Field(default=(), max_length=8)
    """Responders asked about CA certificates this CA issued; about a person's only with `source = "ocsp"`."""
    certificates: tuple[Address, ...] = Field(default=(), max_length=64)
    """Addresses of CA certificates (AIA caIssuers), kept as candidates for the province; nothing trusts them."""
    private: tuple[Network, ...] = Field(default=(), max_length=16)
    """Networks, among those that are not public, in which the hosts of these addresses may lie: `10.8.0.0/16`."""
    refresh_seconds: int = Field(default=3600, ge=60, le=7 * 86400)
    """How often the addresses are asked at least; earlier when nextUpdate comes nearer."""
    ocsp_hash: Literal["sha1", "sha256", "sm3"] = "sha1"
    """Of the CertID in requests: every responder knows sha1 (RFC 6960 §4.3), where it protects nothing."""
    ocsp_nonce: Literal["required", "optional"] = "optional"
    """Whether an answer without our nonce counts; when it does, only by its age (RFC 9654 §2.1)."""

    @model_validator(mode="after")
    def _asks_somebody(self) -> Status:
        if self.source == "ocsp" and not self.ocsp:
            raise ValueError("source is ocsp, and no responder is listed")
        return self


class Profile(Model):
    """One CA as the province sees it. `id` is `Verdict.ca`."""

    id: Slug
    version: int = Field(ge=1)
    domain: DomainName
    accreditation: Slug
    name: Mapping[str, str]
    keys: tuple[Sha256, ...] = Field(min_length=1)
    algorithms: tuple[Algorithm, ...] = Field(min_length=1)
    sm2_id: Distinguishing = "1234567812345678"
    holder_sm2_id: Distinguishing = "1234567812345678"
    asserts: tuple[IdentifierType, ...]
    max_level: Level
    status: Status = Status()
    types: tuple[CertificateType, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _whole(self) -> Profile:
        if set(self.name) != set(LANGUAGES) or not all(self.name.values()):
            raise ValueError(f"name needs exactly {', '.join(LANGUAGES)}")
        ids = [kind.id for kind in self.types]
        if len(set(ids)) != len(ids) or len(set(self.keys)) != len(self.keys):
            raise ValueError("a type or key is there twice")
        for kind in self.types:
            rules = [*kind.identifiers, *([kind.organisation.identifier] if kind.organisation else [])]
            for rule in rules:
                if rule.type not in self.asserts:
                    raise ValueError(f"type {kind.id} takes {rule.type}, which this CA may not assert")
        return self

    def type_of(self, certificate: Certificate) -> CertificateType | None:
        """The first type whose match holds, None when none does (then the certificate may not sign in)."""
        return next((kind for kind in self.types if kind.match.holds(certificate)), None)

    def type(self, type_id: str) -> CertificateType | None:
        """The type called `type_id`."""
        return next((kind for kind in self.types if kind.id == type_id), None)


def parse_profile(data: bytes, where: str = "profile") -> Profile:
    """A profile from TOML. Raises PathError `trust.profile`."""
    return build(Profile, load_table(data, "trust.profile", where), "trust.profile", where)
