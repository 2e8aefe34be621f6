"""What every refusal of the live tests is held to: a line for the operator that says not who, and nothing half done."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from urllib.parse import urlsplit

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from ca_bridge.errors import LANGUAGES, catalogue, words
from demo.browser import Page
from demo.personas import personas
from demo.stack import Demo

_AREAS = "ceremony|asn1|crypto|path|trust|revocation|identity|policy|provider|upstream|store|rp|run"
_CODE = re.compile(rf"\b((?:{_AREAS})\.[a-z][a-z0-9_]+)")


def codes(page: Page) -> set[str]:
    """The stable codes that a page or a JSON answer shows to the person."""
    return set(_CODE.findall(unescape(re.sub(r"<(script|style)\b.*?</\1>|<[^>]+>", " ", page.text, flags=re.DOTALL))))


def assert_refused(page: Page, code: str) -> None:
    """The page or JSON answer is the refusal `code`: that code alone, its status, and words for a person."""
    assert codes(page) == {code}, f"{page.status} {codes(page)} at {urlsplit(page.url).path}"
    assert page.status == catalogue()[code].status
    shown = " ".join(map(str, json.loads(page.text).values())) if page.text.startswith("{") else unescape(page.text)
    assert any(all(text in shown for text in words(code, language)) for language in LANGUAGES), code


def rows(demo: Demo, query: str) -> list[tuple[object, ...]]:
    """What a query finds in the bridge's database."""
    engine = sa.create_engine(demo.settings.database.url, poolclass=NullPool)
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(sa.text(query))]


def sids(demo: Demo) -> set[object]:
    """The live sessions of the bridge."""
    return {row[0] for row in rows(demo, "SELECT sid FROM sessions")}


def people_known(demo: Demo) -> set[object]:
    """Every person the bridge has ever signed in."""
    return {row[0] for row in rows(demo, "SELECT person FROM people")}


def who() -> set[str]:
    """Every persona's name and identifiers, as they are written."""
    found = {persona.name for persona in personas()}
    found |= {value for persona in personas() for _, _, value in persona.identifiers}
    return found | {text for persona in personas() for text in persona.organisation or ()}


class Log:
    """What one part writes to its log from now on."""

    def __init__(self, demo: Demo, part: str = "bridge") -> None:
        self._path = demo.folder.logs / f"{part}.log"
        self._start = self._path.stat().st_size if self._path.exists() else 0

    def text(self) -> str:
        """Everything written since."""
        with self._path.open("rb") as file:
            file.seek(self._start)
            return file.read().decode("utf-8", "replace")

    def lines(self) -> list[dict[str, object]]:
        """The JSON lines among it."""
        return [json.loads(line) for line in self.text().splitlines() if line.startswith("{")]

    def codes(self) -> list[str]:
        """The codes logged, in order."""
        return [str(line["code"]) for line in self.lines() if "code" in line]


@contextmanager
def refusal(demo: Demo, code: str) -> Iterator[None]:
    """Inside, `code` is refused: the bridge logs the code and not who, and no session is there that was not before."""
    before, log = sids(demo), Log(demo)
    yield
    assert code in log.codes(), log.codes()
    text = log.text()
    assert not [one for one in who() if one in text]
    assert not re.search(r"[ps]1:[a-z2-7]{20}", text)
    assert sids(demo) <= before
