"""Who stands at the window: a typed value, and what a page may require of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from relying_party_sdk.errors import AccessError, ProviderError, RPError

RUNGS = ("fresh", "near", "day", "days", "closed")
"""Rungs of the offline ladder, best first."""
_RUNG_AGES = (900, 14_400, 86_400, 259_200)
"""Oldest data of each rung but the last, in seconds."""
_AHEAD = 60
"""Seconds by which the bridge's clock may be ahead of ours; a sign-in further in the future is not fresh."""


@dataclass(frozen=True, slots=True)
class Identifier:
    """One identity number: its type (`cn-id`, `hkid`, …), the issuing state, the normalised number."""

    type: str
    state: str
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Organisation:
    """The organisation an operator acts for."""

    name: str
    type: str = ""
    state: str = ""
    value: str = ""


@dataclass(frozen=True, slots=True)
class Attributes:
    """What the window is registered to learn; whatever it is not registered for is empty. Never logged."""

    name: str = field(default="", repr=False)
    identifiers: tuple[Identifier, ...] = field(default=(), repr=False)
    organisation: Organisation | None = field(default=None, repr=False)
    claims: Mapping[str, Any] = field(default_factory=dict, repr=False, hash=False)
    """With other providers: what their userinfo endpoint says (`email`, `address`, …), as it came."""

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> Attributes:
        """From the attribute endpoint's JSON. Raises ProviderError `rp.attributes` for another shape."""
        try:
            name, rows, body = raw.get("name") or "", raw.get("identifiers") or [], raw.get("organisation")
            identifiers = tuple(Identifier(_text(r["type"]), _text(r["state"]), _text(r["value"])) for r in rows)
            organisation = Organisation(**{k: _text(v) for k, v in body.items()}) if body else None
            return cls(_text(name), identifiers, organisation)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ProviderError("rp.attributes", "the attribute endpoint answers in another shape") from error

    @classmethod
    def of_userinfo(cls, raw: Mapping[str, Any]) -> Attributes:
        """From a userinfo answer (OpenID Connect Core §5.1)."""
        name = raw.get("name")
        return cls(name if isinstance(name, str) else "", claims=raw)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def _nothing() -> Attributes:
    return Attributes()


@dataclass(frozen=True, slots=True)
class Person:
    """A person in a capacity, as this window knows them.

    `subject` is stable (and pairwise with the hall): the key for the window's own accounts. Times are aware UTC; one
    that another provider does not tell is 1970, so that whatever asks for freshness is not met.
    """

    subject: str = field(repr=False)
    kind: str
    """citizen, officer or operator; empty with other providers, as are `domain` and `rung`"""
    level: int
    domain: str
    auth_time: datetime
    checked_at: datetime
    status_issued_at: datetime
    rung: str
    fetch: Callable[[], Attributes] = field(default=_nothing, repr=False, compare=False)

    @classmethod
    def read(cls, claims: Mapping[str, Any], fetch: Callable[[], Attributes] = _nothing) -> Person:
        """From claims that `check_claims` let pass."""
        return cls(
            subject=claims["crosshall_subject"],
            kind=claims["crosshall_kind"],
            level=claims["crosshall_level"],
            domain=claims["crosshall_domain"],
            auth_time=_moment(claims["crosshall_auth_time"]),
            checked_at=_moment(claims["crosshall_checked_at"]),
            status_issued_at=_moment(claims["crosshall_status_issued_at"]),
            rung=claims["crosshall_rung"],
            fetch=fetch,
        )

    @classmethod
    def standard(cls, claims: Mapping[str, Any], level: int, fetch: Callable[[], Attributes] = _nothing) -> Person:
        """From the claims of any OpenID provider that `profile.Standard` let pass."""
        return cls(
            subject=claims["sub"],
            kind="",
            level=level,
            domain="",
            auth_time=_moment(claims.get("auth_time", 0)),
            checked_at=_moment(claims["iat"]),
            status_issued_at=_moment(0),
            rung="",
            fetch=fetch,
        )

    @property
    def short(self) -> str:
        """First characters of the subject, for a person to compare by eye; not unique."""
        return self.subject[:11]

    def status_age(self, now: datetime | None = None) -> float:
        """Age in seconds of the revocation status the sign-in rests on, computed at use."""
        return ((now or datetime.now(UTC)) - self.status_issued_at).total_seconds()

    def rung_at(self, now: float) -> str:
        """The rung at `now` (seconds since 1970): the hall's when it judged, or worse, since nothing newer is known."""
        if self.rung not in RUNGS:
            return self.rung
        age = now - self.checked_at.timestamp()
        return RUNGS[max(RUNGS.index(self.rung), sum(age > limit for limit in _RUNG_AGES))]

    def attributes(self) -> Attributes:
        """What the window is registered to learn, fetched once per session. Raises ProviderError `rp.attributes`, …"""
        return self.fetch()


