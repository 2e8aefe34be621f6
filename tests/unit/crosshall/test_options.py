"""Options that several commands share."""

from __future__ import annotations

import pytest

from ca_bridge.errors import LANGUAGES, ConfigError
from crosshall.options import named


@pytest.mark.parametrize(
    ("texts", "names"),
    [
        (["A"], "AAAA"),
        (["zh-Hans=A", "B"], "ABBB"),
        (["zh-Hans=A", "en=B"], "AABB"),
        (["pt=A"], "AAAA"),
        (["zh-Hant=A", "pt=B", "en="], "AABB"),
        (["zh-Hans=A", "zh-Hant=B", "en=C", "pt=D"], "ABCD"),
        (["fr=A"], None),
    ],
)
def test_a_name_for_each_language(texts: list[str], names: str | None):
    """Found with the guide: two languages are enough, none is left without a name; an unknown one is part of a name."""
    expected = dict.fromkeys(LANGUAGES, "fr=A") if names is None else dict(zip(LANGUAGES, names, strict=True))
    assert named(texts) == expected


@pytest.mark.parametrize("texts", [[], [""], ["en="], ["zh-Hans= ", " "]])
def test_no_name_at_all(texts: list[str]):
    """An empty name is none."""
    with pytest.raises(ConfigError) as caught:
        named(texts)
    assert caught.value.code == "config.window"
