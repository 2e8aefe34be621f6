"""Every error code is in the catalogue, in four languages, with a remedy; the catalogue holds no code nobody raises."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from ca_bridge.errors import LANGUAGES, CrosshallError, catalogue

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("ca_bridge", "crosshall", "demo", "idp", "nodes", "signer")


def areas() -> set[str]:
    """Every area that an error class takes."""
    found: set[str] = set()
    stack = [CrosshallError]
    while stack:
        kind = stack.pop()
        found |= set(kind.areas)
        stack += kind.__subclasses__()
    return found


def codes_in_sources() -> Iterator[tuple[str, Path]]:
    """Every text in our sources that has the form of a code of a known area."""
    form = re.compile(rf"({'|'.join(sorted(areas()))})\.[a-z0-9]+(_[a-z0-9]+)*")
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            tree = ast.parse(file.read_text("utf-8"))
            events = {id(first) for first in logged(tree)}
            texts = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in events)
            for value in (node.value for node in texts if isinstance(node.value, str)):
                if form.fullmatch(value) and not value.endswith((".toml", ".json")):
                    yield value, file


def logged(tree: ast.AST) -> Iterator[ast.expr]:
    """Names of log events: the first argument of `….info`, `.warning` and the like."""
    levels = ("debug", "info", "warning", "error", "exception")
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in levels:
            yield from node.args[:1]


def test_every_code_is_in_the_catalogue() -> None:
    """A code that is raised has its words."""
    missing = {f"{code} ({file.relative_to(ROOT)})" for code, file in codes_in_sources() if code not in catalogue()}
    assert not missing, "\n".join(sorted(missing))


def test_the_catalogue_holds_nothing_else() -> None:
    """A code that nobody raises is taken out (a released one is kept by the test that raises it)."""
    used = {code for code, _ in codes_in_sources()} | {"run.fault"}
    assert not set(catalogue()) - used


def test_every_entry_speaks_four_languages() -> None:
    """Why and what to do, in each language, and the source of the rule."""
    for code, entry in catalogue().items():
        for words in (entry.say, entry.do):
            assert set(words) == set(LANGUAGES), code
            assert all(len(text.strip()) > 3 for text in words.values()), code
        assert entry.clause, code
        assert entry.status in range(400, 600), code
