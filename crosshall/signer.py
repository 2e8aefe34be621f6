"""`crosshall signer`: run the local signer of a person's machine, and see which tokens it finds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from signer.server import serve
from signer.settings import load_settings
from signer.wallet import open_wallet

app = typer.Typer(no_args_is_help=True)
Settings = Annotated[Path, typer.Option("--settings", envvar="CROSSHALL_SIGNER", help="The signer's settings file.")]
_DEFAULT = Path("signer.toml")


@app.command()
def run(settings: Settings = _DEFAULT) -> None:
    """Serve on 127.0.0.1 until stopped. It signs only after a PIN on its own page."""
    serve(load_settings(settings))


@app.command()
def tokens(settings: Settings = _DEFAULT) -> None:
    """Every certificate found, by token: key, validity, whether it can sign. Asks for no PIN."""
    for held in open_wallet(load_settings(settings)).held():
        use = "signs" if held.can_sign else "encryption only"
        until = held.certificate.not_after.date().isoformat()
        typer.echo(f"{held.token}  {held.storage}  {held.kind}  until {until}  {use}  {held.certificate.subject.text}")
