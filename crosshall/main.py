"""The command line `crosshall`: mounts the commands of each part and makes every error readable."""

from __future__ import annotations

import os
import sys
from importlib.metadata import entry_points

import typer

from ca_bridge.errors import CrosshallError, words
from crosshall import backup, bridge, check, domain, person, realm, signer, window

app = typer.Typer(
    name="crosshall",
    help="Federated identity and cross-certification for government service halls.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("check")(check.check)
app.command("backup")(backup.backup_command)
app.command("restore")(backup.restore_command)
app.add_typer(check.trust, name="trust", help="What the trust bundle holds.")
app.add_typer(bridge.app, name="bridge", help="The bridge's own upkeep.")
app.add_typer(bridge.keys, name="keys", help="The provider's signing keys.")
app.add_typer(domain.app, name="domain", help="Switch a trust domain off and on.")
app.add_typer(person.app, name="person", help="An officer's word on a held certificate.")
app.add_typer(realm.app, name="realm", help="The Keycloak realm as code.")
app.add_typer(window.app, name="window", help="Register departmental systems.")
app.add_typer(signer.app, name="signer", help="The local signer of a person's machine.")
for point in entry_points(group="crosshall.commands"):
    app.add_typer(point.load(), name=point.name)


def main() -> None:
    """Run the command line. An error of ours ends it with code 1, told by code, detail and remedy."""
    try:
        app()
    except CrosshallError as error:
        chinese = os.environ.get("LC_ALL", os.environ.get("LANG", "")).startswith("zh")
        why, what = words(error.code, "zh-Hans" if chinese else "en")
        typer.echo(f"crosshall: {why} [{error.code}]", err=True)
        if error.detail:
            typer.echo(f"  {error.detail}", err=True)
        typer.echo(f"  {what}", err=True)
        sys.exit(1)
