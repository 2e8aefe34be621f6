"""For an application that keeps its own sessions: told when somebody has signed in here, and when that is over.

    on_sign_in(SignedIn)   begin your session; a path that is returned is where the browser goes
    on_sign_out(SignedOut) end it: the person signed out, the provider said so, or the session is not there any more

With `on_sign_out` set, every request that carries our cookie is rechecked as a page with `require` is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from relying_party_sdk.person import Person


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Somebody has signed in, or stepped up."""

    person: Person
    session: str
    """Names the session from now to its end; useless as a cookie. Keep it with your own session."""
    previous: str | None
    """The session that this browser had before, and that this one replaces, whoever's it was."""
    request: Any = field(repr=False)
    """The framework's: Flask's or Django's request, WSGI's environ, ASGI's scope."""


@dataclass(frozen=True, slots=True)
class SignedOut:
    """Sessions are over. May be told more than once of one, and in another process than the one that began it."""

    sessions: tuple[str, ...]
    request: Any = field(repr=False)
    """The browser's request, whose own session can be ended; None when the provider called."""


@dataclass(slots=True)
class Hooks:
    """What an application wants to be told; plain functions, called in the thread of the request."""

    on_sign_in: Callable[[SignedIn], str | None] | None = None
    on_sign_out: Callable[[SignedOut], object] | None = None

    def signed_out(self, sessions: tuple[str, ...], request: Any = None) -> None:
        """Tell the application, when there is something to tell."""
        if self.on_sign_out is not None and sessions:
            self.on_sign_out(SignedOut(sessions, request))
