"""RFC 5280 §6.1 as a fold: state + next certificate → state; the last certificate → outcome.

    initial_state(anchor, inputs) ─▶ advance(state, CA certificate) ─▶ … ─▶ finish(state, leaf)

    (1) basic processing, §6.1.3: signature, validity, name chaining, name constraints, policies
    (2) preparation for the next certificate, §6.1.4, or wrap-up, §6.1.5
    (3) time, apart from both: `check_times`, because a state compiled today must serve other dates

Every refusal is a PathError (or the CryptoError of a signature that cannot be checked) with `facts["clause"]`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from ca_bridge.asn1 import oids
from ca_bridge.asn1.certificate import Certificate
from ca_bridge.asn1.extensions import KeyUsage
from ca_bridge.crypto import signatures
from ca_bridge.errors import CryptoError, PathError
from ca_bridge.path import constraints, policies
from ca_bridge.path.budget import Budget
from ca_bridge.path.state import Anchor, Inputs, State, initial_state

DEFAULT_SM2_ID = "1234567812345678"
Sm2Id = Callable[[str], str]
"""SHA-256 of an issuer's key → the distinguishing ID under which it signs."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A path that is good but for time and status: policies reached, and the path, leaf first."""

    policies: frozenset[str]
    path: tuple[Certificate, ...]


def verify_signature(certificate: Certificate, issuer_spki: bytes, sm2_id: str) -> None:
    """§6.1.3 (a)(1). Raises PathError `path.signature`; CryptoError for keys and algorithms that are not accepted."""
    try:
        signatures.verify(
            issuer_spki,
            certificate.signature_algorithm,
            certificate.signature_parameters,
            certificate.tbs,
            certificate.signature,
            sm2_id=sm2_id,
        )
    except CryptoError as error:
        if error.code in ("crypto.signature", "crypto.signature_form"):
            raise refusal("path.signature", error.detail, "RFC 5280 §6.1.3 (a)(1)") from error
        raise


def refusal(code: str, detail: str, clause: str) -> PathError:
    """A refusal with the rule's source."""
    return PathError(code, detail, clause=clause)


def advance(state: State, certificate: Certificate, budget: Budget) -> State:
    """The state after a CA certificate whose signature is known to be good. Raises PathError."""
    level = _process(state, certificate, budget)
    return _prepare(state, certificate, level, budget)


Reached = dict[tuple[tuple[str, ...] | None, int | None], tuple[frozenset[str], bool]]
"""Of one state: what leaves of these policies and this requireExplicitPolicy reach, and whether it is enough."""
_REMEMBERED = 64


def finish(state: State, certificate: Certificate, budget: Budget, remembered: Reached | None = None) -> Outcome:
    """The outcome of a path that ends in `certificate`, whose signature is known to be good. Raises PathError.

    `remembered` belongs to `state`: nothing else but a leaf's policies decides what it reaches, and all leaves of a CA
    bear the same few.
    """
    _check_names(state, certificate, budget, last=True)
    own = certificate.policy_constraints
    key = (certificate.policies, None if own is None else own.require_explicit)
    known = None if remembered is None else remembered.get(key)
    if known is None:
        known = _reached(state, certificate)
        if remembered is not None and len(remembered) < _REMEMBERED:
            remembered[key] = known
    _check_critical(certificate, "RFC 5280 §6.1.5 (f)")
    _check_leaf_form(certificate)
    reached, enough = known
    if not enough:
        raise refusal("path.policy", "no acceptable policy, and one is required", "RFC 5280 §6.1.5 (g)")
    return Outcome(reached, (certificate, *reversed(state.path)))


def _reached(state: State, certificate: Certificate) -> tuple[frozenset[str], bool]:
    """§6.1.3 (d)–(f) and §6.1.5 (a), (b), (g): the user-constrained policy set, and whether it is enough."""
    level = _process_policies(state, certificate, any_allowed=state.inhibit_any > 0)
    explicit = max(state.explicit_policy - 1, 0)  # §6.1.5 (a)
    own = certificate.policy_constraints
    if own is not None and own.require_explicit == 0:  # (b)
        explicit = 0
    reached = policies.user_set(level, state.initial_policies)  # (g)
    return reached, explicit > 0 or bool(reached)


