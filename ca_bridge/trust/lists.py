"""Trust lists (交叉识别): foreign CAs recognised entry by entry, as published by both sides (design §3).

An entry is terminal: its signing CA issues leaves, and nothing below the leaf is looked at. Past entries stay in the
list so that a past date can be judged.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pydantic import AwareDatetime, Field, model_validator

from ca_bridge.asn1.certificate import Certificate
from ca_bridge.trust.model import Model, Oid, Slug, build, load_table

FREE_ARCS = 3
"""How many arcs follow the prefix: year, version, revision (…810.2.YYYY.V.R)."""


class ListRow(Model):
    """One `[[entry]]` as written."""

    ca: Slug
    root: str = Field(pattern=r"^[A-Za-z0-9._-]+\.pem$")
    signing: str = Field(pattern=r"^[A-Za-z0-9._-]+\.pem$")
    valid_from: AwareDatetime
    valid_to: AwareDatetime
    type_name: str = Field(min_length=1)
    policy_prefix: Oid

    @model_validator(mode="after")
    def _order(self) -> ListRow:
        if self.valid_from >= self.valid_to:
            raise ValueError("valid_from is not before valid_to")
        return self


class _Rows(Model):
    entry: tuple[ListRow, ...] = ()


@dataclass(frozen=True, slots=True)
class ListEntry:
    """One recognised certificate type of one signing CA, for a time."""

    ca: str
    root: Certificate
    signing: Certificate
    valid_from: datetime
    valid_to: datetime
    type_name: str
    """The name of the certificate type as it stands in the certificate: an OU of its subject."""
    policy_prefix: str


def parse_rows(data: bytes, where: str = "list") -> tuple[ListRow, ...]:
    """The rows of a list from TOML. Raises PathError `trust.list`."""
    return build(_Rows, load_table(data, "trust.list", where), "trust.list", where).entry


def policy_matches(policy: str, prefix: str) -> bool:
    """Whether `policy` is `prefix` and exactly three arcs more: …810.2 never matches …810.21 or …810.2.1."""
    head, arcs = policy.split(".")[:-FREE_ARCS], policy.split(".")
    return len(arcs) == len(prefix.split(".")) + FREE_ARCS and head == prefix.split(".")
