"""The contracts' lists of addresses are the bridge's own, both ways: with a changed address the page changes too."""

from __future__ import annotations

import re
from pathlib import Path
from unittest.mock import MagicMock

from flask import Flask

from ca_bridge import web
from ca_bridge.provider.routes import blueprint

PAGE = Path(__file__).resolve().parents[2] / "docs" / "contracts.md"
SECTIONS = ("### Addresses at `hall.<base>`", "### Another hall")
_METHODS = re.compile(r"(?:GET|POST)(?:, POST)? ")


def section(title: str) -> str:
    """The text below a heading."""
    return PAGE.read_text("utf-8").split(f"{title}\n", 1)[1].split("\n#", 1)[0]


def told() -> dict[str, set[str]]:
    """Addresses of the page, each with the methods that stand before it (none: not said)."""
    found: dict[str, set[str]] = {}
    for text in re.findall(r"`([^`]+)`", "".join(map(section, SECTIONS))):
        methods = _METHODS.match(text)
        path = text[methods.end() :] if methods else text
        path = re.split(r"[? (]", path, maxsplit=1)[0]
        if path.startswith("/"):
            found.setdefault(path, set()).update(re.findall("GET|POST", methods[0]) if methods else ())
    return found


def served() -> dict[str, set[str]]:
    """What the bridge answers, each with its methods."""
    app = Flask("addresses", static_folder=None)
    web.register(app)
    app.register_blueprint(blueprint(MagicMock(), MagicMock()))
    found: dict[str, set[str]] = {}
    for rule in app.url_map.iter_rules():
        path = rule.rule.replace("<tx_id>", "<tx>").replace("<path:filename>", "")
        found.setdefault(path, set()).update((rule.methods or set()) & {"GET", "POST"})
    return found


def test_every_address_is_in_the_contracts() -> None:
    """Nobody finds an address in the code alone."""
    assert served().keys() - told().keys() == set()


def test_every_address_of_the_contracts_is_served() -> None:
    """Nobody is sent to an address that is gone."""
    assert told().keys() - served().keys() == set()


def test_the_methods_are_those_of_the_contracts() -> None:
    """Where the page names methods they are served, and where it names one alone the other is not."""
    answered = served()
    wrong = {path: methods for path, methods in told().items() if methods and not methods <= answered[path]}
    assert wrong == {}
    assert answered["/abroad/sign"] == {"POST"}


def test_the_page_is_read() -> None:
    """The test would see a hole: both lists are long, and the local ones are in them."""
    assert len(told()) > 25
    assert {"/health", "/metrics", "/abroad", "/c/<tx>"} <= told().keys()
