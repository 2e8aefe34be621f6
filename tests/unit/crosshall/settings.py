"""A node's settings file for tests of commands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tomli_w


def write_settings(folder: Path, *, sections: dict[str, Any] | None = None, **node: str) -> Path:
    """`node.toml` in `folder`, with a `[node]` section of these keys and other sections as they are."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "node.toml"
    written = {
        "node": node,
        "bridge": {"issuer": "https://hall.gd.test", "certificate_host": "*.cert.gd.test"},
        "keycloak": {"issuer": "https://sso.gd.test/realms/gd", "internal": "http://127.0.0.1:1"},
        **(sections or {}),
    }
    path.write_text(tomli_w.dumps({name: section for name, section in written.items() if section}), "utf-8")
    return path
