"""The same application in every framework: `/` who, `/matters/…` level 2, `/high` level 3 fresh, `/line`, `/fault`,
`/api` for access tokens of level 2 with scope `crosshall`.

Each is handed to werkzeug's test client as WSGI.
"""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any
from urllib.parse import parse_qs

import django
from django.conf import settings as project
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpResponse
from django.test import override_settings
from django.urls import path
from fastapi import Depends, FastAPI
from flask import Flask
from flask import request as flask_request
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from relying_party_sdk import Person, ProviderError, RelyingParty
from relying_party_sdk.adapters import asgi, flask, starlette, wsgi
from relying_party_sdk.adapters import django as dj
from relying_party_sdk.bearer import AccessToken
from relying_party_sdk.testing.asgi import as_wsgi

Wsgi = Any


def caller(token: AccessToken | None) -> str:
    """What the API says."""
    assert token
    assert token.person
    return f"{token.client} for {token.person.kind}"


def text(person: Person | None) -> str:
    """What the first page says."""
    return person.kind if person else "nobody"


@contextmanager
def flask_app(party: RelyingParty) -> Iterator[Wsgi]:
    """Flask."""
    app = Flask("contract")
    app.testing = True
    rp = flask.CrosshallRP(app, party=party)
    app.add_url_rule("/", view_func=lambda: text(rp.person), endpoint="home")

    @app.route("/matters/<name>", methods=["GET", "POST"])
    @rp.require(level=2)
    def matter(name: str) -> str:
        assert rp.person
        return f"{name} level {rp.person.level} {flask_request.form.get('note', '')}"

    app.add_url_rule("/high", view_func=rp.require(level=3, max_age=600)(lambda: "high"), endpoint="high")
    app.add_url_rule("/line", view_func=rp.require(rung="near")(lambda: "line"), endpoint="line")
    api = rp.require_token(level=2, scope="crosshall")(lambda: caller(rp.token))
    app.add_url_rule("/api", view_func=api, endpoint="api", methods=["GET", "POST"])

    @app.get("/fault")
    def fault() -> str:
        raise ProviderError("rp.provider_busy", "invented")

    yield app


@contextmanager
def wsgi_app(party: RelyingParty) -> Iterator[Wsgi]:
    """Plain WSGI."""

    def answer(start: Any, body: str) -> list[bytes]:
        start("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
        return [body.encode()]

    @wsgi.require(level=2)
    def matter(environ: dict[str, Any], start: Any) -> list[bytes]:
        person = wsgi.visit_of(environ).person
        assert person
        form = parse_qs(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)).decode())
        name = environ["PATH_INFO"].rpartition("/")[2].encode("latin-1").decode()
        return answer(start, f"{name} level {person.level} {form.get('note', [''])[0]}")

    pages: dict[str, Any] = {
        "/": lambda environ, start: answer(start, text(wsgi.visit_of(environ).person)),
        "/high": wsgi.require(level=3, max_age=600)(lambda _, start: answer(start, "high")),
        "/line": wsgi.require(rung="near")(lambda _, start: answer(start, "line")),
        "/api": wsgi.require_token(level=2, scope="crosshall")(
            lambda environ, start: answer(start, caller(wsgi.visit_of(environ).token))
        ),
    }

    def app(environ: dict[str, Any], start: Any) -> Any:
        if environ["PATH_INFO"] == "/fault":
            raise ProviderError("rp.provider_busy", "invented")
        if environ["PATH_INFO"].startswith("/matters/"):
            return matter(environ, start)
        return pages[environ["PATH_INFO"]](environ, start)

    yield wsgi.CrosshallRP(app, party=party)


@contextmanager
def asgi_app(party: RelyingParty) -> Iterator[Wsgi]:
    """Plain ASGI."""

    async def page(scope: Any, receive: Any) -> str:
        visit = asgi.visit_of(scope)
        if scope["path"] == "/fault":
            raise ProviderError("rp.provider_busy", "invented")
        if scope["path"] == "/high":
            await visit.require(level=3, max_age=600)
            return "high"
        if scope["path"] == "/api":
            return caller(await visit.require_token(level=2, scope="crosshall"))
        if scope["path"] == "/line":
            await visit.require(rung="near")
            return "line"
        if scope["path"].startswith("/matters/"):
            person = await visit.require(level=2)
            form = parse_qs((await receive())["body"].decode())
            return f"{scope['path'].rpartition('/')[2]} level {person.level} {form.get('note', [''])[0]}"
        return text(await visit.person())

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = (await page(scope, receive)).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": body})

    yield as_wsgi(asgi.CrosshallRP(app, party=party))


