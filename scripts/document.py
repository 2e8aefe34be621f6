"""Writes the tables of the documentation that come from code: settings and errors, of a node and of a window.

`python scripts/document.py` after a change; a test fails while a table is not what the code says.
"""

from __future__ import annotations

import ast
from pathlib import Path

from ca_bridge import settings
from ca_bridge.errors import catalogue
from relying_party_sdk import rules as rp_rules
from relying_party_sdk import settings as rp_settings
from relying_party_sdk.words import catalogue as rp_catalogue
from relying_party_sdk.words import remedies

ROOT = Path(__file__).resolve().parent.parent
SECTIONS = {name: name.lower() for name in ("Node", "Bridge", "Database", "Keycloak", "Front", "Sync", "Pilot")}


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
        value = [*named, *value.args, ast.Constant("")][0]
    return f"`{ast.unparse(value)}`"


def errors_table() -> str:
    """Every code: HTTP status, source of the rule, what a person reads (English and simplified Chinese)."""
    lines = [
        "# Error codes",
        "",
        "Written by `scripts/document.py` from `config/errors/`. A code is never renamed.",
        "The SDK's codes (`rp.…`) are in [windows-errors.md](windows-errors.md).",
        "",
        "| Code | Status | Rule | What a person reads | What to do |",
        "| --- | --- | --- | --- | --- |",
    ]
    for code, entry in sorted(catalogue().items()):
        say = f"{entry.say['zh-Hans']}<br>{entry.say['en']}"
        remedy = f"{entry.do['zh-Hans']}<br>{entry.do['en']}"
        lines.append(f"| `{code}` | {entry.status} | {entry.clause} | {say} | {remedy} |")
    return "\n".join(lines) + "\n"


def rp_settings_table() -> str:
    """Every key of a window's settings file, and of its `[proxy]` table."""
    lines = [
        "# Settings of a window",
        "",
        "Written by `scripts/document.py` from the SDK. The [guide](windows.md) says which ones you need.",
        "`CROSSHALL_RP_<KEY>` in the environment wins over the file; unknown keys are errors;",
        "tables but `[proxy]` are yours; relative paths start at the file's folder; times are in seconds.",
        "What weakens the SDK begins with `dangerously_`.",
    ]
    for module, name, title in ((rp_settings, "Settings", "The file"), (rp_rules, "ProxySettings", "`[proxy]`")):
        tree = ast.parse(Path(str(module.__file__)).read_text("utf-8"))
        section = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
        lines += ["", f"## {title}", "", "| Key | Default | Meaning |", "| --- | --- | --- |"]
        lines += [f"| `{key}` | {default} | {text} |" for key, default, text in _fields(section)]
    lines += ["", "A rule, `[[proxy.rules]]`: `path`, and `level`, `max_age`, `rung`, or `open = true`.", ""]
    return "\n".join(lines)


def rp_errors_table() -> str:
    """Every code of the SDK: HTTP status, what a person reads, what its operator does."""
    lines = [
        "# Error codes of a window",
        "",
        "Written by `scripts/document.py` from the SDK. A code is never renamed. The person's page shows the first",
        "text and a number that is also in your log (`relying_party_sdk`, stdlib logging); the log never says who.",
        "",
        "| Code | Status | What a person reads | What you do |",
        "| --- | --- | --- | --- |",
    ]
    fixes = remedies()
    for code, entry in sorted(rp_catalogue().items()):
        zh, en = fixes[code]
        say = f"{entry['say']['zh-Hans']}<br>{entry['say']['en']}"
        lines.append(f"| `{code}` | {entry['status']} | {say} | {zh}<br>{en} |")
    return "\n".join(lines) + "\n"


TABLES = {
    "docs/settings.md": settings_table,
    "docs/errors.md": errors_table,
    "docs/windows-settings.md": rp_settings_table,
    "docs/windows-errors.md": rp_errors_table,
}


def main() -> None:
    """Write every table."""
    for name, table in TABLES.items():
        (ROOT / name).write_text(table(), "utf-8")


if __name__ == "__main__":
    main()
