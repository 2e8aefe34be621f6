"""What stands before every page: host, Origin, anti-forgery token, cookies, headers.

Two kinds of host reach the bridge. The hall (`issuer`) has every page; the certificate host has `/c/<tx>`, refusals
and static files, nothing else, so that a click there can touch nothing of the hall.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import urlsafe_b64encode
from urllib.parse import urlsplit

from flask import Response, request

from ca_bridge.ceremony.transaction import new_secret
from ca_bridge.errors import CeremonyError
from ca_bridge.settings import Bridge

BROWSER = "__Host-crosshall-browser"
SESSION = "__Host-crosshall-session"
CERTIFICATE = "__Host-crosshall-cert"
CSRF_FIELD = "csrf"
CSRF_HEADER = "X-Crosshall-CSRF"
LABEL = 26
"""Length of the random label of a certificate host: 26 characters of base32 are 130 bits."""

_SECRET = re.compile(r"[A-Za-z0-9_-]{43,64}")
_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src {connect}; "
    "form-action {form}; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)


def is_hall(bridge: Bridge, host: str) -> bool:
    """Whether `host` (the Host header) is the hall's own."""
    return host.lower() == urlsplit(bridge.issuer).netloc


def is_certificate_host(bridge: Bridge, host: str) -> bool:
    """Whether `host` is the certificate host: as set, with one random label in the place of a leading `*`."""
    host, pattern = host.lower(), bridge.certificate_host.lower()
    if not pattern.startswith("*."):
        return host == pattern
    label, _, rest = host.partition(".")
    return rest == pattern[2:] and re.fullmatch(rf"[a-z2-7]{{{LABEL}}}", label) is not None


def cookie(name: str) -> str:
    """The cookie's value when it has the form of our own, else `""`."""
    value = request.cookies.get(name, "")
    return value if _SECRET.fullmatch(value) else ""


def set_cookie(response: Response, name: str, value: str) -> None:
    """A cookie of this host alone, until the browser closes: `__Host-`, Secure, HttpOnly, SameSite=Lax."""
    response.set_cookie(name, value, secure=True, httponly=True, samesite="Lax", path="/")


def clear_cookie(response: Response, name: str) -> None:
    """Forget the cookie `name`."""
    response.delete_cookie(name, secure=True, httponly=True, samesite="Lax", path="/")


def browser_cookie() -> tuple[str, bool]:
    """The browser's cookie, and whether it is new and must be set on the answer."""
    known = cookie(BROWSER)
    return (known, False) if known else (new_secret(), True)


def csrf_token(secret: str, transaction: str) -> str:
    """The anti-forgery token of one transaction's pages in the browser whose cookie is `secret` (HMAC-SHA256)."""
    mac = hmac.new(secret.encode(), b"crosshall-csrf-v1\0" + transaction.encode(), hashlib.sha256)
    return urlsafe_b64encode(mac.digest()).decode().rstrip("=")


def check_post(secret: str, transaction: str, origin: str) -> None:
    """A POST came from our own page in the same browser.

    Raises CeremonyError `ceremony.forged`: Origin absent or not `origin`, Sec-Fetch-Site of another site, or a token
    that is not of this cookie and transaction.
    """
    if request.headers.get("Origin", "") != origin:
        raise CeremonyError("ceremony.forged", "Origin is not our own")
    if request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
        raise CeremonyError("ceremony.forged", "Sec-Fetch-Site is not same-origin")
    given = request.headers.get(CSRF_HEADER) or request.form.get(CSRF_FIELD, "")
    if not secret or not hmac.compare_digest(given.encode(), csrf_token(secret, transaction).encode()):
        raise CeremonyError("ceremony.forged", "anti-forgery token is absent or of another browser or transaction")


def protect(response: Response, *, connect: str = "'self'", form: str = "'self'") -> Response:
    """Headers of every answer that did not set its own; `connect` and `form` widen the policy of one page."""
    headers = response.headers
    headers.setdefault("Content-Security-Policy", _CSP.format(connect=connect, form=form))
    headers.setdefault("X-Content-Type-Options", "nosniff")
    # `same-origin`, not `no-referrer`: under the latter browsers send `Origin: null` with our own forms.
    headers.setdefault("Referrer-Policy", "same-origin")
    headers.setdefault("X-Frame-Options", "DENY")
    # `-allow-popups`: the signer's page is opened from the sign-in page.
    headers.setdefault("Cross-Origin-Opener-Policy", "same-origin-allow-popups")
    headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
    headers.setdefault("Permissions-Policy", "camera=(), microphone=(), geolocation=(), usb=(), payment=()")
    headers.setdefault("Cache-Control", "no-store")
    return response
