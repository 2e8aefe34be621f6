"""When the answers of a book of statuses can change: between two such times each stays as it is, so it can be kept.

An answer rests on dates alone: those of CRLs and OCSP answers, and those of the certificates whose keys vouch for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from ca_bridge.asn1.certificate import Certificate
from ca_bridge.asn1.crl import Crl
from ca_bridge.asn1.ocsp import OcspResponse
from ca_bridge.path.state import State
from ca_bridge.revocation.ocsp import good_until, responders
from ca_bridge.revocation.status import FUTURE_SKEW, shifted
from ca_bridge.trust.profile import Profile
from ca_bridge.verdict.crl_issuers import CrlIssuer

_TICK = timedelta(microseconds=1)


def turns(
    crls: Iterable[Crl],
    responses: Iterable[OcspResponse],
    profiles: Iterable[Profile],
    vouching: Iterable[Certificate],
) -> list[datetime]:
    """The times, ascending, from which on an answer may differ from the one just before.

    `profiles`: how long a CRL counts after its nextUpdate. `vouching`: certificates that must be in their time for
    some key's CRLs to count (`vouching_certificates`).
    """
    graces = {timedelta(0), *(timedelta(seconds=profile.status.grace_seconds) for profile in profiles)}
    begins: set[datetime] = set()
    ends: set[datetime] = set()
    for crl in crls:
        begins.add(shifted(crl.this_update, -FUTURE_SKEW))
        if crl.next_update is not None:
            ends.update(shifted(crl.next_update, grace) for grace in graces)
    certificates = list(vouching)
    for response in responses:
        certificates += responders(response)
        begins.update(shifted(single.this_update, -FUTURE_SKEW) for single in response.singles)
        ends.update(good_until(single) for single in response.singles)
    begins.update(certificate.not_before for certificate in certificates)
    ends.update(certificate.not_after for certificate in certificates)
    return sorted(begins | {shifted(end, _TICK) for end in ends})  # the last moment still counts


def vouching_certificates(
    profiles: Iterable[Profile], states: Mapping[str, Sequence[State]], issuers: Mapping[str, Sequence[CrlIssuer]]
) -> Iterable[Certificate]:
    """Those in the paths of keys that sign CRLs for another one: of a CA that rolls over, and of listed CRL issuers."""
    for profile in profiles:
        for key in profile.keys if len(profile.keys) > 1 else ():
            for state in states.get(key, ()):
                yield from state.path
    for found in issuers.values():
        for issuer in found:
            yield issuer.certificate
            yield from issuer.state.path
