"""Starlette: `rp = CrosshallRP(app)`, then `@rp.require(level=2)` on an endpoint and `await rp.person(request)` in it.

FastAPI: the same object; `Depends(rp.needs(level=2))` gives an endpoint its person.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec, TypeVar

from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request

from relying_party_sdk.adapters.asgi import AsyncVisit, in_thread, visit_of
from relying_party_sdk.adapters.asgi import CrosshallRP as Middleware
from relying_party_sdk.api import needs
from relying_party_sdk.bearer import AccessToken
from relying_party_sdk.client import RelyingParty
from relying_party_sdk.errors import SettingsError
from relying_party_sdk.hooks import Hooks
from relying_party_sdk.person import Attributes, Person, Requirement
from relying_party_sdk.settings import Settings
from relying_party_sdk.stores.links import Link
from relying_party_sdk.web import Call, make_web

P = ParamSpec("P")
R = TypeVar("R")


class CrosshallRP:
    """Unified login for a Starlette or FastAPI application; settings from the argument, else from the environment.

    Raises SettingsError at start, never at the first citizen.
    """

    def __init__(
        self,
        app: Starlette,
        settings: Settings | None = None,
        *,
        party: RelyingParty | None = None,
        language: Callable[[Call], str] | None = None,
        hooks: Hooks | None = None,
    ) -> None:
        self.web = make_web(settings, party, language, hooks)
        app.add_middleware(Middleware, web=self.web)

    async def person(self, request: HTTPConnection) -> Person | None:
        """Who is signed in, confirmed within `recheck`; None for nobody. Raises ProviderError, StoreError."""
        return await self.visit(request).person()

    async def account(self, request: HTTPConnection, account: str | None = None) -> Link | None:
        """The person's account of the application; see `relying_party_sdk.visit.Visit`."""
        return await self.visit(request).account(account)

    async def link_account(self, request: HTTPConnection, account: str, proved: Callable[[], bool], **how: Any) -> Link:
        """Link the person to an account; `proved` is called in a thread. See `Accounts.link`."""
        return await self.visit(request).link_account(account, proved, **how)

    async def attributes(self, request: HTTPConnection) -> Attributes:
        """What the window is registered to learn, asked for in a thread. Raises ProviderError, StoreError."""
        return await self.visit(request).attributes()

    def token(self, request: HTTPConnection) -> AccessToken | None:
        """The access token of this call, inside `require_token`."""
        return self.visit(request).visit.token

    def visit(self, request: HTTPConnection) -> AsyncVisit:
        """The visit of a request."""
        return visit_of(request.scope)

    def require(
        self, level: int = 1, max_age: int | None = None, rung: str | None = None, status_max_age: int | None = None
    ) -> Callable[[Callable[P, Awaitable[R]]], Callable[P, Awaitable[R]]]:
        """Let only a person through who meets it; others are sent to sign in or step up, or told (as with Flask).

        For `async def` endpoints that take the request. Raises ValueError for a requirement that cannot be met.
        """
        wanted = Requirement(level, max_age, rung, status_max_age)

        def decorate(endpoint: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
            @functools.wraps(endpoint)
            async def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
                await in_thread(self._visit_in(*args, **kwargs).visit.require, wanted)
                return await endpoint(*args, **kwargs)

            return guarded

        return decorate

    def needs(
        self, level: int = 1, max_age: int | None = None, rung: str | None = None, status_max_age: int | None = None
    ) -> Callable[[Request], Awaitable[Person]]:
        """A FastAPI dependency: the person, who meets it. Raises ValueError for what cannot be met."""
        wanted = Requirement(level, max_age, rung, status_max_age)

        async def needed(request: Request) -> Person:
            return await in_thread(self.visit(request).visit.require, wanted)

        return needed

    def require_token(
        self,
        level: int = 1,
        max_age: int | None = None,
        rung: str | None = None,
        status_max_age: int | None = None,
        *,
        scope: str = "",
        online: bool = False,
    ) -> Callable[[Callable[P, Awaitable[R]]], Callable[P, Awaitable[R]]]:
        """Let only a call with an access token through that meets it: `rp.token(request)`. For APIs."""
        wanted = needs(level, max_age, rung, status_max_age, scope=scope, online=online)

        def decorate(endpoint: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
            @functools.wraps(endpoint)
            async def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
                await in_thread(self._visit_in(*args, **kwargs).visit.admit, wanted)
                return await endpoint(*args, **kwargs)

            return guarded

        return decorate

    def needs_token(
        self,
        level: int = 1,
        max_age: int | None = None,
        rung: str | None = None,
        status_max_age: int | None = None,
        *,
        scope: str = "",
        online: bool = False,
    ) -> Callable[[Request], Awaitable[AccessToken]]:
        """A FastAPI dependency: the access token of a call to an API, which meets it. Raises ValueError."""
        wanted = needs(level, max_age, rung, status_max_age, scope=scope, online=online)

        async def needed(request: Request) -> AccessToken:
            return await in_thread(self.visit(request).visit.admit, wanted)

        return needed

    def _visit_in(self, *args: Any, **kwargs: Any) -> AsyncVisit:
        for each in (*args, *kwargs.values()):
            if isinstance(each, HTTPConnection):
                return self.visit(each)
        raise SettingsError("rp.settings", "the endpoint does not take the request")
