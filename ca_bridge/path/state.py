"""The values of RFC 5280 §6.1.1 and §6.1.2 as frozen data: inputs, anchor, and the state between two certificates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from ca_bridge.asn1.certificate import Certificate
from ca_bridge.asn1.names import Name
from ca_bridge.path.constraints import Constraints
from ca_bridge.path.policies import INITIAL, Node, PolicyLevel, covers

UNLIMITED = 1 << 30
"""Stands for n + 1: larger than any path, so that a state can be kept before the path's length is known."""


NO_CONSTRAINTS = Constraints()


@dataclass(frozen=True, slots=True)
class Inputs:
    """What the caller of a validation chooses (§6.1.1)."""

    initial_policies: frozenset[str] | None = None
    """user-initial-policy-set; None: anyPolicy."""
    require_policy: bool = False
    inhibit_mapping: bool = False
    inhibit_any_policy: bool = False
    max_intermediates: int | None = None
    """Self-issued ones not counted."""
    constraints: Constraints = NO_CONSTRAINTS


@dataclass(frozen=True, slots=True)
class Anchor:
    """A trust anchor: name and key. The certificate that carries them does not bind unless asked for (RFC 5937)."""

    name: Name
    spki: bytes = field(repr=False)
    spki_sha256: str
    certificate: Certificate | None = None

    @staticmethod
    def of(certificate: Certificate) -> Anchor:
        """The anchor that a certificate carries."""
        return Anchor(certificate.subject, certificate.spki, certificate.spki_sha256, certificate)


@dataclass(frozen=True, slots=True)
class State:
    """Everything the next certificate is held against; `path` is what led here, anchor's side first."""

    anchor: Anchor
    issuer: Name
    """working_issuer_name."""
    spki: bytes = field(repr=False)
    """working_public_key, with its algorithm."""
    spki_sha256: str
    initial_policies: frozenset[str] | None
    explicit_policy: int
    policy_mapping: int
    inhibit_any: int
    max_path_length: int
    policies: PolicyLevel = field(repr=False)
    constraints: Constraints = field(repr=False)
    usages: frozenset[str] | None = None
    """Extended key usages that every CA so far allows; None: any."""
    path: tuple[Certificate, ...] = ()
    not_before: datetime | None = None
    """Latest notBefore in the path; None: no certificate yet."""
    not_after: datetime | None = None
    can_sign_crls: bool = True
    """The working key's own certificate allows cRLSign, or says nothing."""

    def dominates(self, other: State) -> bool:
        """Whether every leaf accepted from `other`, at any time and status of its path, is accepted from this one."""
        return (
            self.issuer.normalised == other.issuer.normalised
            and self.spki_sha256 == other.spki_sha256
            and self.explicit_policy >= other.explicit_policy
            and self.inhibit_any >= other.inhibit_any
            and self.policy_mapping >= other.policy_mapping
            and self.max_path_length >= other.max_path_length
            and self.constraints.permitted <= other.constraints.permitted
            and self.constraints.excluded <= other.constraints.excluded
            and (self.usages is None or (other.usages is not None and other.usages <= self.usages))
            and {c.sha256 for c in self.path} <= {c.sha256 for c in other.path}
            and covers(self.policies, other.policies)
        )


def initial_state(anchor: Anchor, inputs: Inputs) -> State:
    """§6.1.2: the state before the first certificate."""
    policies: Mapping[str, Node] = INITIAL
    return State(
        anchor=anchor,
        issuer=anchor.name,
        spki=anchor.spki,
        spki_sha256=anchor.spki_sha256,
        initial_policies=inputs.initial_policies,
        explicit_policy=0 if inputs.require_policy else UNLIMITED,
        policy_mapping=0 if inputs.inhibit_mapping else UNLIMITED,
        inhibit_any=0 if inputs.inhibit_any_policy else UNLIMITED,
        max_path_length=UNLIMITED if inputs.max_intermediates is None else inputs.max_intermediates,
        policies=policies,
        constraints=inputs.constraints,
    )
