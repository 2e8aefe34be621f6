"""A province, two cities and a county, each on a machine of its own: trust, refusals, the line cut and back."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from demo.personas import persona
from tests.nodes.country import PLACES, Country, Place, status_of, wait
from tests.nodes.people import MINUTE, at, refused, signs_in

pytestmark = pytest.mark.live
ROUNDS, ROUND_OCTETS = 2, 4096
"""A quiet round of a node: 1 KB of HTTP for its check (issue 6), as much for the office's; the rest is TLS and IP."""
GD, GZ, FS, CH = PLACES


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.name)
@pytest.mark.parametrize("who", ["gd-zhang", "gz-li", "hk-chan"])
def test_signs_in_at_every_hall(country: Country, place: Place, who: str) -> None:
    """One trust bundle: people of every domain are known at each node, by the node's own Keycloak."""
    signs_in(country, place, who)


def test_two_nodes_hold_the_same_bundle(country: Country) -> None:
    """The bridge's bundle is the same, octet by octet, wherever it came from."""

    def files(place: Place) -> dict[str, bytes]:
        folder = country.folder(place) / "bundle"
        return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}

    wait(MINUTE, lambda: files(GZ) == files(FS) == files(CH))


def test_a_person_is_another_at_each_node(country: Country) -> None:
    """Person keys are derived for each node: what one holds opens nothing at another."""
    keys = {(country.folder(place) / "state" / "keys" / "master").read_bytes() for place in PLACES}
    assert len(keys) == len(PLACES)


def test_the_province_sees_its_nodes(country: Country) -> None:
    """Reports come in, signed; a well node is `well` but for its stage, which is the province's to give."""

    def seen() -> bool:
        told = country.run(GD, "node", "list")
        rows = {line.split("\t")[0]: line for line in told.splitlines()}
        return all("fresh node.pilot" in rows[place.domain] for place in (GZ, FS, CH))

    wait(MINUTE, seen)


def test_revoked_at_the_province_refused_everywhere(country: Country) -> None:
    """A CRL put into the province's bundle: within a minute refused at every node, and live sessions ended there."""
    live = {place.name: signs_in(country, place, "gz-li") for place in (GZ, CH)}
    country.revoke(persona("gz-li"))

    def ended(place: Place) -> bool:
        page = live[place.name].get(place.url("police") + "/me")
        return urlsplit(page.url).hostname != f"police.{place.base}"

    took = [wait(MINUTE, lambda place=place: ended(place)) for place in (GZ, CH)]  # type: ignore[misc]
    print(f"revocation ended sessions after {', '.join(f'{seconds:.1f} s' for seconds in took)}")  # noqa: T201
    for place in PLACES:
        wait(MINUTE, lambda place=place: not at(country.sign_in(place, country.browser(persona("gz-li"))), place))  # type: ignore[misc]
        refused(country, place, "gz-li", "revocation.revoked")


def test_bundle_traffic_is_small(country: Country) -> None:
    """Nobody signs in, nothing changes: what a round costs on the wire, the province's question included, both ways."""
    node = country.folder(FS)
    head, copies = node / "federation" / "public" / "outbox" / "head", node / "state" / "outbox"
    wait(MINUTE, lambda: not head.exists() and not any(copies.glob("*.jwe")))  # copies of sign-ins go first

    def next_round() -> tuple[int, int]:
        last = status_of(country, FS)["at"]
        wait(30, lambda: status_of(country, FS)["at"] != last)
        return country.wires.octets(FS.name)

    def quiet() -> bool:
        first = next_round()
        last = [next_round() for _ in range(ROUNDS)][-1]
        octets = sum(last) - sum(first)
        print(f"{octets / ROUNDS:.0f} octets a round")  # noqa: T201
        return octets <= (ROUNDS + 1) * ROUND_OCTETS  # one more: the minute's new timestamp

    wait(2 * MINUTE, quiet)  # the revocation before still goes its ways: at most a few rounds