def check_times(path: tuple[Certificate, ...], at: datetime) -> None:
    """§6.1.3 (a)(2) for a path, leaf first. Raises PathError with `facts["depth"]`; both ends are included."""
    for depth, certificate in enumerate(path):
        check_time(certificate, at, depth)


def check_time(certificate: Certificate, at: datetime, depth: int) -> None:
    """§6.1.3 (a)(2) for one certificate; codes differ for the leaf (depth 0) and the CAs above."""
    late, early = ("path.ca_expired", "path.ca_not_yet_valid") if depth else ("path.expired", "path.not_yet_valid")
    if at < certificate.not_before:
        detail = f"valid from {certificate.not_before.isoformat()}"
        raise PathError(early, detail, clause="RFC 5280 §6.1.3 (a)(2)", depth=depth)
    if at > last_moment(certificate):
        detail = f"valid to {certificate.not_after.isoformat()}"
        raise PathError(late, detail, clause="RFC 5280 §6.1.3 (a)(2)", depth=depth)


def last_moment(certificate: Certificate) -> datetime:
    """The end of a validity: its last second belongs to it, whole (RFC 5280 §4.1.2.5)."""
    return certificate.not_after.replace(microsecond=999_999)


def anchored_state(anchor: Anchor, inputs: Inputs, at: datetime | None, *, bind: bool) -> State:
    """The initial state; with `bind` the anchor's own certificate restricts it (RFC 5937) and must be valid `at`."""
    state = initial_state(anchor, inputs)
    certificate = anchor.certificate
    if not bind or certificate is None:
        return state
    if at is not None and not certificate.not_before <= at <= last_moment(certificate):
        raise refusal("path.anchor_time", "the anchor's own dates", "RFC 5937 §3.2")
    _check_critical(certificate, "RFC 5937 §3.2")
    if not certificate.is_ca and certificate.version == 3:
        raise refusal("path.not_a_ca", "the anchor's basicConstraints", "RFC 5937 §3.2")
    _check_sign_usage(certificate)
    asserted = certificate.policies
    if asserted is not None and oids.ANY_POLICY not in asserted:
        allowed = frozenset(asserted)
        chosen = state.initial_policies
        every = chosen is None or oids.ANY_POLICY in chosen
        state = replace(state, initial_policies=allowed if every else allowed & (chosen or frozenset()))
    return replace(_restrict(state, certificate), can_sign_crls=_may_sign_crls(certificate))


def _process(state: State, certificate: Certificate, budget: Budget) -> policies.PolicyLevel:
    """§6.1.3 (a)(4) and (b)–(f), for a certificate that is not the last."""
    _check_names(state, certificate, budget, last=False)
    return _process_policies(state, certificate, any_allowed=state.inhibit_any > 0 or certificate.self_issued)


def _check_names(state: State, certificate: Certificate, budget: Budget, *, last: bool) -> None:
    """§6.1.3 (a)(4), (b) and (c)."""
    if certificate.issuer.normalised != state.issuer.normalised:
        raise refusal("path.name_chaining", "issuer is not the subject above", "RFC 5280 §6.1.3 (a)(4)")
    if last or not certificate.self_issued:
        constraints.check(state.constraints, certificate, budget)


def _process_policies(state: State, certificate: Certificate, *, any_allowed: bool) -> policies.PolicyLevel:
    """§6.1.3 (d)–(f)."""
    level = policies.process(state.policies, certificate.policies, any_allowed=any_allowed)
    if state.explicit_policy == 0 and not level:
        raise refusal("path.policy", "the policy graph is empty, and one is required", "RFC 5280 §6.1.3 (f)")
    return level


