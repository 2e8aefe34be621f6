"""What is asked for, where and how often: from the profiles of the bundle alone, nothing from what servers send."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from ca_bridge.asn1.certificate import Certificate
from ca_bridge.fetch.address import Allowed
from ca_bridge.fetch.authorities import Authority, authorities, issued
from ca_bridge.trust.bundle import Bundle

SHORTEST = timedelta(seconds=60)
LONGEST_BACK_OFF = timedelta(hours=1)
Random = Callable[[], float]
"""A number from 0 up to 1."""


class Kind(StrEnum):
    """What an address gives."""

    CRL = "crl"
    OCSP = "ocsp"
    CERTIFICATE = "certificate"


LIMITS = {
    Kind.CRL: (64 << 20, 120.0),
    Kind.OCSP: (32 << 10, 10.0),
    Kind.CERTIFICATE: (64 << 10, 10.0),
}
"""Octets and seconds at the most."""


@dataclass(frozen=True, slots=True)
class Target:
    """One thing that is kept fresh."""

    kind: Kind
    authority: Authority
    address: str
    allowed: Allowed
    certificate: Certificate | None = None
    """Whose status is asked for (OCSP), and a certificate of the key that issued it."""
    issuer: Certificate | None = None

    @property
    def key(self) -> str:
        """The same from one round to the next."""
        about = "" if self.certificate is None else f" {self.certificate.sha256}"
        return f"{self.kind} {self.authority.profile.id} {self.address}{about}"


def plan(bundle: Bundle) -> tuple[Target, ...]:
    """Everything that the profiles of `bundle` list."""
    found: list[Target] = []
    for authority in authorities(bundle):
        status = authority.profile.status
        allowed = Allowed.of([*status.fetch, *status.ocsp, *status.certificates], status.private)
        found += [Target(Kind.CRL, authority, address, allowed) for address in dict.fromkeys(status.fetch)]
        found += [Target(Kind.CERTIFICATE, authority, a, allowed) for a in dict.fromkeys(status.certificates)]
        for certificate, issuer in issued(bundle, authority) if status.ocsp else ():
            found += [Target(Kind.OCSP, authority, a, allowed, certificate, issuer) for a in dict.fromkeys(status.ocsp)]
    return tuple(found)


def next_time(target: Target, now: datetime, until: datetime | None, failures: int, random: Random) -> datetime:
    """When to ask again: within `refresh_seconds`, earlier as `until` (nextUpdate) comes nearer, never at one moment.

    The time is drawn from the last fifth of the interval, so that the nodes of a province do not come all at once.
    After a failure: a minute, then twice as long each time, up to an hour.
    """
    wait = timedelta(seconds=target.authority.profile.status.refresh_seconds)
    if failures:
        wait = min(wait, SHORTEST * 2 ** min(failures - 1, 10), LONGEST_BACK_OFF)
    if until is not None:
        wait = min(wait, (until - now) / 2) if until > now else min(wait, 5 * SHORTEST)
    return now + max(wait, SHORTEST) * (0.8 + 0.2 * random())
