"""`crosshall realm install|plan|apply`: the pinned Keycloak, and its realm as code."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ca_bridge.registry import load_windows
from ca_bridge.settings import load_settings
from crosshall.options import DEFAULT_SETTINGS, SettingsFile
from idp import apply as realm
from idp.install import Database, install
from idp.seed import seed

app = typer.Typer(no_args_is_help=True)

BridgeServer = Annotated[
    str,
    typer.Option(
        envvar="CROSSHALL_BRIDGE_SERVER",
        help="The bridge's address for calls from Keycloak, when that is not its public one.",
        show_default="the bridge's issuer",
    ),
]


@app.command()
def plan(
    settings: SettingsFile = DEFAULT_SETTINGS,
    bridge_server: BridgeServer = "",
    check: Annotated[
        bool, typer.Option("--check", help="End with code 2 when the realm is not as it must be.")
    ] = False,
) -> None:
    """Show what differs from the realm as it must be; writes nothing."""
    node = load_settings(settings)
    found = realm.plan(node, load_windows(node.node.state), bridge_server=bridge_server)
    typer.echo(found.text())
    if check and found.changes:
        raise typer.Exit(2)


@app.command()
def apply(settings: SettingsFile = DEFAULT_SETTINGS, bridge_server: BridgeServer = "") -> None:
    """Make the realm as it must be; when it is, nothing is written."""
    node = load_settings(settings)
    done = realm.apply_realm(node, load_windows(node.node.state), say=typer.echo, bridge_server=bridge_server)
    for extra in done.plan.extras:
        typer.echo(f"not managed here, left alone: {extra}")
    typer.echo(f"realm {node.keycloak.realm}: as it must be, {done.writes} writes")


@app.command("install")
def install_command(
    database: Annotated[Database, typer.Option(help="postgres where database_url_file is set.")] = "dev-file",
    archive: Annotated[
        Path | None, typer.Option(help="keycloak-VERSION.zip, carried here.", show_default="fetched by Maven")
    ] = None,
) -> None:
    """Fetch, check and build the pinned Keycloak for this user; `crosshall node run` does it when it is absent."""
    home = install(database, archive=archive, progress=typer.echo)
    if database == "dev-file":
        seed(home, progress=typer.echo)
    typer.echo(f"Keycloak is ready: {home.name}")
