"""The demo federation as built, and a run of it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from demo import pki
from demo.addresses import Addresses


@pytest.fixture(scope="session")
def built() -> Path:
    """The federation in the user's cache, as `make run` uses it."""
    return pki.build()


@pytest.fixture
def run(tmp_path: Path) -> pki.DemoRun:
    """A run of the test's own."""
    return pki.materialise(tmp_path / "run", Addresses(9443), datetime.now(UTC))


SMALL = """
format = 1
anchors = ["root"]
crl_days = 1
leaf_days = [-1, 10]
authority_days = [-1, 100]
usable_days = 5
origins_days = 1
tls_days = 1
[hall_name]
zh-Hans = "a"
zh-Hant = "b"
en = "c"
pt = "d"
[[authorities]]
id = "root"
key = "ecdsa-p256"
subject = [["CN", "root"]]
[[certificates]]
subject = "root"
folder = "anchors"
"""
PERSONA = """
[[personas]]
id = "one"
ca = "root"
name = "one"
key = "sm2"
storage = "file"
ways = ["token"]
expected = { code = "ok", level = 1 }
description = { zh-Hans = "a", zh-Hant = "b", en = "c", pt = "d" }
certificate = { subject = [["CN", "one"]] }
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """The smallest description there is, in a folder to change."""
    folder = tmp_path / "described"
    (folder / "bundle" / "profiles").mkdir(parents=True)
    (folder / "bundle" / "lists").mkdir()
    (folder / "federation.toml").write_text(SMALL)
    (folder / "personas.toml").write_text(PERSONA)
    for name in ("levels.toml", "policy.toml"):
        (folder / "bundle" / name).write_text("")
    return folder
