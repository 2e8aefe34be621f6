"""What a provider's ID token tells of a person: the hall's contract, or plain OpenID Connect."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from relying_party_sdk.claims import check_claims, loa
from relying_party_sdk.errors import SettingsError, TokenError
from relying_party_sdk.person import Attributes, Person
from relying_party_sdk.settings import Settings

Fetch = Callable[[], Attributes]


class Profile(Protocol):
    """Reads the claims of ID tokens that are verified already."""

    def check(self, claims: Mapping[str, Any]) -> Mapping[str, Any]:
        """What a session keeps of the claims. Raises TokenError `rp.claims` for what is missing or mistyped."""

    def renew(self, kept: Mapping[str, Any], claims: Mapping[str, Any]) -> Mapping[str, Any]:
        """What a session keeps after a refresh. Raises TokenError `rp.token_sub` for another person, `rp.claims`."""

    def person(self, kept: Mapping[str, Any], fetch: Fetch) -> Person:
        """The person of a session."""

    def acr_values(self, level: int) -> str:
        """What asks for a level, separated by spaces. Raises SettingsError `rp.settings` when nothing does."""


class Contract:
    """The hall's: every claim of `claims.schema.json`, present and of its type."""

    def check(self, claims: Mapping[str, Any]) -> Mapping[str, Any]:
        """See Profile."""
        return check_claims(claims)

    def renew(self, kept: Mapping[str, Any], claims: Mapping[str, Any]) -> Mapping[str, Any]:
        """See Profile."""
        found = check_claims(claims)
        if found["crosshall_subject"] != kept["crosshall_subject"]:
            raise TokenError("rp.token_sub", "crosshall_subject changed at refresh")
        return found

    def person(self, kept: Mapping[str, Any], fetch: Fetch) -> Person:
        """See Profile."""
        return Person.read(kept, fetch)

    def acr_values(self, level: int) -> str:
        """See Profile."""
        return loa(level)


@dataclass(frozen=True, slots=True)
class Standard:
    """Any OpenID provider's: `sub`, `iat`, and `acr` and `auth_time` where it tells them (Core §2)."""

    levels: tuple[str, ...]
    """The `acr` values of levels 1, 2, …"""

    def check(self, claims: Mapping[str, Any]) -> Mapping[str, Any]:
        """See Profile."""
        kept = {name: claims[name] for name in ("sub", "iat", "acr", "auth_time") if name in claims}
        if not isinstance(kept.get("acr", ""), str):
            raise TokenError("rp.claims", "acr is not a text")
        for name in ("iat", "auth_time"):
            if not _is_time(kept.get(name, 0)):
                raise TokenError("rp.claims", f"{name} is not a time")
        return kept

    def renew(self, kept: Mapping[str, Any], claims: Mapping[str, Any]) -> Mapping[str, Any]:
        """See Profile. A refresh may leave out `acr` and `auth_time`: what the sign-in said holds (Core §12.2)."""
        return {**kept, **self.check(claims)}

    def person(self, kept: Mapping[str, Any], fetch: Fetch) -> Person:
        """See Profile."""
        acr = kept.get("acr")
        return Person.standard(kept, self.levels.index(acr) + 1 if acr in self.levels else 1, fetch)

    def acr_values(self, level: int) -> str:
        """See Profile. All that satisfy the level, lowest first: in order of preference (Core §3.1.2.1)."""
        if level > max(1, len(self.levels)):
            raise SettingsError("rp.settings", f"acr_levels name no acr for level {level}")
        return " ".join(self.levels[level - 1 :])


def profile_of(settings: Settings) -> Profile:
    """The profile that the settings name."""
    return Contract() if settings.claims == "crosshall" else Standard(settings.acr_levels)


def _is_time(value: object) -> bool:
    """A time that a calendar can hold: not beyond the year 9999."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value) and 0 <= value < 253_402_300_800  # type: ignore[arg-type, operator]
