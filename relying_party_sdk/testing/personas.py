"""People of the fake provider: invented, with well-formed subjects."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Persona:
    """Somebody who can sign in at the fake provider."""

    id: str
    kind: str = "citizen"
    level: int = 2
    """Level of an ordinary sign-in."""
    highest: int = 4
    """Level that can be reached when it is asked for."""
    domain: str = "gd"
    rung: str = "fresh"
    attributes: dict[str, Any] = field(default_factory=dict)

    def subject(self, sector: str) -> str:
        """The pairwise subject in a sector."""
        raw = hashlib.sha256(f"{sector}\0{self.id}".encode()).digest()
        return "s1:" + base64.b32encode(raw).decode().lower().rstrip("=")


CITIZEN = Persona(
    "citizen",
    attributes={"name": "张三", "identifiers": [{"type": "cn-id", "state": "CN", "value": "11010519491231002X"}]},
)
OFFICER = Persona("officer", kind="officer", level=3, domain="gd/guangzhou", attributes={"name": "李四"})
OPERATOR = Persona(
    "operator",
    kind="operator",
    level=3,
    attributes={
        "name": "王五",
        "organisation": {"name": "示例有限公司", "type": "uscc", "state": "CN", "value": "91350100M000100Y43"},
    },
)
