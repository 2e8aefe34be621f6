"""`crosshall person`: an officer's word on a certificate that is held (design §5).

The officer has the person and their document before them. The number is asked for, never taken from the command line:
it would stay in the shell's history. Nothing that names the person is printed or logged.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from ca_bridge.errors import IdentityError
from ca_bridge.identity.keys import PersonKeys
from ca_bridge.identity.numbers import normalise
from ca_bridge.settings import Settings, load_settings
from ca_bridge.store import Box, open_store
from ca_bridge.store.people import People
from ca_bridge.types import Capacity, IdentifierType
from crosshall.options import DEFAULT_SETTINGS, SettingsFile

app = typer.Typer(no_args_is_help=True)
Kind = Annotated[IdentifierType, typer.Option("--type", help="Kind of number in the person's document.")]
State = Annotated[str, typer.Option(help="State that issued it: CN, HK, MO, or a passport's country.")]


@app.command()
def held(kind: Kind = IdentifierType.CN_ID, state: State = "CN", settings: SettingsFile = DEFAULT_SETTINGS) -> None:
    """List the CAs whose first certificate for a person waits for confirmation."""
    node = load_settings(settings)
    person = _ask(node, kind, state)
    with _people(node) as people:
        waiting = sorted(people.held(person))
        known = sorted(people.known(person))
    typer.echo(f"confirmed: {', '.join(known) or 'none'}")
    typer.echo(f"held:      {', '.join(waiting) or 'none'}")


@app.command()
def confirm(
    accreditation: str,
    officer: Annotated[str, typer.Option(help="The officer who has seen the person and their document; recorded.")],
    kind: Kind = IdentifierType.CN_ID,
    state: State = "CN",
    settings: SettingsFile = DEFAULT_SETTINGS,
) -> None:
    """Confirm that the held certificate by ACCREDITATION is this person's; from now on it signs them in."""
    node = load_settings(settings)
    person = _ask(node, kind, state)
    with _people(node) as people:
        if not people.confirm(person, accreditation, f"officer:{officer}"):
            raise IdentityError("identity.nothing_held", f"no certificate by {accreditation} is held for this person")
    typer.echo(f"{accreditation}: confirmed by officer {officer}")


def _ask(node: Settings, kind: IdentifierType, state: str) -> str:
    identifier = normalise(kind, state, typer.prompt("Number in the document", hide_input=True))
    return PersonKeys((node.bridge.keys / "master").read_bytes()).person(identifier, Capacity.CITIZEN)


@contextmanager
def _people(node: Settings) -> Iterator[People]:
    store = open_store(node.database.url, Box.from_file(node.bridge.keys / "attributes"))
    try:
        yield People(store)
    finally:
        store.close()
