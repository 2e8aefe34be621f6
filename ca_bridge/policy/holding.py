"""Whether a certificate from a CA that is new for a known person is admitted (design §5). Pure; the store knows people.

Otherwise one CA's mistake, or one bad CA, could be any citizen of the province: name constraints do not reach
identifiers in private extensions.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from enum import StrEnum

from ca_bridge.errors import IdentityError
from ca_bridge.trust.rules import Equivalent
from ca_bridge.types import IdentifierType


class Admission(StrEnum):
    """What becomes of the certificate."""

    ADMITTED = "admitted"
    """The person's first CA, or one that has proved them before."""
    EQUIVALENT = "equivalent"
    """New for this person, named equal by the province: admitted, and the person is told."""
    HELD = "held"
    """Until the earlier credential or an officer confirms it."""


def equal_to(rows: Iterable[Equivalent], kind: IdentifierType, accreditation: str) -> frozenset[str]:
    """Accreditations that the province names equal to this one for identifiers of `kind`, itself not among them.

    Only what one row says together counts: A = B and B = C do not make A = C.
    """
    named = (row.accreditations for row in rows if row.type is kind and accreditation in row.accreditations)
    return frozenset(other for row in named for other in row if other != accreditation)


def admission(known: Set[str], accreditation: str, kind: IdentifierType, rows: Iterable[Equivalent]) -> Admission:
    """What becomes of a certificate by `accreditation` for a person whom the accreditations `known` have proved.

    `known`: confirmed ones only, empty for a person nobody knows; `kind`: type of the identifier in the person's key.
    """
    if not known or accreditation in known:
        return Admission.ADMITTED
    if known.isdisjoint(equal_to(rows, kind, accreditation)):
        return Admission.HELD
    return Admission.EQUIVALENT


def require_admitted(found: Admission) -> None:
    """Returns unless the certificate is held: IdentityError `identity.held`."""
    if found is Admission.HELD:
        raise IdentityError("identity.held", "another CA proved this person first")
