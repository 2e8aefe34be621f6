"""The whole demo on one machine: federation, node, windows, signer – prepared, started, stopped.

`make run`, the live tests and the measurements all use this one. Everything listens on loopback; everything written
lies below one folder.
"""

from __future__ import annotations

import fcntl
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ca_bridge.errors import ConfigError
from ca_bridge.registry import Window, load_windows, write_window
from ca_bridge.settings import Settings, load_settings
from ca_bridge.store import migrate
from ca_bridge.types import utc_now
from crosshall.nginx import Front, nginx_part
from crosshall.node import (
    NodeFolder,
    bridge_parts,
    channel_secret,
    gunicorn,
    keycloak_part,
    make_secrets,
    write_settings,
)
from crosshall.supervisor import Part, Say, Supervisor, http_ready
from crosshall.window import write_developer_settings
from demo.addresses import Addresses, require_free
from demo.pki import DemoRun, materialise
from idp.apply import apply_realm
from idp.install import install
from idp.seed import claim, seed
from idp.server import KeycloakServer

WINDOWS: dict[str, tuple[dict[str, str], tuple[str, ...], str]] = {
    "police": (
        {
            "zh-Hans": "公安厅窗口",
            "zh-Hant": "公安廳窗口",
            "en": "Public Security window",
            "pt": "Balcão da Segurança Pública",
        },
        ("name", "identifiers"),
        "demo.windows.police:app",
    ),
    "env": (
        {
            "zh-Hans": "生态环境厅窗口",
            "zh-Hant": "生態環境廳窗口",
            "en": "Environment window",
            "pt": "Balcão do Ambiente",
        },
        (),
        "demo.windows.environment:app",
    ),
}


@dataclass(frozen=True, slots=True)
class Options:
    """How a copy of the demo runs."""

    folder: Path
    addresses: Addresses
    database_url: str = ""
    """Of the bridge: empty for SQLite in the node's folder."""
    session_seconds: int = 8 * 3600
    workers: int = 2
    rate_per_minute: int = 120


