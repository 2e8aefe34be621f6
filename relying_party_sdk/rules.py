"""What the proxy asks for which path: whole segments, the longest counts; a path with two readings is refused.

The system behind may read a path more freely than we do (`/Admin`, `/admin;x`, `/public/..;/admin`). So the reading
that asks more is taken, and what could be read as another place is not passed on at all.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_to_bytes, urlsplit

from relying_party_sdk.errors import RequestError, SettingsError
from relying_party_sdk.person import Requirement
from relying_party_sdk.settings import is_loopback

_SAFE = "/:@!$&'()*+,;=~-._"
_VISIBLE = "".join(map(chr, range(0x21, 0x7F)))


ANYONE = Requirement()


@dataclass(frozen=True, slots=True)
class Rule:
    """What pages below `path` ask; `open`: nothing, and the person is told when there is one."""

    path: str
    wanted: Requirement = ANYONE
    open: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxySettings:
    """The `[proxy]` table of a settings file. Times in seconds. Raises SettingsError `rp.settings`.

    `rules` win over `level`, `max_age` and `rung`, which hold for every other path.
    """

    upstream: str = ""
    """The system behind, `http://127.0.0.1:9000` (a path may follow); empty for nginx `auth_request`."""
    audience: str = ""
    """Whom `X-Crosshall-Identity` is made out to; `upstream` when empty."""
    rules: tuple[Rule, ...] = ()
    level: int = 1
    max_age: int | None = None
    rung: str | None = None
    logout: tuple[str, ...] = ()
    """Paths of the system behind that sign out: there the person is signed out everywhere."""
    attributes: bool = False
    """Tell name, identifiers and organisation too, as far as the window is registered for them."""
    user_header: str = ""
    """A header more with the subject, under the name that the system behind reads, such as `Remote-User`."""
    remove: tuple[str, ...] = ()
    """Headers more that no client may send to the system behind."""
    host: str = "public"
    """The `Host` that the system behind sees: `public` (of `base_url`) or `upstream`."""
    key_file: str = ""
    """Signs `X-Crosshall-Identity`; made on first use; `<key_file of the client>.identity` when empty."""
    connect_timeout: float = 3.0
    read_timeout: float = 60.0
    """Longest silence of the system behind."""
    request_limit: int = 33_554_432
    """Largest body that is passed on, in bytes."""
    response_limit: int = 1_073_741_824
    """Largest answer that is passed back, in bytes."""

    def __post_init__(self) -> None:
        if self.upstream:
            parts = urlsplit(self.upstream)
            plain = parts.scheme == "http" and is_loopback(parts.hostname or "")
            if not (parts.hostname and (plain or parts.scheme == "https")) or parts.query or parts.fragment:
                raise SettingsError("rp.settings", "proxy.upstream is https, or http on this machine")
        elif not self.audience:
            raise SettingsError("rp.settings", "proxy needs upstream, or for auth_request an audience")
        if self.host not in ("public", "upstream"):
            raise SettingsError("rp.settings", "proxy.host is public or upstream")
        if any(not path.startswith("/") for path in (*self.logout, *(rule.path for rule in self.rules))):
            raise SettingsError("rp.settings", "paths in proxy begin with a slash")
        if self.user_header and not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]{0,63}", self.user_header):
            raise SettingsError("rp.settings", "proxy.user_header is no header name")
        _requirement({"level": self.level, "max_age": self.max_age, "rung": self.rung})

    @property
    def wanted(self) -> Requirement:
        """What every path without a rule asks."""
        return Requirement(self.level, self.max_age, self.rung)

    def rule(self, path: str) -> Rule:
        """The rule of a canonical path."""
        loose, found = _loose(path), Rule("/", self.wanted)
        for rule in sorted(self.rules, key=lambda rule: len(rule.path)):
            if not _below(loose, _loose(rule.path)):
                continue
            if not rule.open or _below(path, rule.path):
                found = rule
        return found

    @classmethod
    def from_toml(cls, path: str | Path) -> ProxySettings:
        """The `[proxy]` table of a file. Raises SettingsError `rp.settings`."""
        try:
            table = tomllib.loads(Path(path).read_text("utf-8")).get("proxy")
        except (OSError, ValueError) as error:
            raise SettingsError("rp.settings", f"cannot read {path}: {type(error).__name__}") from error
        if not isinstance(table, dict):
            raise SettingsError("rp.settings", f"{path} has no [proxy]")
        return cls.read(table)

    @classmethod
    def read(cls, table: Mapping[str, Any]) -> ProxySettings:
        """From the table's keys; unknown ones and wrong types are errors."""
        kinds = {field.name: str(field.type) for field in fields(cls)}
        if strange := set(table) - set(kinds):
            raise SettingsError("rp.settings", f"unknown keys in [proxy]: {', '.join(sorted(strange))}")
        values: dict[str, Any] = {}
        for name, value in table.items():
            if name == "rules":
                values[name] = tuple(_rule(row) for row in value) if isinstance(value, list) else value
            else:
                values[name] = tuple(value) if isinstance(value, list) else value
            if not _fits(values[name], kinds[name]):
                raise SettingsError("rp.settings", f"proxy.{name} is not {kinds[name]}")
        return cls(**values)


