"""Which language a person reads, and the words of our pages (`config/locales/<language>.toml`).

Order: the switch on the page (kept in a cookie of the browser session), the window's `ui_locales`, the browser's
Accept-Language, then 简体中文.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

from flask import Response, g, request

from ca_bridge.errors import LANGUAGES
from ca_bridge.files import config_dir

COOKIE = "__Host-crosshall-language"
PARAMETER = "lang"
DEFAULT = "zh-Hans"
OWN_NAMES = {"zh-Hans": "简体中文", "zh-Hant": "繁體中文", "en": "English", "pt": "Português"}

_TRADITIONAL = {"hant", "tw", "hk", "mo"}


def matched(tag: str) -> str:
    """Our language for a BCP 47 tag (`zh-HK` is 繁體, `pt-BR` is português), or `""`."""
    first, *rest = tag.strip().lower().replace("_", "-").split("-")
    if first == "zh":
        if "hans" in rest:
            return "zh-Hans"
        return "zh-Hant" if _TRADITIONAL & set(rest) else "zh-Hans"
    return first if first in ("en", "pt") else ""


def current() -> str:
    """The language of this request."""
    known: str | None = g.get("language")
    if known is None:
        known = _choose(())
        g.language = known
    return known


def prefer(tags: Iterable[str]) -> None:
    """Take the transaction's `ui_locales` into account for this request."""
    g.language = _choose(tags)


def keep_choice(response: Response) -> Response:
    """Set the cookie when the person has just used the switch."""
    chosen = request.args.get(PARAMETER, "")
    if chosen in LANGUAGES:
        # Not HttpOnly by contract: scripts of our own pages may read it. Session cookie: a shared machine forgets it.
        response.set_cookie(COOKIE, chosen, secure=True, samesite="Lax", path="/")
    return response


def text(key: str, **values: Any) -> str:
    """The words for `key` in the language of this request. Raises KeyError: a test holds pages and locales together."""
    words = locale(current())[key]
    return words.format(**values) if values else words


@functools.cache
def locale(language: str) -> Mapping[str, str]:
    """All words of one language, `section.key` → text."""
    raw = tomllib.loads((config_dir() / "locales" / f"{language}.toml").read_text("utf-8"))
    return {f"{section}.{key}": words for section, table in raw.items() for key, words in table.items()}


def _choose(tags: Iterable[str]) -> str:
    for explicit in (request.args.get(PARAMETER, ""), request.cookies.get(COOKIE, "")):
        if explicit in LANGUAGES:
            return explicit
    browser = [str(tag) for tag, _ in request.accept_languages]
    for tag in (*tags, *browser):
        if found := matched(tag):
            return found
    return DEFAULT
