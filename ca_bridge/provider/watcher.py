"""The watcher: judges the certificates of live sessions again, ends what is refused now, tells Keycloak, purges.

Judged again: whatever another snapshot judged last (so at once when a CRL, a denial or a domain changes), whatever was
judged on another rung of the offline ladder, and all after five minutes, for certificates and CRLs also run out. A
session above what the rung allows ends: all of them on `closed`, those above level 2 on `days`, those from across the
border on `day` (design §6). One watcher works at a time (a lock of the store, renewed at
each page of sessions); another takes over within `LEASE_SECONDS`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from ca_bridge.ceremony.services import Services
from ca_bridge.errors import CrosshallError, FederationError, IdentityError, PolicyDenied, StoreError
from ca_bridge.policy.levels import decide
from ca_bridge.policy.rungs import admit
from ca_bridge.policy.trusted_time import TrustedTime
from ca_bridge.provider.keys import drop_old
from ca_bridge.store import Store
from ca_bridge.store.hall_logouts import HallQueue
from ca_bridge.store.links import Links
from ca_bridge.store.logouts import Logouts
from ca_bridge.store.releases import Releases
from ca_bridge.store.sessions import Holder, Recheck, Sessions
from ca_bridge.types import Session, Verdict, Way
from ca_bridge.verdict.snapshot import Snapshot

LOCK = "watcher"
LEASE_SECONDS = 30
EVERY = timedelta(minutes=5)
PURGE_EVERY = timedelta(minutes=1)
PAGE = 100
SETTLED = 1000
"""Sign-ins of a cut that one round judges again."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Round:
    """What one tick did."""

    judged: int = 0
    ended: int = 0
    told: int = 0
    purged: int = 0


@dataclass(frozen=True, slots=True)
class Purged:
    """How many of each were over."""

    sessions: int
    values: int
    releases: int
    keys: int


class Watcher:
    """One process's watcher; `tick` is called every `rejudge_seconds`."""

    def __init__(self, services: Services, signing: Path) -> None:
        self._services = services
        self._signing = signing
        self._purged_at: datetime | None = None
        self._token: int | None = None
        self._late = True

    def tick(self) -> Round:
        """Do what is due. Raises CrosshallError when store or bundle fails: nothing is half done, tick again."""
        done = Round(told=self._services.deliver_logouts())
        if not self._hold():
            return done
        done = self._purge_if_due(done)
        done = self._judge(done)
        self._settle()
        if done.ended or done.purged:
            done = replace(done, told=done.told + self._services.deliver_logouts())
        return done

    def stop(self) -> None:
        """Let another watcher go on at once. Raises StoreError."""
        if self._token is not None:
            self._services.store.unlock(LOCK, self._token)
            self._token = None

    def _hold(self) -> bool:
        if self._extend():
            return True
        self._token = self._services.store.lock(LOCK, LEASE_SECONDS)
        return self._token is not None

    def _extend(self) -> bool:
        return self._token is not None and self._services.store.extend(LOCK, self._token, LEASE_SECONDS)

    def _judge(self, done: Round) -> Round:
        services = self._services
        now = services.clock()
        snapshot = services.snapshots.current()
        rung = services.trusted().rung.value
        judged = ended = 0
        after = ""
        while page := services.sessions.due(snapshot.hash, rung, now - EVERY, after, PAGE):
            judged += len(page)
            ended += judge(services, snapshot, page, ask=True)
            after = page[-1].sid
            if not self._extend():
                break  # another has taken over
        return replace(done, judged=judged, ended=ended)

    def _settle(self) -> None:
        """The line is back: sign-ins of the cut are judged again, those that ended meanwhile too."""
        services = self._services
        time = services.trusted()
        late, self._late = self._late, time.late
        # one round later: the snapshot in use may be a second older than the time that was just read
        if services.cuts is None or late or time.late:
            return
        settled = services.cuts.settle(services.snapshots.current(), time.now, SETTLED)
        if settled.judged:
            _log.info("sign-ins of a cut judged again", extra={"judged": settled.judged, "refused": settled.refused})

    def _purge_if_due(self, done: Round) -> Round:
        services = self._services
        now = services.clock()
        if self._purged_at is not None and abs(now - self._purged_at) < PURGE_EVERY:
            return done
        over = purge_all(services.store, services.settings.bridge.session_seconds, self._signing, now)
        self._purged_at = now
        return replace(done, purged=over.sessions)


