"""Registered windows: read back as written; anything missing, unsafe or of another name is refused."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from ca_bridge.errors import ConfigError
from ca_bridge.registry import attribute_sectors, find_window, load_windows, sectors, write_window
from tests.parts.bridge import window

POLICE = window("police", "police", ("name",))


def test_a_window_is_read_as_it_was_written(tmp_path: Path):
    """Every field, in a file of its id; windows come in the order of their ids."""
    env = window("env", "environment", ())
    write_window(tmp_path, POLICE)
    file = write_window(tmp_path, env)
    assert file == tmp_path / "windows" / "env.toml"
    assert load_windows(tmp_path) == (env, POLICE)
    assert find_window((env, POLICE), "police") == POLICE
    assert find_window((env, POLICE), "Police") is None
    assert sectors((env, POLICE)) == ("environment", "police")
    assert attribute_sectors((env, POLICE)) == {"police"}


def test_no_folder_is_no_window(tmp_path: Path):
    """A node before its first window."""
    assert load_windows(tmp_path) == ()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", "Police"),
        ("id", "../police"),
        ("id", ""),
        ("id", 7),
        ("sector", "a b"),
        ("sector", "s" * 33),
        ("name", {}),
        ("name", "police"),
        ("base_url", "ftp://police.example"),
        ("base_url", "police.example"),
        ("redirect_uris", []),
        ("redirect_uris", "https://police.example/"),
        ("redirect_uris", ["https://police.example/*"]),
        ("redirect_uris", ["https://police.example/#x"]),
        ("redirect_uris", ["https://user@police.example/"]),
        ("redirect_uris", ["https:///x"]),
        ("redirect_uris", ["javascript:alert(1)"]),
        ("redirect_uris", ["https://police.example/ x"]),
        ("redirect_uris", ["https://[police/"]),
        ("post_logout_redirect_uris", ["x"]),
        ("backchannel_logout_url", ""),
        ("jwks_url", None),
        ("attributes", ["name", "name"]),
        ("attributes", ["birthday"]),
        ("attributes", "name"),
        ("more", "x"),
    ],
)
def test_a_registration_that_is_not_right_is_refused(tmp_path: Path, field: str, value: Any):
    """`config.window`, for the whole folder: a window half known is a danger."""
    raw: dict[str, Any] = {
        name: list(one) if isinstance(one, tuple) else one for name, one in asdict(POLICE).items()
    } | {field: value}
    (tmp_path / "windows").mkdir()
    file = tmp_path / "windows" / "police.toml"
    file.write_text(tomli_w.dumps({name: one for name, one in raw.items() if one is not None}))
    with pytest.raises(ConfigError) as refused:
        load_windows(tmp_path)
    assert refused.value.code == "config.window"


def test_a_file_of_another_name_is_refused(tmp_path: Path):
    """Else one file could stand in for another."""
    write_window(tmp_path, POLICE).rename(tmp_path / "windows" / "env.toml")
    with pytest.raises(ConfigError):
        load_windows(tmp_path)


def test_an_unsafe_window_is_not_written(tmp_path: Path):
    """Checked before the file changes."""
    write_window(tmp_path, POLICE)
    with pytest.raises(ConfigError):
        write_window(tmp_path, replace(POLICE, redirect_uris=("https://*.example/",)))
    assert load_windows(tmp_path) == (POLICE,)


def test_a_broken_file_is_refused(tmp_path: Path):
    """Not TOML, not UTF-8."""
    (tmp_path / "windows").mkdir()
    for broken in (b"id = ", b"\xff"):
        (tmp_path / "windows" / "police.toml").write_bytes(broken)
        with pytest.raises(ConfigError):
            load_windows(tmp_path)
