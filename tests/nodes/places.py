"""Where the nodes of the tests stand: names, domains, addresses, ports."""

from __future__ import annotations

from dataclasses import dataclass

PORT, KEYCLOAK, MANAGEMENT, WINDOW = 8443, 8080, 9000, 9003


@dataclass(frozen=True, slots=True)
class Place:
    """One node to be."""

    name: str
    domain: str
    role: str
    address: str

    @property
    def base(self) -> str:
        """Its hosts' domain."""
        return f"{self.name}.test"

    @property
    def certificate_host(self) -> str:
        """Where certificates are asked for."""
        return f"*.cert.{self.base}:{PORT}"

    def url(self, host: str) -> str:
        """`https://<host>.<base>:8443`."""
        return f"https://{host}.{self.base}:{PORT}"


PLACES = (
    Place("gd", "gd", "province", "10.77.0.1"),
    Place("gz", "gd/guangzhou", "city", "10.77.0.2"),
    Place("fs", "gd/foshan", "city", "10.77.0.3"),
    Place("ch", "gd/guangzhou/conghua", "county", "10.77.0.4"),
)
HOSTS = ("hall", "sso", "police", "*.cert")


def above_of(place: Place) -> Place:
    """Where a node fetches: a county from its city."""
    return next(p for p in PLACES if p.domain == place.domain.rpartition("/")[0])
