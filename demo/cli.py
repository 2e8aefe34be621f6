"""`crosshall demo`: run the demo federation, see its people, revoke one of them."""

from __future__ import annotations

from typing import Annotated

import typer

from ca_bridge.errors import LANGUAGES, ConfigError
from ca_bridge.types import utc_now
from demo import pki
from demo.addresses import DEFAULT_PORT
from demo.personas import PIN, Persona, personas
from demo.run import run, run_folder

app = typer.Typer(no_args_is_help=True, help="The demo federation: start it, its people, their certificates.")
app.command("run")(run)
Port = Annotated[int, typer.Option(help="The copy's public port: it names the run's folder.")]


@app.command()
def build() -> None:
    """Make the federation's keys and certificates in the cache, when they are not there yet."""
    typer.echo(str(pki.build(now=utc_now())))


@app.command("personas")
def show_personas(
    language: Annotated[str, typer.Option(help=f"One of {', '.join(LANGUAGES)}.")] = "zh-Hans",
    port: Port = DEFAULT_PORT,
) -> None:
    """Every demo person: what must happen, by which ways, and where the files are."""
    if language not in LANGUAGES:
        raise ConfigError("config.invalid", f"no such language: {language!r}")
    for person in personas():
        typer.echo(f"{person.id:18} {_outcome(person):34} {'+'.join(person.ways):10} {person.description[language]}")
    typer.echo(f"\nPIN and PKCS#12 password: {PIN}\nfiles: {run_folder(port) / 'personas'}/<id>/")


@app.command()
def revoke(persona: str, port: Port = DEFAULT_PORT) -> None:
    """Revoke PERSONA's certificate in a run that is going on; live sessions end within 60 seconds."""
    pki.revoke(run_folder(port), persona, utc_now())
    typer.echo(f"{persona}: revoked. Sessions with this certificate end within 60 seconds.")


@app.command()
def renew(port: Port = DEFAULT_PORT) -> None:
    """Sign every CRL and the list of halls anew in a run that is going on."""
    pki.renew(run_folder(port), utc_now())
    typer.echo("CRLs and the list of halls are signed anew.")


def _outcome(person: Persona) -> str:
    if person.expected.accepted:
        return f"level {person.expected.level}"
    return person.expected.code
