"""Person and subject keys: what stands for a human inside a node, and what a window may keep (design §5).

Both are HMAC-SHA-256 over a label and length-prefixed fields, so that no two inputs share bytes. The person key
cannot be computed, tried or reversed without the node's key; the subject cannot be joined between sectors.
"""

from __future__ import annotations

import base64
import hmac
import re

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ca_bridge.identity.extract import acting
from ca_bridge.types import Capacity, Identifier, Identity

KEY_BYTES = 32
PERSON_PREFIX, SUBJECT_PREFIX = "p1:", "s1:"
_PERSON = re.compile(r"p1:[a-z2-7]{52}")
_SECTOR = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


class PersonKeys:
    """Keys of persons and subjects under one node's key (K_node: at least 32 secret bytes, else ValueError)."""

    __slots__ = ("_key",)

    def __init__(self, k_node: bytes) -> None:
        if len(k_node) < KEY_BYTES:
            raise ValueError(f"the node's key has fewer than {KEY_BYTES} bytes")
        self._key = bytes(k_node)

    def person(self, identifier: Identifier, capacity: Capacity, organisation: Identifier | None = None) -> str:
        """`p1:` and 52 characters: a human in a capacity. The same number gives the same key, whichever CA asserted it.

        `organisation` is part of an officer's and an operator's key (an operator needs one: ValueError); of a citizen's
        never, so that a company's certificate opens the same citizen as a personal one.
        """
        if capacity is Capacity.OPERATOR and organisation is None:
            raise ValueError("an operator acts for an organisation")
        if capacity is Capacity.CITIZEN:
            organisation = None
        fields = [identifier.type.value, identifier.state, identifier.value, capacity.value]
        if organisation is not None:
            fields += [organisation.type.value, organisation.state, organisation.value]
        return PERSON_PREFIX + self._code("crosshall-person-v1", fields)

    def of(self, identity: Identity, capacity: Capacity) -> str:
        """The person key of an identity in the capacity chosen. Raises IdentityError `identity.capacity`."""
        identifier, organisation = acting(identity, capacity)
        return self.person(identifier, capacity, organisation)

    def human(self, identity: Identity, capacity: Capacity) -> str:
        """The key under which it is kept which CAs have proved this human: the same in every capacity.

        Else a CA that is new for a citizen could bring the same number as an officer's, and be the first to prove that
        "person". An organisation that signs in by its own certificate has a key of its own.
        """
        identifier, _ = acting(identity, capacity)
        return self.person(identifier, Capacity.CITIZEN)

    def subject(self, sector: str, person: str) -> str:
        """`s1:` and 52 characters: how the windows of `sector` know `person` (ValueError when either is malformed)."""
        if _SECTOR.fullmatch(sector) is None or _PERSON.fullmatch(person) is None:
            raise ValueError("a sector's name or a person key is malformed")
        return SUBJECT_PREFIX + self._code("crosshall-subject-v1", [sector, person])

    def _code(self, label: str, fields: list[str]) -> str:
        raw = [field.encode() for field in (label, *fields)]
        message = b"".join(len(field).to_bytes(4, "big") + field for field in raw)
        return base64.b32encode(hmac.digest(self._key, message, "sha256")).decode("ascii").rstrip("=").lower()


def node_key(master: bytes, node: str, epoch: int) -> bytes:
    """K_node of a node (`gd/guangzhou`) and an epoch (from 1): HKDF-SHA-256 (RFC 5869) of the province's K_master.

    A stolen node's key opens neither another node nor another epoch. ValueError for a short master or an epoch below 1.
    """
    if len(master) < KEY_BYTES or not node or epoch < 1:
        raise ValueError("the master key is too short, or node or epoch is malformed")
    name = node.encode()
    info = b"crosshall-node-v1" + len(name).to_bytes(4, "big") + name + epoch.to_bytes(4, "big")
    return HKDF(hashes.SHA256(), KEY_BYTES, salt=None, info=info).derive(master)
