"""docs/certificates.md says every code of crypto, identity and policy, and none that does not exist."""

from __future__ import annotations

import re
from pathlib import Path

from ca_bridge.errors import LANGUAGES, catalogue

AREAS = ("crypto", "identity", "policy")
PAGE = Path(__file__).parents[3] / "docs" / "certificates.md"


def test_codes() -> None:
    """The page and the catalogue hold the same codes of these areas."""
    said = set(re.findall(rf"`((?:{'|'.join(AREAS)})\.[a-z0-9_]+)`", PAGE.read_text("utf-8"))) - {"policy.toml"}
    known = {code for code in catalogue() if code.partition(".")[0] in AREAS}
    assert said == known


def test_words() -> None:
    """Each has a reason and an advice in four languages, and the two Chinese ones are not copies unless they may be."""
    for code, entry in catalogue().items():
        if code.partition(".")[0] in AREAS:
            assert set(entry.say) == set(entry.do) == set(LANGUAGES)
            assert all([*entry.say.values(), *entry.do.values(), entry.clause])
            assert entry.say["zh-Hans"] != entry.say["zh-Hant"]
