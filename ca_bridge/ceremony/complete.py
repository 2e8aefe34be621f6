"""From a proof of possession to a session, or to the one question that stands in the way.

    1 judge      the snapshot's verdict of the leaf at trusted now; what the offline ladder still lets in (design §6)
    2 identify   by the profile of its CA
    3 capacity   more than one: the person chooses (R20)
    4 holding    a first certificate of another CA for a known person waits until it is proved (design §5)
    5 level      never below what was asked
    6 session    another person's must end first; this person's goes on under its sid
    7 done       the transaction ends, once

The certificate is judged afresh each time the person comes back from a question: an answer given minutes later cannot
outlive a revocation. Nothing here reads a request or writes a page.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ca_bridge import metrics
from ca_bridge.asn1.certificate import Certificate, parse_certificate
from ca_bridge.ceremony import pending, transaction
from ca_bridge.ceremony.codes import Proven
from ca_bridge.ceremony.journal import entry
from ca_bridge.ceremony.pending import Claim, Pending
from ca_bridge.ceremony.services import Services
from ca_bridge.ceremony.transaction import Transaction
from ca_bridge.errors import CeremonyError, CrosshallError, PolicyDenied
from ca_bridge.identity.extract import acting, identify
from ca_bridge.policy.holding import equal_to
from ca_bridge.policy.levels import decide
from ca_bridge.policy.rungs import admit
from ca_bridge.policy.trusted_time import TrustedTime
from ca_bridge.registry import attribute_sectors
from ca_bridge.store.people import Standing
from ca_bridge.store.sessions import SIGNED_OUT, SignIn
from ca_bridge.types import Capacity, IdentifierType, Identity, Session, Verdict

if TYPE_CHECKING:
    from ca_bridge.verdict.snapshot import Snapshot

HELD = "identity.held"
LEVEL = "policy.level"
SOMEBODY_ELSE = "ceremony.somebody_else"
"""Codes of the outcomes that have a page of their own."""


@dataclass(frozen=True, slots=True)
class SignedIn:
    """The person is signed in; `secret` is the new value of the session's cookie."""

    session: Session
    secret: str = field(repr=False)
    newly_equal: bool = False
    """This sign-in admitted a CA that is new for the person, since the province names it equal: they are told (§5)."""


@dataclass(frozen=True, slots=True)
class ChooseCapacity:
    """The certificate gives several capacities and none was chosen."""


@dataclass(frozen=True, slots=True)
class Held:
    """The certificate is good, and waits until the earlier credential or an officer proves that it is one person."""


@dataclass(frozen=True, slots=True)
class LevelShort:
    """The level reached is below what was asked."""

    reached: int


@dataclass(frozen=True, slots=True)
class SomebodyElse:
    """The browser's live session is another person's, or of another capacity."""


Outcome = SignedIn | ChooseCapacity | Held | LevelShort | SomebodyElse


@dataclass(frozen=True, slots=True)
class _Judged:
    proven: Proven
    leaf: Certificate
    verdict: Verdict
    identity: Identity
    snapshot: Snapshot
    time: TrustedTime


