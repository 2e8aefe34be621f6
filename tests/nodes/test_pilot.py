"""A city in pilot, in shadow: it decides, the province decides again, both are recorded. What both tell a collector."""

from __future__ import annotations

import re
import subprocess

import pytest
import tomli_w

from ca_bridge.asn1.certificate import parse_pem
from ca_bridge.trust.bundle import read_bundle
from ca_bridge.types import utc_now
from demo.personas import persona
from nodes.keys import load_key
from nodes.own_role import OwnRole
from tests.nodes.country import PLACES, Country, Place, status_of, wait
from tests.nodes.people import MINUTE, refused, signs_in

pytestmark = pytest.mark.live
GD, GZ, FS, CH = PLACES
WHO, OTHER = "mo-ho", "gd-zhang"


def tally(country: Country, place: Place) -> dict[str, int]:
    """What the province has counted of a node in pilot."""
    told = country.desk(GD, "node", "shadow", "show", place.domain, code=1)
    counted = re.search(r"sign-ins (\d+), verdicts compared (\d+), equal (\d+)", told)
    alone = re.search(r"accepted by the node alone (\d+), refused alone (\d+), unreadable (\d+)", told)
    assert counted
    assert alone
    names = ("sign_ins", "compared", "equal", "accepted_alone", "refused_alone", "unreadable")
    return dict(zip(names, map(int, (*counted.groups(), *alone.groups())), strict=True))


def metrics(country: Country, place: Place) -> dict[str, float]:
    """The node's figures, by its bridge's own socket; name with labels → value."""
    socket = country.folder(place) / "run" / "bridge.sock"
    command = ("curl", "--silent", "--fail", "--unix-socket", str(socket), "http://localhost/metrics")
    text = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout
    rows = [line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, _, value in rows}


def test_both_decisions_are_recorded(country: Country) -> None:
    """Sign-ins and refusals of the city reach the province, which judges them again: equal, and not one unread.

    Whom the city refuses at home and the province accepts: counted, listed with both codes, judged again.
    """
    before = tally(country, FS)
    signs_in(country, FS, WHO)
    refused(country, FS, "gd-expired", "path.expired")
    node = country.folder(FS)
    signer = load_key(node / "state" / "keys" / "role-1.pem", None)
    own = OwnRole(node / "federation" / "public", FS.domain, [signer], utc_now)
    kept = own.refusals()
    row = {"why": "for the test", "certificate": _certificate_key(country)}
    own.refuse({"pilot.toml": tomli_w.dumps({"deny": [row]}).encode()})
    try:
        wait(MINUTE, lambda: "trust.denied" in country.sign_in(FS, country.browser(persona(WHO))).text)
        wait(MINUTE, lambda: tally(country, FS)["refused_alone"] > before["refused_alone"])
    finally:
        own.refuse(kept)
    grown = {name: value - before[name] for name, value in tally(country, FS).items()}
    assert grown["sign_ins"] >= 1
    assert grown["compared"] >= 3
    assert grown["equal"] == grown["compared"] - grown["refused_alone"]
    assert (grown["accepted_alone"], grown["unreadable"]) == (0, 0)
    assert "node trust.denied, province" in country.desk(GD, "node", "differences", FS.domain, code=1)
    replayed = country.desk(GD, "replay", "run", "--evidence", "state/shadow/evidence")
    assert "differs 0, shredded 0, no-bundle 0, damaged 0" in replayed
    assert "node.pilot_short" in country.run(GD, "node", "promote", FS.domain, fails=True)
    signs_in(country, GD, WHO)


def _certificate_key(country: Country) -> str:
    leaf = parse_pem(persona(WHO).files(country.built).certificate.read_text("ascii"))
    profile = next(p for p in read_bundle(country.bundle).profiles.values() if p.domain == "mo")
    return f"{profile.keys[0]}:{leaf.serial:x}"


def test_what_a_collector_sees(country: Country) -> None:
    """Figures of a node and of the province: fresh, no stale list, sign-ins counted by way and code, nobody named."""
    for place in (GD, FS):
        before = metrics(country, place)
        signs_in(country, place, OTHER)
        refused(country, place, "gd-expired", "path.expired")
        after = metrics(country, place)

        def grown(code: str, before: dict[str, float] = before, after: dict[str, float] = after) -> float:
            name = f'crosshall_sign_ins_total{{code="{code}",rung="fresh",way="tls"}}'
            return after.get(name, 0) - before.get(name, 0)

        assert (grown("ok"), grown("path.expired")) == (1, 1)
        assert after['crosshall_rung{rung="fresh"}'] == 1
        assert after["crosshall_trust_age_seconds"] < 180
        assert abs(after["crosshall_clock_skew_seconds"]) < 60
        assert after["crosshall_cut_sign_ins_waiting"] == 0
        assert after["crosshall_sessions"] >= 1
        stale = {name: value for name, value in after.items() if name.startswith("crosshall_crl_stale")}
        assert stale
        assert not any(stale.values()), stale
        people = [number for who in (OTHER, "gd-expired") for _, _, number in persona(who).identifiers]
        assert not any(number in name for name in after for number in people)
    expiry = "crosshall_role_expiry_timestamp_seconds"
    assert {name for name in metrics(country, FS) if name.startswith(expiry)} >= {
        f'{expiry}{{role="{role}"}}' for role in ("root", "targets", "status", "snapshot", "timestamp")
    }
    assert status_of(country, FS)["failing"] == {}


def test_metrics_are_not_for_the_street(country: Country) -> None:
    """Through the front there is nothing."""
    for place in (GD, FS):
        assert country.browser(persona(OTHER)).answers(f"{place.url('hall')}/metrics") == 404


def test_the_provinces_page_of_all_nodes(country: Country) -> None:
    """Each node with its stage and its age; the page is never below the published folder."""
    page = (country.folder(GD) / "state" / "pages" / "nodes.html").read_text("utf-8")
    assert all(place.domain in page for place in (GZ, FS))
    assert not list((country.folder(GD) / "federation" / "public").rglob("nodes.html"))