@contextmanager
def starlette_app(party: RelyingParty) -> Iterator[Wsgi]:
    """Starlette."""

    async def home(request: Request) -> PlainTextResponse:
        return PlainTextResponse(text(await rp.person(request)))

    async def matter(request: Request) -> PlainTextResponse:
        person = await rp.person(request)
        assert person
        form = parse_qs((await request.body()).decode())
        note = form.get("note", [""])[0]
        return PlainTextResponse(f"{request.path_params['name']} level {person.level} {note}")

    async def plain(request: Request) -> PlainTextResponse:
        return PlainTextResponse(request.url.path[1:])

    async def api(request: Request) -> PlainTextResponse:
        return PlainTextResponse(caller(rp.token(request)))

    async def fault(request: Request) -> PlainTextResponse:
        raise ProviderError("rp.provider_busy", "invented")

    app = Starlette()
    rp = starlette.CrosshallRP(app, party=party)
    app.router.routes += [
        Route("/", home),
        Route("/matters/{name}", rp.require(level=2)(matter), methods=["GET", "POST"]),
        Route("/high", rp.require(level=3, max_age=600)(plain)),
        Route("/line", rp.require(rung="near")(plain)),
        Route("/fault", fault),
        Route("/api", rp.require_token(level=2, scope="crosshall")(api), methods=["GET", "POST"]),
    ]
    yield as_wsgi(app)


@contextmanager
def fastapi_app(party: RelyingParty) -> Iterator[Wsgi]:
    """FastAPI."""
    app = FastAPI(default_response_class=PlainTextResponse)
    rp = starlette.CrosshallRP(app, party=party)

    async def home(request: Request) -> str:
        return text(await rp.person(request))

    async def matter(name: str, request: Request, person: Person) -> str:
        form = parse_qs((await request.body()).decode())
        return f"{name} level {person.level} {form.get('note', [''])[0]}"

    matter.__annotations__ = {"name": str, "request": Request, "person": Annotated[Person, Depends(rp.needs(level=2))]}
    home.__annotations__ = {"request": Request}

    def fault() -> str:
        raise ProviderError("rp.provider_busy", "invented")

    def api(token: AccessToken) -> str:
        return caller(token)

    api.__annotations__ = {"token": Annotated[AccessToken, Depends(rp.needs_token(level=2, scope="crosshall"))]}
    app.api_route("/api", methods=["GET", "POST"])(api)
    app.get("/")(home)
    app.api_route("/matters/{name}", methods=["GET", "POST"])(matter)
    app.get("/high", dependencies=[Depends(rp.needs(level=3, max_age=600))])(lambda: "high")
    app.get("/line", dependencies=[Depends(rp.needs(rung="near"))])(lambda: "line")
    app.get("/fault")(fault)
    yield as_wsgi(app)


@contextmanager
def django_app(party: RelyingParty) -> Iterator[Wsgi]:
    """Django."""
    if not project.configured:
        project.configure(ALLOWED_HOSTS=["*"], SECRET_KEY="for tests", MIDDLEWARE=[], USE_TZ=True)
        django.setup()

    @dj.require(level=2)
    def matter(request: Any, name: str) -> HttpResponse:
        return HttpResponse(f"{name} level {request.crosshall.person.level} {request.POST.get('note', '')}")

    def fault(request: Any) -> HttpResponse:
        raise ProviderError("rp.provider_busy", "invented")

    urls = types.ModuleType("crosshall_rp_test_urls")
    urls.urlpatterns = [  # type: ignore[attr-defined]
        path("", lambda request: HttpResponse(text(request.crosshall.person))),
        path("matters/<str:name>", matter),
        path("high", dj.require(level=3, max_age=600)(lambda request: HttpResponse("high"))),
        path("line", dj.require(rung="near")(lambda request: HttpResponse("line"))),
        path("fault", fault),
        path(
            "api",
            dj.require_token(level=2, scope="crosshall")(lambda request: HttpResponse(caller(request.crosshall.token))),
        ),
    ]
    sys.modules[urls.__name__] = urls
    middleware = "relying_party_sdk.adapters.django.CrosshallMiddleware"
    with override_settings(ROOT_URLCONF=urls.__name__, CROSSHALL_RP=party, MIDDLEWARE=[middleware]):
        yield WSGIHandler()
    del sys.modules[urls.__name__]


APPLICATIONS: dict[str, Callable[[RelyingParty], Any]] = {
    "flask": flask_app,
    "wsgi": wsgi_app,
    "asgi": asgi_app,
    "starlette": starlette_app,
    "fastapi": fastapi_app,
    "django": django_app,
}


def as_json(body: str) -> dict[str, Any]:
    """The JSON object of an answer."""
    found: dict[str, Any] = json.loads(body)
    return found
