"""Status under a snapshot: CRLs of the bundle, and what the fetcher has laid beside it, signed by keys of the graph."""

from __future__ import annotations

import bisect
import copy
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import chain

from ca_bridge.asn1 import oids
from ca_bridge.asn1.certificate import Certificate
from ca_bridge.asn1.crl import Crl
from ca_bridge.asn1.extensions import KeyUsage
from ca_bridge.asn1.names import Name, Normalised
from ca_bridge.asn1.ocsp import OcspResponse
from ca_bridge.path.policies import user_set
from ca_bridge.path.state import State
from ca_bridge.path.validate import Sm2Id
from ca_bridge.revocation.crl import CrlSet, Query, crl_status
from ca_bridge.revocation.ocsp import OcspQuery, ocsp_status
from ca_bridge.revocation.status import Kind, Status, says_no_status
from ca_bridge.trust.profile import Profile
from ca_bridge.verdict.crl_issuers import CrlIssuer, crl_issuers, listed_keys
from ca_bridge.verdict.settled import Chain, Settled, keep
from ca_bridge.verdict.turns import turns, vouching_certificates

_Named = tuple[Normalised, tuple[bytes, str, object]]
"""A CRL issuer's name, and (SubjectPublicKeyInfo, SM2 ID, the question whether it is trusted)."""


