"""A province, two cities and a county, each on a machine of its own: trust, refusals, the line cut and back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from demo.personas import persona
from tests.nodes.country import PLACES, Country, Place, status_of, wait
from tests.nodes.people import MINUTE, at, hours_pass, issued, received, refused, rung, signs_in

pytestmark = pytest.mark.live
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


class TestTheLineIsCut:
    """Foshan's cable is pulled. Time passes by its record of it; nobody waits for days."""

    @pytest.fixture(autouse=True, name="cut")
    def _cut(self, country: Country) -> Iterator[None]:
        country.wires.cut(FS.name)
        wait(MINUTE, lambda: bool(status_of(country, FS)["codes"]))
        yield
        country.wires.join(FS.name)
        wait(MINUTE, lambda: not status_of(country, FS)["codes"] and rung(country, FS) == "fresh")

    @pytest.fixture(autouse=True, name="inside")
    def _inside(self, country: Country) -> Iterator[None]:
        """The people who stay: they stand in the hall of Foshan, on its side of the cut."""
        with country.wires.standing(FS.name):
            yield

    def test_the_ladder(self, country: Country) -> None:
        """Sign-ins go on; token, hall and window say the rung; each rung allows what design §6 says and no more."""
        hours_pass(country, FS, 3, "near")
        assert received(country.sign_in(FS, signs_in(country, FS)), "rung") == "near"
        signs_in(country, FS, "hk-chan")
        hours_pass(country, FS, 5, "day")
        assert received(country.sign_in(FS, signs_in(country, FS)), "rung") == "day"
        refused(country, FS, "hk-chan", "policy.offline_border")
        hours_pass(country, FS, 30, "days")
        page = country.sign_in(FS, signs_in(country, FS))
        assert (received(page, "rung"), received(page, "level")) == ("days", "2")
        hours_pass(country, FS, 80, "closed")
        refused(country, FS, "gd-zhang", "policy.offline")

    def test_disks_are_carried_in(self, country: Country) -> None:
        """A disk written now brings the cut node up to date; one of an earlier day is refused and changes nothing."""
        disk = country.root / "disk"
        before = issued(country, FS)
        country.renew_crl(persona("gd-zhang"))
        wait(MINUTE, lambda: country.published() > before)
        country.run(GD, "federation", "export", disk)
        country.run(FS, "node", "sync", "--once", "--source", f"file:{disk}")
        carried = issued(country, FS)
        assert carried > before
        told = country.run(FS, "node", "sync", "--once", "--source", f"file:{country.old_disk}", fails=True)
        assert "federation.rollback" in told
        assert issued(country, FS) == carried

    def test_revoked_meanwhile(self, country: Country) -> None:
        """Revoked during the cut: known at the cut node; a minute after the line's return that session has ended."""
        hours_pass(country, FS, 1, "near")
        live = signs_in(country, FS, "gd-wang-officer")
        country.revoke(persona("gd-wang-officer"))
        assert at(live.get(FS.url("police") + "/me"), FS)
        country.wires.join(FS.name)
        took = wait(MINUTE, lambda: not at(live.get(FS.url("police") + "/me"), FS))
        print(f"caught up, session ended after {took:.1f} s")  # noqa: T201


def test_bundle_traffic_is_small(country: Country, record_property: object) -> None:
    """A minute of quiet checks costs a node a few kilobytes on the wire."""
    before = country.wires.octets(FS.name)
    versions = status_of(country, FS)["issued"]
    wait(130, lambda: status_of(country, FS)["issued"] != versions)
    after = country.wires.octets(FS.name)
    print(f"octets in and out: {after[0] - before[0]}, {after[1] - before[1]}")  # noqa: T201


def test_cut_off_by_one_command(country: Country) -> None:
    """`node remove`: everywhere within a minute the node is in no roster, and its own trust stops at what it had."""
    country.run(GD, "node", "remove", FS.domain)
    country.signed()
    for place in (GD, GZ, CH):
        roster = Path(country.folder(place) / "bundle" / "roster.json")
        wait(MINUTE, lambda roster=roster: FS.domain not in roster.read_text("utf-8"))  # type: ignore[misc]