def _prepare(state: State, certificate: Certificate, level: policies.PolicyLevel, budget: Budget) -> State:
    """§6.1.4."""
    _check_critical(certificate, "RFC 5280 §6.1.4 (o)")
    if not certificate.is_ca:
        raise refusal("path.not_a_ca", "basicConstraints does not say cA", "RFC 5280 §6.1.4 (k)")
    _check_sign_usage(certificate)
    if certificate.subject.empty:
        raise refusal("path.empty_subject", "a CA without a name", "RFC 5280 §4.1.2.6")
    level = policies.apply_mappings(  # (a)–(b)
        level, certificate.policy_mappings, allowed=state.policy_mapping > 0, limit=budget.limits.policies
    )
    step = 0 if certificate.self_issued else 1  # (h), (l)
    if step > state.max_path_length:
        raise refusal("path.path_length", "one CA certificate too many", "RFC 5280 §6.1.4 (l)")
    after = replace(
        state,
        issuer=certificate.subject,
        spki=certificate.spki,
        spki_sha256=certificate.spki_sha256,
        policies=level,
        explicit_policy=max(state.explicit_policy - step, 0),
        policy_mapping=max(state.policy_mapping - step, 0),
        inhibit_any=max(state.inhibit_any - step, 0),
        max_path_length=state.max_path_length - step,
        path=(*state.path, certificate),
        not_before=max(state.not_before or certificate.not_before, certificate.not_before),
        not_after=min(state.not_after or certificate.not_after, certificate.not_after),
        can_sign_crls=_may_sign_crls(certificate),
    )
    return _restrict(after, certificate)


def _restrict(state: State, certificate: Certificate) -> State:
    """§6.1.4 (g), (i), (j), (m), and extended key usages, which narrow downwards (ours: as TLS libraries have it)."""
    explicit, mapping, inhibit = state.explicit_policy, state.policy_mapping, state.inhibit_any
    own = certificate.policy_constraints
    if own is not None and own.require_explicit is not None:
        explicit = min(explicit, own.require_explicit)
    if own is not None and own.inhibit_mapping is not None:
        mapping = min(mapping, own.inhibit_mapping)
    if certificate.inhibit_any_policy is not None:
        inhibit = min(inhibit, certificate.inhibit_any_policy)
    basic = certificate.basic_constraints
    length = state.max_path_length
    if basic is not None and basic.path_length is not None:
        length = min(length, basic.path_length)
    usages = state.usages
    if certificate.extended_key_usage is not None and oids.EKU_ANY not in certificate.extended_key_usage:
        own_usages = frozenset(certificate.extended_key_usage)
        usages = own_usages if usages is None else usages & own_usages
    narrowed = state.constraints
    if certificate.name_constraints is not None:
        narrowed = constraints.narrow(narrowed, certificate.name_constraints)
    return replace(
        state,
        explicit_policy=explicit,
        policy_mapping=mapping,
        inhibit_any=inhibit,
        max_path_length=length,
        usages=usages,
        constraints=narrowed,
    )


def _check_critical(certificate: Certificate, clause: str) -> None:
    for oid, extension in certificate.extensions.items():
        if extension.critical and oid not in oids.UNDERSTOOD:
            raise refusal("path.unknown_critical_extension", f"extension {oid}", clause)


def _check_sign_usage(certificate: Certificate) -> None:
    usage = certificate.key_usage
    if usage is not None and KeyUsage.KEY_CERT_SIGN not in usage:
        raise refusal("path.key_usage", "keyUsage has no keyCertSign", "RFC 5280 §6.1.4 (n)")


def _check_leaf_form(certificate: Certificate) -> None:
    """What RFC 5280 says no end-entity certificate may carry: a CA's powers without being one, constraints, no name."""
    if not certificate.is_ca:
        if KeyUsage.KEY_CERT_SIGN in (certificate.key_usage or ()):
            raise refusal("path.key_usage", "keyCertSign without cA", "RFC 5280 §4.2.1.3")
        if certificate.name_constraints is not None:
            raise refusal("path.leaf_constraints", "nameConstraints without cA", "RFC 5280 §4.2.1.10")
    if certificate.subject.empty:
        alternative = certificate.extensions.get(oids.SUBJECT_ALT_NAME)
        if alternative is None or not alternative.critical:
            raise refusal("path.empty_subject", "no subject and no critical alternative name", "RFC 5280 §4.1.2.6")


def _may_sign_crls(certificate: Certificate) -> bool:
    return certificate.key_usage is None or KeyUsage.CRL_SIGN in certificate.key_usage