def complete(
    services: Services, tx: Transaction, state: Pending, session_secret: str, *, end_other: bool = False
) -> Outcome:
    """Take the sign-in as far as it goes; what must be answered first is kept with the transaction (`pending`).

    `session_secret` is the browser's session cookie, or empty; `end_other`: the person agreed to end another's session.
    Raises CrosshallError with the verdict's code when the certificate is refused; InputError, IdentityError;
    CeremonyError `ceremony.expired`; PathError `trust.bundle`; StoreError.
    """
    proven = pending.proof(state)
    judged = _judge(services, proven, record=not state.recorded)
    state = replace(state, recorded=True)
    capacity = state.capacity or _only(judged.identity)
    if capacity is None:
        pending.keep(services.store, tx, state)
        return ChooseCapacity()
    identifier, organisation = acting(judged.identity, capacity)
    person = services.person_keys.person(identifier, capacity, organisation)
    human = services.person_keys.human(judged.identity, capacity)
    if _held(services, judged, human, identifier.type, session_secret):
        return _hold(services, tx, state, Claim(human, judged.verdict.accreditation))
    try:
        level = decide(judged.verdict, proven.way, tx.request.level, judged.snapshot.bundle.levels, judged.time.rung)
    except PolicyDenied as denied:
        return _short(services, tx, state, denied)
    if other := _other(services, session_secret, person):
        if not end_other:
            pending.keep(services.store, tx, state)
            return SomebodyElse()
        services.sessions.end(other.sid, SIGNED_OUT)
        services.deliver_logouts()
    if services.cuts is not None and judged.time.late:
        services.cuts.note(judged.snapshot, judged.leaf.der, judged.verdict)  # first: no sign-in without it
    return _open(services, tx, state, _signin(services, judged, person, capacity, level), session_secret)


def choices(services: Services, proven: Proven) -> Identity:
    """Whom the certificate names, with the capacities it gives: for the page that asks. Raises as `complete`."""
    return _judge(services, proven, record=False).identity


def holder_sm2_id(services: Services, leaf: Certificate) -> str:
    """The distinguishing ID under which the holder of `leaf` signs, by its CA's profile. Raises as `complete`."""
    snapshot = services.answered(services.snapshots.current(), leaf.der)
    # not recorded: nothing is proved yet, and `complete` judges what is
    verdict = _accepted(services, snapshot, leaf, services.trusted(), record=False)
    return snapshot.profile(verdict.ca).holder_sm2_id


def _judge(services: Services, proven: Proven, *, record: bool) -> _Judged:
    leaf = parse_certificate(proven.leaf)
    snapshot = services.answered(services.snapshots.current(), leaf.der)
    time = services.trusted()
    verdict = _accepted(services, snapshot, leaf, time, record=record)
    identity = identify(leaf, snapshot.profile(verdict.ca), verdict.certificate_type)
    return _Judged(proven, leaf, verdict, identity, snapshot, time)


def _accepted(services: Services, snapshot: Snapshot, leaf: Certificate, time: TrustedTime, *, record: bool) -> Verdict:
    """The verdict, when it accepts. A refusal ends the sign-in here and is always recorded, before it is raised."""
    if time.code:
        raise PolicyDenied("policy.offline", f"no trusted time: {time.code}", reached=0)
    with metrics.VERDICT.time():
        verdict = snapshot.judge_certificate(leaf, time.now)
    if services.recorder is not None and (record or not verdict.accepted):
        services.recorder(snapshot, leaf.der, verdict)
    if not verdict.accepted:
        raise CrosshallError(verdict.code, verdict.detail, certificate_key=verdict.certificate_key)
    admit(verdict, time.rung, snapshot.bundle.policy.offline, services.root)
    return verdict


def _only(identity: Identity) -> Capacity | None:
    return identity.capacities[0] if len(identity.capacities) == 1 else None


def _held(services: Services, judged: _Judged, human: str, kind: IdentifierType, session_secret: str) -> bool:
    accreditation = judged.verdict.accreditation
    equal = equal_to(judged.snapshot.bundle.policy.equivalent, kind, accreditation)
    if services.people.prove(human, accreditation, equal) is not Standing.HELD:
        return False
    earlier = _vouching(services, judged, human, session_secret)
    return not (earlier and services.people.confirm(human, accreditation, earlier))


def _vouching(services: Services, judged: _Judged, human: str, session_secret: str) -> str:
    """The accreditation behind this human's live session in this browser, if its certificate is good still, else `""`.

    The session stands on the earlier credential: that is the proof that design §5 asks for, while it is as fresh as one
    made in this sign-in would be. What is confirmed stays so: a session that somebody left open must not do it.
    """
    live = services.sessions.find(session_secret)
    holder = services.sessions.holder(live.sid) if live is not None else None
    if live is None or holder is None or services.person_keys.human(holder.identity, live.capacity) != human:
        return ""
    if services.clock() - live.auth_time > transaction.LIFETIME:
        return ""
    snapshot = services.answered(judged.snapshot, holder.leaf, ask=False)
    verdict = snapshot.judge(holder.leaf, judged.time.now)
    return verdict.accreditation if verdict.accepted else ""


