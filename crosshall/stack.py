"""One node's parts, from its settings: prepared, started in order, kept running, stopped.

`crosshall node run`, the demo and the live tests all use this one. What a caller adds – windows, a signer, a sync
agent – are further parts, started beside nginx.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from ca_bridge.errors import ConfigError
from ca_bridge.registry import load_windows
from ca_bridge.settings import Settings, load_settings
from ca_bridge.store import migrate
from crosshall.nginx import Front, nginx_part
from crosshall.node import NodeFolder, bridge_parts, channel_secret, keycloak_part, make_secrets
from crosshall.supervisor import Part, Say, Supervisor
from idp.apply import apply_realm
from idp.install import install
from idp.seed import claim, seed
from idp.server import KeycloakServer, read_password

# A part that ended is started again after this many seconds, doubled each time up to the last.
_FIRST_PAUSE, _LAST_PAUSE = 1.0, 60.0
_CALM_SECONDS = 300.0
_LOCALHOST = ".localhost"


@dataclass(frozen=True, slots=True)
class Around:
    """What stands beside the node's own parts."""

    parts: tuple[Part, ...] = ()
    workers: int = 2


class NodeStack:
    """The parts of one node. `prepare`, then `start`; `stop` always."""

    def __init__(self, folder: NodeFolder, say: Say = lambda _: None) -> None:
        self.folder = folder
        self.supervisor = Supervisor(folder.logs, say)
        self._say = say
        self._lock: IO[str] | None = None
        self._home = self._seed = Path()
        self._around = Around()

    @property
    def settings(self) -> Settings:
        """The node's settings as written."""
        return load_settings(self.folder.settings)

    def take(self) -> None:
        """The folder is this process's until `stop`. Raises ConfigError `run.port_taken` when another runs in it."""
        self.folder.root.mkdir(parents=True, exist_ok=True)
        lock = (self.folder.root / "lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.close()
            raise ConfigError("run.port_taken", f"another copy runs in {self.folder.root.name}") from error
        self._lock = lock

    def prepare(self) -> None:
        """Make what a start needs and the machine lacks: Keycloak, secrets, the database. Settings must be written.

        Raises ConfigError, StoreError, UpstreamError `realm.download`, `realm.build`.
        """
        settings = self.settings
        own_file = settings.keycloak.database_url_file is None
        self._home = install("dev-file" if own_file else "postgres", progress=self._say)
        if own_file:
            self._seed = seed(self._home, progress=self._say)
        make_secrets(self.folder)
        migrate(settings.database.url)

    def start(self, around: Around | None = None) -> None:
        """Start every part and apply the realm; returns when all are ready. Raises ConfigError, UpstreamError."""
        self._around = around or Around()
        server = self._keycloak()
        server.prepare(self._seed if self._seed != Path() else None)
        self._say("starting " + ", ".join(["Keycloak", "bridge", "nginx", *(part.name for part in self._around.parts)]))
        self.supervisor.launch(keycloak_part(server))
        bridge, watcher = bridge_parts(self.folder, workers=self._around.workers)
        others = [bridge, nginx_part(self._front()), *self._around.parts]
        for part in others:
            self.supervisor.launch(part)
        for part in others:
            self.supervisor.wait_ready(part.name)
        self.supervisor.wait_ready("keycloak")
        self.apply()
        self.supervisor.start(watcher)

    def apply(self) -> None:
        """Make the realm what its code says. Raises UpstreamError `realm.*`."""
        settings = self.settings
        claim(self._keycloak())
        done = apply_realm(settings, load_windows(settings.node.state))
        if done.writes:
            self._say(f"realm {settings.keycloak.realm}: {done.writes} writes")

    def restart(self, name: str, *, kill: bool = False, between: Callable[[], None] = lambda: None) -> None:
        """Stop a part, do something while it is down, start it again."""
        part = self.supervisor.stop(name, kill=kill)
        between()
        self.supervisor.start(part)

    def stop(self) -> None:
        """Stop what was started and give up the folder."""
        self.supervisor.stop_all()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _keycloak(self) -> KeycloakServer:
        settings = self.settings
        node, names = settings.keycloak, [_host(settings.bridge.issuer), _host(settings.keycloak.issuer)]
        names += settings.front.upstreams
        file = node.database_url_file
        return KeycloakServer(
            home=self._home,
            folder=self.folder.run / "keycloak",
            port=urlsplit(node.internal).port or 80,
            management_port=node.management_port,
            hostname=node.issuer.partition("/realms/")[0],
            admin_user=node.admin_user,
            admin_password_file=node.admin_password_file,
            database_url=read_password(file) if file is not None else "",
            trust=(settings.front.ca_file,) if settings.front.ca_file is not None else (),
            # names that only browsers know to be loopback (RFC 6761 §6.3); all others are the machine's resolver's
            hosts=tuple(names) if all(name.endswith(_LOCALHOST) for name in names) else (),
        )

    def _front(self) -> Front:
        settings = self.settings
        return Front(
            folder=self.folder.run / "nginx",
            logs=self.folder.logs,
            listen=settings.front.listen,
            hall=_host(settings.bridge.issuer),
            certificate_names=settings.bridge.certificate_host.partition(":")[0],
            sso=_host(settings.keycloak.issuer),
            bridge_socket=self.folder.socket,
            keycloak=urlsplit(settings.keycloak.internal).netloc,
            certificate=settings.front.certificate,
            certificate_key=settings.front.certificate_key,
            channel_secret=channel_secret(settings),
            windows=tuple(settings.front.upstreams.items()),
            published=settings.front.published,
        )


@dataclass(slots=True)
class _Fallen:
    pause: float = _FIRST_PAUSE
    due: float = 0.0
    since: float = 0.0


@dataclass(slots=True)
class Keeper:
    """Starts again what ended by itself: at once, then after pauses that double; `tick` about once a second."""

    supervisor: Supervisor
    say: Say
    clock: Callable[[], float] = time.monotonic
    _fallen: dict[str, _Fallen] = field(default_factory=dict)
    _down: dict[str, Part] = field(default_factory=dict)

    def tick(self) -> Sequence[str]:
        """Look once; returns the names that are down now."""
        now = self.clock()
        for name in self.supervisor.dead():
            self.say(f"{name} ended by itself:\n{self.supervisor.log_end(name, 5)}")
            state = self._fallen.setdefault(name, _Fallen())
            if now - state.since > _CALM_SECONDS:
                state.pause = _FIRST_PAUSE
            state.due, state.pause = now + state.pause, min(2 * state.pause, _LAST_PAUSE)
            self._down[name] = self.supervisor.stop(name)
        for name in [name for name in self._down if now >= self._fallen[name].due]:
            self.supervisor.launch(self._down.pop(name))
            self._fallen[name].since = now
            self.say(f"{name}: started again")
        return tuple(self._down)


def _host(url: str) -> str:
    return urlsplit(url).hostname or ""
