"""What a sign-in knows so far while the person answers a question, or fetches another certificate.

Kept with the transaction and no longer. It is reached through `transaction.resume` only: the same browser.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ca_bridge.ceremony.codes import Proven, pack, unpack
from ca_bridge.ceremony.transaction import Transaction
from ca_bridge.errors import CeremonyError
from ca_bridge.types import Capacity

if TYPE_CHECKING:
    from ca_bridge.store import Store

_KIND = "pending"


@dataclass(frozen=True, slots=True)
class Claim:
    """A first certificate of another CA: whom it names, and that CA's accreditation. Held until proved (design §5)."""

    human: str
    """`PersonKeys.human`."""
    accreditation: str


@dataclass(frozen=True, slots=True)
class Pending:
    """Where a sign-in stands; every part may be absent."""

    proven: Proven | None = None
    capacity: Capacity | None = None
    """The one the person chose."""
    claims: tuple[Claim, ...] = ()
    """What this sign-in proved and could not use yet."""
    reached: int | None = None
    """The level that the last attempt reached, when it was below what was asked."""
    recorded: bool = False
    """Whether the verdict of this proof's certificate has been handed to the recorder: once for each proof."""


def keep(store: Store, tx: Transaction, pending: Pending) -> None:
    """Keep `pending` until the transaction ends, in place of what was kept."""
    raw: dict[str, Any] = {
        "proven": pack(pending.proven) if pending.proven else None,
        "capacity": pending.capacity.value if pending.capacity else None,
        "claims": [[claim.human, claim.accreditation] for claim in pending.claims],
        "reached": pending.reached,
        "recorded": pending.recorded,
    }
    store.put(_KIND, tx.id, raw, tx.expires)


def load(store: Store, tx: Transaction) -> Pending:
    """What was kept; empty when nothing was."""
    raw = store.get(_KIND, tx.id)
    if raw is None:
        return Pending()
    return Pending(
        unpack(raw["proven"]) if raw["proven"] else None,
        Capacity(raw["capacity"]) if raw["capacity"] else None,
        tuple(Claim(*claim) for claim in raw["claims"]),
        raw["reached"],
        raw.get("recorded", False),  # absent: kept by the version before
    )


def proof(pending: Pending) -> Proven:
    """The proof that waits for an answer. Raises CeremonyError `ceremony.no_proof` when there is none."""
    if pending.proven is None:
        raise CeremonyError("ceremony.no_proof", "no proof of possession waits in this transaction")
    return pending.proven


def drop(store: Store, tx: Transaction) -> None:
    """Forget what was kept."""
    store.delete(_KIND, tx.id)