def purge_all(store: Store, session_seconds: int, signing: Path, now: datetime) -> Purged:
    """Remove everything whose time is over. Raises StoreError, ConfigError."""
    return Purged(
        sessions=Sessions(store, session_seconds).purge(now),
        values=store.purge(now) + Logouts(store).purge(now) + HallQueue(store).purge(now) + Links(store).purge(now),
        releases=Releases(store).purge(now),
        keys=drop_old(signing, now),
    )


def judge(services: Services, snapshot: Snapshot, page: Sequence[Session], *, ask: bool = False) -> int:
    """Judge the certificates of these sessions by one snapshot at one trusted time; returns how many sessions ended.

    `ask`: responders too, where a CA's status is OCSP and the answer at hand is not fresh any more.
    """
    time = services.trusted()
    good: list[Recheck] = []
    ended = 0
    for session in page:
        refusal = _refusal(services, snapshot, session, time, good, ask=ask)
        if refusal:
            number = services.sessions.end_refused(session.sid, session.certificate_key, refusal)
            ended += number
            _log.info("session ended", extra={"code": refusal, "sessions": number, "snapshot": snapshot.hash})
    if good:
        services.sessions.rechecked(good)
    return ended


def still_good(services: Services, session: Session) -> bool:
    """Whether a live session may be used now: its certificate is judged again, and the session ended when refused.

    For what a session opens without a new proof: a change that came within the last round, or while no watcher works,
    is seen all the same. Raises PathError `trust.bundle`, StoreError.
    """
    if not judge(services, services.snapshots.current(), (session,)):
        return True
    services.deliver_logouts()
    return False


def _refusal(
    services: Services, snapshot: Snapshot, session: Session, time: TrustedTime, good: list[Recheck], *, ask: bool
) -> str:
    """Why the session may not go on; empty when it may, and is then added to `good`."""
    try:
        holder = services.sessions.holder(session.sid)
    except StoreError as error:
        if error.code != "store.sealed":
            raise
        return error.code  # what does not open can never be judged again
    if holder is None:
        return ""  # ended meanwhile
    answered = services.answered(snapshot, holder.leaf, ask=ask)  # a store that fails ends nobody's session
    try:
        verdict = _judged_again(services, answered, session, holder, time)
    except CrosshallError as error:
        return error.code
    except Exception:
        # Unknown never passes; and one certificate must not keep all other revocations from being seen.
        _log.exception("judging failed", extra={"code": "run.fault"})
        return "run.fault"
    now = services.clock()
    good.append(
        Recheck(session.sid, session.certificate_key, now, verdict.status_issued_at, time.rung.value, snapshot.hash)
    )
    return ""


def _judged_again(
    services: Services, snapshot: Snapshot, session: Session, holder: Holder, time: TrustedTime
) -> Verdict:
    """What a sign-in would find now: certificate, its CA's right to say who this is, and the session's level.

    Raises CrosshallError with the verdict's code; IdentityError `identity.not_allowed_to_assert`; PolicyDenied.
    """
    if time.code:
        raise PolicyDenied("policy.offline", f"no trusted time: {time.code}", reached=0)
    verdict = snapshot.judge(holder.leaf, time.now)
    if not verdict.accepted:
        raise CrosshallError(verdict.code, verdict.detail)
    identity = holder.identity
    said = {identifier.type for identifier in identity.identifiers}
    if identity.organisation is not None:
        said.add(identity.organisation.identifier.type)
    if not said <= set(snapshot.profile(verdict.ca).asserts):
        raise IdentityError("identity.not_allowed_to_assert", "the CA may not assert this type of number any more")
    admit(verdict, time.rung, snapshot.bundle.policy.offline, services.root)
    if session.way is Way.ABROAD:
        _still_a_hall(services, snapshot, session)
    # what the province now allows this certificate, by this way and on this rung, is no less than what the session says
    decide(verdict, session.way, session.level, snapshot.bundle.levels, time.rung)
    return verdict


def _still_a_hall(services: Services, snapshot: Snapshot, session: Session) -> None:
    """The hall whose evidence the session stands on still counts: one that was cut off takes its sign-ins along."""
    node = snapshot.bundle.roster.find(services.links.source(session.sid))
    if node is None or node.stage not in snapshot.bundle.policy.halls:
        raise FederationError("abroad.unknown_hall", "the hall that the session came from was cut off")
