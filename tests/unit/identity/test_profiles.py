"""The example profiles of config/profiles: each reads its own vectors, and refuses what is near them."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from ca_bridge.errors import IdentityError, PathError
from ca_bridge.files import config_dir
from ca_bridge.identity.extract import identify
from ca_bridge.trust.profile import Profile, parse_profile

FOLDER = config_dir() / "profiles"
VECTORS = tomllib.loads((Path(__file__).parent / "profiles.toml").read_text("utf-8"))["vector"]


def load(name: str) -> Profile:
    """An example with a key put in, as the province does."""
    return parse_profile(f'keys = ["{"a" * 64}"]\n'.encode() + (FOLDER / f"{name}.toml").read_bytes(), name)


def octets(text: str) -> bytes:
    """`form:text` as an extension's value."""
    form, _, value = text.partition(":")
    tags = {
        "utf8": (12, "utf-8"),
        "printable": (19, "ascii"),
        "ia5": (22, "ascii"),
        "bmp": (30, "utf-16-be"),
        "t61": (20, "gb18030"),
    }
    if form == "bare":
        return value.encode("gb18030")
    tag, codec = tags[form]
    raw = value.encode(codec)
    return bytes([tag, len(raw)]) + raw


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: f"{vector['profile']}-{vector['what']}")
def test_vector(leaf: Any, vector: dict[str, Any]) -> None:
    """The vector's certificate is of the type it says and names whom it says, or is refused with the code it says."""
    profile = load(vector["profile"])
    extensions = {oid: octets(text) for oid, text in vector.get("extensions", {}).items()}
    certificate = leaf([tuple(pair) for pair in vector["subject"]], extensions)
    kind = profile.type_of(certificate)
    assert (kind.id if kind else "") == vector["type"]
    if kind is None:
        return
    if "code" in vector:
        with pytest.raises(IdentityError) as caught:
            identify(certificate, profile, kind.id)
        assert caught.value.code == vector["code"]
        return
    identity = identify(certificate, profile, kind.id)
    found = [f"{one.type}/{one.state}/{one.value}" for one in identity.identifiers]
    assert found == vector["identifiers"]
    organisation = identity.organisation.identifier.value if identity.organisation else ""
    assert organisation == vector.get("organisation", "")


def test_every_example_has_vectors() -> None:
    """Each profile, and each type in it, is reached by a vector that names somebody."""
    reached = {(vector["profile"], vector["type"]) for vector in VECTORS if "code" not in vector}
    there = {(file.stem, kind.id) for file in FOLDER.glob("*.toml") for kind in load(file.stem).types}
    assert len({name for name, _ in there}) >= 10
    assert there == {pair for pair in reached if pair[1]}


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.toml")), ids=lambda file: file.stem)
def test_examples_do_not_work_unchanged(file: Path) -> None:
    """Without the CA's real key an example is refused: nobody trusts it by copying alone."""
    with pytest.raises(PathError, match=r"trust\.profile.*keys"):
        parse_profile(file.read_bytes(), file.stem)
