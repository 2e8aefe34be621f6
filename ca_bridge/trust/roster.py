"""The roster: every node of the federation, its hall and its public keys (docs/contracts.md, `roster.json`).

The province signs it with the bundle. A node that was cut off is not in it: what is not found is not trusted.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field, field_validator, model_validator

from ca_bridge.crypto import jwk
from ca_bridge.errors import CryptoError, PathError
from ca_bridge.trust.model import DomainName, Model, build

FORMAT: Literal[1] = 1
Stage = Literal["install", "data", "trial", "pilot", "live"]
Role = Literal["province", "city", "county"]
Origin = Annotated[str, Field(pattern=r"^https://[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?(:[1-9][0-9]{0,4})?$")]
_VERSION = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9}){0,4}")
_LANGUAGES = {"zh-Hans", "zh-Hant", "en", "pt"}


class RosterNode(Model):
    """One node: where its hall is, and the keys by which it signs and by which one seals for it."""

    name: DomainName
    role: Role
    parent: DomainName | Literal[""] = ""
    """Name of the node above; empty for the province."""
    stage: Stage
    hall: Origin
    title: Mapping[str, str]
    sign: Mapping[str, str]
    """JWK, P-256, with `kid`: ES256."""
    box: Mapping[str, str]
    """JWK, P-256, with `kid`: ECDH-ES."""
    epoch: int = Field(ge=1)
    """Of the node's person key."""
    since: AwareDatetime

    @field_validator("sign", "box", mode="before")
    @classmethod
    def _key(cls, raw: Any) -> Any:
        try:
            members = jwk.public_members(raw)
        except CryptoError as error:
            raise ValueError(error.detail) from error
        kid = raw.get("kid")
        if not isinstance(kid, str) or not 0 < len(kid) <= 64:
            raise ValueError("a key without kid")
        return {**members, "kid": kid}

    @field_validator("title")
    @classmethod
    def _title(cls, title: Mapping[str, str]) -> Mapping[str, str]:
        if set(title) != _LANGUAGES or not all(title.values()):
            raise ValueError("title: four languages")
        return title

    @model_validator(mode="after")
    def _above(self) -> RosterNode:
        if (self.role == "province") != (self.parent == ""):
            raise ValueError("the province has no parent, every other node has one")
        if self.sign["kid"] == self.box["kid"]:
            raise ValueError("one key does not both sign and open")
        return self


class Software(Model):
    """What the province says of Crosshall's own versions."""

    floor: str = ""
    """Nodes below this version are red."""

    def below(self, version: str) -> bool:
        """Whether `version` is below the floor; one that cannot be read is, once there is a floor."""
        return bool(self.floor) and _numbers(version) < _numbers(self.floor)

    @field_validator("floor")
    @classmethod
    def _floor(cls, floor: str) -> str:
        if floor and not _numbers(floor):
            raise ValueError("a version is dotted numbers: 1.2.0")
        return floor


class Roster(Model):
    """Every node, found by name or by the key that signs."""

    format: Literal[1] = FORMAT
    nodes: tuple[RosterNode, ...] = ()
    software: Software = Field(default_factory=Software)

    def find(self, name: str) -> RosterNode | None:
        """The node of that name."""
        return self._by_name.get(name)

    def by_key(self, kid: str) -> RosterNode | None:
        """The node that signs under `kid`."""
        return self._by_key.get(kid)

    def at(self, origin: str) -> RosterNode | None:
        """The node whose hall has that origin."""
        return next((node for node in self.nodes if node.hall == origin), None)

    def province(self) -> RosterNode | None:
        """The node above all others."""
        return next((node for node in self.nodes if node.role == "province"), None)

    @functools.cached_property
    def _by_name(self) -> Mapping[str, RosterNode]:
        return {node.name: node for node in self.nodes}

    @functools.cached_property
    def _by_key(self) -> Mapping[str, RosterNode]:
        return {node.sign["kid"]: node for node in self.nodes}

    @model_validator(mode="after")
    def _once(self) -> Roster:
        for what, values in (
            ("name", [node.name for node in self.nodes]),
            ("hall", [node.hall for node in self.nodes]),
            ("kid", [key["kid"] for node in self.nodes for key in (node.sign, node.box)]),
            ("key", [key["x"] for node in self.nodes for key in (node.sign, node.box)]),
        ):
            if len(set(values)) != len(values):
                raise ValueError(f"a {what} is there twice")
        return self


def _numbers(version: str) -> tuple[int, ...]:
    """`1.2.0` as numbers without the zeros at its end, so that 1.2 is 1.2.0; empty when it is no such text."""
    if _VERSION.fullmatch(version) is None:
        return ()
    numbers = [int(part) for part in version.split(".")]
    while numbers and not numbers[-1]:
        numbers.pop()
    return (1, *numbers)  # 0.0 is a version, too


def parse_roster(data: bytes, where: str = "roster.json") -> Roster:
    """The roster from JSON. Raises PathError `trust.roster`."""
    try:
        table: Any = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise PathError("trust.roster", f"{where}: not JSON") from error
    if not isinstance(table, dict) or table.get("format") != FORMAT:
        raise PathError("trust.roster", f"{where}: only format {FORMAT} is known")
    return build(Roster, table, "trust.roster", where)
