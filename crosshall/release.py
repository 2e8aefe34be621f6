"""`crosshall federation release`: versions of Crosshall in the bundle, their stages and the floor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ca_bridge.types import utc_now
from ca_bridge.version import VERSION
from nodes import release

app = typer.Typer(no_args_is_help=True, help="Versions of the software: named, staged, a floor; packages checked.")
Bundle = Annotated[Path, typer.Option("--bundle", help="Source bundle: a folder with bundle.json.")]
DEFAULT_BUNDLE = Path("bundle")
_THEN = "then: crosshall federation publish, and the holders sign"


@app.command()
def add(
    version: str,
    *,
    file: Annotated[Path, typer.Option(help="The package.")],
    upgrades_from: Annotated[str, typer.Option(help="The lowest version that can go to this one at once.")],
    bundle: Bundle = DEFAULT_BUNDLE,
) -> None:
    """Name a version by its package's digest and length; it is for no node yet."""
    made = release.add(bundle, version, file, upgrades_from, utc_now())
    typer.echo(f"{made.version}: sha256 {made.sha256}, {made.length} octets\n{_THEN}")


@app.command()
def stage(
    version: str,
    *,
    to: Annotated[list[str], typer.Option(help="A node's domain, repeat; or all. These and no other.")],
    bundle: Bundle = DEFAULT_BUNDLE,
) -> None:
    """Say which nodes a version is for: one, three, twenty-one, all."""
    made = release.stage(bundle, version, release.ALL if to == [release.ALL] else to, utc_now())
    typer.echo(f"{made.version}: {made.nodes if made.nodes == release.ALL else len(made.nodes)}\n{_THEN}")


@app.command()
def floor(version: str, bundle: Bundle = DEFAULT_BUNDLE) -> None:
    """Nodes below VERSION are red; a release at or above it must be staged to all."""
    release.floor(bundle, version, utc_now())
    typer.echo(f"floor: {version}\n{_THEN}")


@app.command("list")
def list_command(bundle: Bundle = DEFAULT_BUNDLE) -> None:
    """The versions that the bundle names."""
    for row in release.read_releases(bundle).releases:
        nodes = row.nodes if isinstance(row.nodes, str) else ", ".join(row.nodes) or "none"
        typer.echo(f"{row.version}  from {row.upgrades_from}  sha256 {row.sha256}  nodes: {nodes}")


@app.command()
def check(
    version: str,
    *,
    file: Annotated[Path, typer.Option(help="The package.")],
    node: Annotated[str, typer.Option(help="This node's domain: gd/guangzhou.")],
    bundle: Bundle = DEFAULT_BUNDLE,
) -> None:
    """On a node, before installing: the version is for it, goes from the one installed, and the package is genuine."""
    found = release.allowed(release.read_releases(bundle), node, VERSION, version)
    release.check_package(file, found)
    typer.echo(f"{found.version}: genuine, and for {node}")
