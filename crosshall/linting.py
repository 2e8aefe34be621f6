"""`crosshall trust lint`: what is wrong with a trust bundle, finding by finding, with a remedy for each.

Exit codes: 0 clean, 1 findings, 2 wrong use.
"""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from ca_bridge.settings import load_settings
from ca_bridge.types import utc_now
from ca_bridge.verdict.lint import Wishes, lint_folder
from crosshall.options import DEFAULT_SETTINGS, SettingsFile, moment


def lint_command(
    bundle: Annotated[
        Path | None, typer.Option(help="Folder of the bundle.", show_default="the node's, by its settings")
    ] = None,
    *,
    at: Annotated[str | None, typer.Option(help="As of this time, RFC 3339.", show_default="now")] = None,
    days: Annotated[int, typer.Option(min=0, help="Days that a CA certificate or list entry must have left.")] = 90,
    crl_hours: Annotated[
        int | None, typer.Option(min=0, help="Hours that a CRL must have left.", show_default="a quarter of its time")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a finding.")] = False,
    settings: SettingsFile = DEFAULT_SETTINGS,
) -> None:
    """Say what is wrong with a bundle: CAs nobody reaches, stale CRLs, weak keys, rows without effect."""
    folder = bundle if bundle is not None else load_settings(settings).node.bundle
    crl_left = None if crl_hours is None else timedelta(hours=crl_hours)
    now = utc_now() if at is None else moment(at)
    found = lint_folder(folder, now, Wishes(left=timedelta(days=days), crl_left=crl_left))
    for finding in found:
        if as_json:
            typer.echo(json.dumps(finding.as_dict(), ensure_ascii=False))
            continue
        typer.echo(f"{finding.severity:7} {finding.code}: {finding.subject}")
        typer.echo(f"        {finding.detail}")
        typer.echo(f"        → {finding.remedy}")
    if not found and not as_json:
        typer.echo("clean")
    raise typer.Exit(1 if found else 0)
