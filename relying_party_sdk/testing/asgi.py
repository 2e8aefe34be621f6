"""An ASGI application as WSGI: for tests and tools, one request at a time in a loop of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication

    from relying_party_sdk.adapters.asgi import App, Message, Scope


def as_wsgi(app: App) -> WSGIApplication:
    """`app` behind WSGI; HTTP only, the whole body at once, no lifespan."""

    def run(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        status, headers, parts = asyncio.run(_call(app, _scope(environ), body))
        start_response(f"{status} {HTTPStatus(status).phrase}", headers)
        return parts

    return run


def _scope(environ: dict[str, Any]) -> Scope:
    fields = {name[5:].replace("_", "-"): value for name, value in environ.items() if name.startswith("HTTP_")}
    fields |= {"content-type": environ.get("CONTENT_TYPE") or "", "content-length": environ.get("CONTENT_LENGTH") or ""}
    path = environ.get("PATH_INFO", "/").encode("latin-1")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": environ["REQUEST_METHOD"],
        "scheme": environ.get("wsgi.url_scheme", "http"),
        "path": path.decode("utf-8", "replace"),
        "raw_path": path,
        "root_path": "",
        "query_string": environ.get("QUERY_STRING", "").encode("latin-1"),
        "headers": [(k.lower().encode("latin-1"), v.encode("latin-1")) for k, v in fields.items() if v],
        "server": (environ.get("SERVER_NAME", "localhost"), int(environ.get("SERVER_PORT") or 80)),
        "client": (environ.get("REMOTE_ADDR", "127.0.0.1"), 0),
    }


async def _call(app: App, scope: Scope, body: bytes) -> tuple[int, list[tuple[str, str]], list[bytes]]:
    status, headers, parts, sent = 500, [], [], False

    async def receive() -> Message:
        nonlocal sent
        if sent:
            return {"type": "http.disconnect"}
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        nonlocal status, headers
        if message["type"] == "http.response.start":
            status = message["status"]
            headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in message["headers"]]
        else:
            parts.append(message.get("body", b""))

    await app(scope, receive, send)
    return status, headers, parts