def _moment(seconds: float) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, OSError, ValueError) as error:
        raise ProviderError("rp.provider_answer", "a time out of range") from error


@dataclass(frozen=True, slots=True)
class Requirement:
    """What a page asks: a level (1–4), optionally the oldest sign-in and the oldest status of the certificate in
    seconds, and the worst rung allowed. All ages are computed at use."""

    level: int = 1
    max_age: int | None = None
    rung: str | None = None
    status_max_age: int | None = None

    def __post_init__(self) -> None:
        if self.level not in (1, 2, 3, 4):
            raise ValueError("level is 1, 2, 3 or 4")
        if self.max_age is not None and self.max_age < 30:  # a sign-in takes that long: it could never be met
            raise ValueError("max_age is at least 30 seconds")
        if self.rung is not None and self.rung not in RUNGS:
            raise ValueError(f"rung is one of {RUNGS}")
        if self.status_max_age is not None and self.status_max_age < 60:
            raise ValueError("status_max_age is at least 60 seconds")

    def unmet(self, person: Person, now: float) -> RPError | None:
        """Why `person` does not meet it now (seconds since 1970); None when met.

        AccessError `rp.rung_unmet` (no sign-in mends it), `rp.level_unmet`, `rp.max_age_unmet`, `rp.status_unmet`.
        """
        if self.rung is not None and not _reaches(person.rung, self.rung):
            return AccessError("rp.rung_unmet", f"rung {person.rung}, asked {self.rung}")
        if person.level < self.level:
            return AccessError("rp.level_unmet", f"level {person.level}, asked {self.level}")
        if self._too_old(person, now):
            return AccessError("rp.max_age_unmet", f"not signed in within the last {self.max_age} s")
        if self._unknown_since(person, now):
            return AccessError("rp.status_unmet", f"judged too long ago for {self.status_max_age} s, rung {self.rung}")
        return None

    def stale(self, person: Person, now: float) -> bool:
        """True when only a new proof can do: the provider may count from later than we do (`prompt=login`)."""
        return self._too_old(person, now) or self._unknown_since(person, now)

    def _too_old(self, person: Person, now: float) -> bool:
        age = now - person.auth_time.timestamp()
        return self.max_age is not None and not -_AHEAD <= age <= self.max_age

    def _unknown_since(self, person: Person, now: float) -> bool:
        """The status is older than allowed, or was looked at so long ago that the rung may have become worse."""
        age = now - person.status_issued_at.timestamp()
        if self.status_max_age is not None and not -_AHEAD <= age <= self.status_max_age:
            return True
        return self.rung is not None and not _reaches(person.rung_at(now), self.rung)

    def asked(self, acr_values: str | None = None) -> list[tuple[str, str]]:
        """What a challenge names (RFC 9470 §3). `acr_values` are the provider's for the level; the hall's when None."""
        wanted = f"urn:crosshall:loa:{self.level}" if acr_values is None else acr_values
        ages = [age for age in (self.max_age, self.status_max_age) if age is not None]
        asked = [("acr_values", wanted)] if self.level > 1 and wanted else []
        return [*asked, ("max_age", str(min(ages)))] if ages else asked

    def challenge(self, error: RPError, acr_values: str | None = None) -> str:
        """The `WWW-Authenticate` value for a script at a page (RFC 9470 §3, RFC 6750 §3)."""
        why = [] if error.code == "rp.sign_in_required" else [("error", "insufficient_user_authentication")]
        pairs = ", ".join(f'{name}="{value}"' for name, value in (*why, *self.asked(acr_values)))
        return f"Bearer {pairs}".rstrip()


def _reaches(rung: str, worst: str) -> bool:
    return rung in RUNGS[: RUNGS.index(worst) + 1]
