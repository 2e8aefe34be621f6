"""`crosshall check`: whether certificates are accepted, and why; `crosshall trust show`: what a bundle holds.

    check CERT… --bundle DIR      as the bridge judges a sign-in
    check CERT… --anchor FILE …   RFC 5280 alone, with the caller's pool and CRLs
    check --batch                 JSON lines on standard input (design §9)

Exit codes: 0 all accepted, 1 one refused, 2 wrong use.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ca_bridge.settings import load_settings
from ca_bridge.trust.bundle import read_bundle
from ca_bridge.types import utc_now
from ca_bridge.verdict import batch
from ca_bridge.verdict.snapshot import compile_bundle
from crosshall import checking
from crosshall.checking import Wishes, locale_language
from crosshall.linting import lint_command
from crosshall.options import DEFAULT_SETTINGS, SettingsFile

trust = typer.Typer(no_args_is_help=True)
app = typer.Typer(no_args_is_help=True)


class Purpose(StrEnum):
    """What the certificate is to be used for."""

    CLIENT = "client"
    SERVER = "server"
    CA = "ca"
    ANY = "any"


class Revocation(StrEnum):
    """How much must be known of status."""

    REQUIRE = "require"
    IF_AVAILABLE = "if-available"
    OFF = "off"


@app.command()
def check(
    certificates: Annotated[
        list[Path] | None,
        typer.Argument(metavar="CERT…", help="PEM or DER; what follows the first in a PEM file joins the pool."),
    ] = None,
    *,
    bundle: Annotated[Path | None, typer.Option(help="A trust bundle: judge as for a sign-in.")] = None,
    anchor: Annotated[list[Path] | None, typer.Option(help="A trust anchor, PEM or DER. Repeat it.")] = None,
    pool: Annotated[list[Path] | None, typer.Option(help="Folder or file of CA certificates. Repeat it.")] = None,
    crl: Annotated[list[Path] | None, typer.Option(help="Folder or file of CRLs. Repeat it.")] = None,
    at: Annotated[str | None, typer.Option(help="Time of validation, RFC 3339.", show_default="now")] = None,
    revocation: Annotated[Revocation, typer.Option(help="With --anchor: what must be known.")] = Revocation.OFF,
    policy: Annotated[list[str] | None, typer.Option(help="Acceptable policy, dotted. Repeat it.")] = None,
    require_policy: Annotated[bool, typer.Option(help="A policy must survive the path.")] = False,
    inhibit_mapping: Annotated[bool, typer.Option(help="Policy mappings do not count.")] = False,
    inhibit_any_policy: Annotated[bool, typer.Option(help="anyPolicy does not count.")] = False,
    max_intermediates: Annotated[int | None, typer.Option(min=0, help="Self-issued ones not counted.")] = None,
    anchor_constraints: Annotated[bool, typer.Option(help="The anchor's own extensions and dates bind.")] = False,
    purpose: Annotated[Purpose, typer.Option(help="With --anchor: what it is to be used for.")] = Purpose.ANY,
    sm2_id: Annotated[str, typer.Option(help="Distinguishing ID of SM2 signatures.")] = "1234567812345678",
    language: Annotated[str, typer.Option(help="zh-Hans, zh-Hant, en, pt.", show_default="by locale")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a certificate.")] = False,
    batch_mode: Annotated[bool, typer.Option("--batch", help="JSON lines on standard input.")] = False,
) -> None:
    """Say whether certificates are accepted, by which path or rule, and what to do."""
    if batch_mode:
        if certificates or bundle or anchor:
            raise typer.BadParameter("--batch takes everything from standard input")
        run_batch()
        return
    if not certificates or (bundle is None) == (not anchor):
        raise typer.BadParameter("give certificates, and either --bundle or --anchor")
    wishes = Wishes(
        anchors=tuple(anchor or ()),
        pool=tuple(pool or ()),
        crls=tuple(crl or ()),
        at=_time(at),
        revocation=revocation.value,
        policies=None if policy is None else frozenset(policy),
        require_policy=require_policy,
        inhibit_mapping=inhibit_mapping,
        inhibit_any_policy=inhibit_any_policy,
        max_intermediates=max_intermediates,
        anchor_constraints=anchor_constraints,
        purpose=purpose.value,
        sm2_id=sm2_id,
    )
    judge = checking.by_bundle(bundle, wishes) if bundle is not None else checking.by_anchor(wishes)
    accepted = True
    for path in certificates:
        report = judge(path)
        accepted &= report.accepted
        if as_json:
            typer.echo(json.dumps(report.as_dict(), ensure_ascii=False))
        else:
            typer.echo(report.text(language or locale_language()))
    raise typer.Exit(0 if accepted else 1)


def run_batch() -> None:
    """Answer every line of standard input on standard output, in order, each at once."""
    for answer in batch.run(_lines(), utc_now):
        sys.stdout.buffer.write(answer.encode() + b"\n")  # UTF-8 whatever the locale says
        sys.stdout.buffer.flush()


@trust.command("show")
def show(
    bundle: Annotated[
        Path | None, typer.Option(help="Folder of the bundle.", show_default="the node's, by its settings")
    ] = None,
    settings: SettingsFile = DEFAULT_SETTINGS,
) -> None:
    """List anchors, CAs with domain and paths, trust lists, CRLs, denials, and what could not be used."""
    folder = bundle if bundle is not None else load_settings(settings).node.bundle
    snapshot = compile_bundle(read_bundle(folder))
    for line in checking.describe(snapshot, utc_now()):
        typer.echo(line)


trust.command("lint")(lint_command)


@trust.callback()
def _trust() -> None:
    """What the trust bundle holds."""


def _lines() -> Iterator[str]:
    for raw in sys.stdin.buffer:
        try:
            yield raw.decode("utf-8")
        except UnicodeDecodeError:
            yield ""  # answered as a malformed line


def _time(text: str | None) -> datetime:
    if text is None:
        return utc_now()
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"--at: {error}") from error
    if found.tzinfo is None:
        raise typer.BadParameter("--at: a zone is missing (Z or +08:00)")
    return found
