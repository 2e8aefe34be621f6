"""Where the fetcher may connect to: origins that a CA's profile lists, at addresses that are public or listed.

The name is resolved once, every answer is checked, and the connection goes to the address that was checked: a name that
answers otherwise a second later (DNS rebinding) reaches nothing.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from ca_bridge.errors import RevocationError

CODE = "revocation.fetch_address"
MAX_ADDRESSES = 16
Resolver = Callable[[str, int], Iterable[str]]
"""Name and port → addresses as text. Raises OSError."""
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("64:ff9b:1::/48"))
_COMPATIBLE = ipaddress.IPv6Network("::/96")


@dataclass(frozen=True, slots=True)
class Place:
    """Where one address leads: scheme, host and port as written, and what is asked for there."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def origin(self) -> tuple[str, str, int]:
        """What an allow-list compares."""
        return (self.scheme, self.host, self.port)

    @property
    def authority(self) -> str:
        """The value of the `Host` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.scheme == "https" else 80) else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Allowed:
    """What one CA's profile lists: origins, and networks that are not public but meant."""

    origins: frozenset[tuple[str, str, int]]
    private: tuple[str, ...] = ()

    @staticmethod
    def of(addresses: Iterable[str], private: Iterable[str] = ()) -> Allowed:
        """The allow-list of exactly these addresses' origins."""
        return Allowed(frozenset(place(address).origin for address in addresses), tuple(private))


def place(address: str) -> Place:
    """The parts of an http(s) address. Raises RevocationError `revocation.fetch_address`."""
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError as error:
        raise RevocationError(CODE, "not an address") from error
    host = (parts.hostname or "").rstrip(".").lower()
    plain = address.isascii() and address.isprintable() and " " not in address and "\\" not in address
    if parts.scheme not in ("http", "https") or not host or "@" in parts.netloc or "%" in host or not plain:
        raise RevocationError(CODE, "not a plain http(s) address")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Place(parts.scheme, host, port or (443 if parts.scheme == "https" else 80), target)


def pin(wanted: Place, allowed: Allowed, resolve: Resolver) -> tuple[str, ...]:
    """Addresses to connect to, all of which may be. Raises RevocationError `revocation.fetch_address`.

    One forbidden address among several refuses the name: nobody mixes them by accident.
    """
    if wanted.origin not in allowed.origins:
        raise RevocationError(CODE, f"{wanted.host}:{wanted.port} is not on the CA's list")
    try:
        found = list(dict.fromkeys(resolve(wanted.host, wanted.port)))
    except (OSError, UnicodeError) as error:
        raise RevocationError("revocation.fetch_failed", f"{wanted.host} does not resolve") from error
    if not 0 < len(found) <= MAX_ADDRESSES:
        raise RevocationError(CODE, f"{wanted.host} has {len(found)} addresses")
    for text in found:
        if not _may_connect(text, allowed.private):
            raise RevocationError(CODE, f"{wanted.host} lies at an address that is not public and not listed")
    return tuple(found)


def resolve_by_system(host: str, port: int) -> list[str]:
    """The machine's own resolver."""
    rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return [str(row[4][0]) for row in rows]


def _may_connect(text: str, private: Iterable[str]) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    inner = _inner(address)
    if any(_within(each, network) for each in {address, inner} for network in private):
        return True
    return _public(address) and _public(inner)


def _within(address: _Address, network: str) -> bool:
    known = ipaddress.ip_network(network)
    return address.version == known.version and address in known


def _public(address: _Address) -> bool:
    forbidden = (
        address.is_private,
        address.is_loopback,
        address.is_link_local,
        address.is_multicast,
        address.is_reserved and _inner(address) == address,
        address.is_unspecified,
    )
    return address.is_global and not any(forbidden)


def _inner(address: _Address) -> _Address:
    """The IPv4 address that an IPv6 one carries (mapped, compatible, NAT64, 6to4, Teredo); itself when none."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _COMPATIBLE or address in _NAT64[0]:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if address in _NAT64[1]:
        return ipaddress.IPv4Address(0)  # where its IPv4 octets stand is local knowledge: never public
    if address.sixtofour is not None:
        return address.sixtofour
    return address.teredo[1] if address.teredo is not None else address
