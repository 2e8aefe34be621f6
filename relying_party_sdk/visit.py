"""One request of an application, whatever its framework: who is there, and what a page requires of them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from relying_party_sdk.api import Api
from relying_party_sdk.bearer import AccessToken
from relying_party_sdk.errors import ProviderError
from relying_party_sdk.person import Person, Requirement
from relying_party_sdk.resource import Needs
from relying_party_sdk.session import Session
from relying_party_sdk.stores.links import Link
from relying_party_sdk.web import Call, Reply, Stopped, Web

Headers = list[tuple[str, str]]


class Visit:
    """Reads and confirms the session once, when it is first asked for. For one request, not shared by threads."""

    def __init__(self, web: Web, call: Call) -> None:
        self.web = web
        self.call = call
        self.touched = False
        """The answer depends on who is signed in."""
        self.token: AccessToken | None = None
        """The access token that `admit` let pass."""
        self._looked = False
        self._session: Session | None = None
        self._person: Person | None = None

    @property
    def person(self) -> Person | None:
        """Who is signed in, confirmed within `recheck`; None for nobody.

        Raises ProviderError `rp.provider_unreachable` when that cannot be known any more, StoreError.
        """
        self.touched = True
        return self._known

    def watch(self) -> None:
        """Before a page of an application that keeps its own sessions: its hook is told when ours is over.

        Raises as `person`.
        """
        if self.web.party.hooks.on_sign_out is not None:
            self._known  # noqa: B018 - looked up for what it does

    @property
    def _known(self) -> Person | None:
        if not self._looked:
            party, cookie = self.web.party, self.web.session_cookie(self.call)
            self._session = party.current(cookie) if cookie else None
            self._person = party.person(self._session) if self._session else None
            self._looked = True
            key = (
                party.sessions.key_of(cookie) if party.hooks.on_sign_out and cookie and self._session is None else None
            )
            if key is not None and not party.sessions.was_replaced(key):
                party.hooks.signed_out((key,), self.call.native)
        return self._person

    def account(self, account: str | None = None) -> Link | None:
        """The person's account of the application, of several the one named; None for a person without any.

        A person who is not signed in, or below the level at which the account opens, is sent to sign in or step up
        first (raises Stopped). Raises AccountError `rp.account_choice`, StoreError.
        """
        person = self.require(Requirement())
        link = self.web.party.accounts.find(person, account)
        if link is not None:
            self.require(Requirement(link.level))
        return link

    def link_account(self, account: str, proved: Callable[[], bool], **how: Any) -> Link:
        """Link the person to an account, from a form of this site; as `Accounts.link`, and `rp.cross_site`."""
        self.web.check_own_site(self.call)
        return self.web.party.accounts.link(self.require(Requirement()), account, proved, **how)

    def check(self, wanted: Requirement) -> Reply | None:
        """None to show the page, else what is to be answered instead. Raises as `person`, and as `Web.depart`."""
        reply = self.web.gate(self.call, self.person, wanted)
        if reply is None and self._session is not None and self._session.refreshing and self._navigates:
            with suppress(ProviderError):  # its refresh was lost: confirmed by a silent sign-in, when that is possible
                return self.web.depart(self.call, self.call.here, wanted)
        return reply

    @property
    def _navigates(self) -> bool:
        """The browser says that a person opens a page (W3C Fetch Metadata §2.3)."""
        return self.call.method == "GET" and self.call.headers.get("sec-fetch-mode") == "navigate"

    def require(self, wanted: Requirement) -> Person:
        """The person, who meets `wanted`. Raises Stopped with the answer for one who does not, or as `check`."""
        reply = self.check(wanted)
        if reply is not None or self._person is None:
            raise Stopped(reply or Reply(500))
        return self._person

    def admit(self, wanted: Needs) -> AccessToken:
        """The access token of a call to an API, which meets `wanted`; cookies do not count. Raises Stopped."""
        self.token = Api(self.web.party).admit(self.call, wanted)
        return self.token

    def sign_in_address(self, return_to: str = "", wanted: Requirement | None = None, hall: str = "") -> str:
        """Path that begins a sign-in (or step-up) and comes back to `return_to`, by default this page.

        `hall`: the node where the person may be signed in already (`gd/guangzhou`), a hint.
        """
        return self.web.sign_in_address(return_to or self.call.here, wanted, hall)

    @property
    def sign_out_address(self) -> str:
        """Path that a form posts to in order to sign out everywhere."""
        return self.web.sign_out_address

    def private(self, headers: Headers) -> Headers:
        """The answer's headers; one that depends on who is signed in is never kept by a cache."""
        if not self.touched or any(name.lower() == "cache-control" for name, _ in headers):
            return headers
        vary = ", ".join(value for name, value in headers if name.lower() == "vary")
        kept = [(name, value) for name, value in headers if name.lower() != "vary"]
        return [*kept, ("Cache-Control", "no-store"), ("Vary", f"{vary}, Cookie" if vary else "Cookie")]
