"""Who a certificate says its holder is, by its CA's profile (design §3): nothing is guessed, two answers are none.

The profile names the places; `texts` reads them, `numbers` brings what is found to one form. Places that are empty
are passed over as long as one identifier is found; a place that holds something wrong refuses the certificate,
because nobody can tell what its CA meant. Values that differ for one identifier refuse it too.
"""

from __future__ import annotations

import re
from dataclasses import replace

from ca_bridge.asn1.certificate import Certificate
from ca_bridge.errors import IdentityError
from ca_bridge.identity.numbers import normalise
from ca_bridge.identity.texts import texts_at
from ca_bridge.trust.profile import CertificateType, IdentifierRule, OrganisationRule, Profile
from ca_bridge.types import Capacity, Identifier, IdentifierType, Identity, Organisation

STRENGTH = (
    IdentifierType.CN_ID,
    IdentifierType.HKID,
    IdentifierType.MO_BIR,
    IdentifierType.HOME_RETURN,
    IdentifierType.PASSPORT,
    IdentifierType.PRIVATE,
)
"""The human's identifiers from the strongest: the first that a certificate has makes the person key."""


def identify(leaf: Certificate, profile: Profile, certificate_type: str) -> Identity:
    """Name, identifiers (strongest first), organisation and capacities of the holder, as this CA may assert them.

    `leaf` has been judged: `certificate_type` is its verdict's. Raises IdentityError: `identity.profile`,
    `identity.not_allowed_to_assert`, `identity.missing`, `identity.ambiguous`, `identity.encoding`, `identity.prefix`,
    `identity.organisation`, and those of `numbers.normalise`.
    """
    kind = profile.type(certificate_type)
    if kind is None:
        raise IdentityError("identity.profile", f"profile {profile.id} has no type {certificate_type}")
    identifiers = _identifiers(leaf, profile, kind)
    organisation = _organisation(leaf, profile, kind.organisation) if kind.organisation else None
    if Capacity.OPERATOR in kind.capacities and organisation is None:
        raise IdentityError("identity.organisation", "an operator's certificate without an organisation")
    human = kind.identifiers or kind.kind != "organisation" or set(kind.capacities) != {Capacity.OPERATOR}
    if human and not identifiers:
        raise IdentityError("identity.missing", "the certificate holds none of the identifiers of its type")
    return Identity(
        name=_text(leaf, kind.name.source) if kind.name else None,
        identifiers=identifiers,
        organisation=organisation,
        capacities=kind.capacities,
    )


def acting(identity: Identity, capacity: Capacity) -> tuple[Identifier, Identifier | None]:
    """What makes the person key in `capacity`: the human's strongest identifier; not for citizens, the organisation's.

    A certificate of an organisation alone acts by the organisation's own. Raises IdentityError `identity.capacity` for
    one that the certificate does not give.
    """
    if capacity not in identity.capacities:
        raise IdentityError("identity.capacity", f"this certificate does not act as {capacity}")
    organisation = identity.organisation.identifier if identity.organisation else None
    if identity.identifiers:
        return identity.identifiers[0], None if capacity is Capacity.CITIZEN else organisation
    if organisation is None or capacity is not Capacity.OPERATOR:
        raise IdentityError("identity.missing", "neither a human nor an organisation is named")
    return organisation, organisation


def _identifiers(leaf: Certificate, profile: Profile, kind: CertificateType) -> tuple[Identifier, ...]:
    found: dict[tuple[IdentifierType, str], Identifier] = {}
    for rule in kind.identifiers:
        if rule.type not in STRENGTH:
            raise IdentityError("identity.profile", f"{rule.type} names no human")
        identifier = _identifier(leaf, profile, rule)
        if identifier is not None and found.setdefault((rule.type, rule.state), identifier) != identifier:
            raise IdentityError("identity.ambiguous", f"two places give different numbers of type {rule.type}")
    return tuple(sorted(found.values(), key=lambda identifier: STRENGTH.index(identifier.type)))


def _identifier(leaf: Certificate, profile: Profile, rule: IdentifierRule) -> Identifier | None:
    if rule.type not in profile.asserts:
        raise IdentityError("identity.not_allowed_to_assert", f"CA {profile.id} may not assert {rule.type}")
    values = {normalise(rule.type, rule.state, _cut(text, rule)) for text in texts_at(leaf, rule.source)}
    if len(values) > 1:
        raise IdentityError("identity.ambiguous", f"one place gives different numbers of type {rule.type}")
    for value in values:
        if rule.type is IdentifierType.PRIVATE:
            # Two CAs may count alike: a private number is one person's only together with its CA.
            return replace(value, value=f"{profile.accreditation}:{value.value}")
        return value
    return None


def _cut(text: str, rule: IdentifierRule) -> str:
    if not text.startswith(rule.prefix):
        raise IdentityError("identity.prefix", f"the value of {rule.source} lacks its prefix")
    rest = text[len(rule.prefix) :]
    if not rule.pattern:
        return rest
    match = re.fullmatch(rule.pattern, rest)
    if match is None or match[1] is None:
        raise IdentityError("identity.prefix", f"the value of {rule.source} does not have the profile's form")
    return match[1]


def _organisation(leaf: Certificate, profile: Profile, rule: OrganisationRule) -> Organisation:
    if rule.identifier.type not in (IdentifierType.USCC, IdentifierType.PRIVATE):
        raise IdentityError("identity.profile", f"{rule.identifier.type} names no organisation")
    name, identifier = _text(leaf, rule.name), _identifier(leaf, profile, rule.identifier)
    if name is None or identifier is None:
        raise IdentityError("identity.organisation", "the organisation's name or identifier is missing")
    return Organisation(name, identifier)


def _text(leaf: Certificate, source: str) -> str | None:
    found = {" ".join(text.split()) for text in texts_at(leaf, source)} - {""}
    if len(found) > 1:
        raise IdentityError("identity.ambiguous", f"{source} gives different texts")
    return found.pop() if found else None
