"""Signature vectors in the manner of Wycheproof: every one as it says, and no error but ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ca_bridge.crypto import signatures
from ca_bridge.errors import CryptoError

GROUPS = json.loads((Path(__file__).parent.parent / "vectors" / "signatures.json").read_text("utf-8"))


def accepted(group: dict[str, Any], signature: str) -> bool:
    """Whether the signature is accepted; anything but CryptoError goes on."""
    fields = {name: bytes.fromhex(group[name]) for name in ("spki", "parameters", "message")}
    try:
        signatures.verify(
            fields["spki"],
            group["algorithm"],
            fields["parameters"] or None,
            fields["message"],
            bytes.fromhex(signature),
            sm2_id=group["sm2_id"],
        )
    except CryptoError:
        return False
    return True


@pytest.mark.parametrize("group", GROUPS, ids=[group["name"] for group in GROUPS])
def test_each_signature(group: dict[str, Any]) -> None:
    """Right ones are accepted, all others refused."""
    wrong = [case["comment"] for case in group["tests"] if accepted(group, case["signature"]) != case["valid"]]
    assert wrong == []


def test_the_vectors_are_all_there() -> None:
    """Enough cases, most of them to be refused; six kinds of keys and schemes with a right one each."""
    cases = [case for group in GROUPS for case in group["tests"]]
    assert len(cases) > 130
    assert sum(case["valid"] for case in cases) >= 6
    assert sum(not case["valid"] for case in cases) > 120
