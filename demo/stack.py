"""The whole demo on one machine: federation, node, windows, signer – prepared, started, stopped.

`make run`, the live tests and the measurements all use this one. Everything listens on loopback; everything written
lies below one folder.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from ca_bridge.settings import Settings
from ca_bridge.types import utc_now
from crosshall.node import NodeFolder, write_settings
from crosshall.stack import Around, NodeStack
from crosshall.supervisor import Part, Say, http_ready
from demo import windows
from demo.addresses import Addresses, require_free
from demo.pki import DemoRun, materialise


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
    node: str = "gd"
    """Its name in the federation: `gd/guangzhou` is a city's node."""


class Demo:
    """One copy of the demo. `start` after `prepare`; `stop` always."""

    def __init__(self, options: Options, say: Say = lambda _: None) -> None:
        self.options = options
        self.addresses = options.addresses
        self.folder = NodeFolder(options.folder)
        self.pki = DemoRun(options.folder)
        self._say = say
        self._node = NodeStack(self.folder, say)
        self.supervisor = self._node.supervisor
        self.apply, self.restart, self.stop = self._node.apply, self._node.restart, self._node.stop

    @property
    def settings(self) -> Settings:
        """The node's settings as written."""
        return self._node.settings

    def prepare(self) -> None:
        """Make what a start needs: Keycloak, certificates, keys, settings. Raises ConfigError `run.port_taken`."""
        self._node.take()
        require_free(self.addresses)
        self._say("certificates of the demo federation (a few seconds the first time)")
        materialise(self.folder.root, self.addresses, utc_now())
        write_settings(self.folder, self._sections())
        self._node.prepare()
        windows.register(self.settings, self.folder.root, self.addresses, self.pki.tls_ca)

    def start(self) -> None:
        """Start every part and apply the realm; returns when all are ready."""
        parts = (*windows.parts(self.folder.root, self.addresses), self._signer_part())
        self._node.start(Around(parts, workers=self.options.workers))

    def _sections(self) -> dict[str, dict[str, object]]:
        where, options = self.addresses, self.options
        sections: dict[str, dict[str, object]] = {
            "node": {
                "name": options.node,
                "role": ("province", "city", "county")[options.node.count("/")],
                "parent": options.node.rpartition("/")[0],
            },
            "sync": {"ca_file": str(self.pki.tls_ca)},
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
                "management_port": where.management_port,
            },
            "front": {
                "listen": f"127.0.0.1:{where.port}",
                "certificate": str(self.pki.tls_certificate),
                "certificate_key": str(self.pki.tls_key),
                "ca_file": str(self.pki.tls_ca),
                "upstreams": {where.host(name): f"127.0.0.1:{port}" for name, port in where.window_ports.items()},
            },
        }
        if options.database_url:
            sections["database"] = {"url": options.database_url}
        return sections

    def _signer_part(self) -> Part:
        command = (sys.executable, "-m", "crosshall", "signer", "run", "--settings", self.pki.signer_settings)
        ready = http_ready(f"http://127.0.0.1:{self.addresses.signer_port}/v1/status")
        return Part("signer", command, ready, start_seconds=30)
