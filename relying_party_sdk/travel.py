"""Where the browser is sent, and with which cookies: leaving for the provider, coming back, signing out."""

from __future__ import annotations

from dataclasses import dataclass, field

from relying_party_sdk.errors import RPError
from relying_party_sdk.person import Person, Requirement


@dataclass(frozen=True, slots=True)
class Departure:
    """Send the browser to `url` and set the cookie of this tab's sign-in, for `seconds`."""

    url: str
    cookie_name: str
    cookie: str
    seconds: int


@dataclass(frozen=True, slots=True)
class Arrival:
    """A session was made: set its cookie, then go to `return_to` – unless `unmet` says what of `wanted` is lacking.

    `unmet` is shown as an error and never answered with another redirect. `return_to` is below `base_url`.
    """

    cookie: str
    return_to: str
    wanted: Requirement
    unmet: RPError | None
    spent_cookie: str
    """Name of the tab's cookie, of no more use."""
    person: Person = field(repr=False)
    session: str
    """The new session's key."""
    previous: str | None
    """Key of the session that the browser had before; it is over."""


@dataclass(frozen=True, slots=True)
class Leaving:
    """Send the browser to `url`; the cookie (no name: none) lets it be recognised when it comes back signed out."""

    url: str
    cookie_name: str = ""
    cookie: str = ""
