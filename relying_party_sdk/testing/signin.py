"""`sign_in_as(client, persona)`: signs somebody in through the whole flow, in the test client of a framework.

Flask (werkzeug), Django and Starlette/FastAPI clients. Redirects are followed by hand, so a client that follows none is
as good as one that does; cookies stay in the client, whatever address its tests use.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlencode, urlsplit

import urllib3

from relying_party_sdk.settings import Settings
from relying_party_sdk.testing.personas import Persona
from relying_party_sdk.testing.provider import FakeProvider

_MOST = 8


class SignInFailed(AssertionError):  # noqa: N818 - reads as what happened
    """The application, or the fake provider, did not let the person in; says what was answered."""


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    location: str
    text: str


def sign_in_as(
    client: Any, persona: Persona, provider: FakeProvider | None = None, *, level: int | None = None, window: str = ""
) -> None:
    """Sign `persona` in, at `level` when it is given; the client is signed in afterwards.

    `provider` is the one that runs, when there is one only; `window` is the client_id, when several are registered.
    Raises SignInFailed with what was answered.
    """
    fake = provider or FakeProvider.running()
    settings = fake.window(window)
    fake.person = persona
    query = {"return_to": "/", **({"level": str(level)} if level else {})}
    here = f"{settings.base_path}{settings.prefix}/login?{urlencode(query)}"
    cookie = settings.cookie("session")
    with urllib3.PoolManager(retries=False) as pool:
        for _ in range(_MOST):
            answer = _open(client, settings, here)
            if _holds(client, cookie) and not answer.location.startswith(fake.issuer):
                if answer.status >= 400:
                    break
                return
            if not answer.location.startswith(fake.issuer):
                break
            away = pool.request("GET", answer.location, redirect=False)
            back = urlsplit(away.headers.get("location", ""))
            if not back.path:
                raise SignInFailed(f"the provider says {away.status}: {away.data.decode()[:500]}")
            here = f"{back.path}?{back.query}"
    raise SignInFailed(f"not signed in at {here.partition('?')[0]}: {answer.status} {_plain(answer.text)}")


def _open(client: Any, settings: Settings, path: str) -> _Reply:
    """GET below `base_url`, as the framework's client does it; its cookies are kept."""
    path = path.removeprefix(settings.base_path) or "/"
    if hasattr(client, "generic"):  # Django
        answer = client.get(path, secure=True, HTTP_ACCEPT="text/html")
        return _Reply(answer.status_code, answer.headers.get("Location", ""), answer.content.decode())
    if hasattr(client, "cookie_jar") or hasattr(client, "get_cookie"):  # Flask, werkzeug
        answer = client.get(path, headers={"Accept": "text/html"})
        return _Reply(answer.status_code, answer.headers.get("Location", ""), answer.get_data(as_text=True))
    if hasattr(client, "base_url"):  # Starlette, FastAPI (httpx)
        answer = client.get(path, headers={"Accept": "text/html"}, follow_redirects=False)
        for each in answer.headers.get_list("set-cookie"):  # kept for http://testserver too
            for name, morsel in SimpleCookie(each).items():
                for old in [cookie for cookie in client.cookies.jar if cookie.name == name]:
                    client.cookies.jar.clear(old.domain, old.path, name)
                if morsel.value and morsel["max-age"] != "0":
                    client.cookies.set(name, morsel.value)
        return _Reply(answer.status_code, answer.headers.get("location", ""), answer.text)
    raise TypeError(f"not a test client of Flask, Django or Starlette: {type(client).__name__}")


def _holds(client: Any, name: str) -> bool:
    if hasattr(client, "generic"):
        return name in client.cookies and bool(client.cookies[name].value)
    if hasattr(client, "get_cookie"):
        found = client.get_cookie(name)
        return found is not None and bool(found.value)
    return any(cookie.name == name for cookie in client.cookies.jar)


def _plain(html: str) -> str:
    """What a page says, for a person who reads a failed test."""
    return " ".join(re.sub(r"<style.*?</style>|<[^>]+>", " ", html, flags=re.DOTALL).split())[:500]
