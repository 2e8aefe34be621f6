"""The parts of one node – Keycloak, bridge, watcher, nginx – and the folder they live in.

<folder>/node.toml   settings            <folder>/state/    keys, windows, database: what a backup keeps
<folder>/bundle/     trust               <folder>/run/      what a start writes afresh: nginx, Keycloak, logs
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import tomli_w

from ca_bridge.files import config_dir, write_atomically
from ca_bridge.metrics import SHARED
from ca_bridge.settings import Settings
from crosshall.supervisor import Part, http_ready, socket_ready
from idp.server import KeycloakServer

# The kernel takes at most 107 bytes for the path of a unix socket.
_LONGEST_SOCKET = 100


@dataclass(frozen=True, slots=True)
class NodeFolder:
    """Where the files of a node are."""

    root: Path

    @property
    def settings(self) -> Path:
        """`node.toml`."""
        return self.root / "node.toml"

    @property
    def state(self) -> Path:
        """What must be kept."""
        return self.root / "state"

    @property
    def keys(self) -> Path:
        """Secrets, 0700."""
        return self.state / "keys"

    @property
    def bundle(self) -> Path:
        """The trust bundle in force."""
        return self.root / "bundle"

    @property
    def run(self) -> Path:
        """What each start writes afresh."""
        return self.root / "run"

    @property
    def logs(self) -> Path:
        """One file a part."""
        return self.run / "logs"

    @property
    def counts(self) -> Path:
        """What the bridge's workers count, for `/metrics`."""
        return self.run / "metrics"

    @property
    def socket(self) -> Path:
        """Where the bridge listens; beside the folder's own when its path is too long for a socket."""
        path = self.run / "bridge.sock"
        if len(os.fsencode(path)) <= _LONGEST_SOCKET:
            return path
        runtime = Path(os.environ.get("XDG_RUNTIME_DIR", "/tmp"))  # noqa: S108 - a 0700 folder is made below
        return (
            runtime
            / f"crosshall-{os.getuid()}-{hashlib.sha256(os.fsencode(self.root)).hexdigest()[:12]}"
            / "bridge.sock"
        )


def make_secrets(folder: NodeFolder) -> None:
    """Make the secrets that the node does not have yet; those it has are never touched."""
    folder.keys.mkdir(parents=True, exist_ok=True)
    folder.keys.chmod(0o700)
    for name, value in (
        ("master", secrets.token_bytes(32)),
        ("attributes", secrets.token_bytes(32)),
        ("channel", secrets.token_urlsafe(32).encode()),
        ("keycloak-admin", secrets.token_urlsafe(24).encode()),
    ):
        if not (folder.keys / name).exists():
            write_atomically(folder.keys / name, value, mode=0o600)


def write_settings(folder: NodeFolder, sections: dict[str, dict[str, object]]) -> None:
    """Write `node.toml`."""
    write_atomically(folder.settings, tomli_w.dumps(sections).encode(), mode=0o600)


def keycloak_part(server: KeycloakServer, *, start_seconds: float = 180.0) -> Part:
    """Keycloak, `prepare`d by the caller."""
    return Part(
        "keycloak",
        server.command(),
        http_ready(server.ready_url),
        server.environment(),
        folder=server.folder,
        start_seconds=start_seconds,
        stop_seconds=15,
    )


def bridge_parts(folder: NodeFolder, *, workers: int = 2) -> tuple[Part, Part]:
    """The bridge behind its unix socket, and the watcher. What workers of an earlier start counted is forgotten."""
    folder.socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.socket.unlink(missing_ok=True)
    shutil.rmtree(folder.counts, ignore_errors=True)
    folder.counts.mkdir(mode=0o700, parents=True)
    environment = {"CROSSHALL_SETTINGS": str(folder.settings)}
    bridge = Part(
        "bridge",
        gunicorn(f"unix:{folder.socket}", "ca_bridge.app:from_environment()", workers=workers),
        socket_ready(folder.socket),
        {**environment, SHARED: str(folder.counts)},
        start_seconds=30,
    )
    watcher = Part("watcher", (sys.executable, "-m", "crosshall", "bridge", "watch"), lambda: True, environment)
    return bridge, watcher


def gunicorn(bind: str, application: str, *, workers: int = 1, threads: int = 8) -> tuple[str, ...]:
    """The command line of a gunicorn with our configuration."""
    configuration = str(config_dir() / "gunicorn.conf.py")
    return (
        *(sys.executable, "-m", "gunicorn", "--config", configuration, "--bind", bind),
        *("--workers", str(workers), "--threads", str(threads), application),
    )


def channel_secret(settings: Settings) -> str:
    """The secret that nginx and the bridge share."""
    return settings.bridge.channel_secret_file.read_text("utf-8").strip()
