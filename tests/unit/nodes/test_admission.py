"""A node's way into the federation: request, admission, and everything that must not pass for one."""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode, urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ca_bridge.crypto.between import NodeKeys
from ca_bridge.errors import ConfigError, FederationError
from ca_bridge.identity.keys import node_key
from nodes.admission import (
    ADMISSION,
    REQUEST,
    make_admission,
    make_request,
    person_key,
    read_admission,
    read_request,
    same,
)
from nodes.identity import make_node_keys, public, read_node_keys, sign

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
TITLE = {"zh-Hans": "广州分厅", "zh-Hant": "廣州分廳", "en": "Guangzhou", "pt": "Cantão"}
MASTER = bytes(range(32))


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> NodeKeys:
    """A city's keys."""
    return make_node_keys(tmp_path_factory.mktemp("city"))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> NodeKeys:
    """Somebody else's keys."""
    return make_node_keys(tmp_path_factory.mktemp("other"))


def a_request(keys: NodeKeys, **changes: Any) -> str:
    """A good request, but for `changes`, signed by `keys` without looking."""
    payload: dict[str, Any] = {
        "format": 1,
        "name": "gd/guangzhou",
        "role": "city",
        "hall": "https://hall.gz.example",
        "title": TITLE,
        "sign": public(keys.sign),
        "box": public(keys.box),
        "role_keys": [{"keytype": "ed25519"}],
        "made": NOW.isoformat(),
    }
    return sign(keys.sign, {**payload, **changes}, REQUEST)


def code_of(text: str) -> str:
    """The code under which a request is refused."""
    with pytest.raises(FederationError) as refused:
        read_request(text)
    return refused.value.code