def _hold(services: Services, tx: Transaction, state: Pending, claim: Claim) -> Held:
    claims = tuple(dict.fromkeys((*state.claims, claim)))
    pending.keep(services.store, tx, Pending(claims=claims))
    return Held()


def _short(services: Services, tx: Transaction, state: Pending, denied: PolicyDenied) -> LevelShort:
    if denied.code != LEVEL:
        raise denied
    reached = int(denied.facts.get("reached", 0))
    pending.keep(services.store, tx, replace(state, proven=None, capacity=None, reached=reached, recorded=False))
    return LevelShort(reached)


def _other(services: Services, session_secret: str, person: str) -> Session | None:
    live = services.sessions.find(session_secret)
    return live if live is not None and live.person != person else None


def _signin(services: Services, judged: _Judged, person: str, capacity: Capacity, level: int) -> SignIn:
    verdict = judged.verdict
    return SignIn(
        person=person,
        capacity=capacity,
        level=level,
        way=judged.proven.way,
        domain=verdict.domain,
        ca=verdict.ca,
        certificate_key=verdict.certificate_key,
        leaf=judged.leaf.der,
        identity=judged.identity,
        auth_time=judged.proven.at,
        checked_at=services.clock(),
        status_issued_at=verdict.status_issued_at,
        rung=judged.time.rung.value,
        snapshot=verdict.snapshot,
        subjects={
            sector: services.person_keys.subject(sector, person) for sector in attribute_sectors(services.windows())
        },
        signed=judged.proven.signed.pack() if judged.proven.signed else None,
        arrival=judged.proven.arrival,
    )


def _open(services: Services, tx: Transaction, state: Pending, signin: SignIn, session_secret: str) -> SignedIn:
    # The transaction is still good? Else a session would be left behind that nobody asked for.
    current = transaction.peek(services.store, tx.id, services.clock())
    if current.sid or current.refused:
        raise CeremonyError("ceremony.expired", "the sign-in ended before")
    if services.journal is not None:
        services.journal(entry(signin))  # before the session: no sign-in without its copy
    opened = services.sessions.open(signin, _own(services, session_secret, signin.person))
    try:
        transaction.mark_done(services.store, tx, opened.session.sid, services.clock())
    except CrosshallError:
        if not opened.renewed:
            # nothing half done: its cookie reaches nobody
            services.sessions.end_told(opened.session.sid, halls=False)
        # one that was there before stays, and stays watched: Keycloak's session hangs on it
        raise
    _confirm(services, state, signin)
    pending.drop(services.store, tx)
    human = services.person_keys.human(signin.identity, signin.capacity)
    accreditation = services.snapshots.current().profile(signin.ca).accreditation
    equal = services.people.newly_equal(human, accreditation, tx.created)
    return SignedIn(opened.session, opened.secret, equal)


def _own(services: Services, session_secret: str, person: str) -> str:
    live = services.sessions.find(session_secret)
    return session_secret if live is not None and live.person == person else ""


def _confirm(services: Services, state: Pending, signin: SignIn) -> None:
    """What this sign-in held before, for this same human, is proved now by the earlier credential."""
    accreditation = services.snapshots.current().profile(signin.ca).accreditation
    human = services.person_keys.human(signin.identity, signin.capacity)
    if services.clock() - signin.auth_time > transaction.LIFETIME:
        return  # what is confirmed stays so: hours-old evidence from another hall must not do it
    for claim in state.claims:
        if claim.human == human:
            services.people.confirm(claim.human, claim.accreditation, accreditation)
