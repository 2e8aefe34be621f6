"""A system of long ago: it believes `REMOTE_USER`-like headers and has its own session cookie. Nobody can change it.

Run it on loopback only, `gunicorn -b 127.0.0.1:9000 examples.old_wsgi:application`, behind
`crosshall-rp proxy examples/old_wsgi.toml`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wsgiref.types import StartResponse


def application(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    """Says whom it believes to serve."""
    user = environ.get("HTTP_X_REMOTE_USER", "nobody")
    headers = [("Content-Type", "text/plain; charset=utf-8")]
    if "OLDSESSION" not in environ.get("HTTP_COOKIE", ""):
        headers.append(("Set-Cookie", "OLDSESSION=1; Path=/; HttpOnly"))
    if environ["PATH_INFO"] == "/quit":
        headers.append(("Set-Cookie", "OLDSESSION=; Path=/; Max-Age=0"))
    start_response("200 OK", headers)
    return [f"{environ['PATH_INFO']} for {user[:11]}".encode()]
