"""Values that pass between the bridge's packages: frozen, without I/O, times in aware UTC."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

Clock = Callable[[], datetime]
"""Returns now, aware UTC. Passed in wherever time matters."""


def utc_now() -> datetime:
    """Now by the machine's clock, aware UTC: the `Clock` of production."""
    return datetime.now(UTC)


LOA_PREFIX = "urn:crosshall:loa:"
LEVELS = (1, 2, 3, 4)


def loa(level: int) -> str:
    """The authentication context class of a level: `urn:crosshall:loa:1` … `4`."""
    if level not in LEVELS:
        raise ValueError(f"no such level: {level}")
    return f"{LOA_PREFIX}{level}"


class Way(StrEnum):
    """A way to sign in (design §5)."""

    TLS = "tls"
    TOKEN = "token"  # noqa: S105 - a way's name, not a secret
    ABROAD = "abroad"
    """By evidence of a token sign-in at another hall."""


class Capacity(StrEnum):
    """In which capacity a human acts; part of the person key."""

    CITIZEN = "citizen"
    OFFICER = "officer"
    OPERATOR = "operator"
    """For an organisation, as its operator (经办人)."""


class IdentifierType(StrEnum):
    """Kinds of number that name a person or an organisation."""

    CN_ID = "cn-id"
    """18 digits, GB 11643; 81/82/83 at the front are residence permits of Hong Kong, Macao, Taiwan people."""
    HKID = "hkid"
    MO_BIR = "mo-bir"
    PASSPORT = "passport"
    HOME_RETURN = "home-return"
    """港澳居民来往内地通行证: H or M and 8 digits."""
    USCC = "uscc"
    """统一社会信用代码, GB 32100."""
    PRIVATE = "private"
    """A number that only its CA understands (a Hongkong Post e-Cert's reference number, say)."""


@dataclass(frozen=True, slots=True)
class Identifier:
    """A normalised number with its type and the state that issued it (`CN`, `HK`, `MO`, or a passport's country)."""

    type: IdentifierType
    state: str
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Organisation:
    """A legal person: name and its identifier."""

    name: str
    identifier: Identifier


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a certificate says its holder is, by its CA's profile. Never logged."""

    name: str | None = field(repr=False)
    identifiers: tuple[Identifier, ...] = field(repr=False)
    """The human's, strongest first; empty for a certificate of an organisation alone."""
    organisation: Organisation | None = field(repr=False)
    capacities: tuple[Capacity, ...]
    """What the holder may act as with this certificate; more than one: the holder chooses (R20)."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One rule that refused: stable code, words for the operator, source, and where in the path (0 is the leaf)."""

    code: str
    detail: str = ""
    clause: str = ""
    depth: int = 0
    wanted: str = ""
    """SHA-256 of the CRL that must be at hand for an answer (`revocation.status`), hexadecimal; mostly empty."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the engine says of one certificate at one time, under one snapshot (design §4).

    `code` is `ok` when accepted, else the refusal's code. `path` and `oldest_data` are of the path that was taken.
    """

    accepted: bool
    code: str
    detail: str
    clause: str
    at: datetime
    snapshot: str
    """SHA-256 of the compiled bundle, in hexadecimal."""
    engine: str = "path"
    """`path` (RFC 5280) or `list` (trust list)."""
    path: tuple[str, ...] = ()
    """SHA-256 of each certificate, leaf first."""
    policies: frozenset[str] = frozenset()
    """User-constrained policy set reached, dotted OIDs."""
    refusals: tuple[Refusal, ...] = ()
    """Every candidate's reason; empty when accepted at once."""
    domain: str = ""
    """Trust domain of the issuing CA: `gd`, `gd/guangzhou`, `hk` …"""
    ca: str = ""
    """Profile id of the issuing CA."""
    accreditation: str = ""
    """Accreditation id of the CA, which outlives a change of its key."""
    certificate_type: str = ""
    """Which of the profile's certificate types this is."""
    level: int = 0
    """Level that certificate and storage allow (1–4), before the ceremony's ceiling; 0 when refused."""
    certificate_key: str = ""
    """`<issuer SPKI SHA-256>:<serial in hex>`: the key of denials, sessions and logs – never the fingerprint."""
    status_issued_at: datetime | None = None
    """thisUpdate of the status that was used for the leaf."""
    oldest_data: datetime | None = None
    """Issue time of the oldest status used in the path."""


@dataclass(frozen=True, slots=True)
class Session:
    """A live sign-in at the bridge. `sid` is told to Keycloak; the cookie's secret is not in here."""

    sid: str
    person: str
    """`p1:` … key of the person in a capacity, inside this node."""
    capacity: Capacity
    level: int
    way: Way
    domain: str
    ca: str
    certificate_key: str
    auth_time: datetime
    checked_at: datetime
    status_issued_at: datetime | None
    rung: str
    created: datetime
    expires: datetime
    subjects: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Sector → `crosshall_subject`."""
