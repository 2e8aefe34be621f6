"""Writes the tables of the documentation that come from code: `docs/settings.md` and `docs/errors.md`.

`python scripts/document.py` after a change; a test fails while a table is not what the code says.
"""

from __future__ import annotations

import ast
from pathlib import Path

from ca_bridge import settings
from ca_bridge.errors import catalogue

ROOT = Path(__file__).resolve().parent.parent
SECTIONS = {"Node": "node", "Bridge": "bridge", "Database": "database", "Keycloak": "keycloak", "Front": "front", "Sync": "sync"}


def settings_table() -> str:
    """Every key of `node.toml`: section, key, default, meaning (the text below the field)."""
    tree = ast.parse(Path(settings.__file__).read_text("utf-8"))
    lines = [
        "# Settings of a node",
        "",
        "Written by `scripts/document.py` from `ca_bridge/settings.py`.",
        "`CROSSHALL_<SECTION>__<KEY>` in the environment wins.",
    ]
    for node in tree.body:
        if not isinstance(node, ast.ClassDef) or node.name not in SECTIONS:
            continue
        lines += ["", f"## `[{SECTIONS[node.name]}]`", "", ast.get_docstring(node) or "", ""]
        lines += ["| Key | Default | Meaning |", "| --- | --- | --- |"]
        lines += [f"| `{name}` | {default} | {text} |" for name, default, text in _fields(node)]
    return "\n".join(lines) + "\n"


def _fields(section: ast.ClassDef) -> list[tuple[str, str, str]]:
    found = []
    for statement, following in zip(section.body, [*section.body[1:], ast.Pass()], strict=True):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            text = ""
            if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
                text = " ".join(str(following.value.value).split()).replace("|", "\\|")
            found.append((statement.target.id, _default(statement.value), text))
    return found


def _default(value: ast.expr | None) -> str:
    if value is None:
        return "required"
    if isinstance(value, ast.Call):
        named = [keyword.value for keyword in value.keywords if keyword.arg == "default"]
        value = named[0] if named else value.args[0]
    return f"`{ast.unparse(value)}`"


def errors_table() -> str:
    """Every code: HTTP status, source of the rule, what a person reads (English and simplified Chinese)."""
    lines = [
        "# Error codes",
        "",
        "Written by `scripts/document.py` from `config/errors/`. A code is never renamed.",
        "The SDK's codes (`rp.…`) are in [windows.md](windows.md).",
        "",
        "| Code | Status | Rule | What a person reads | What to do |",
        "| --- | --- | --- | --- | --- |",
    ]
    for code, entry in sorted(catalogue().items()):
        say = f"{entry.say['zh-Hans']}<br>{entry.say['en']}"
        remedy = f"{entry.do['zh-Hans']}<br>{entry.do['en']}"
        lines.append(f"| `{code}` | {entry.status} | {entry.clause} | {say} | {remedy} |")
    return "\n".join(lines) + "\n"


TABLES = {"docs/settings.md": settings_table, "docs/errors.md": errors_table}


def main() -> None:
    """Write every table."""
    for name, table in TABLES.items():
        (ROOT / name).write_text(table(), "utf-8")


if __name__ == "__main__":
    main()
