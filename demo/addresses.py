"""Host names and ports of one copy of the demo.

Copies differ by their public port and by name: cookies ignore ports.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass

from ca_bridge.errors import ConfigError

DEFAULT_PORT = 8443


@dataclass(frozen=True, slots=True)
class Addresses:
    """All addresses of a copy, from its public port; everything is on 127.0.0.1."""

    port: int

    @property
    def base(self) -> str:
        """`gd.localhost`, or `gd-<port>.localhost` for a further copy."""
        return "gd.localhost" if self.port == DEFAULT_PORT else f"gd-{self.port}.localhost"

    def host(self, name: str) -> str:
        """`<name>.<base>`, without port."""
        return f"{name}.{self.base}"

    def url(self, name: str) -> str:
        """`https://<name>.<base>:<port>`."""
        return f"https://{self.host(name)}:{self.port}"

    @property
    def certificate_host(self) -> str:
        """`*.cert.<base>:<port>`."""
        return f"*.cert.{self.base}:{self.port}"

    @property
    def keycloak_port(self) -> int:
        """Keycloak's HTTP port on loopback."""
        return self.port + 1

    @property
    def management_port(self) -> int:
        """Keycloak's health and metrics."""
        return self.port + 2

    @property
    def window_ports(self) -> dict[str, int]:
        """Window id → loopback port."""
        return {
            "police": self.port + 3,
            "env": self.port + 4,
            "archive": self.port + 6,
            "api": self.port + 7,
            "old": self.port + 8,
        }

    @property
    def old_system_port(self) -> int:
        """The system that cannot be changed, behind the proxy that is `old`."""
        return self.port + 9

    @property
    def signer_port(self) -> int:
        """The local signer of the person at this machine."""
        return self.port + 20000 if self.port + 20000 < 65536 else self.port + 5

    def all_ports(self) -> tuple[int, ...]:
        """Every port that the copy listens on."""
        windows = (*self.window_ports.values(), self.old_system_port)
        return (self.port, self.keycloak_port, self.management_port, *windows, self.signer_port)

    def hosts_file(self) -> str:
        """A hosts file of the copy's names, for programs that do not know RFC 6761 §6.3."""
        names = ("hall", "sso", *self.window_ports)
        return "".join(f"127.0.0.1 {self.host(name)}\n" for name in names) + "127.0.0.1 localhost\n"


def require_free(addresses: Addresses) -> None:
    """Raise ConfigError `run.port_taken` when one of the copy's ports is in use."""
    for port in addresses.all_ports():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                raise ConfigError("run.port_taken", f"127.0.0.1:{port}: {error.strerror}") from error


def free_block(start: int = 9443, step: int = 20) -> Addresses:
    """The first block of free ports from `start` on: for tests, which run beside everything else."""
    for port in range(start, start + 50 * step, step):
        addresses = Addresses(port)
        try:
            require_free(addresses)
        except ConfigError:
            continue
        return addresses
    raise ConfigError("run.port_taken", f"no free block of ports from {start}")
