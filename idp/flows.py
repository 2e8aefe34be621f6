"""Authentication flows: read as trees, compared whole, built anew under the next number, never edited in place."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from idp.admin import Admin
from idp.compare import Difference
from idp.model import ALIAS_PREFIX, Flow, Json, Step


def aliases(found: list[Json], purpose: str) -> dict[int, Json]:
    """Our flows of that purpose among the realm's, by number."""
    pattern = re.compile(rf"{re.escape(ALIAS_PREFIX + purpose)}-(\d+)")
    matches = ((pattern.fullmatch(flow["alias"]), flow) for flow in found)
    return {int(match[1]): flow for match, flow in matches if match}


def alias(purpose: str, number: int) -> str:
    """`crosshall-<purpose>-<number>`."""
    return f"{ALIAS_PREFIX}{purpose}-{number}"


def read_steps(admin: Admin, name: str) -> tuple[Step, ...] | None:
    """The flow of that alias as a tree of steps, or None when there is none."""
    rows = admin.find(f"{admin.base}/authentication/flows/{quote(name)}/executions")
    if rows is None:
        return None
    steps, rest = _tree(admin, list(rows), 0, name)
    if rest:
        raise AssertionError("executions come in the order of a tree")
    return steps


def _tree(admin: Admin, rows: list[Json], level: int, name: str) -> tuple[tuple[Step, ...], list[Json]]:
    steps: list[Step] = []
    while rows and rows[0]["level"] == level:
        row, rows = rows[0], rows[1:]
        inner: tuple[Step, ...] = ()
        if row.get("authenticationFlow"):
            inner, rows = _tree(admin, rows, level + 1, name)
        config: dict[str, Any] = {}
        if row.get("authenticationConfig"):
            config = admin.read(f"{admin.base}/authentication/config/{row['authenticationConfig']}").get("config", {})
        steps.append(
            Step(
                requirement=row["requirement"],
                authenticator="" if row.get("authenticationFlow") else row["providerId"],
                name=row["displayName"].removeprefix(f"{name} ") if row.get("authenticationFlow") else "",
                config=tuple(sorted((key, str(value)) for key, value in config.items() if value not in (None, ""))),
                steps=inner,
            )
        )
    return tuple(steps), rows


def text(steps: tuple[Step, ...], indent: str = "") -> str:
    """A tree of steps, a line each: what a plan shows."""
    lines = []
    for step in steps:
        config = " ".join(f"{key}={value}" for key, value in step.config)
        lines.append(f"{indent}{step.requirement} {step.authenticator or step.name} {config}".rstrip())
        if step.steps:
            lines.append(text(step.steps, indent + "  "))
    return "\n".join(lines)


def steps_difference(found: tuple[Step, ...] | None, flow: Flow) -> tuple[Difference, ...]:
    """Nothing when the flow found is the wanted one."""
    if found == flow.steps:
        return ()
    return (Difference("steps", text(found or ()) + "\n", text(flow.steps) + "\n"),)


def build(admin: Admin, name: str, flow: Flow) -> None:
    """Make `flow` under the alias `name`. Nothing uses it until it is bound, so an interrupt does no harm."""
    body = {"alias": name, "description": flow.description, "providerId": "basic-flow", "topLevel": True}
    admin.post(f"{admin.base}/authentication/flows", {**body, "builtIn": False})
    _add(admin, name, name, flow.steps)


def _add(admin: Admin, top: str, parent: str, steps: tuple[Step, ...]) -> None:
    at = f"{admin.base}/authentication/flows/{quote(parent)}/executions"
    for number, step in enumerate(steps, 1):
        if step.steps:
            name = f"{top} {step.name}"
            admin.post(f"{at}/flow", {"alias": name, "type": "basic-flow", "provider": "", "description": ""})
            row = next(row for row in admin.read(at) if row["displayName"] == name)
        else:
            made = admin.post(f"{at}/execution", {"provider": step.authenticator})
            row = next(row for row in admin.read(at) if row["id"] == made)
        admin.put(at, {**row, "requirement": step.requirement, "priority": number * 10})
        if step.config:
            config = {"alias": f"{parent} {number}", "config": dict(step.config)}
            admin.post(f"{admin.base}/authentication/executions/{row['id']}/config", config)
        if step.steps:
            _add(admin, top, name, step.steps)
