"""`crosshall node admit`, `remove`, `epoch`, `province`: the province's acts on its roster."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from ca_bridge.errors import ConfigError, FederationError
from ca_bridge.files import write_atomically
from ca_bridge.settings import Settings, load_settings
from ca_bridge.types import utc_now
from crosshall.agents import HOME
from crosshall.options import DEFAULT_SETTINGS, Fingerprint, SettingsFile, named, text_of
from nodes import acts, roster
from nodes.admission import groups, make_admission, read_admission, read_request, same
from nodes.identity import make_node_keys, read_node_keys
from nodes.publish import Publisher

DEFAULT_HOME = Path(HOME)
MASTER = "federation-master"
Home = Annotated[Path, typer.Option("--home", help="The province's federation folder.")]


def admit(
    request_file: Path,
    *,
    fingerprint: Fingerprint,
    out: Annotated[Path, typer.Option(help="Where the admission goes.")] = Path("admission.jws"),
    source: Annotated[
        list[str] | None, typer.Option(help="Where the node fetches.", show_default="this hall's /federation/")
    ] = None,
    home: Home = DEFAULT_HOME,
    settings: SettingsFile = DEFAULT_SETTINGS,
) -> None:
    """At the province: take a node's request into roster and roles, and write the admission for its operator."""
    node, now = _province(settings), utc_now()
    asked = read_request(text_of(request_file))
    if not same(asked.fingerprint, fingerprint):
        raise FederationError("node.fingerprint", f"of the request: {asked.fingerprint}")
    publisher = Publisher(home, utc_now)
    with acts.whole(publisher, node.node.bundle):
        _check_out(out, asked.name)
        done = acts.admit(publisher, node.node.bundle, asked, now)
        root = publisher.root()
        text = make_admission(
            read_node_keys(node.bridge.keys),
            asked,
            province=node.node.name,
            master=_master(node),
            epoch=done.epoch,
            root=root,
            sources=source or [f"{node.bridge.issuer}/federation/"],
            now=now,
        )
        write_atomically(out, text.encode())
    typer.echo(f"admitted: {asked.name} as {asked.role} of {asked.parent}, stage pilot, epoch {done.epoch}")
    typer.echo(f"admission: {out}")
    typer.echo(f"fingerprint of the root, to read aloud: {groups(root)}")
    if asked.role == "county":
        typer.echo(f"its refusals count when {asked.parent} has run: crosshall node delegate {request_file.name}")
    _tell_drafts(done.drafts)


def remove(name: str, home: Home = DEFAULT_HOME, settings: SettingsFile = DEFAULT_SETTINGS) -> None:
    """At the province: cut a node off, with all below it; everywhere within 60 seconds of the signed publication."""
    node = _province(settings)
    done = acts.remove(Publisher(home, utc_now), node.node.bundle, name, utc_now())
    typer.echo(f"cut off: {', '.join(done.names)}")
    typer.echo(f"what it did before: crosshall node sign-ins --of {name} --since TIME")
    _tell_drafts(done.drafts)


def epoch(name: str, home: Home = DEFAULT_HOME, settings: SettingsFile = DEFAULT_SETTINGS) -> None:
    """At the province: give a node the next person key; it takes it by a new admission and join."""
    node = _province(settings)
    done = acts.next_epoch(Publisher(home, utc_now), node.node.bundle, name, utc_now())
    typer.echo(
        f"{name}: epoch {done.epoch}; admit it again, then on the node: crosshall node join --replace-person-key"
    )
    _tell_drafts(done.drafts)


def province(
    title: Annotated[list[str], typer.Option(help="Name of the hall, or LANGUAGE=name for each language.")],
    settings: SettingsFile = DEFAULT_SETTINGS,
) -> None:
    """At the province, once: its own node keys and its row in the roster; before crosshall federation publish."""
    node = _province(settings)
    keys = make_node_keys(node.bridge.keys)
    roster.put_province(
        node.node.bundle, keys, name=node.node.name, hall=node.bridge.issuer, title=named(title), now=utc_now()
    )
    _master(node)
    typer.echo(f"{node.node.name} is in its roster")


def _province(settings: Path) -> Settings:
    node = load_settings(settings)
    if node.node.role != "province":
        raise ConfigError("config.invalid", f"this node is a {node.node.role}")
    return node


def _check_out(out: Path, name: str) -> None:
    """Another node's admission, which its operator may not have fetched yet, is not written over."""
    try:
        other = read_admission(out.read_text("ascii")).node
    except (OSError, UnicodeDecodeError, FederationError):
        return
    if other != name:
        raise FederationError("node.out", f"{out} is the admission of {other}")


def _master(settings: Settings) -> bytes:
    """K_master: made once, never leaves the province."""
    path = settings.bridge.keys / MASTER
    if not path.exists():
        write_atomically(path, secrets.token_bytes(32), mode=0o600)
    return path.read_bytes()


def _tell_drafts(drafts: Iterable[Path]) -> None:
    found = list(drafts)
    for draft in found:
        typer.echo(f"to be signed: {draft}")
    if found:
        typer.echo("next: each key holder runs crosshall federation sign, then crosshall federation assemble")
