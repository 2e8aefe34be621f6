"""The base of all trust data read from TOML: frozen, nothing unknown, every error a PathError `trust.*`."""

from __future__ import annotations

import tomllib
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ca_bridge.errors import PathError

M = TypeVar("M", bound="Model")
Level = Annotated[int, Field(ge=1, le=4, strict=True)]
Oid = Annotated[str, Field(pattern=r"^[0-2](\.(0|[1-9][0-9]*))+$", max_length=128)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=64)]
DomainName = Annotated[str, Field(pattern=r"^[a-z0-9-]+(/[a-z0-9-]+)*$", max_length=128)]


class Model(BaseModel):
    """A table of trust data; an unknown key is an error, because it would be a rule that nobody follows."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


def load_table(data: bytes, code: str, where: str) -> dict[str, Any]:
    """TOML octets as a table. Raises PathError `code`."""
    try:
        return tomllib.loads(data.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PathError(code, f"{where}: {error}") from error


def build(model: type[M], table: dict[str, Any], code: str, where: str) -> M:
    """`table` as a `model`. Raises PathError `code`, naming the keys that are wrong."""
    try:
        return model.model_validate(table)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise PathError(code, f"{where}: {wrong}") from error
