"""What is known of a certificate's status, and from when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum

FUTURE_SKEW = timedelta(seconds=60)
"""How far a thisUpdate may lie ahead of the time of validation."""


class Kind(IntEnum):
    """What a status says; when several are known, the highest is taken."""

    UNKNOWN = 0
    STALE = 1
    GOOD = 2
    REVOKED = 3


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


UNKNOWN = Status(Kind.UNKNOWN, "no CRL covers this certificate")