class StatusBook:
    """Answers what the bundle knows of a certificate's status, at any time."""

    def __init__(
        self,
        crls: Iterable[Crl],
        profiles: Mapping[str, Profile],
        sm2_id: Sm2Id,
        states: Mapping[str, Sequence[State]],
        responses: Iterable[OcspResponse] = (),
        *,
        certificates: Iterable[Certificate] = (),
        problems: Iterable[str] = (),
    ) -> None:
        """`profiles` by issuing key; `states`: every state that ends in a key, by its hash.

        `certificates`: among them those of CRL issuers. `problems`: status data that could not be read.
        """
        crls = tuple(crls)
        unusable = (f"CRL {crl.sha256[:16]}: {crl.unusable}" for crl in crls if crl.unusable)
        self.problems = (*problems, *unusable)
        """What of the status data is not in force, for operators: something newer may hide behind what is."""
        self.crl_issuers = crl_issuers(certificates, listed_keys(profiles.values()), states, sm2_id)
        """Certificates of listed CRL issuers, by key."""
        self._beside: tuple[OcspResponse, ...] = ()
        self._set = CrlSet.of(crls)
        self.compact = any(crl.summary is not None for crl in self.complete())
        """Whether a filter stands for some CRL."""
        self._profiles = profiles
        self._sm2_id = sm2_id
        self._states = states
        self._verified: dict[tuple[str, bytes, str], bool] = {}
        self._memo: dict[tuple[str, str, bool, int], Status] = {}
        responses = tuple(responses)
        self._responses = _by_serial(responses)
        known = {profile.id: profile for profile in profiles.values()}.values()
        vouching = vouching_certificates(known, states, self.crl_issuers)
        self._turns = turns(chain(*self._all()), responses, known, vouching)
        self._settled = Settled(self._set, self._verified, self._responses, self._turns, sm2_id, self._grace)

    def beside(self, responses: Iterable[OcspResponse]) -> StatusBook:
        """This book, with answers about one leaf for the one who asks; what it knows otherwise is shared."""
        made = copy.copy(self)
        made._beside = tuple(responses)
        return made

    def leaf(self, leaf: Certificate, issuer: State, at: datetime) -> Status:
        """Status of a leaf under one issuer."""
        settled = None if self._beside else self._settled.leaf(leaf, issuer, at)
        if settled is not None:
            return settled
        status = self._ask(leaf, issuer.spki, issuer.spki_sha256, issuer.can_sign_crls, at, beside=self._beside)
        if not self._beside:
            self._settled.learn(leaf, issuer, at, status)
        if status.kind >= Kind.GOOD or not says_no_status(leaf, 0):
            return status
        profile = self._profiles.get(issuer.spki_sha256)
        longest = timedelta(seconds=0 if profile is None else profile.status.no_rev_avail_seconds)
        if leaf.not_after - leaf.not_before > longest:
            return status
        return Status(Kind.GOOD, "", leaf.not_before, leaf.not_after, "RFC 9608 §4")

    def authority(self, certificate: Certificate, issuer: State, at: datetime) -> Status:
        """Status of a CA certificate; remembered as long as nothing that it rests on begins or ends (`turns`)."""
        turn = bisect.bisect_right(self._turns, at)
        key = (certificate.sha256, issuer.spki_sha256, issuer.can_sign_crls, turn)
        known = self._memo.get(key)
        if known is None:
            known = self._ask(certificate, issuer.spki, issuer.spki_sha256, issuer.can_sign_crls, at)
            if oids.NO_REV_AVAIL in certificate.extensions and known.kind < Kind.LISTED:
                known = Status(Kind.UNKNOWN, "noRevAvail in a CA certificate", clause="RFC 9608 §4")
            keep(self._memo, key, known)
        return known

    def chain(self, issuers: Chain, at: datetime) -> Status | None:
        """GOOD, with the oldest data's age, when every CA certificate of a path is; None when one is not."""
        return self._settled.chain(issuers, at, self.authority)

    def _ask(
        self,
        certificate: Certificate,
        spki: bytes,
        spki_sha256: str,
        allowed: bool,
        at: datetime,
        *,
        asking: frozenset[str] = frozenset(),
        beside: tuple[OcspResponse, ...] = (),
    ) -> Status:
        grace = self._grace(spki_sha256)
        # A certificate whose status is being asked for supports no answer: whoever stole its key would say "good".
        silent = asking | {certificate.sha256}
        keys = self._relatives(spki_sha256, spki, allowed=allowed)
        issuers = self._issuers_of(spki_sha256, at, silent)
        signers = _Signers(keys, issuers, lambda key: self._vouches(key, at, silent))

        def by_crl(asked: Certificate) -> Status:
            return crl_status(Query(asked, spki, at, grace), self._set, signers, verified=self._verified)

        status = by_crl(certificate)
        responses = (*self._responses.get(certificate.serial, ()), *beside)
        if not responses or status.kind is Kind.REVOKED:
            return status
        query = OcspQuery(certificate, spki, at, self._sm2_id(spki_sha256), lambda found: good(by_crl(found)))
        return max(status, ocsp_status(query, responses), key=lambda known: known.kind)

    def _grace(self, spki_sha256: str) -> timedelta:
        profile = self._profiles.get(spki_sha256)
        return timedelta(seconds=profile.status.grace_seconds if profile is not None else 0)

    def _relatives(self, spki_sha256: str, spki: bytes, *, allowed: bool) -> list[tuple[bytes, str, object]]:
        """Keys whose CRLs may count: the issuer's own, and the other keys of its profile (a CA that rolls over)."""
        own = [(spki, self._sm2_id(spki_sha256), None)] if allowed else []
        profile = self._profiles.get(spki_sha256)
        siblings = () if profile is None else profile.keys
        others = (key for key in siblings if key != spki_sha256 and key in self._states)
        return [*own, *((self._states[key][0].spki, self._sm2_id(key), key) for key in others)]

    def _issuers_of(self, spki_sha256: str, at: datetime, silent: frozenset[str]) -> list[_Named]:
        """The CRL issuers that a CA's profile lists, each with the question whether its path is good."""
        profile = self._profiles.get(spki_sha256)
        found: list[_Named] = []
        for key in () if profile is None else profile.status.crl_issuers:
            for issuer in self.crl_issuers.get(key, ()):
                name = issuer.certificate.subject.normalised
                trusted = functools.partial(self._good_issuer, issuer, at, silent)
                found.append((name, (issuer.certificate.spki, self._sm2_id(key), trusted)))
        return found

    def _good_issuer(self, issuer: CrlIssuer, at: datetime, silent: frozenset[str]) -> bool:
        certificate, state = issuer.certificate, issuer.state
        if certificate.sha256 in silent or not certificate.not_before <= at <= certificate.not_after:
            return False
        key = (state.spki, state.spki_sha256)
        if not good(self._ask(certificate, *key, state.can_sign_crls, at, asking=silent)):
            return False
        return self._good_chain(state, at, silent | {certificate.sha256})

    def _vouches(self, key: str, at: datetime, silent: frozenset[str]) -> bool:
        """Whether a sibling key has a path that is good at `at`, its status included (RFC 5280 §6.3.3 (f))."""
        return key not in silent and any(self._good_path(state, at, silent | {key}) for state in self._states[key])

    def _good_path(self, state: State, at: datetime, silent: frozenset[str]) -> bool:
        # A CRL's signer ends its own path, so a policy that the path requires must be there (§6.1.5 (g)).
        if state.explicit_policy == 0 and not user_set(state.policies, state.initial_policies):
            return False
        return state.can_sign_crls and self._good_chain(state, at, silent)

    def _good_chain(self, state: State, at: datetime, silent: frozenset[str]) -> bool:
        """Whether every certificate of a state's path is in its time, with a good status."""
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
        return True

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
    """The issuing key, which needs no further path; its siblings and listed CRL issuers, which must have a good one."""

    def __init__(
        self, keys: list[tuple[bytes, str, object]], issuers: list[_Named], vouches: Callable[[str], bool]
    ) -> None:
        self._keys = keys
        self._issuers = issuers
        self._vouches = vouches

    def keys(self, name: Name, issuer_spki: bytes) -> Iterable[tuple[bytes, str, object]]:  # noqa: ARG002 - the protocol's
        yield from self._keys
        for known, key in self._issuers:
            if known == name.normalised:
                yield key

    def trusted(self, token: object, at: datetime) -> bool:  # noqa: ARG002 - the protocol's
        if isinstance(token, str):
            return self._vouches(token)
        return not callable(token) or bool(token())


def good(status: Status) -> bool:
    """Whether this status lets a certificate pass: unknown and stale never do."""
    return status.kind is Kind.GOOD
