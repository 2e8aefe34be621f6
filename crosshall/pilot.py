"""`crosshall node shadow …`, `node differences`, `node promote`: from pilot to live, by numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ca_bridge.errors import ConfigError, FederationError
from ca_bridge.files import write_atomically
from ca_bridge.settings import Settings, load_settings
from ca_bridge.trust.bundle import read_bundle
from ca_bridge.trust.roster import RosterNode
from ca_bridge.types import utc_now
from ca_bridge.verdict.snapshot import SnapshotSource
from crosshall.agents import HOME, shadow_of, trusted_time
from crosshall.options import DEFAULT_SETTINGS, SettingsFile
from nodes import corpus, roster
from nodes.acts import whole
from nodes.identity import read_node_keys
from nodes.publish import Publisher
from nodes.roles import SNAPSHOT
from nodes.shadow import Shadow
from nodes.tally import Tally, short

shadow_app = typer.Typer(no_args_is_help=True, help="The province's judgement beside a node's, while it is in pilot.")
Home = Annotated[Path, typer.Option("--home", help="The province's federation folder.")]
Name = Annotated[str, typer.Argument(help="The node: gd/guangzhou.")]


@shadow_app.command("show")
def show(name: Name, settings: SettingsFile = DEFAULT_SETTINGS) -> None:
    """At the province: what a node in pilot has reached, and what is short. Exit code 1 when something is."""
    node = load_settings(settings)
    row, shadow = _row(node, name), shadow_of(node)
    tally = shadow.tally(row)
    _tell(tally)
    missing = short(tally, node.pilot, utc_now())
    for line in missing:
        typer.echo(f"short: {line}")
    if missing:
        raise typer.Exit(1)


@shadow_app.command("restart")
def restart(name: Name, settings: SettingsFile = DEFAULT_SETTINGS) -> None:
    """At the province: the node's pilot begins now; after what was wrong has been put right."""
    node = load_settings(settings)
    shadow_of(node).restart(_row(node, name))
    typer.echo(f"the pilot of {name} begins now")


@shadow_app.command("ask")
def ask(
    name: Name,
    leaves: Annotated[list[Path], typer.Argument(help="Certificates: PEM, DER, folders, or JSON lines (--batch).")],
    *,
    out: Annotated[Path, typer.Option(help="Where the sealed corpus goes.")] = Path("corpus.jwe"),
    home: Home = Path(HOME),
    settings: SettingsFile = DEFAULT_SETTINGS,
) -> None:
    """At the province: seal its corpus of certificates for a node; carry the file there."""
    node = load_settings(settings)
    keys = read_node_keys(node.bridge.keys)
    version, found = _published(home), corpus.leaves(leaves)
    sealed, number = corpus.ask(shadow_of(node), keys, _row(node, name), found, at=utc_now(), version=version)
    write_atomically(out, sealed.encode(), mode=0o600)
    typer.echo(f"{number} different certificates for {name}: {out}")
    if number < node.pilot.corpus:
        typer.echo(f"short: promotion wants {node.pilot.corpus}")
    typer.echo("next: on that node, crosshall node shadow answer; then crosshall node shadow compare here")


@shadow_app.command("answer")
def answer(
    file: Annotated[Path, typer.Argument(help="The corpus as the province sealed it.")],
    *,
    out: Annotated[Path, typer.Option(help="Where the answer goes.")] = Path("corpus-answer.jws"),
    settings: SettingsFile = DEFAULT_SETTINGS,
) -> None:
    """On the node: judge the province's corpus; the answer holds verdicts' hashes, and nobody's certificate."""
    node = load_settings(settings)
    province = read_bundle(node.node.bundle).roster.province()
    if province is None:
        raise FederationError("node.not_admitted", "no province in the roster")
    time = trusted_time(node)
    if time.code:
        raise FederationError("node.corpus", f"no trusted time: {time.code}")
    snapshot = SnapshotSource(node.node.bundle, utc_now, node.node.state / "status").current()
    keys = read_node_keys(node.bridge.keys)
    done = corpus.answer(_text(file), keys, province, node.node.name, snapshot, now=time.now)
    write_atomically(out, done.text.encode())
    typer.echo(f"{done.judged} judged, {done.accepted} accepted: {out}")


