"""Strict reading of what the provider sends: JSON objects without duplicate members, answers of the right type."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from relying_party_sdk.errors import ProviderError
from relying_party_sdk.transport import HttpResponse


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_no_constant)
"""Made once: `json.loads` with a hook makes a decoder for every call."""
_scan: Callable[[str, int], tuple[Any, int]] = vars(_DECODER)["scan_once"]


def json_object(raw: bytes) -> dict[str, Any]:
    """A JSON object in UTF-8. Raises ValueError for anything else: duplicates, NaN, too deep, another type."""
    text = raw.decode("utf-8")
    try:
        value, end = _scan(text, 0) if text.startswith("{") else (None, -1)
        if end != len(text):  # white space around it, or what is no JSON
            value = _DECODER.decode(text)
    except (RecursionError, StopIteration) as error:
        raise ValueError("too deep, or cut short") from error
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value


def answer(response: HttpResponse, what: str, *, good: tuple[int, ...] = (200,)) -> dict[str, Any]:
    """The JSON object of a good answer.

    Raises ProviderError: `rp.provider_refused` with the OAuth error code (RFC 6749 §5.2), `rp.provider_unreachable`
    for a server that fails (5xx, 429), `rp.provider_answer` for HTML, redirects and whatever else.
    """
    if response.status >= 500 or response.status == 429:
        raise ProviderError("rp.provider_unreachable", f"{what}: HTTP {response.status}")
    media = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != "application/json" and not (media.startswith("application/") and media.endswith("+json")):
        raise ProviderError("rp.provider_answer", f"{what}: HTTP {response.status} without JSON")
    try:
        value = json_object(response.body)
    except ValueError as error:
        raise ProviderError("rp.provider_answer", f"{what}: HTTP {response.status}, not a JSON object") from error
    if response.status in good:
        return value
    if 400 <= response.status < 500 and "error" in value:
        raise ProviderError("rp.provider_refused", f"{what}: {error_code(value['error'])}")
    raise ProviderError("rp.provider_answer", f"{what}: HTTP {response.status}")


def error_code(value: object) -> str:
    """An OAuth error code that is safe to log, else `unreadable`."""
    return value if isinstance(value, str) and re.fullmatch(r"[a-zA-Z_]{1,64}", value) else "unreadable"