class TestRequest:
    """What a node says of itself."""

    def test_is_read_as_made(self, node: NodeKeys) -> None:
        """Name, role, keys come back; its fingerprint is eight groups of five digits, and is of this text alone."""
        text = make_request(
            node,
            name="gd/guangzhou",
            role="city",
            hall="https://hall.gz.example:8443",
            title=TITLE,
            role_keys=[{"keytype": "ed25519"}],
            now=NOW,
        )
        found = read_request(text + "\n")
        assert (found.name, found.parent, found.role) == ("gd/guangzhou", "gd", "city")
        assert found.sign == public(node.sign)
        assert re.fullmatch(r"(\d{5} ){7}\d{5}", found.fingerprint)
        assert same(found.fingerprint, found.fingerprint.replace(" ", ""))
        assert found.fingerprint != read_request(a_request(node)).fingerprint

    @pytest.mark.parametrize(
        "change",
        [
            {"name": "gd"},
            {"name": "gd/Guangzhou"},
            {"name": "gd/../x"},
            {"name": "gd/guangzhou", "role": "county"},
            {"role": "province"},
            {"hall": "http://hall.gz.example"},
            {"hall": "https://hall.gz.example/x"},
            {"hall": "https://u@hall.gz.example"},
            {"title": {"en": "x"}},
            {"title": {**TITLE, "en": ""}},
            {"title": {**TITLE, "en": "x" * 81}},
            {"role_keys": []},
            {"role_keys": [{}] * 9},
            {"role_keys": None},
            {"format": 2},
            {"made": "2026-11-23T08:00:00"},
            {"made": 5},
        ],
    )
    def test_what_is_malformed_is_refused(self, node: NodeKeys, change: dict[str, Any]) -> None:
        """However well it is signed."""
        assert code_of(a_request(node, **change)) == "node.request"

    def test_a_key_that_is_not_the_signer_s(self, node: NodeKeys, other: NodeKeys) -> None:
        """A request under somebody else's name of key is not proved by it."""
        assert code_of(a_request(node, sign=public(other.sign))) == "node.signature"

    @pytest.mark.parametrize("member", ["sign", "box"])
    def test_a_private_or_misnamed_key(self, node: NodeKeys, member: str) -> None:
        """A private key in a request, or a `kid` that is not the thumbprint, is refused."""
        key = public(node.box)
        assert code_of(a_request(node, **{member: {**key, "d": "A" * 43}})) == "node.key"
        assert code_of(a_request(node, **{member: {**key, "kid": "x"}})) == "node.key"

    def test_every_changed_octet(self, node: NodeKeys) -> None:
        """No change of the payload survives."""
        head, payload, signature = a_request(node).split(".")
        raw = bytearray(urlsafe_b64decode(payload + "=="))
        raw[len(raw) // 2] ^= 1
        assert code_of(f"{head}.{urlsafe_b64encode(raw).decode().rstrip('=')}.{signature}") in {
            "node.signature",
            "node.request",
            "node.key",
        }

    @pytest.mark.parametrize("text", ["", "a.b.c", "{}", "." * 5, "ü.ü.ü", "x" * (1 << 21)])
    def test_no_request_at_all(self, text: str) -> None:
        """Noise has one code."""
        assert code_of(text) == "node.signature"

    def test_alg_none(self, node: NodeKeys) -> None:
        """An unsigned request is no request."""
        _, payload, _ = a_request(node).split(".")
        head = urlsafe_b64encode(b'{"alg":"none","typ":"crosshall-node-request"}').decode().rstrip("=")
        assert code_of(f"{head}.{payload}.") == "node.signature"


class TestAdmission:
    """What the province gives."""

    def made(self, province: NodeKeys, node: NodeKeys) -> str:
        """An admission of `node`."""
        return make_admission(
            province,
            read_request(a_request(node)),
            province="gd",
            master=MASTER,
            epoch=2,
            root=b'{"signed": {}}',
            sources=["https://hall.gd.example/federation/"],
            now=NOW,
        )

    def test_the_node_gets_its_own_key(self, node: NodeKeys, other: NodeKeys) -> None:
        """K_node of its name and epoch; nothing of K_master."""
        text = self.made(other, node)
        found = read_admission(text)
        assert person_key(found, node) == node_key(MASTER, "gd/guangzhou", 2)
        assert found.province_sign == public(other.sign)
        assert b64encode(MASTER).decode() not in text
        assert re.fullmatch(r"(\d{5} ){7}\d{5}", found.root_fingerprint)

    def test_nobody_else_opens_it(self, node: NodeKeys, other: NodeKeys) -> None:
        """The key is sealed for the node alone."""
        with pytest.raises(FederationError) as refused:
            person_key(read_admission(self.made(other, node)), other)
        assert refused.value.code == "node.sealed"

    def test_a_key_of_another_epoch_or_node(self, node: NodeKeys, other: NodeKeys) -> None:
        """A sealed key moved into another admission does not pass: name and epoch are sealed with it."""
        good = read_admission(self.made(other, node))
        raw = json.loads(b64decode(self.made(other, node).split(".")[1] + "=="))
        for change in ({"epoch": 3}, {"node": "gd/foshan"}):
            moved = read_admission(sign(other.sign, {**raw, **change, "sealed": good.sealed}, ADMISSION))
            with pytest.raises(FederationError) as refused:
                person_key(moved, node)
            assert refused.value.code == "node.sealed"

    @pytest.mark.parametrize(
        "change",
        [{"format": 9}, {"root": "!"}, {"epoch": 0}, {"epoch": "1"}, {"sources": []}, {"made": "x"}, {"sealed": None}],
    )
    def test_what_is_malformed_is_refused(self, node: NodeKeys, other: NodeKeys, change: dict[str, Any]) -> None:
        """However well it is signed."""
        raw = json.loads(b64decode(self.made(other, node).split(".")[1] + "=="))
        with pytest.raises(FederationError) as refused:
            person_key(read_admission(sign(other.sign, {**raw, **change}, ADMISSION)), node)
        assert refused.value.code in {"node.admission", "node.sealed"}

    def test_a_request_is_no_admission(self, node: NodeKeys) -> None:
        """One kind of document does not pass for another."""
        with pytest.raises(FederationError):
            read_admission(a_request(node))


class TestKeys:
    """The node's own two keys."""

    def test_made_once(self, tmp_path: Path) -> None:
        """A second call changes nothing; files are for their owner alone."""
        first = make_node_keys(tmp_path)
        assert public(make_node_keys(tmp_path).sign) == public(first.sign)
        assert all(file.stat().st_mode & 0o077 == 0 for file in tmp_path.iterdir())

    def test_open_to_others_or_absent(self, tmp_path: Path) -> None:
        """A key that others can read, or none, is refused."""
        with pytest.raises(ConfigError):
            read_node_keys(tmp_path)
        make_node_keys(tmp_path)
        (tmp_path / "node-box.pem").chmod(0o644)
        with pytest.raises(ConfigError) as refused:
            read_node_keys(tmp_path)
        assert refused.value.code == "config.node_keys"
