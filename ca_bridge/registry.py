"""The windows registered at this node: `state/windows/<id>.toml`.

`crosshall window add` writes them; the bridge and `idp` read them.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import tomli_w

from ca_bridge.errors import ConfigError
from ca_bridge.files import write_atomically

ATTRIBUTES = ("name", "identifiers", "organisation")
"""What the attribute endpoint can release."""
_ID = re.compile(r"[a-z][a-z0-9-]{0,31}")


@dataclass(frozen=True, slots=True)
class Window:
    """One registered window (departmental system); every field has been checked."""

    id: str
    """Its client_id at the realm: lower case, digits, hyphens."""
    sector: str
    """Windows of one sector see the same `crosshall_subject`."""
    name: Mapping[str, str]
    base_url: str
    redirect_uris: tuple[str, ...]
    """Compared as text, exactly; never a wildcard."""
    post_logout_redirect_uris: tuple[str, ...]
    backchannel_logout_url: str
    """As Keycloak reaches it."""
    jwks_url: str
    """The window's public keys (private_key_jwt), as Keycloak reaches them."""
    attributes: tuple[str, ...] = ()
    """What the attribute endpoint may release to it; of `ATTRIBUTES`."""


def load_windows(state_dir: Path) -> tuple[Window, ...]:
    """Every window registered below `state_dir`, by id; none when the folder is absent.

    Raises ConfigError `config.window`: a file not readable, a field missing or unsafe, a name that is not the id.
    """
    folder = state_dir / "windows"
    try:
        files = sorted(folder.glob("*.toml"))
        windows = tuple(_window(tomllib.loads(file.read_text("utf-8")), str(file.name)) for file in files)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError("config.window", f"{folder}: {error}") from error
    for file, window in zip(files, windows, strict=True):
        if file.stem != window.id:
            raise ConfigError("config.window", f"{file.name} holds a window of another id")
    return windows


def write_window(state_dir: Path, window: Window) -> Path:
    """Register `window`, or replace what was under its id; returns the file. Raises ConfigError `config.window`."""
    raw = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(window).items()}
    raw["name"] = dict(window.name)
    checked = _window(raw, window.id)
    file = state_dir / "windows" / f"{checked.id}.toml"
    write_atomically(file, tomli_w.dumps(raw).encode())
    return file


def find_window(windows: tuple[Window, ...], window_id: str) -> Window | None:
    """The window of that id, or None."""
    return next((window for window in windows if window.id == window_id), None)


def sectors(windows: tuple[Window, ...]) -> tuple[str, ...]:
    """Every sector that has a window, sorted."""
    return tuple(sorted({window.sector for window in windows}))


def attribute_sectors(windows: tuple[Window, ...]) -> frozenset[str]:
    """Sectors in which a window may receive attributes: only for these a session is found by subject."""
    return frozenset(window.sector for window in windows if window.attributes)


def _window(raw: Mapping[str, Any], where: str) -> Window:
    unknown = set(raw) - set(Window.__dataclass_fields__)
    if unknown:
        raise ConfigError("config.window", f"{where}: unknown {', '.join(sorted(unknown))}")
    for field in ("id", "sector"):
        if not isinstance(raw.get(field), str) or not _ID.fullmatch(raw[field]):
            raise ConfigError("config.window", f"{where}: {field} must be a-z, 0-9 and hyphens, at most 32")
    name = raw.get("name")
    if not isinstance(name, Mapping) or not name or not all(isinstance(text, str) for text in name.values()):
        raise ConfigError("config.window", f"{where}: name must give a text for each language")
    attributes = _texts(raw, "attributes", where, least=0)
    if set(attributes) - set(ATTRIBUTES) or len(set(attributes)) != len(attributes):
        raise ConfigError("config.window", f"{where}: attributes may only be {', '.join(ATTRIBUTES)}")
    return Window(
        id=raw["id"],
        sector=raw["sector"],
        name=dict(name),
        base_url=_url(raw.get("base_url"), "base_url", where),
        redirect_uris=tuple(_url(u, "redirect_uris", where) for u in _texts(raw, "redirect_uris", where, least=1)),
        post_logout_redirect_uris=tuple(
            _url(u, "post_logout_redirect_uris", where)
            for u in _texts(raw, "post_logout_redirect_uris", where, least=0)
        ),
        backchannel_logout_url=_url(raw.get("backchannel_logout_url"), "backchannel_logout_url", where),
        jwks_url=_url(raw.get("jwks_url"), "jwks_url", where),
        attributes=attributes,
    )


def _texts(raw: Mapping[str, Any], field: str, where: str, *, least: int) -> tuple[str, ...]:
    value = raw.get(field, [])
    if not isinstance(value, list) or len(value) < least or not all(isinstance(item, str) for item in value):
        raise ConfigError("config.window", f"{where}: {field} must be a list of at least {least} texts")
    return tuple(value)


def _url(value: Any, field: str, where: str) -> str:
    """An http(s) address with a host, no user, no fragment, no wildcard (RFC 9700 §2.1: exact comparison)."""
    if isinstance(value, str) and value.isascii() and value.isprintable() and "*" not in value and " " not in value:
        try:
            parts = urlsplit(value)
            good = (
                parts.scheme in ("http", "https") and parts.hostname and not parts.fragment and "@" not in parts.netloc
            )
        except ValueError:
            good = False
        if good:
            return value
    raise ConfigError("config.window", f"{where}: {field} must be a whole http(s) address")
