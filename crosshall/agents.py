"""The long-running commands beside bridge and Keycloak: a node's sync, the province's office."""

from __future__ import annotations

import http.client
import json
import secrets
import signal
import socket
import threading
import time as time_module
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import structlog

from ca_bridge.ceremony.journal import INBOX
from ca_bridge.errors import CrosshallError, FederationError
from ca_bridge.files import write_atomically
from ca_bridge.policy.trusted_time import FILE, TimeSource, TrustedTime
from ca_bridge.settings import Settings
from ca_bridge.trust.bundle import read_bundle
from ca_bridge.trust.roster import Roster
from ca_bridge.types import utc_now
from ca_bridge.version import VERSION
from crosshall.node import NodeFolder
from nodes.desk import Desk
from nodes.held import Folder
from nodes.identity import read_node_keys
from nodes.joining import ROLE_KEY
from nodes.keys import load_key
from nodes.office import Office
from nodes.outbox import Outbox
from nodes.own_role import OwnRole
from nodes.publish import Publisher
from nodes.report import NodeReport, write_report
from nodes.shadow import Shadow
from nodes.standing import look
from nodes.status_page import NodeRow, as_html, as_json, rows
from nodes.sync import Agent, AgentSettings, Round
from nodes.transport import open_source

OFFICE_SECONDS = 5.0
HOME = "federation"
REPORTS, PAGES = "reports", "pages"
_log = structlog.get_logger(__name__)


def agent_of(settings: Settings, sources: tuple[str, ...] = ()) -> Agent:
    """The sync agent of a node's settings."""
    node = settings.node
    return Agent(
        AgentSettings(
            name=node.name,
            state=node.state,
            bundle=node.bundle,
            sources=sources or settings.sync.sources,
            interval_seconds=settings.sync.interval_seconds,
            ca_file=str(settings.sync.ca_file or ""),
            public=settings.front.published,
        )
    )


def own_role(settings: Settings) -> OwnRole | None:
    """The node's own role in the bundle, when it has its key and a folder to publish in."""
    key = settings.bridge.keys / ROLE_KEY
    if settings.front.published is None or not key.exists():
        return None
    return OwnRole(settings.front.published, settings.node.name, [load_key(key, None)], utc_now)


def sync(file: Path, settings: Settings) -> None:
    """Sync until SIGTERM or SIGINT; after each round the node's report is written. Never ends for what fails."""
    stop = stopping()
    agent = agent_of(settings)
    carry = _carrier(settings)
    while not stop.is_set():
        done = agent.round()
        _tell(done)
        try:
            role = own_role(settings)
            if role is not None:
                role.renew_when_old()
            report(file, settings, done)
            carry()
        except (CrosshallError, OSError) as error:
            _log.warning("federation.report", error=str(error))
        stop.wait(agent.pause())


def office(file: Path, settings: Settings) -> None:
    """The province's online work until SIGTERM or SIGINT."""
    home = file.parent / HOME
    Office(
        Publisher(home, utc_now),
        bundle=settings.node.bundle,
        province=settings.node.name,
        reports=settings.node.state / REPORTS,
        clock=utc_now,
        ca_file=str(settings.sync.ca_file or ""),
        desk=Desk(
            settings.node.state / INBOX,
            home / "public",
            keys=lambda: read_node_keys(settings.bridge.keys),
            shadow=shadow_of(settings),
            clock=utc_now,
        ),
        after=lambda roster: write_page(settings, roster),
    ).run(stopping(), OFFICE_SECONDS)


def shadow_of(settings: Settings) -> Shadow:
    """The province's judgement beside its nodes' in pilot."""
    made = settings.node
    return Shadow(made.state, made.bundle, clock=utc_now, random=secrets.token_bytes, bounds=settings.pilot)


def page_rows(settings: Settings, roster: Roster) -> tuple[NodeRow, ...]:
    """Every node as the province knows it now."""
    return rows(roster, settings.node.state / REPORTS, utc_now(), VERSION)


def write_page(settings: Settings, roster: Roster) -> None:
    """The status page in the state folder, for operators of this machine alone. Raises OSError."""
    found = page_rows(settings, roster)
    for name, text in (("nodes.html", as_html(found, utc_now())), ("nodes.json", as_json(found, utc_now()))):
        write_atomically(settings.node.state / PAGES / name, text.encode(), mode=0o600)


def _carrier(settings: Settings) -> Callable[[], None]:
    """A round of the node's outbox; it does nothing where no folder is published."""
    public, node = settings.front.published, settings.node
    if public is None:
        return lambda: None
    box = Outbox(
        node.state, public, node.name, roster=lambda: read_bundle(node.bundle).roster, ticks=time_module.monotonic
    )
    ca_file = str(settings.sync.ca_file or "")
    sources = tuple(open_source(source, ca_file=ca_file) for source in settings.sync.sources)
    return lambda: box.round(sources)


def report(file: Path, settings: Settings, done: Round) -> None:
    """Write what this node says of itself into the folder that it publishes. Raises CrosshallError, OSError."""
    if settings.front.published is None:
        return
    time = trusted_time(settings)
    try:
        reasons = tuple(map(str, health(file, settings).get("reasons", ())))
    except FederationError as error:
        reasons = (error.code,)
    found = look(settings, time.now, lambda: {"status": "red" if reasons else "ok", "reasons": reasons})
    known = not time.code
    write_report(
        settings.front.published,
        read_node_keys(settings.bridge.keys).sign,
        NodeReport(
            node=settings.node.name,
            at=time.now.isoformat(timespec="seconds") if known else "",
            made=utc_now().isoformat(timespec="seconds"),
            version=VERSION,
            stage=found.stage,
            rung=time.rung.value,
            age_seconds=int(time.age.total_seconds()) if known else -1,
            bundle=done.version,
            reasons=reasons,
            failing=tuple(check.code for check in found.failing),
        ),
    )


def trusted_time(settings: Settings) -> TrustedTime:
    """The node's trusted time, as its bridge sees it."""
    file = settings.node.state / FILE
    return TimeSource(file, utc_now, own=settings.node.role == "province")()


def health(file: Path, settings: Settings) -> dict[str, Any]:
    """The bridge's own answer, by its socket. Raises FederationError `node.red` when there is none."""
    path = NodeFolder(file.resolve().parent).socket
    try:
        with socket.socket(socket.AF_UNIX) as raw:
            raw.settimeout(10)
            raw.connect(str(path))
            connection = http.client.HTTPConnection(urlsplit(settings.bridge.issuer).netloc)
            connection.sock = raw
            connection.request("GET", "/health")
            found: dict[str, Any] = json.loads(connection.getresponse().read(1 << 16))
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise FederationError("node.red", f"the bridge does not answer: {type(error).__name__}") from error
    return found


def stopping() -> threading.Event:
    """An event that SIGTERM or SIGINT sets."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def first_sync(settings: Settings, root: bytes, sources: tuple[str, ...], since: datetime) -> None:
    """Pin the root and fetch the bundle once; nothing issued before `since` counts. Raises FederationError."""
    Folder(settings.node.state / "federation").start(root, since)
    done = agent_of(settings, sources).round()
    if done.codes:
        where, code = next(iter(done.codes.items()))
        raise FederationError(code, where)


def _tell(done: Round) -> None:
    if done.codes:
        _log.warning("federation.round", codes=dict(done.codes), failing=dict(done.failing))
    elif done.changed:
        _log.info("federation.round", version=done.version, failing=dict(done.failing))
