"""Who besides a CA may sign CRLs of its certificates: the keys that the province lists in its profile.

A certificate may name another CRL issuer (RFC 5280 §4.2.1.13), but by name alone, and two may bear one name. So such a
CRL counts only under a key of `status.crl_issuers`, whose certificate lies in the bundle and has a good path itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ca_bridge.asn1.certificate import Certificate
from ca_bridge.asn1.extensions import KeyUsage
from ca_bridge.errors import CrosshallError
from ca_bridge.path.budget import Budget
from ca_bridge.path.state import State
from ca_bridge.path.validate import Sm2Id, finish, verify_signature
from ca_bridge.trust.profile import Profile


@dataclass(frozen=True, slots=True)
class CrlIssuer:
    """A certificate that may sign CRLs, and a state of its issuer under which its own path ends well."""

    certificate: Certificate
    state: State


def listed_keys(profiles: Iterable[Profile]) -> frozenset[str]:
    """Every key that some profile lists as a CRL issuer's."""
    return frozenset(key for profile in profiles for key in profile.status.crl_issuers)


def only_crl_issuer(certificate: Certificate, listed: frozenset[str]) -> bool:
    """Whether it is in the bundle to sign CRLs and nothing else: no path goes through it."""
    return certificate.spki_sha256 in listed and not certificate.is_ca


def crl_issuers(
    certificates: Iterable[Certificate], listed: frozenset[str], states: Mapping[str, Sequence[State]], sm2_id: Sm2Id
) -> Mapping[str, tuple[CrlIssuer, ...]]:
    """By key: those of `listed` whose certificate a reached CA signed; dates and status are looked at when asked."""
    found: dict[str, tuple[CrlIssuer, ...]] = {}
    above = [state for kept in states.values() for state in kept] if listed else []
    for certificate in certificates:
        if certificate.spki_sha256 not in listed or KeyUsage.CRL_SIGN not in (certificate.key_usage or ()):
            continue
        for state in above:
            if state.issuer.normalised == certificate.issuer.normalised and _ends_well(state, certificate, sm2_id):
                known = found.get(certificate.spki_sha256, ())
                found[certificate.spki_sha256] = (*known, CrlIssuer(certificate, state))
    return found


def _ends_well(state: State, certificate: Certificate, sm2_id: Sm2Id) -> bool:
    try:
        verify_signature(certificate, state.spki, sm2_id(state.spki_sha256))
        finish(state, certificate, Budget())
    except CrosshallError:
        return False
    return True
