"""`crosshall node sign-ins`: what came from a node since a time, when it must be known what it did."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from ca_bridge.ceremony import journal
from ca_bridge.crypto.between import read_node_keys
from ca_bridge.errors import ConfigError
from ca_bridge.settings import load_settings
from ca_bridge.store import Box, open_store
from ca_bridge.store.links import Links
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
