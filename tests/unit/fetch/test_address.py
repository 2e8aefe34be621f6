"""Where the fetcher connects: origins on the CA's list, at addresses that are public or listed (no SSRF)."""

from __future__ import annotations

import pytest

from ca_bridge.errors import PathError, RevocationError
from ca_bridge.fetch.address import CODE, Allowed, pin, place
from ca_bridge.trust.profile import Status

LISTED = ("http://crl.example.gov/ca.crl", "https://crl.example.gov:8443/ca.crl")


def pinned(address: str, *addresses: str, private: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Where an address leads when its name resolves so."""
    return pin(place(address), Allowed.of(LISTED, private), lambda _host, _port: addresses)


def test_listed_origins_at_public_addresses() -> None:
    """Every address of the name is handed on."""
    assert pinned(LISTED[0], "93.184.216.34", "2606:2800:220:1::1") == ("93.184.216.34", "2606:2800:220:1::1")
    assert pinned("HTTP://CRL.Example.Gov:80/other", "93.184.216.34") == ("93.184.216.34",)


@pytest.mark.parametrize(
    "address",
    [
        "http://other.example.gov/ca.crl",
        "https://crl.example.gov/ca.crl",
        "http://crl.example.gov:81/ca.crl",
        "http://crl.example.gov.evil.example/ca.crl",
    ],
)
def test_what_is_not_listed_is_not_asked_for(address: str) -> None:
    """Scheme, host and port, all three."""
    with pytest.raises(RevocationError, match=CODE):
        pinned(address, "93.184.216.34")


@pytest.mark.parametrize(
    "address",
    [
        "ftp://crl.example.gov/x",
        "file:///etc/passwd",
        "http://user@crl.example.gov/x",
        "http:///x",
        "http://crl.example.gov:99999/x",
        "http://crl.example.gov:x/",
        "http://crl.example.gov/a b",
        "http://crl.example.gov\\@evil.example/",
        "http://[fe80::1%25eth0]/",
        "http://[::1/",
        "http://crl.example.gov/\r\nX: y",
        "",
    ],
)
def test_odd_addresses_are_refused(address: str) -> None:
    """Nothing that two parsers could read in two ways."""
    with pytest.raises(RevocationError, match=CODE):
        place(address)


PRIVATE = [
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
    "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0",
    "fc00::1", "ff02::1", "2001:db8::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1",
    "64:ff9b::a00:1", "64:ff9b:1::1", "2002:7f00:1::", "2002:a00:1::1", "2001:0:4136:e378:8000:63bf:80ff:fffe", "x", "",
]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_that_are_not_public_are_refused(address: str) -> None:
    """Loopback, private, link-local, metadata services, and IPv4 dressed up as IPv6; one among public ones too."""
    for addresses in ((address,), ("93.184.216.34", address)):
        with pytest.raises(RevocationError, match=CODE):
            pinned(LISTED[0], *addresses)


def test_private_networks_that_the_profile_lists() -> None:
    """Only those, and only for this CA."""
    assert pinned(LISTED[0], "10.8.0.7", private=("10.8.0.0/16",)) == ("10.8.0.7",)
    assert pinned(LISTED[0], "fd00:1::7", private=("fd00:1::/32",)) == ("fd00:1::7",)
    for address in ("10.9.0.7", "127.0.0.1", "fd00:2::7"):
        with pytest.raises(RevocationError, match=CODE):
            pinned(LISTED[0], address, private=("10.8.0.0/16", "fd00:1::/32"))


@pytest.mark.parametrize("addresses", [(), tuple(f"93.184.216.{i}" for i in range(17))])
def test_names_without_or_with_too_many_addresses(addresses: tuple[str, ...]) -> None:
    """Neither is tried."""
    with pytest.raises(RevocationError, match=CODE):
        pinned(LISTED[0], *addresses)


def test_a_name_that_does_not_resolve_is_a_failure() -> None:
    """It may resolve later: asked again."""

    def resolve(_host: str, _port: int) -> list[str]:
        raise OSError("no such name")

    with pytest.raises(RevocationError, match=r"revocation\.fetch_failed"):
        pin(place(LISTED[0]), Allowed.of(LISTED), resolve)


@pytest.mark.parametrize(
    "table",
    [
        {"fetch": ["ldap://x/y"]},
        {"fetch": ["http://u:p@x/y"]},
        {"fetch": ["http://x/y#z"]},
        {"fetch": ["http://x:0/y"]},
        {"fetch": ["http://x:70000/y"]},
        {"fetch": ["/ca.crl"]},
        {"private": ["0.0.0.0/0"]},
        {"private": ["10.0.0.1/8"]},
        {"private": ["::/0"]},
        {"private": ["x"]},
        {"refresh_seconds": 1},
        {"ocsp_hash": "md5"},
        {"fetch_all": True},
    ],
)
def test_profiles_that_list_odd_places_are_refused(table: dict[str, object]) -> None:
    """When the bundle is read, not when something is fetched."""
    from ca_bridge.trust.model import build  # noqa: PLC0415 - the one use

    with pytest.raises(PathError, match=r"trust\.profile"):
        build(Status, table, "trust.profile", "x")
