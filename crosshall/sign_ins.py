"""`crosshall node sign-ins`, `node cuts`: what came from a node since a time; who signed in during a cut in vain."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Annotated

import typer

from ca_bridge.ceremony import journal
from ca_bridge.crypto.between import read_node_keys
from ca_bridge.errors import ConfigError
from ca_bridge.settings import load_settings
from ca_bridge.store import Box, open_store
from ca_bridge.store.links import Links
from ca_bridge.verdict.cuts import FOLDER, Cuts
from crosshall.options import DEFAULT_SETTINGS, SettingsFile


def sign_ins(
    of: Annotated[str, typer.Option("--of", help="The node: gd/guangzhou; with every node below it.")],
    since: Annotated[str, typer.Option(help="Time with zone: 2026-11-20T08:00:00+08:00.")],
    settings: SettingsFile = DEFAULT_SETTINGS,
) -> None:
    """Sign-ins that came from a node: here by its evidence, and there as it told the province. By certificate only."""
    found = load_settings(settings)
    start = _time(since)
    keys = found.bridge.keys
    links = Links(open_store(found.database.url, Box.from_file(keys / "attributes")))
    arrived = links.taken(of, start)
    for link in arrived:
        state = "ended" if link.ended else "open"
        typer.echo(f"{_shown(link.at)}  here by {link.node}  level {link.level}  {state}  {link.certificate_key}")
    number = 0
    if (own := read_node_keys(keys)) is not None:
        for copy in journal.read(found.node.state / journal.INBOX, own, of, start):
            number += 1
            source = f" from {copy.source}" if copy.source else ""
            typer.echo(
                f"{_shown(copy.at)}  at {copy.node} by {copy.way}{source}  level {copy.level}  {copy.certificate_key}"
            )
    typer.echo(f"{len(arrived)} here, {number} there")


def cuts(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    settings: SettingsFile = DEFAULT_SETTINGS,
) -> None:
    """Sign-ins made while the line was cut that are refused since it is back: which certificate, when, why.

    Exit code 1 when there is one: somebody has to look what it did.
    """
    found = Cuts(load_settings(settings).node.state / FOLDER, secrets.token_bytes)
    number = 0
    for row in found.rows():
        number += 1
        if as_json:
            typer.echo(row.line())
            continue
        certificate = row.certificate_key or "a record that cannot be opened any more"
        typer.echo(
            f"{_shown(row.signed_in)}  {row.code}  {row.domain} {row.ca}  level {row.level}"
            f"  judged {_shown(row.judged)}  {certificate}"
        )
    if not as_json:
        typer.echo(f"{number} refused since, {found.waiting()} to be judged when the line is back")
    if number:
        raise typer.Exit(1)


def _time(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError("config.invalid", "--since: not a time") from error
    if found.utcoffset() is None:
        raise ConfigError("config.invalid", "--since: a time without a zone")
    return found.astimezone(UTC)


def _shown(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="seconds")
