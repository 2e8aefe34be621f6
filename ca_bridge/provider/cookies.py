"""The two cookies of the hall that the provider reads (docs/contracts.md): Secure, HttpOnly, SameSite=Lax."""

from __future__ import annotations

import re

from flask import request
from werkzeug.wrappers import Response

BROWSER = "__Host-crosshall-browser"
SESSION = "__Host-crosshall-session"
_FORM = re.compile(r"[A-Za-z0-9_-]{43}")


def browser() -> str:
    """The secret of this browser; empty when absent or misshapen."""
    return _read(BROWSER)


def session() -> str:
    """The secret of the bridge's session; empty when absent or misshapen."""
    return _read(SESSION)


def keep_browser(answer: Response, secret: str) -> None:
    """Give the browser its secret, until it is closed."""
    answer.set_cookie(BROWSER, secret, secure=True, httponly=True, samesite="Lax", path="/")


def forget_session(answer: Response) -> None:
    """Take the session's cookie back."""
    answer.delete_cookie(SESSION, secure=True, httponly=True, samesite="Lax", path="/")


def _read(name: str) -> str:
    value = request.cookies.get(name, "")
    return value if _FORM.fullmatch(value) else ""
