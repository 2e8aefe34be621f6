"""`crosshall replay`: kept verdicts judged again, each at its time against its own bundle.

    run      every record: the same verdict, or the rule that differs
    record   judge certificates and keep the verdicts
    archive  keep a bundle under its hash
    shred    destroy keys: of one record, or of all days before one

Exit codes of `run`: 0 nothing differs, 1 something differs, is damaged or has no bundle, 2 wrong use.
"""

from __future__ import annotations

import json
import secrets
from collections import Counter
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from ca_bridge.asn1.certificate import pem_blocks
from ca_bridge.errors import ConfigError
from ca_bridge.settings import load_settings
from ca_bridge.types import utc_now
from ca_bridge.verdict.evidence import Evidence
from ca_bridge.verdict.replay import Outcome, replay
from crosshall.options import DEFAULT_SETTINGS, SettingsFile, moment

app = typer.Typer(no_args_is_help=True)
Folder = Annotated[
    Path | None, typer.Option("--evidence", help="Folder of records, keys, bundles.", show_default="the node's")
]
Bundle = Annotated[Path | None, typer.Option("--bundle", help="Folder of the bundle.", show_default="the node's")]

Status = Annotated[Path | None, typer.Option("--status", help="Folder of newer status data beside the bundle.")]


@app.command()
def run(
    evidence: Folder = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a record.")] = False,
    settings: SettingsFile = DEFAULT_SETTINGS,
) -> None:
    """Judge every kept record again: the same verdict, or what differs. Destroyed keys are counted."""
    kept = Evidence(_evidence(evidence, settings))
    counts: Counter[Outcome] = Counter()
    for line in kept.lines():
        found = replay(line, kept.key, kept.of)
        counts[found.outcome] += 1
        if as_json:
            typer.echo(json.dumps(asdict(found), ensure_ascii=False))
        elif found.outcome not in (Outcome.SAME, Outcome.SHREDDED):
            typer.echo(f"{found.outcome.value:9} {found.id or '?'}  {found.code}  {found.detail}".rstrip())
            for difference in found.differences:
                typer.echo(f"          {difference.rule}: {difference.then} → {difference.now}")
    if not as_json:
        said = ", ".join(f"{outcome.value} {counts[outcome]}" for outcome in Outcome)
        typer.echo(f"{counts.total()} records: {said}")
    bad = counts.keys() - {Outcome.SAME, Outcome.SHREDDED}
    raise typer.Exit(1 if bad else 0)


@app.command("record")
def record_command(
    certificates: Annotated[list[Path], typer.Argument(metavar="CERT…", help="Certificates, PEM or DER.")],
    *,
    bundle: Bundle = None,
    at: Annotated[str | None, typer.Option(help="Time of validation, RFC 3339.", show_default="now")] = None,
    status: Status = None,
    evidence: Folder = None,
    settings: SettingsFile = DEFAULT_SETTINGS,
) -> None:
    """Judge certificates as for a sign-in, and keep bundle and verdicts."""
    kept = Evidence(_evidence(evidence, settings))
    snapshot = kept.snapshot(*kept.archive(_bundle(bundle, settings), status))
    now = utc_now() if at is None else moment(at)
    for path in certificates:
        leaf = _leaf(path)
        made = kept.keep(snapshot, leaf, snapshot.judge(leaf, now), secrets.token_bytes)
        typer.echo(f"{made.id}  {made.verdict['code']}  {path}")


@app.command()
def archive(
    bundle: Bundle = None, status: Status = None, evidence: Folder = None, settings: SettingsFile = DEFAULT_SETTINGS
) -> None:
    """Keep a bundle under its hash, for records to come; the bridge does it itself."""
    name, overlay = Evidence(_evidence(evidence, settings)).archive(_bundle(bundle, settings), status)
    typer.echo(f"{name} {overlay}".rstrip())


@app.command()
def shred(
    record_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="Of one record.")] = None,
    before: Annotated[str | None, typer.Option(help="All days before this one, YYYY-MM-DD (UTC).")] = None,
    evidence: Folder = None,
    settings: SettingsFile = DEFAULT_SETTINGS,
) -> None:
    """Destroy the key of a record, or of all days before one: nobody can read whom it was about any more."""
    if (record_id is None) == (before is None):
        raise typer.BadParameter("give the id of a record, or --before")
    kept = Evidence(_evidence(evidence, settings))
    if before is None:
        assert record_id is not None
        if not kept.shred(record_id):
            raise ConfigError("config.missing", f"no key of a record {record_id}: unknown, or destroyed before")
        typer.echo(f"{record_id}: shredded")
        return
    try:
        day = date.fromisoformat(before)
    except ValueError as error:
        raise typer.BadParameter(f"--before: {error}") from error
    typer.echo(f"{kept.shred_before(day)} keys destroyed")


def _evidence(given: Path | None, settings: Path) -> Path:
    return given if given is not None else load_settings(settings).node.state / "evidence"


def _bundle(given: Path | None, settings: Path) -> Path:
    return given if given is not None else load_settings(settings).node.bundle


def _leaf(path: Path) -> bytes:
    """The first certificate of a file, as it stands: what cannot be parsed has a verdict too."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError("config.missing", f"{path}: {error.strerror}") from error
    blocks = pem_blocks(data, "CERTIFICATE") if b"-----BEGIN" in data[:4096] else []
    return blocks[0] if blocks else data
