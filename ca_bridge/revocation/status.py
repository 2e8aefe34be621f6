"""What is known of a certificate's status, and from when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum

from ca_bridge.asn1 import oids
from ca_bridge.asn1.certificate import Certificate
from ca_bridge.errors import PathError, RevocationError

FUTURE_SKEW = timedelta(seconds=60)
"""How far a thisUpdate may lie ahead of the time of validation."""


class Kind(IntEnum):
    """What a status says; when several are known, the highest is taken."""

    UNKNOWN = 0
    STALE = 1
    GOOD = 2
    LISTED = 3
    """A filter says that the CRL may list it, and the CRL is not at hand: unknown, whatever another answer says."""
    REVOKED = 4


CODES: Mapping[Kind, tuple[str, str]] = {
    Kind.REVOKED: ("revocation.revoked", "revocation.ca_revoked"),
    Kind.STALE: ("revocation.stale", "revocation.ca_stale"),
    Kind.LISTED: ("revocation.unknown", "revocation.ca_unknown"),
    Kind.UNKNOWN: ("revocation.unknown", "revocation.ca_unknown"),
}
"""What a status that does not pass is called: for the leaf, and for a CA above it."""


@dataclass(frozen=True, slots=True)
class Status:
    """A certificate's status, with the age of the data it rests on."""

    kind: Kind
    detail: str = ""
    this_update: datetime | None = None
    """When the data was issued; of several, the oldest."""
    next_update: datetime | None = None
    """Until when it counts; of several, the earliest."""
    clause: str = "RFC 5280 §6.3.3"
    wanted: str = ""
    """SHA-256 of the CRL in which it must be looked up; empty but for LISTED."""


def failure(status: Status, depth: int) -> RevocationError:
    """The error of a status that does not pass, for the certificate at `depth` (0 is the leaf)."""
    code = CODES[status.kind][depth > 0]
    return RevocationError(code, status.detail, clause=status.clause, depth=depth, wanted=status.wanted)


_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


def shifted(moment: datetime, by: timedelta) -> datetime:
    """`moment` (aware) and `by`; the end of the calendar where that lies beyond it: dates up to 9999 are legal."""
    try:
        return moment + by
    except OverflowError:
        return _LAST if by > timedelta(0) else _FIRST


def says_no_status(certificate: Certificate, depth: int) -> bool:
    """Whether it says noRevAvail: its CA will never say anything of its status. A CA certificate may not (RFC 9608 §4).

    Raises PathError `path.no_status_ca`.
    """
    if oids.NO_REV_AVAIL not in certificate.extensions:
        return False
    if certificate.is_ca:
        raise PathError("path.no_status_ca", "noRevAvail in a CA certificate", clause="RFC 9608 §4", depth=depth)
    return True


UNKNOWN = Status(Kind.UNKNOWN, "no CRL covers this certificate")