def _fits(value: object, kind: str) -> bool:
    if kind == "tuple[str, ...]":
        return isinstance(value, tuple) and all(isinstance(each, str) for each in value)
    types: dict[str, tuple[type, ...]] = {
        "str": (str,),
        "int": (int,),
        "float": (int, float),
        "bool": (bool,),
        "int | None": (int,),
        "str | None": (str,),
    }
    return isinstance(value, types.get(kind, (tuple,))) and (kind == "bool" or not isinstance(value, bool))


def _rule(row: object) -> Rule:
    if not isinstance(row, dict) or not isinstance(row.get("path"), str):
        raise SettingsError("rp.settings", "a rule of [proxy] is a table with a path")
    if strange := set(row) - {"path", "level", "max_age", "rung", "open"}:
        raise SettingsError("rp.settings", f"unknown keys in a rule: {', '.join(sorted(strange))}")
    if not isinstance(row.get("open", False), bool) or (row.get("open") and set(row) - {"path", "open"}):
        raise SettingsError("rp.settings", "a rule is open, or asks something")
    asked = {name: row[name] for name in ("level", "max_age", "rung") if name in row}
    return Rule(quote(row["path"], safe=_SAFE + "%"), _requirement(asked), bool(row.get("open", False)))


def _requirement(values: Mapping[str, Any]) -> Requirement:
    try:
        return Requirement(**values)
    except (TypeError, ValueError) as error:
        raise SettingsError("rp.settings", f"proxy: {error}") from error


def canonical(raw: bytes) -> str:
    """The one spelling of a decoded path, percent-encoded. Raises RequestError `rp.proxy_path` for two readings."""
    path = re.sub(rb"/{2,}", b"/", raw)
    segments = [segment.partition(b";")[0] for segment in path.split(b"/")]
    if not path.startswith(b"/") or b"." in segments or b".." in segments:
        raise RequestError("rp.proxy_path", "a path that goes up, or begins nowhere")
    if re.search(rb"[\x00-\x1f\x7f\\]|%(2e|2f|5c|25|00)", path, re.IGNORECASE):
        raise RequestError("rp.proxy_path", "a path that is encoded twice, or has control characters")
    return quote(path, safe=_SAFE)


def canonical_target(address: str) -> tuple[str, str]:
    """(path, query) of a raw address, exactly as the system behind gets it.

    Raises RequestError `rp.proxy_path` when decoding could lead elsewhere: an encoded `/`, `\\`, `.`; `//`.
    """
    path, _, query = address.partition("?")
    if re.search(r"//|%(2e|2f|5c)", path, re.IGNORECASE):
        raise RequestError("rp.proxy_path", "a path with two readings")
    return canonical(unquote_to_bytes(path)), clean_query(query.encode("latin-1", "replace"))


def clean_query(raw: bytes) -> str:
    """A query with only visible ASCII; the rest percent-encoded."""
    return quote(raw, safe=_VISIBLE)


def _loose(path: str) -> str:
    """As the most careless system may read it: case, path parameters, dots and spaces at a segment's end."""
    read = unquote_to_bytes(path).decode("latin-1").lower().split("/")
    return "/".join(segment.partition(";")[0].rstrip(". ") for segment in read)


def _below(path: str, prefix: str) -> bool:
    bare = prefix.rstrip("/")
    return path == bare or path.startswith(f"{bare}/")
