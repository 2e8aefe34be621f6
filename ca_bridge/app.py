"""The bridge as one WSGI application, and the watcher beside it: `gunicorn "ca_bridge.app:from_environment()"`."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from ca_bridge import web
from ca_bridge.ceremony.journal import OUTBOX, Journal
from ca_bridge.ceremony.services import PersonKeys, Services, Snapshots
from ca_bridge.crypto.between import NodeKeys, read_node_keys
from ca_bridge.errors import ConfigError, CrosshallError
from ca_bridge.fetch.holders import HolderStatus
from ca_bridge.fetch.http import Client
from ca_bridge.fetch.whole import WANTED, WholeCrls
from ca_bridge.identity.keys import PersonKeys as NodePersonKeys
from ca_bridge.policy.trusted_time import FILE, TimeSource, TrustedTime
from ca_bridge.provider import front, logs
from ca_bridge.provider.hall_logout import HallTeller
from ca_bridge.provider.http import HttpClient
from ca_bridge.provider.keys import SigningKeys, create_ring
from ca_bridge.provider.logout import LogoutSender
from ca_bridge.provider.realm_keys import RealmKeys
from ca_bridge.provider.routes import blueprint
from ca_bridge.provider.server import Provider
from ca_bridge.provider.tokens import Tokens
from ca_bridge.provider.watcher import Watcher
from ca_bridge.provider.windows import WindowFiles
from ca_bridge.settings import Settings, load_settings
from ca_bridge.store import Box, Store, migrate, open_store
from ca_bridge.store.logouts import Logouts
from ca_bridge.store.people import People
from ca_bridge.store.releases import Releases
from ca_bridge.store.sessions import Sessions
from ca_bridge.types import Clock, Verdict, utc_now
from ca_bridge.verdict.cuts import FOLDER as CUTS
from ca_bridge.verdict.cuts import Cuts
from ca_bridge.verdict.evidence import Evidence, Recorder
from ca_bridge.verdict.snapshot import Snapshot, SnapshotSource

"""Folder of the sign-ins of a cut, below the node's state."""
SETTINGS_VARIABLE = "CROSSHALL_SETTINGS"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Parts:
    """What app and watcher are made of."""

    services: Services
    keys: SigningKeys
    tokens: Tokens
    realm_keys: RealmKeys


def build(
    settings: Settings,
    *,
    clock: Clock = utc_now,
    http: HttpClient | None = None,
    snapshots: Snapshots | None = None,
    person_keys: PersonKeys | None = None,
    store: Store | None = None,
    trusted: Callable[[], TrustedTime] | None = None,
) -> Parts:
    """The parts for `settings`; what is given takes the place of the real one. Raises ConfigError, StoreError."""
    folder = settings.bridge.keys
    http = http or HttpClient(settings.keycloak.ca_file)
    store = store or open_store(settings.database.url, Box.from_file(folder / "attributes"), clock)
    create_ring(folder / "signing", clock())
    keys = SigningKeys(folder / "signing", clock)
    sender: list[LogoutSender] = []
    snapshots = snapshots or SnapshotSource(settings.node.bundle, clock, settings.node.state / "status")
    node_keys = _node_keys(folder)

    def deliver() -> int:
        return sender[0].deliver()

    journal = _journal(settings, snapshots, node_keys, clock)
    time_now = trusted or trusted_time(settings, clock)
    whole = WholeCrls(settings.node.state / WANTED, snapshots.current, time_now)
    answered = whole.beside(HolderStatus(Client(), store, clock, settings.node.name.partition("/")[0]))
    services = Services(
        settings=settings,
        clock=clock,
        store=store,
        sessions=Sessions(store, settings.bridge.session_seconds),
        people=People(store),
        releases=Releases(store),
        snapshots=snapshots,
        person_keys=person_keys or _person_keys(folder / "master"),
        windows=WindowFiles(settings.node.state, clock),
        deliver_logouts=deliver,
        trusted=time_now,
        node_keys=node_keys,
        journal=journal,
        answered=answered,
        recorder=_recorder(settings, journal),
        cuts=Cuts(settings.node.state / CUTS, secrets.token_bytes, whole),
    )
    tokens = Tokens(services, keys)
    sender.append(LogoutSender(settings.keycloak.logout_url, Logouts(store), tokens, http))
    return Parts(services, keys, tokens, RealmKeys(settings.keycloak.jwks_url, http, clock))


def trusted_time(settings: Settings, clock: Clock = utc_now) -> TimeSource:
    """The node's trusted time; the province is its own source."""
    return TimeSource(settings.node.state / FILE, clock, own=settings.node.role == "province")


def _node_keys(folder: Path) -> Callable[[], NodeKeys | None]:
    """The node's keys, read once they are there: a node that joins need not start again."""
    known: list[NodeKeys] = []

    def keys() -> NodeKeys | None:
        if not known and (found := read_node_keys(folder)) is not None:
            known.append(found)
        return known[0] if known else None

    return keys


