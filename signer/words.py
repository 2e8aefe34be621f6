"""The signer's own words in four languages (`locales/*.toml`); refusals come from the catalogue of errors."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

from ca_bridge.errors import LANGUAGES

NAMES = {"zh-Hans": "简体中文", "zh-Hant": "繁體中文", "en": "English", "pt": "Português"}


@functools.cache
def words(language: str) -> Mapping[str, str]:
    """Every text of the signer's pages in one language."""
    path = Path(__file__).with_name("locales") / f"{language}.toml"
    texts: dict[str, str] = tomllib.loads(path.read_text("utf-8"))
    return texts


def choose(wanted: str | None, accepted: Iterable[str]) -> str:
    """The language to speak: the one chosen on the page, else the first of `accepted` that we have, else 简体中文."""
    if wanted in LANGUAGES:
        return str(wanted)
    return next((found for tag in accepted if (found := _known(tag))), "zh-Hans")


def _known(tag: str) -> str | None:
    tag = tag.lower()
    if tag.startswith("zh"):
        return "zh-Hant" if any(part in tag for part in ("hant", "-hk", "-mo", "-tw")) else "zh-Hans"
    return next((name for name in ("en", "pt") if tag == name or tag.startswith(f"{name}-")), None)
