"""What a person reads of an error (`messages.json`, four languages), and what its operator does (`remedies.json`)."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

LANGUAGES = ("zh-Hans", "zh-Hant", "en", "pt")
"""In the order of preference when the browser names none of them."""


@dataclass(frozen=True, slots=True)
class Words:
    """HTTP status of an error's page, why it is shown, what the person can do."""

    status: int
    say: str
    do: str


@functools.cache
def catalogue() -> Mapping[str, Mapping[str, Any]]:
    """Every code with its status and words; a code that reads like another one names it in `like`."""
    text = resources.files("relying_party_sdk").joinpath("messages.json").read_text("utf-8")
    raw: dict[str, dict[str, Any]] = json.loads(text)

    def whole(code: str) -> dict[str, Any]:
        entry = raw[code]
        return {**whole(entry["like"]), **entry} if "like" in entry else entry

    return {code: whole(code) for code in raw}


def words(code: str, language: str) -> Words:
    """The words for `code`; a code without an entry reads as a general fault."""
    entry = catalogue().get(code) or catalogue()["rp.fault"]
    say, do = entry["say"], entry["do"]
    return Words(entry["status"], say.get(language, say["zh-Hans"]), do.get(language, do["zh-Hans"]))


@functools.cache
def remedies() -> Mapping[str, tuple[str, str]]:
    """What the developer or operator does about each code, in Chinese and in English."""
    folder = resources.files("relying_party_sdk")
    known: dict[str, list[str]] = json.loads(folder.joinpath("remedies.json").read_text("utf-8"))
    raw: dict[str, dict[str, Any]] = json.loads(folder.joinpath("messages.json").read_text("utf-8"))

    def fix(code: str) -> tuple[str, str]:
        if code in known:
            return known[code][0], known[code][1]
        return fix(raw[code].get("like", "rp.fault"))

    return {code: fix(code) for code in raw}


def pick_language(accept: str) -> str:
    """The best of `LANGUAGES` for an `Accept-Language` header (RFC 9110 §12.5.4, RFC 4647 §3.4), else the first."""
    wanted: list[tuple[float, int, str]] = []
    for place, part in enumerate(accept[:500].split(",")):
        tag, _, quality = part.strip().partition(";q=")
        try:
            wanted.append((-float(quality or 1), place, tag.lower()))
        except ValueError:
            continue
    for order, _, tag in sorted(wanted):
        found = _language(tag)
        if found and order < 0:
            return found
    return LANGUAGES[0]


def _language(tag: str) -> str:
    if tag.startswith("zh"):
        return "zh-Hant" if any(part in ("hant", "hk", "mo", "tw") for part in tag.split("-")) else "zh-Hans"
    return tag[:2] if tag[:2] in ("en", "pt") and tag[2:3] in ("", "-") else ""
