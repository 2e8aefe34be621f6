"""How a node comes into the federation: it asks, the province admits it, it joins (two files, carried by any way).

    node      request    its name, hall and public keys, signed by its own key
    operators            read the request's fingerprint to each other
    province  admission  the first root of trust, where to fetch from, and the node's person key, sealed for it alone
    operators            read the root's fingerprint to each other
    node      join       both hold: it takes the root, fetches, finds itself in the roster

Neither file holds a secret in clear. The admission's signer is believed only when the roster – signed by the
federation's own roles – names that key as the province's.
"""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from ca_bridge.crypto import between
from ca_bridge.crypto.between import NodeKeys
from ca_bridge.errors import LANGUAGES, CryptoError, FederationError
from ca_bridge.identity.keys import KEY_BYTES, node_key
from nodes.identity import LIMIT, own_word, public, public_key, sign

REQUEST, ADMISSION, PERSON_KEY = "crosshall-node-request", "crosshall-node-admission", "crosshall-person-key"
FORMAT = 1
ROLES = ("city", "county")
_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}(/[a-z][a-z0-9-]{0,30}){1,3}")
_MOST_KEYS = 8


@dataclass(frozen=True, slots=True)
class NodeRequest:
    """What a node that wants to come in says of itself; its keys are proved by the signature, nothing else is."""

    name: str
    role: str
    parent: str
    hall: str
    """Origin of its hall, `https://…`."""
    title: Mapping[str, str]
    sign: Mapping[str, str]
    box: Mapping[str, str]
    role_keys: tuple[Mapping[str, Any], ...]
    """Public keys of its role in the trust bundle, as TUF writes them."""
    made: datetime
    fingerprint: str
    """Eight groups of five digits: what operators read to each other."""


@dataclass(frozen=True, slots=True)
class Admission:
    """What the province gives a node that it admitted. Nothing here is believed before `join` has checked it."""

    node: str
    epoch: int
    root: bytes
    sources: tuple[str, ...]
    province: str
    province_sign: Mapping[str, str]
    made: datetime
    sealed: str = field(repr=False)
    root_fingerprint: str = ""


def groups(data: bytes) -> str:
    """A fingerprint to read aloud: SHA-256, then eight groups of five decimal digits (132 bits)."""
    number = int.from_bytes(hashlib.sha256(data).digest(), "big") % 10**40
    digits = f"{number:040d}"
    return " ".join(digits[i : i + 5] for i in range(0, 40, 5))


def same(one: str, other: str) -> bool:
    """Whether two fingerprints are the same, however their digits are spaced."""
    first, second = (re.sub(r"[\s-]", "", text) for text in (one, other))
    return len(first) == 40 and first == second


def make_request(
    keys: NodeKeys,
    *,
    name: str,
    role: str,
    hall: str,
    title: Mapping[str, str],
    role_keys: Sequence[Mapping[str, Any]],
    now: datetime,
) -> str:
    """The request of a node; its parent is the domain above its own. Raises FederationError `node.request`."""
    payload = {
        "format": FORMAT,
        "name": name,
        "role": role,
        "hall": hall,
        "title": dict(title),
        "sign": public(keys.sign),
        "box": public(keys.box),
        "role_keys": [dict(key) for key in role_keys],
        "made": now.isoformat(timespec="seconds"),
    }
    text = sign(keys.sign, payload, REQUEST)
    read_request(text)
    return text


def read_request(text: str) -> NodeRequest:
    """The request, its signature checked by the key it brings.

    Raises FederationError `node.request`, `node.key`, `node.signature`.
    """
    text = text.strip()
    raw = own_word(text, "sign", REQUEST)
    try:
        name, role, hall = str(raw["name"]), str(raw["role"]), str(raw["hall"])
        title = {language: str(raw["title"][language]) for language in LANGUAGES}
        role_keys = tuple(dict(key) for key in raw["role_keys"])
        made = datetime.fromisoformat(raw["made"])
        public_key(raw["box"])
        wrong = _wrong(raw, name, role, hall, title)
        if not wrong and not 1 <= len(role_keys) <= _MOST_KEYS:
            wrong = "role_keys"
        if not wrong and made.tzinfo is None:
            wrong = "made"
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FederationError("node.request", f"{type(error).__name__}: {error}") from error
    if wrong:
        raise FederationError("node.request", f"{wrong} is not what it must be")
    parent = name.rpartition("/")[0]
    return NodeRequest(
        name, role, parent, hall, title, raw["sign"], raw["box"], role_keys, made, groups(text.encode("ascii"))
    )


def make_admission(
    keys: NodeKeys,
    request: NodeRequest,
    *,
    province: str,
    master: bytes,
    epoch: int,
    root: bytes,
    sources: Sequence[str],
    now: datetime,
) -> str:
    """What the province's operator carries to the node. `master` is K_master; `root` the first root's metadata."""
    key = node_key(master, request.name, epoch)
    secret = json.dumps({"node": request.name, "epoch": epoch, "key": b64encode(key).decode()})
    payload = {
        "format": FORMAT,
        "node": request.name,
        "epoch": epoch,
        "root": b64encode(root).decode(),
        "sources": list(sources),
        "province": province,
        "province_sign": public(keys.sign),
        "made": now.isoformat(timespec="seconds"),
        "sealed": between.seal(secret, request.box, PERSON_KEY),
    }
    return sign(keys.sign, payload, ADMISSION)


def read_admission(text: str) -> Admission:
    """The admission as signed by the key it brings. Raises FederationError `node.admission`, `node.signature`."""
    text = text.strip()
    raw = own_word(text, "province_sign", ADMISSION)
    try:
        if raw["format"] != FORMAT:
            raise ValueError("an unknown format")
        root = b64decode(raw["root"], validate=True)
        made = datetime.fromisoformat(raw["made"])
        epoch, sources = raw["epoch"], tuple(str(source) for source in raw["sources"])
        if not isinstance(epoch, int) or epoch < 1 or made.tzinfo is None or not sources:
            raise ValueError("epoch, made or sources")
        return Admission(
            node=str(raw["node"]),
            epoch=epoch,
            root=root,
            sources=sources,
            province=str(raw["province"]),
            province_sign=raw["province_sign"],
            made=made,
            sealed=str(raw["sealed"]),
            root_fingerprint=groups(root),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise FederationError("node.admission", f"{type(error).__name__}: {error}") from error


def person_key(admission: Admission, keys: NodeKeys) -> bytes:
    """K_node of this node and epoch. Raises FederationError `node.sealed`: for another node, or changed on the way."""
    try:
        raw = json.loads(between.unseal(admission.sealed, keys.box, PERSON_KEY, LIMIT))
        key = b64decode(raw["key"], validate=True)
        if raw["node"] != admission.node or raw["epoch"] != admission.epoch or len(key) != KEY_BYTES:
            raise ValueError("for another node or epoch")
    except (KeyError, TypeError, ValueError, CryptoError) as error:
        raise FederationError("node.sealed", f"{type(error).__name__}") from error
    return key


def _wrong(raw: Mapping[str, Any], name: str, role: str, hall: str, title: Mapping[str, str]) -> str:
    parts = urlsplit(hall)
    depth = {"city": 1, "county": 2}
    if raw["format"] != FORMAT:
        return "format"
    if _NAME.fullmatch(name) is None:
        return "name"
    if role not in ROLES or name.count("/") < depth[role]:
        return "role"
    if parts.scheme != "https" or not parts.hostname or hall != f"https://{parts.netloc}".lower() or "@" in hall:
        return "hall"
    if not all(0 < len(text) <= 80 for text in title.values()):
        return "title"
    return ""
