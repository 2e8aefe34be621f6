"""A small window on each asynchronous adapter, for a real ASGI server: `/` who is there, `/name` what the hall tells.

`CROSSHALL_RP_SETTINGS=… uvicorn --factory tests.live.asgi_window:plain` (or `starlette`).
"""

from __future__ import annotations

from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from relying_party_sdk import RelyingParty, Settings
from relying_party_sdk.adapters import asgi
from relying_party_sdk.adapters.starlette import CrosshallRP


def plain() -> Any:
    """ASGI 3 without a framework."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        visit = asgi.visit_of(scope)
        if scope["path"] == "/name":
            await visit.require(level=2)
            text = (await visit.attributes()).name
        else:
            person = await visit.person()
            text = person.kind if person else "nobody"
        headers = [(b"content-type", b"text/plain; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": text.encode()})

    return asgi.CrosshallRP(app, party=RelyingParty(Settings.from_environment()))


def starlette() -> Starlette:
    """Starlette."""
    app = Starlette()
    rp = CrosshallRP(app, party=RelyingParty(Settings.from_environment()))

    async def home(request: Request) -> PlainTextResponse:
        person = await rp.person(request)
        return PlainTextResponse(person.kind if person else "nobody")

    @rp.require(level=2)
    async def name(request: Request) -> PlainTextResponse:
        return PlainTextResponse((await rp.attributes(request)).name)

    app.routes.extend([Route("/", home), Route("/name", name)])
    return app
