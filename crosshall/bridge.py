"""`crosshall bridge` and `crosshall keys`: the bridge's own upkeep."""

from __future__ import annotations

import signal
import threading
from datetime import timedelta
from typing import Annotated

import typer

from ca_bridge.app import run_watcher
from ca_bridge.fetch.fetcher import Fetcher
from ca_bridge.fetch.http import Client
from ca_bridge.provider import logs
from ca_bridge.provider.keys import LEAD, create_ring, read_ring, rotate
from ca_bridge.provider.watcher import purge_all
from ca_bridge.settings import Settings, load_settings
from ca_bridge.store import Box, migrate, open_store
from ca_bridge.types import utc_now
from crosshall.options import DEFAULT_SETTINGS, SettingsFile

app = typer.Typer(no_args_is_help=True)
keys = typer.Typer(no_args_is_help=True)

_SPARE = timedelta(hours=1)


@app.command()
def watch(settings: SettingsFile = DEFAULT_SETTINGS) -> None:
    """Judge live sessions again when trust data changes, end what is refused, tell Keycloak; until stopped."""
    logs.configure()
    run_watcher(load_settings(settings))


@app.command()
def fetch(
    settings: SettingsFile = DEFAULT_SETTINGS,
    once: Annotated[
        bool, typer.Option("--once", help="One round, then stop; exit code 1 when something failed.")
    ] = False,
    everything: Annotated[bool, typer.Option("--all", help="With --once: also what is not due yet.")] = False,
) -> None:
    """Keep CRLs and OCSP answers fresh, from the addresses in the CAs' profiles, into state/status; until stopped."""
    logs.configure()
    node = load_settings(settings).node
    fetcher = Fetcher(node.bundle, node.state / "status", Client(), utc_now)
    if not once:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        fetcher.run(stop)
        return
    report = fetcher.round(everything=everything)
    for ca, kind, host, code, detail in report.failed:
        typer.echo(f"{ca}: {kind} from {host}: {code}: {detail}", err=True)
    typer.echo(
        f"asked: {report.asked}; new: {report.fresh}; unchanged: {report.unchanged}; failed: {len(report.failed)}"
    )
    if report.failed:
        raise typer.Exit(1)


@app.command("migrate")
def migrate_command(settings: SettingsFile = DEFAULT_SETTINGS) -> None:
    """Bring the database to this version. Can be repeated, also while another does it."""
    typer.echo(f"database: version {migrate(load_settings(settings).database.url)}")


@app.command()
def purge(settings: SettingsFile = DEFAULT_SETTINGS) -> None:
    """Remove what is over: values, sessions, releases after six months, old keys. The watcher does this by itself."""
    node = load_settings(settings)
    store = open_store(node.database.url, Box.from_file(node.bridge.keys / "attributes"))
    try:
        over = purge_all(store, node.bridge.session_seconds, node.bridge.keys / "signing", utc_now())
    finally:
        store.close()
    typer.echo(f"sessions over: {over.sessions}; values: {over.values}; releases: {over.releases}; keys: {over.keys}")


@keys.command("rotate")
def rotate_command(
    settings: SettingsFile = DEFAULT_SETTINGS,
    lead: Annotated[int, typer.Option(min=0, help="Seconds between publishing the new key and signing with it.")] = int(
        LEAD.total_seconds()
    ),
    stolen: Annotated[bool, typer.Option(help="Sign with a new key now and drop every other at once.")] = False,
) -> None:
    """Publish a new signing key; it signs after the lead, and the old one goes when nothing it signed can live."""
    node = load_settings(settings)
    keep = timedelta(seconds=node.bridge.session_seconds) + _SPARE
    if stolen:
        keep, lead = timedelta(0), 0
    rotate(node.bridge.keys / "signing", utc_now(), keep=keep, lead=timedelta(seconds=lead))
    _show(node)
    if stolen:
        typer.echo(
            "Keycloak drops the stolen key when it meets the new one: sign in once now, ten seconds from now at best."
        )


@keys.command("list")
def list_command(settings: SettingsFile = DEFAULT_SETTINGS) -> None:
    """Show the signing keys: which signs, which is to come, which is only still published."""
    node = load_settings(settings)
    create_ring(node.bridge.keys / "signing", utc_now())
    _show(node)


def _show(node: Settings) -> None:
    now = utc_now()
    ring = read_ring(node.bridge.keys / "signing")
    signing = ring.signing(now).thumbprint()
    for row in ring.times:
        state = "signs" if row.kid == signing else row.state(now)
        until = f"{row.until:%Y-%m-%d %H:%M:%SZ}" if row.until else "-"
        typer.echo(f"{row.kid}  {state:<9}  signs from {row.signs:%Y-%m-%d %H:%M:%SZ}  until {until}")
