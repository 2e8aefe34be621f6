"""The command line `crosshall`: finds the command asked for, and makes every error readable.

A command's module is imported when it is called: the bridge alone takes seconds to load, and most commands need less.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

import typer
from typer.core import TyperGroup

from ca_bridge.errors import CrosshallError, words

USAGE = """Usage: crosshall COMMAND …\n\nFederated identity and cross-certification for government service halls."""
# name → (module:attribute of a typer application or a function, what the list of commands says)
COMMANDS = {
    "check": ("crosshall.check:check", "Say whether a certificate is accepted, and why; --batch for suites."),
    "trust": ("crosshall.check:trust", "What the trust bundle holds."),
    "replay": ("crosshall.replay:app", "Kept verdicts judged again: the same, or the rule that differs."),
    "domain": ("crosshall.domain:app", "Switch a trust domain off and on."),
    "window": ("crosshall.window:app", "Register departmental systems."),
    "federation": (
        "crosshall.federation:app",
        "The trust bundle: keys, drafts, publication, carried disks.",
    ),
    "realm": ("crosshall.realm:app", "The Keycloak realm as code: plan, apply."),
    "node": ("crosshall.nodes:app", "A node's way into the federation, its running, and where it stands."),
    "person": ("crosshall.person:app", "An officer's word on a held certificate."),
    "bridge": ("crosshall.bridge:app", "The bridge's own upkeep: watch, migrate, purge."),
    "keys": ("crosshall.bridge:keys", "The provider's signing keys: list, rotate."),
    "backup": ("crosshall.backup:backup_command", "Everything a node must keep, in one encrypted file."),
    "restore": ("crosshall.backup:restore_command", "A node from its backup."),
    "signer": ("crosshall.signer:app", "The local signer of a person's machine."),
}

# what the list says of commands that come by entry point: they are not imported for it
ABOUT = {"demo": "The demo federation: run, personas, revoke."}


class Commands(TyperGroup):
    """The commands above and those of installed distributions (entry points `crosshall.commands`)."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        """Every name, in the order of the table."""
        return [*COMMANDS, *sorted(point.name for point in entry_points(group="crosshall.commands"))]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        """The command, its module imported now."""
        if cmd_name in COMMANDS:
            module, _, attribute = COMMANDS[cmd_name][0].partition(":")
            return _command(cmd_name, getattr(import_module(module), attribute))
        for point in entry_points(group="crosshall.commands", name=cmd_name):
            return _command(cmd_name, point.load())
        return None

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        """The list, without importing any of them."""
        typer.echo(f"{USAGE}\n\nCommands:")
        for name in self.list_commands(ctx):
            typer.echo(
                f"  {name:9} {COMMANDS[name][1] if name in COMMANDS else 'The demo federation: run, personas, revoke.'}"
            )


def _command(name: str, found: Any) -> Any:
    application = found
    if not isinstance(found, typer.Typer):
        application = typer.Typer(add_completion=False)
        application.command(name)(found)
    command = typer.main.get_command(application)
    command.name = name
    return command


app = typer.Typer(
    cls=Commands,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _start() -> None:
    """Federated identity and cross-certification for government service halls."""


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
