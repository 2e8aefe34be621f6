"""Plain ASGI 3: `app = CrosshallRP(app)`, then `await visit_of(scope).require(level=2)` inside.

The core is synchronous and waits for the store and the provider: it runs in threads, never on the event loop.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, ParamSpec, TypeVar

from relying_party_sdk.api import needs
from relying_party_sdk.bearer import AccessToken
from relying_party_sdk.client import RelyingParty
from relying_party_sdk.errors import RPError, SettingsError
from relying_party_sdk.hooks import Hooks
from relying_party_sdk.person import Attributes, Person, Requirement
from relying_party_sdk.settings import Settings
from relying_party_sdk.stores.links import Link
from relying_party_sdk.visit import Visit
from relying_party_sdk.web import BODY_LIMIT, Call, Reply, Web, lower, make_web

P = ParamSpec("P")
R = TypeVar("R")
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

KEY = "crosshall_rp.visit"
"""Where the visit lies in the scope."""
_threads = ThreadPoolExecutor(32, "crosshall-rp")
"""Threads are made when they are needed; a slow provider holds some of them, never the loop."""


async def in_thread(work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """The result of `work`, done in a thread."""
    return await asyncio.get_running_loop().run_in_executor(_threads, functools.partial(work, *args, **kwargs))


class AsyncVisit:
    """One request of the application; see `relying_party_sdk.visit.Visit`."""

    def __init__(self, visit: Visit) -> None:
        self.visit = visit

    async def person(self) -> Person | None:
        """Who is signed in, confirmed within `recheck`; None for nobody. Raises ProviderError, StoreError."""
        return await in_thread(lambda: self.visit.person)

    async def require(
        self, level: int = 1, max_age: int | None = None, rung: str | None = None, status_max_age: int | None = None
    ) -> Person:
        """The person, who meets it. For one who does not, raises what the middleware turns into the answer."""
        return await in_thread(self.visit.require, Requirement(level, max_age, rung, status_max_age))

    async def require_token(
        self,
        level: int = 1,
        max_age: int | None = None,
        rung: str | None = None,
        status_max_age: int | None = None,
        *,
        scope: str = "",
        online: bool = False,
    ) -> AccessToken:
        """The access token of a call to an API, which meets it (as with Flask). Raises as `require`."""
        wanted = needs(level, max_age, rung, status_max_age, scope=scope, online=online)
        return await in_thread(self.visit.admit, wanted)

    async def account(self, account: str | None = None) -> Link | None:
        """The person's account of the application; see `relying_party_sdk.visit.Visit`."""
        return await in_thread(self.visit.account, account)

    async def link_account(self, account: str, proved: Callable[[], bool], **how: Any) -> Link:
        """Link the person to an account; `proved` is called in a thread. See `Accounts.link`."""
        return await in_thread(functools.partial(self.visit.link_account, account, proved, **how))

    async def attributes(self) -> Attributes:
        """What the window is registered to learn; empty for nobody. Raises ProviderError, StoreError."""
        person = await self.person()
        return await in_thread(person.attributes) if person else Attributes()


class CrosshallRP:
    """Middleware around an application; settings from the argument, else from the environment.

    Raises SettingsError at start, never at the first citizen.
    """

    def __init__(
        self,
        app: App,
        settings: Settings | None = None,
        *,
        party: RelyingParty | None = None,
        language: Callable[[Call], str] | None = None,
        web: Web | None = None,
        hooks: Hooks | None = None,
    ) -> None:
        self.app = app
        self.web = web or make_web(settings, party, language, hooks)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the SDK's own addresses, hand on everything else with a visit."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        call = read_call(scope)
        if scope["type"] == "http" and self.web.owns(call.path):
            reply = await in_thread(self.web.serve, replace(call, body=await _body(receive)))
            await _send(reply, send)
            return
        visit, started = Visit(self.web, call), False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] in ("http.response.start", "websocket.accept")
            if message["type"] == "http.response.start":
                plain = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in message["headers"]]
                message = {**message, "headers": _encode(visit.private(plain))}
            await send(message)

        try:
            if self.web.party.hooks.on_sign_out is not None:
                await in_thread(visit.watch)
            await self.app({**scope, KEY: AsyncVisit(visit)}, receive, watched)
        except RPError as error:
            if started:
                raise
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
                return
            await _send(await in_thread(self.web.error, call, error), send)


def visit_of(scope: Scope) -> AsyncVisit:
    """The visit of a request. Raises SettingsError outside the middleware."""
    visit = scope.get(KEY)
    if not isinstance(visit, AsyncVisit):
        raise SettingsError("rp.settings", "the application is not inside CrosshallRP")
    return visit


def read_call(scope: Scope) -> Call:
    """The request, without its body; its path below `root_path`, which servers leave in it."""
    root, path = scope.get("root_path", ""), scope["path"]
    if root and (path == root or path.startswith(f"{root}/")):
        path = path.removeprefix(root)
    headers = lower((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"])
    return Call(
        scope.get("method", "GET"), path or "/", scope.get("query_string", b"").decode("latin-1"), headers, native=scope
    )


async def _body(receive: Receive) -> bytes:
    """The body, as far as one of the SDK's own addresses takes any."""
    body = b""
    while len(body) <= BODY_LIMIT:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body", False):
            break
    return body


def _encode(headers: list[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]


async def _send(reply: Reply, send: Send) -> None:
    headers = _encode([*reply.headers, ("Content-Length", str(len(reply.body)))])
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})
