"""`make run`: the demo federation on this machine, one real sign-in, and what a person's own browser needs."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from ca_bridge.errors import ConfigError
from ca_bridge.types import Way, utc_now
from demo.addresses import DEFAULT_PORT, Addresses
from demo.personas import PIN, persona, personas
from demo.pki import renew
from demo.selfcheck import selfcheck
from demo.stack import Demo, Options
from demo.windows import OLD_ACCOUNT, OLD_PASSWORD

_FIRST = "gd-zhang"
# CRLs of the demo live for a day; a run that goes on signs new ones long before.
_RENEW_SECONDS = 3600.0


def run_folder(port: int) -> Path:
    """Where a copy keeps its files: `.run/<port>` of the present folder, or below `CROSSHALL_RUN`."""
    return Path(os.environ.get("CROSSHALL_RUN", ".run")).resolve() / str(port)


def run(
    port: Annotated[int, typer.Option(help="The one public port; a second copy takes another.")] = DEFAULT_PORT,
    selfcheck_only: Annotated[
        bool, typer.Option("--selfcheck", help="Sign in, report, stop; the exit code tells.")
    ] = False,
) -> None:
    """Start the demo federation, sign a citizen in, tell what a person's browser needs; Ctrl-C stops everything."""
    signal.signal(signal.SIGTERM, _interrupt)
    started = time.monotonic()
    say = _progress(started)
    demo = Demo(Options(run_folder(port), Addresses(port)), say)
    try:
        demo.prepare()
        demo.start()
        say("signing in by certificate")
        told = selfcheck(demo.addresses, demo.pki, persona(_FIRST))
        typer.echo("")
        for line in told:
            typer.echo(f"  ✓ {line}")
        typer.echo(f"\nready after {time.monotonic() - started:.0f} s")
        if not selfcheck_only:
            typer.echo(instructions(demo))
            _watch(demo)
    except KeyboardInterrupt:
        typer.echo("\nstopping …")
    finally:
        demo.stop()
        typer.echo("stopped: nothing of this copy is running")


def instructions(demo: Demo) -> str:
    """What a person does to try it in a browser of their own."""
    where, folder = demo.addresses, demo.pki.folder
    rows = "\n".join(
        f"  {p.id:22} {p.description['zh-Hans']}" for p in personas() if Way.TLS in p.ways and p.expected.accepted
    )
    return f"""
Try it yourself / 自己试试
  windows    {where.url("police")}/   {where.url("env")}/
  archive    {where.url("archive")}/   (old account {OLD_ACCOUNT}, password {OLD_PASSWORD!r}: linked once)
  old system {where.url("old")}/cases   API {where.url("api")}/api/cases
  hall       {where.url("hall")}/
  signer     http://127.0.0.1:{where.signer_port}/   (token PIN {PIN})

In Chromium or Firefox, once:
  1. trust the demo's TLS CA (good for localhost names only): {demo.pki.tls_ca}
     in the browser's certificate settings, or:
     certutil -d sql:$HOME/.pki/nssdb -A -n crosshall-demo -t C,, -i {demo.pki.tls_ca}
  2. import a persona (password {PIN}): {folder}/personas/<id>/persona.p12
     pk12util -d sql:$HOME/.pki/nssdb -W {PIN} -i {folder}/personas/{_FIRST}/persona.p12
  3. open a window, choose "certificate in this browser", or "USB token" for the signer

Personas / 演示人员
{rows}
  all of them, the refused ones too: crosshall demo personas

Revoke one and watch the session end within a minute:
  .venv/bin/crosshall demo revoke {_FIRST} --port {where.port}
Logs: {demo.folder.logs}
Ctrl-C stops everything.
"""


def _watch(demo: Demo) -> None:
    renewed = time.monotonic()
    while True:
        for name in demo.supervisor.dead():
            raise ConfigError("run.part_died", f"{name}:\n{demo.supervisor.log_end(name)}")
        if time.monotonic() - renewed > _RENEW_SECONDS:
            renew(demo.pki.folder, utc_now())
            renewed = time.monotonic()
        time.sleep(1)


def _progress(started: float) -> Callable[[str], None]:
    def say(text: str) -> None:
        typer.echo(f"[{time.monotonic() - started:5.1f} s] {text}")

    return say


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