def _journal(
    settings: Settings, snapshots: Snapshots, keys: Callable[[], NodeKeys | None], clock: Clock
) -> Journal | None:
    if settings.node.role == "province":
        return None
    return Journal(
        settings.node.state / OUTBOX,
        settings.node.name,
        keys=keys,
        roster=lambda: snapshots.current().bundle.roster,
        clock=clock,
        random=secrets.token_bytes,
    )


def _recorder(settings: Settings, journal: Journal | None) -> Callable[[Snapshot, bytes, Verdict], None] | None:
    state = settings.node.state
    keepers: list[Callable[[Snapshot, bytes, Verdict], None]] = [] if journal is None else [journal.verdict]
    if settings.bridge.evidence:
        evidence = Evidence(state / "evidence")
        keepers.append(Recorder(evidence, settings.node.bundle, state / "status", secrets.token_bytes))

    def keep(snapshot: Snapshot, leaf: bytes, verdict: Verdict) -> None:
        for keeper in keepers:
            keeper(snapshot, leaf, verdict)

    if len(keepers) == 1:
        return keepers[0]
    return keep if keepers else None


def create_app(settings: Settings, parts: Parts | None = None) -> Flask:
    """The application for `settings`. Raises ConfigError, StoreError: a bridge that could not work does not start."""
    parts = parts or build(settings)
    app = Flask("ca_bridge", static_folder=None)
    app.config.update(
        MAX_CONTENT_LENGTH=front.MAX_BODY,
        MAX_FORM_MEMORY_SIZE=front.MAX_BODY,
        MAX_FORM_PARTS=50,
    )
    parts.services.install(app)
    front.install(app, parts.services)
    web.register(app)
    provider = Provider(app, parts.services, parts.realm_keys, parts.tokens)
    app.register_blueprint(blueprint(provider, parts.keys))
    scheme = urlsplit(settings.bridge.issuer).scheme
    # nginx sets X-Forwarded-For itself, whatever a client sent
    app.wsgi_app = front.Scheme(ProxyFix(app.wsgi_app, x_for=1, x_proto=0), scheme)  # type: ignore[method-assign]
    return app


def from_environment() -> Flask:
    """The application for the settings file named in `CROSSHALL_SETTINGS`; the database is brought to this version."""
    settings = environment_settings()
    logs.configure()
    bring_up(settings)
    return create_app(settings)


def run_watcher(settings: Settings, stop: threading.Event | None = None) -> None:
    """Watch until SIGTERM, SIGINT or `stop`: a tick every `rejudge_seconds`; a failed one is logged and repeated."""
    stop = stop or threading.Event()
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
    bring_up(settings)
    parts = build(settings)
    watcher = Watcher(parts.services, settings.bridge.keys / "signing")
    # a thread of its own: a hall that does not answer must not keep revocations waiting
    teller = threading.Thread(target=_tell_halls, args=(parts.services, settings, stop), name="halls")
    teller.start()
    while not stop.is_set():
        try:
            done = watcher.tick()
            if done.judged or done.told or done.purged:
                _log.info("watched", extra={"judged": done.judged, "ended": done.ended, "told": done.told})
        except CrosshallError as error:
            _log.error("watcher", extra={"code": error.code, "detail": error.detail})
        except Exception:
            # Without a watcher no revocation ends anything: it goes on, whatever one tick met.
            _log.exception("watcher", extra={"code": "run.fault"})
        stop.wait(settings.bridge.rejudge_seconds)
    teller.join()
    try:
        watcher.stop()
    except CrosshallError as error:
        _log.warning("watcher stopped without giving its lock back", extra={"code": error.code})


def _tell_halls(services: Services, settings: Settings, stop: threading.Event) -> None:
    """Tell other halls of sign-outs until `stop`."""
    told = HallTeller(services, HttpClient(settings.sync.ca_file))
    while not stop.is_set():
        try:
            told.deliver()
        except CrosshallError as error:
            _log.error("halls not told", extra={"code": error.code, "detail": error.detail})
        except Exception:
            _log.exception("halls not told", extra={"code": "run.fault"})
        stop.wait(min(settings.bridge.rejudge_seconds, 5))


def environment_settings() -> Settings:
    """The settings of the file in `CROSSHALL_SETTINGS`. Raises ConfigError `config.missing`, `config.invalid`."""
    named = os.environ.get(SETTINGS_VARIABLE)
    if not named:
        raise ConfigError("config.missing", f"{SETTINGS_VARIABLE} names no settings file")
    return load_settings(Path(named))


def bring_up(settings: Settings) -> None:
    """Bring the database to this version; while it cannot be reached the bridge starts all the same, and is red."""
    try:
        migrate(settings.database.url)
    except CrosshallError as error:
        _log.error("database not migrated", extra={"code": error.code, "detail": error.detail})


def _person_keys(path: Path) -> PersonKeys:
    try:
        return NodePersonKeys(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError("config.key", f"{path}: {type(error).__name__}") from error