class Demo:
    """One copy of the demo. `start` after `prepare`; `stop` always."""

    def __init__(self, options: Options, say: Say = lambda _: None) -> None:
        self.options = options
        self.addresses = options.addresses
        self.folder = NodeFolder(options.folder)
        self.pki = DemoRun(options.folder)
        self._say = say
        self._lock: IO[str] | None = None
        self.supervisor = Supervisor(self.folder.logs, say)
        self._seed = self._keycloak_home = Path()

    @property
    def settings(self) -> Settings:
        """The node's settings as written."""
        return load_settings(self.folder.settings)

    def prepare(self) -> None:
        """Make what a start needs: Keycloak, certificates, keys, settings. Raises ConfigError `run.port_taken`."""
        self._take()
        require_free(self.addresses)
        home = install(progress=self._say)
        self._seed = seed(home, progress=self._say)
        self._say("certificates of the demo federation (a few seconds the first time)")
        materialise(self.folder.root, self.addresses, utc_now())
        make_secrets(self.folder)
        write_settings(self.folder, self._sections())
        migrate(self.settings.database.url)
        for window_id in WINDOWS:
            self._register(window_id)
        self._keycloak_home = home

    def start(self) -> None:
        """Start every part and apply the realm; returns when all are ready."""
        server = self._keycloak()
        server.prepare(self._seed)
        self._say("starting Keycloak, bridge, nginx, windows, signer")
        self.supervisor.launch(keycloak_part(server))
        bridge, watcher = bridge_parts(self.folder, workers=self.options.workers)
        others = [bridge, nginx_part(self._front()), *map(self._window_part, WINDOWS), self._signer_part()]
        for part in others:
            self.supervisor.launch(part)
        for part in others:
            self.supervisor.wait_ready(part.name)
        self.supervisor.wait_ready("keycloak")
        self.apply()
        self.supervisor.start(watcher)

    def apply(self) -> None:
        """Make the realm what its code says."""
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

    def _take(self) -> None:
        self.folder.root.mkdir(parents=True, exist_ok=True)
        lock = (self.folder.root / "lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.close()
            raise ConfigError("run.port_taken", f"another copy runs in {self.folder.root.name}") from error
        self._lock = lock

    def _sections(self) -> dict[str, dict[str, object]]:
        where, options = self.addresses, self.options
        sections: dict[str, dict[str, object]] = {
            "node": {"name": "gd", "role": "province"},
            "bridge": {
                "issuer": where.url("hall"),
                "certificate_host": where.certificate_host,
                "signer": f"http://127.0.0.1:{where.signer_port}",
                "session_seconds": options.session_seconds,
                "rejudge_seconds": 5,
                "rate_per_minute": options.rate_per_minute,
            },
            "keycloak": {
                "issuer": f"{where.url('sso')}/realms/gd",
                "internal": f"http://127.0.0.1:{where.keycloak_port}",
            },
        }
        if options.database_url:
            sections["database"] = {"url": options.database_url}
        return sections

    def _register(self, window_id: str) -> None:
        name, attributes, _ = WINDOWS[window_id]
        base, inside = self.addresses.url(window_id), f"http://127.0.0.1:{self.addresses.window_ports[window_id]}"
        window = Window(
            id=window_id,
            sector=window_id,
            name=name,
            base_url=base,
            redirect_uris=(f"{base}/oidc/callback",),
            post_logout_redirect_uris=(f"{base}/",),
            backchannel_logout_url=f"{inside}/oidc/backchannel-logout",
            jwks_url=f"{inside}/oidc/jwks.json",
            attributes=attributes,
        )
        write_window(self.folder.state, window)
        write_developer_settings(self.settings, window, self._window_settings(window_id), ca_file=self.pki.tls_ca)

    def _window_settings(self, window_id: str) -> Path:
        return self.folder.root / "windows" / window_id / "window.toml"

    def _window_part(self, window_id: str) -> Part:
        port = self.addresses.window_ports[window_id]
        return Part(
            window_id,
            gunicorn(f"127.0.0.1:{port}", WINDOWS[window_id][2], workers=2),
            http_ready(f"http://127.0.0.1:{port}/oidc/jwks.json"),
            {"CROSSHALL_WINDOW_SETTINGS": str(self._window_settings(window_id))},
            start_seconds=30,
        )

    def _signer_part(self) -> Part:
        command = (sys.executable, "-m", "crosshall", "signer", "run", "--settings", self.pki.signer_settings)
        ready = http_ready(f"http://127.0.0.1:{self.addresses.signer_port}/v1/status")
        return Part("signer", command, ready, start_seconds=30)

    def _keycloak(self) -> KeycloakServer:
        where = self.addresses
        return KeycloakServer(
            home=self._keycloak_home,
            folder=self.folder.run / "keycloak",
            port=where.keycloak_port,
            management_port=where.management_port,
            hostname=where.url("sso"),
            admin_password_file=self.folder.keys / "keycloak-admin",
            trust=(self.pki.tls_ca,),
            hosts=tuple(where.host(name) for name in ("hall", "sso", *where.window_ports)),
        )

    def _front(self) -> Front:
        where = self.addresses
        return Front(
            folder=self.folder.run / "nginx",
            logs=self.folder.logs,
            listen=f"127.0.0.1:{where.port}",
            hall=where.host("hall"),
            certificate_names=where.certificate_host.rpartition(":")[0],
            sso=where.host("sso"),
            bridge_socket=self.folder.socket,
            keycloak=f"127.0.0.1:{where.keycloak_port}",
            certificate=self.pki.tls_certificate,
            certificate_key=self.pki.tls_key,
            channel_secret=channel_secret(self.settings),
            windows=tuple((where.host(name), f"127.0.0.1:{port}") for name, port in where.window_ports.items()),
        )
