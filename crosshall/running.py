"""`crosshall node run`: one node in one command, until it is stopped; what ends by itself is started again."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from types import FrameType

import typer

from ca_bridge.settings import Settings
from crosshall.agents import HOME
from crosshall.node import NodeFolder
from crosshall.stack import Around, Keeper, NodeStack
from crosshall.supervisor import Part


def run_node(settings: Path, *, workers: int = 2) -> None:
    """Bring up the node of a settings file and keep it up; returns after SIGINT or SIGTERM, everything stopped."""
    signal.signal(signal.SIGINT, _interrupt)  # a shell's background job would ignore it
    signal.signal(signal.SIGTERM, _interrupt)
    started = time.monotonic()

    def say(text: str) -> None:
        typer.echo(f"[{time.monotonic() - started:6.1f} s] {text}")

    stack = NodeStack(NodeFolder(settings.resolve().parent), say)
    try:
        stack.take()
        stack.prepare()
        stack.start(Around(parts=agents(settings.resolve(), stack.settings), workers=workers))
        say(f"node {stack.settings.node.name} serves at {stack.settings.bridge.issuer}")
        keeper = Keeper(stack.supervisor, say)
        while True:
            keeper.tick()
            time.sleep(1)
    except KeyboardInterrupt:
        say("stopping")
    finally:
        stack.stop()


def agents(file: Path, settings: Settings) -> tuple[Part, ...]:
    """The long-running commands that stand beside bridge and Keycloak."""
    environment = {"CROSSHALL_SETTINGS": str(file)}
    commands = [("fetch", ("bridge", "fetch"))]
    if settings.sync.sources:
        commands.append(("sync", ("node", "sync")))
    if settings.node.role == "province" and (file.parent / HOME / "keys").is_dir():
        commands.append(("office", ("node", "office")))
    command = (sys.executable, "-m", "crosshall")
    return tuple(Part(name, (*command, *words), lambda: True, environment) for name, words in commands)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
