"""The claims contract: what every window receives (`claims.schema.json`), enforced. A missing claim is an error."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from importlib import resources
from typing import Any

from relying_party_sdk.errors import TokenError

LOA_PREFIX = "urn:crosshall:loa:"
"""Authentication context classes of the levels 1 to 4."""


def loa(level: int) -> str:
    """The `acr` value of a level."""
    return f"{LOA_PREFIX}{level}"


@functools.cache
def schema() -> Mapping[str, Any]:
    """The contract as shipped with the SDK; equal to the project's `config/claims.schema.json`."""
    text = resources.files("relying_party_sdk").joinpath("claims.schema.json").read_text("utf-8")
    loaded: Mapping[str, Any] = json.loads(text)
    return loaded


def check_claims(claims: Mapping[str, Any]) -> Mapping[str, Any]:
    """The claims of the contract, each present and of its type. Raises TokenError `rp.claims` naming the claim."""
    contract = schema()
    for name in contract["required"]:
        if name not in claims:
            raise TokenError("rp.claims", f"{name} is missing")
    found = {name: claims[name] for name in contract["properties"] if name in claims}
    for name, value in found.items():
        if not _fits(value, contract["properties"][name]):
            raise TokenError("rp.claims", f"{name} is not what the contract says")
    if found["acr"] != loa(found["crosshall_level"]):
        raise TokenError("rp.claims", "acr and crosshall_level differ")
    return found


def _fits(value: object, rule: Mapping[str, Any]) -> bool:
    """The part of JSON Schema that the contract uses: type, enum, pattern, minimum, maximum."""
    kind = rule.get("type")
    if kind == "string" and not isinstance(value, str):
        return False
    if kind == "integer" and (not isinstance(value, int) or isinstance(value, bool)):
        return False
    if "enum" in rule and value not in rule["enum"]:
        return False
    if "pattern" in rule and not (isinstance(value, str) and _pattern(rule["pattern"]).search(value)):
        return False
    if isinstance(value, int) and abs(value) > 2**53:  # RFC 8259 §6: what every JSON reader keeps exactly
        return False
    if isinstance(value, int):
        return bool(rule.get("minimum", value) <= value <= rule.get("maximum", value))
    return True


@functools.cache
def _pattern(text: str) -> re.Pattern[str]:
    """JSON Schema's `$` is the very end (ECMA-262); Python's also matches before a line end."""
    return re.compile(text.removesuffix("$") + (r"\Z" if text.endswith("$") else ""), re.ASCII)
