"""Status under a snapshot: CRLs of the bundle, and what the fetcher has laid beside it, signed by keys of the graph."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import chain

from ca_bridge.asn1.certificate import Certificate
from ca_bridge.asn1.crl import Crl
from ca_bridge.asn1.extensions import KeyUsage
from ca_bridge.asn1.names import Name
from ca_bridge.asn1.ocsp import OcspResponse
from ca_bridge.path.policies import user_set
from ca_bridge.path.state import State
from ca_bridge.path.validate import Sm2Id
from ca_bridge.revocation.crl import CrlSet, Query, crl_status
from ca_bridge.revocation.ocsp import OcspQuery, ocsp_status
from ca_bridge.revocation.status import FUTURE_SKEW, Kind, Status, shifted
from ca_bridge.trust.profile import Profile

_MEMO = 20_000


class StatusBook:
    """Answers what the bundle knows of a certificate's status, at any time."""

    def __init__(
        self,
        crls: Iterable[Crl],
        profiles: Mapping[str, Profile],
        sm2_id: Sm2Id,
        states: Mapping[str, Sequence[State]],
        responses: Iterable[OcspResponse] = (),
    ) -> None:
        """`profiles` by issuing key; `states`: every state that ends in a key, by its hash."""
        self._set = CrlSet.of(crls)
        self._profiles = profiles
        self._sm2_id = sm2_id
        self._states = states
        self._verified: dict[tuple[str, bytes, str], bool] = {}
        self._memo: dict[tuple[str, str, int], Status] = {}
        self._responses = _by_serial(responses)
        turns = {shifted(crl.this_update, -FUTURE_SKEW) for s in self._all() for crl in s}
        turns |= {
            shifted(one.this_update, -FUTURE_SKEW) for rs in self._responses.values() for r in rs for one in r.singles
        }
        self._turns = sorted(turns)

    def leaf(self, leaf: Certificate, issuer: State, at: datetime) -> Status:
        """Status of a leaf under one issuer."""
        return self._ask(leaf, issuer.spki, issuer.spki_sha256, issuer.can_sign_crls, at)

    def authority(self, certificate: Certificate, issuer: State, at: datetime) -> Status:
        """Status of a CA certificate; remembered until another CRL comes into force or this one goes stale."""
        key = (certificate.sha256, issuer.spki_sha256, bisect.bisect_right(self._turns, at))
        known = self._memo.get(key)
        if known is None or (known.next_update is not None and at > known.next_update):
            known = self._ask(certificate, issuer.spki, issuer.spki_sha256, issuer.can_sign_crls, at)
            if len(self._memo) > _MEMO:
                self._memo.clear()
            self._memo[key] = known
        return known

    def _ask(
        self,
        certificate: Certificate,
        spki: bytes,
        spki_sha256: str,
        allowed: bool,
        at: datetime,
        *,
        asking: frozenset[str] = frozenset(),
    ) -> Status:
        profile = self._profiles.get(spki_sha256)
        grace = timedelta(seconds=profile.status.grace_seconds if profile is not None else 0)
        # A certificate whose status is being asked for supports no answer: whoever stole its key would say "good".
        silent = asking | {certificate.sha256}
        keys = self._relatives(spki_sha256, spki, allowed=allowed)
        signers = _Signers(keys, lambda key: self._vouches(key, at, silent))

        def by_crl(asked: Certificate) -> Status:
            return crl_status(Query(asked, spki, at, grace), self._set, signers, verified=self._verified)

        status = by_crl(certificate)
        responses = self._responses.get(certificate.serial, ())
        if not responses or status.kind is Kind.REVOKED:
            return status
        query = OcspQuery(certificate, spki, at, self._sm2_id(spki_sha256), lambda found: good(by_crl(found)))
        return max(status, ocsp_status(query, responses), key=lambda known: known.kind)

    def _relatives(self, spki_sha256: str, spki: bytes, *, allowed: bool) -> list[tuple[bytes, str, object]]:
        """Keys whose CRLs may count: the issuer's own, and the other keys of its profile (a CA that rolls over)."""
        own = [(spki, self._sm2_id(spki_sha256), None)] if allowed else []
        profile = self._profiles.get(spki_sha256)
        siblings = () if profile is None else profile.keys
        others = (key for key in siblings if key != spki_sha256 and key in self._states)
        return [*own, *((self._states[key][0].spki, self._sm2_id(key), key) for key in others)]

    def _vouches(self, key: str, at: datetime, silent: frozenset[str]) -> bool:
        """Whether a sibling key has a path that is good at `at`, its status included (RFC 5280 §6.3.3 (f))."""
        return key not in silent and any(self._good_path(state, at, silent | {key}) for state in self._states[key])

    def _good_path(self, state: State, at: datetime, silent: frozenset[str]) -> bool:
        # A CRL's signer ends its own path, so a policy that the path requires must be there (§6.1.5 (g)).
        if state.explicit_policy == 0 and not user_set(state.policies, state.initial_policies):
            return False
        issuer, allowed = (state.anchor.spki, state.anchor.spki_sha256), True
        for certificate in state.path:
            in_time = certificate.not_before <= at <= certificate.not_after
            if (
                not in_time
                or certificate.sha256 in silent
                or not good(self._ask(certificate, *issuer, allowed, at, asking=silent))
            ):
                return False
            issuer = (certificate.spki, certificate.spki_sha256)
            allowed = certificate.key_usage is None or KeyUsage.CRL_SIGN in certificate.key_usage
        return state.can_sign_crls

    def complete(self) -> Iterable[Crl]:
        """Every complete CRL that may be used, the bundle's and what lies beside it."""
        return chain.from_iterable(self._set.complete.values())

    def _all(self) -> Iterable[tuple[Crl, ...]]:
        yield from self._set.complete.values()
        yield from self._set.deltas.values()


def _by_serial(responses: Iterable[OcspResponse]) -> Mapping[int, tuple[OcspResponse, ...]]:
    found: dict[int, tuple[OcspResponse, ...]] = {}
    for response in responses:
        for serial in {single.serial for single in response.singles}:
            found[serial] = (*found.get(serial, ()), response)
    return found


class _Signers:
    """The issuing key, which needs no further path, and its siblings, which must have a good one."""

    def __init__(self, keys: list[tuple[bytes, str, object]], vouches: Callable[[str], bool]) -> None:
        self._keys = keys
        self._vouches = vouches

    def keys(self, name: Name, issuer_spki: bytes) -> Iterable[tuple[bytes, str, object]]:  # noqa: ARG002 - the protocol's
        return self._keys

    def trusted(self, token: object, at: datetime) -> bool:  # noqa: ARG002 - the protocol's
        return not isinstance(token, str) or self._vouches(token)


def good(status: Status) -> bool:
    """Whether this status lets a certificate pass: unknown and stale never do."""
    return status.kind is Kind.GOOD
