"""Two complete nodes, a province and a city: one sign-in in both directions; sign-out; a line that is cut."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from ca_bridge.files import write_atomically
from ca_bridge.policy.trusted_time import FILE
from demo.addresses import free_block
from demo.personas import persona
from demo.pki.bundle import write_manifest
from demo.selfcheck import new_browser
from demo.stack import Demo, Options
from nodes.identity import make_node_keys, public
from tests.live.citizen import Citizen, host

pytestmark = pytest.mark.live

PROVINCE, CITY = "gd", "gd/guangzhou"
WHO = "gz-li"


@pytest.fixture(scope="module")
def nodes() -> Iterator[dict[str, Demo]]:
    """Both nodes, each with its own Keycloak, nginx, bridge, windows, keys; one roster."""
    folder = Path(tempfile.mkdtemp(prefix="crosshall-abroad-"))
    made: dict[str, Demo] = {}
    try:
        first = free_block(start=11443)
        for name, addresses in ((PROVINCE, first), (CITY, free_block(start=first.port + 20))):
            own = folder / name.replace("/", "-")
            made[name] = Demo(Options(own, addresses, node=name, rate_per_minute=6000, workers=1))
            made[name].prepare()
        _roster(made)
        for demo in made.values():
            demo.start()
        yield made
    finally:
        for demo in made.values():
            demo.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _roster(made: dict[str, Demo]) -> None:
    """What joining does: keys on each node, one roster in every bundle; and the city's signed time."""
    rows = []
    for name, demo in made.items():
        keys = make_node_keys(demo.folder.keys)
        title = dict.fromkeys(("zh-Hans", "zh-Hant", "en", "pt"), name)
        about = {"name": name, "role": demo.settings.node.role, "parent": name.rpartition("/")[0], "stage": "live"}
        about |= {"hall": demo.addresses.url("hall"), "epoch": 1, "since": "2026-11-01T00:00:00Z"}  # type: ignore[dict-item]
        rows.append({**about, "title": title, "sign": public(keys.sign), "box": public(keys.box)})
    now = datetime.now(UTC)
    text = json.dumps({"format": 1, "nodes": rows, "software": {"floor": ""}}).encode()
    for demo in made.values():
        write_atomically(demo.folder.bundle / "roster.json", text)
        write_manifest(demo.folder.bundle, now)
    boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    known = {"format": 1, "issued": now.isoformat(), "now": now.isoformat(), "boot": boot, "rebooted": False}
    known["boottime"] = time.clock_gettime(time.CLOCK_BOOTTIME)
    write_atomically(made[CITY].folder.state / FILE, json.dumps(known).encode())


def _citizen(nodes: dict[str, Demo]) -> Citizen:
    """One person, one machine: the certificate is the same at every copy of the demo."""
    halls = {name: demo.addresses for name, demo in nodes.items()}
    pki = nodes[CITY].pki
    return Citizen(halls, new_browser(pki, persona(WHO)), persona(WHO), pki.folder)


def _within(seconds: float, what: Callable[[], bool]) -> float:
    """How long it took until `what`; fails after `seconds`."""
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        if what():
            return time.monotonic() - started
        time.sleep(0.5)
    pytest.fail(f"not within {seconds} s")


@pytest.mark.parametrize(("here", "there"), [(PROVINCE, CITY), (CITY, PROVINCE)])
def test_signed_in_there_known_here_signed_out_at_both(nodes: dict[str, Demo], here: str, there: str) -> None:
    """Through Keycloak to the window in both directions; signing out at one window ends the other node's session."""
    citizen = _citizen(nodes)
    assert host(citizen.by_token(there)) == nodes[there].addresses.host("police")
    assert not citizen.known(here)
    page = citizen.from_hall(here, there)
    assert host(page) == nodes[here].addresses.host("police"), page.url
    assert persona(WHO).name in page.text
    citizen.sign_out(there)
    _within(60, lambda: not citizen.known(here))


def test_where_the_person_comes_from_passes_through_keycloak(nodes: dict[str, Demo]) -> None:
    """`hall` in the authorization request reaches the bridge, which goes there by itself, once."""
    citizen = _citizen(nodes)
    window = nodes[PROVINCE].addresses.url("police")
    leaving = citizen.browser.once("GET", f"{window}/me")
    while urlsplit(leaving.headers["Location"]).hostname != nodes[PROVINCE].addresses.host("sso"):
        leaving = citizen.browser.once("GET", leaving.headers["Location"])
    page = citizen.browser.get(f"{leaving.headers['Location']}&hall={CITY}")
    assert urlsplit(page.url).path.endswith("/abroad"), page.url
    assert f"hall={CITY}" in page.url


def test_the_line_is_cut(nodes: dict[str, Demo]) -> None:
    """The city's hall is gone: the province's own ceremony goes on; a sign-out waits, and arrives when it is back."""
    citizen = _citizen(nodes)
    citizen.by_token(CITY)
    citizen.from_hall(PROVINCE, CITY)
    assert citizen.known(PROVINCE)
    part = nodes[CITY].supervisor.stop("nginx")
    citizen.sign_out(PROVINCE)
    assert host(citizen.by_token(PROVINCE)) == nodes[PROVINCE].addresses.host("police")
    nodes[CITY].supervisor.start(part)
    _within(60, lambda: not citizen.known(CITY))