@shadow_app.command("compare")
def compare(
    name: Name,
    file: Annotated[Path, typer.Argument(help="The node's answer.")],
    home: Home = Path(HOME),
    settings: SettingsFile = DEFAULT_SETTINGS,
) -> None:
    """At the province: the node's answer to the corpus beside its own verdicts. Exit code 1 when one differs."""
    node = load_settings(settings)
    row, shadow = _row(node, name), shadow_of(node)
    shadow.remember()
    keys = read_node_keys(node.bridge.keys)
    tally = corpus.compare(shadow, keys, row, _text(file), now=utc_now(), version=_published(home))
    _tell(tally)
    if tally.corpus_equal < tally.corpus:
        raise typer.Exit(1)


def differences(
    name: Name,
    *,
    out: Annotated[
        Path | None, typer.Option(help="Write the certificates here (0600), for crosshall check --bundle.")
    ] = None,
    settings: SettingsFile = DEFAULT_SETTINGS,
) -> None:
    """At the province: verdicts that node and province do not share. Exit code 1 when there are some."""
    node = load_settings(settings)
    shadow = shadow_of(node)
    found = list(shadow.differences(_row(node, name)))
    for row in found:
        said = f"node {row.node.get('code', row.node.get('accepted'))}, province {row.province.get('code')}"
        typer.echo(f"{row.id or 'unreadable'}  {row.at}  {row.source}  {said if row.id else ''}".rstrip())
    typer.echo(
        f"{len(found)} differences; to judge them again: crosshall replay run --evidence {shadow.evidence.folder}"
    )
    if out is not None:
        _write(shadow, [row.id for row in found], out)
    if found:
        raise typer.Exit(1)


def promote(
    name: Name,
    *,
    home: Home = Path(HOME),
    settings: SettingsFile = DEFAULT_SETTINGS,
) -> None:
    """At the province: a node in pilot becomes live, once it has reached every agreed number."""
    node, now = load_settings(settings), utc_now()
    row = _row(node, name)
    if row.stage != "pilot":
        raise FederationError("node.not_pilot", f"{name} is at stage {row.stage}")
    missing = short(shadow_of(node).tally(row), node.pilot, now)
    if missing:
        raise FederationError("node.pilot_short", "; ".join(missing))
    publisher = Publisher(home, utc_now)
    with whole(publisher, node.node.bundle):
        roster.set_stage(node.node.bundle, name, "live", now)
        drafts = publisher.publish(node.node.bundle)
    typer.echo(f"{name} is live once this is signed and published")
    for draft in drafts:
        typer.echo(f"to be signed: {draft}")
    typer.echo("next: each key holder runs crosshall federation sign, then crosshall federation assemble")


def _published(home: Path) -> int:
    """The version of the trust bundle that nodes can have."""
    return Publisher(home, utc_now).repository.newest(SNAPSHOT)


def _row(settings: Settings, name: str) -> RosterNode:
    if settings.node.role != "province":
        raise ConfigError("config.invalid", f"this node is a {settings.node.role}: the province counts")
    row = roster.read_roster(settings.node.bundle).find(name)
    if row is None or row.role == "province":
        raise FederationError("node.unknown", f"no such node: {name}")
    return row


def _tell(tally: Tally) -> None:
    typer.echo(f"pilot since {tally.began.isoformat(timespec='seconds')}")
    typer.echo(f"sign-ins {tally.sign_ins}, verdicts compared {tally.compared}, equal {tally.equal}")
    if tally.first:
        typer.echo(f"  from {tally.first} to {tally.last}")
    typer.echo(
        f"  accepted by the node alone {tally.alone}, refused alone {tally.refused_alone},"
        f" unreadable {tally.unreadable}"
    )
    typer.echo(
        f"corpus {tally.corpus}, equal {tally.corpus_equal}, accepted by the node alone {tally.corpus_alone}"
        + (f", at {tally.corpus_at}" if tally.corpus_at else "")
    )


def _write(shadow: Shadow, ids: list[str], out: Path) -> None:
    for number, (name, leaf) in enumerate(shadow.leaves(ids), 1):
        write_atomically(out / f"{name}.der", leaf, mode=0o600)
        typer.echo(f"{number}: {out / name}.der")


def _text(path: Path) -> str:
    try:
        return path.read_text("ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("config.missing", f"{path}: {type(error).__name__}") from error
