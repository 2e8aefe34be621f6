"""Comparison of what was found with what is wanted, and plans that a person can read."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from idp.admin import Admin

_SECRET = ("salt", "secret", "password", "privatekey")


@dataclass(frozen=True, slots=True)
class Difference:
    """One field: where, what was found, what is wanted. None: absent."""

    path: str
    found: Any
    wanted: Any

    def text(self) -> str:
        """`path: found → wanted`, without the values of secrets."""
        if any(word in self.path.lower() for word in _SECRET):
            return f"{self.path}: differs (not shown)"
        if isinstance(self.found, str) and isinstance(self.wanted, str) and "\n" in self.found + self.wanted:
            lines = difflib.unified_diff(self.found.splitlines(), self.wanted.splitlines(), lineterm="", n=1)
            return "\n".join([f"{self.path}:", *(f"    {line}" for line in list(lines)[2:])])
        return f"{self.path}: {_show(self.found)} → {_show(self.wanted)}"


@dataclass(frozen=True, slots=True)
class Change:
    """One step of a plan; `run` does it."""

    kind: str
    name: str
    action: str
    """`create`, `update` or `delete`."""
    run: Callable[[Admin], None] = field(repr=False, compare=False)
    differences: tuple[Difference, ...] = ()

    def text(self) -> str:
        """Readable: a line, then one for each difference."""
        sign = {"create": "+", "update": "~", "delete": "-"}[self.action]
        return "\n".join([f"{sign} {self.kind} {self.name}", *(f"    {each.text()}" for each in self.differences)])


@dataclass(frozen=True, slots=True)
class Plan:
    """What must be done, in order, and what was found that nobody here manages."""

    changes: tuple[Change, ...]
    extras: tuple[str, ...] = ()

    def text(self) -> str:
        """For people: changes, extras, or that all is as it must be."""
        lines = [change.text() for change in self.changes] or ["The realm is as it must be."]
        if self.extras:
            lines += ["Not managed here, left alone:", *(f"    {extra}" for extra in self.extras)]
        return "\n".join(lines)


def differences(found: Any, wanted: Any, path: str = "", *, exact: bool = False) -> Iterator[Difference]:
    """Where `found` is not as `wanted`.

    Keys that only `found` has are the server's own and ignored, unless `exact`: then one with a value that says
    something (not empty, not "false") is a difference. Lists of texts are sets; absent, null and empty are one.
    """
    if isinstance(wanted, Mapping):
        have = found if isinstance(found, Mapping) else {}
        for key, value in wanted.items():
            yield from differences(have.get(key), value, f"{path}.{key}" if path else str(key), exact=exact)
        if exact:
            for key in sorted(set(have) - set(wanted)):
                if not _silent(have[key]):
                    yield Difference(f"{path}.{key}" if path else str(key), have[key], None)
    elif not _same(found, wanted):
        yield Difference(path, found, wanted)


def _same(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, list) and isinstance(found, list):
        return sorted(map(_key, found)) == sorted(map(_key, wanted))
    if isinstance(found, str) and isinstance(wanted, str) and found != wanted:
        return _same_json(found, wanted)
    return found == wanted or (found in (None, "", [], {}) and wanted in (None, "", [], {}))


def _same_json(found: str, wanted: str) -> bool:
    # Keycloak writes JSON texts (maps of levels) back in its own spacing.
    if found[:1] not in ("{", "[") or wanted[:1] not in ("{", "["):
        return False
    try:
        return bool(json.loads(found) == json.loads(wanted))
    except ValueError:
        return False


def _key(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _silent(value: Any) -> bool:
    return value in (None, "", "false", False, [], {})


def _show(value: Any) -> str:
    return "absent" if value is None else json.dumps(value, ensure_ascii=False)


def sending(method: str, path: str, body: Any = None) -> Callable[[Admin], None]:
    """A change's `run`: one POST, PUT or DELETE at `path` below the realm's address."""

    def run(admin: Admin) -> None:
        address = f"{admin.base}/{path}"
        if method == "post":
            admin.post(address, body)
        elif method == "put":
            admin.put(address, body)
        else:
            admin.delete(address)

    return run
