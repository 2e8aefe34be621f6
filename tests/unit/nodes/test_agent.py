"""The agent: applies, counts time, survives its machine, and never lets the ladder say more than is true."""

from __future__ import annotations

import json
import random
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import timedelta
from pathlib import Path

import pytest
from filelock import FileLock

from ca_bridge.policy.rungs import Rung, lower, rung_of
from ca_bridge.policy.trusted_time import reckon
from ca_bridge.trust.bundle import read_bundle
from nodes import clock
from nodes.sync import MOST_SECONDS, Agent, AgentSettings
from nodes.transport import FileSource
from tests.unit.nodes.world import NOW, World, deny


class Machine:
    """A machine's counting clock, which tests move."""

    def __init__(self) -> None:
        self.seconds, self.boot = 1000.0, "boot-1"

    def __call__(self) -> clock.Machine:
        return self.seconds, self.boot


class Site:
    """A node with its agent."""

    def __init__(self, world: World, folder: Path, name: str, source: str, public: Path | None = None) -> None:
        self.world, self.folder, self.machine = world, folder, Machine()
        settings = AgentSettings(name, folder / "state", folder / "bundle", (source,), public=public)
        self.agent = Agent(settings, machine=self.machine, chance=lambda: 0.5)
        self.agent._client.folder.start(world.root)

    def rung(self) -> Rung:
        """What the bridge would say now."""
        known = clock.load(self.folder / "state" / clock.FILE)
        return Rung.CLOSED if known is None else reckon(known, self.machine.seconds, self.machine.boot).rung

    def denials(self) -> int:
        return len(read_bundle(self.folder / "bundle").denials)


@pytest.fixture
def site(world: World, tmp_path: Path) -> Site:
    """A city that fetches from the province."""
    return Site(world, tmp_path / "site", "gd/guangzhou", f"file:{world.public}", tmp_path / "mirror")


def test_a_round_brings_bundle_and_time(world: World, site: Site) -> None:
    """After one good round the bridge's own readers find a bundle and a fresh time."""
    done = site.agent.round()
    assert done.codes == {}
    assert site.rung() is Rung.FRESH
    assert set(read_bundle(site.folder / "bundle").profiles) == {"gd-public", "gz-public", "mo-public"}
    assert json.loads((site.folder / "state" / "federation" / "status.json").read_bytes())["good"]


def test_without_any_source_the_node_is_closed(world: World, tmp_path: Path) -> None:
    """A node that never fetched has no time and no bundle."""
    site = Site(world, tmp_path / "s", "gd/guangzhou", f"file:{tmp_path / 'nothing'}")
    done = site.agent.round()
    assert set(done.codes.values()) == {"federation.absent"}
    assert site.rung() is Rung.CLOSED
    assert not (tmp_path / "s" / "bundle").exists()


def test_the_ladder_goes_down_without_a_line(world: World, site: Site) -> None:
    """Time is counted on while nothing comes: every rung in its turn."""
    site.agent.round()
    shutil.move(world.public, world.folder / "away")
    seen = []
    for hours in (0.2, 1, 10, 40, 30):
        site.machine.seconds += hours * 3600
        site.agent.round()
        seen.append(site.rung())
    assert seen == [Rung.FRESH, Rung.NEAR, Rung.DAY, Rung.DAYS, Rung.CLOSED]


def test_a_replayed_repository_never_looks_fresh(world: World, site: Site, tmp_path: Path) -> None:
    """The same old disk, carried again and again, ages as it must; a newer one that is late is as late as it is."""
    site.agent.round()
    world.clock.pass_(minutes=30)
    world.publisher.stamp()
    site.machine.seconds += 5 * 3600
    done = site.agent.round()
    assert done.codes == {}
    assert site.rung() is Rung.DAY


def test_a_reboot_costs_a_rung_until_a_newer_time_comes(world: World, site: Site) -> None:
    """After a reboot without a line the node is one rung lower; the timestamp it has already does not help."""
    site.agent.round()
    site.machine.seconds, site.machine.boot = 10.0, "boot-2"
    site.agent.round()
    assert site.rung() is Rung.NEAR
    world.clock.pass_(minutes=1)
    world.publisher.stamp()
    site.agent.round()
    assert site.rung() is Rung.FRESH


@pytest.mark.parametrize("where", ["trusted.json", "objects", "trusted-time.json", "bundle", "pending", "status.json"])
def test_what_the_disk_loses_is_made_again(world: World, site: Site, where: str) -> None:
    """Files cut or changed anywhere in the node's cache: the next rounds repair them, and nothing wrong is used."""
    site.agent.round()
    before = (site.folder / "bundle" / "bundle.json").read_bytes()
    chance = random.Random(where)
    hit = [p for p in site.folder.rglob("*") if p.is_file() and where in str(p) and "root" not in p.name]
    for path in hit:
        data = bytearray(path.read_bytes())
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(bytes(data) if chance.random() < 0.5 else bytes(data[: len(data) // 2]))
    world.clock.pass_(minutes=1)
    world.publisher.stamp()
    for _ in range(3):
        site.machine.seconds += 30
        done = site.agent.round()
    assert done.codes == {}
    assert (site.folder / "bundle" / "bundle.json").read_bytes() == before
    read_bundle(site.folder / "bundle")


def test_a_cut_off_city_refuses_for_its_county(world: World, site: Site, tmp_path: Path) -> None:
    """No line to the province: what the city refuses counts at itself and at its county with the next round, and
    what it takes back by the lane alone stays refused."""
    site.agent.round()
    county = Site(world, tmp_path / "county", "gd/guangzhou/conghua", f"file:{tmp_path / 'mirror'}")
    county.agent.round()
    shutil.move(world.public, world.folder / "away")
    role = world.city(tmp_path / "mirror")
    role.refuse({"stolen.toml": deny({"key": world.trust.key("gz-public")})})
    assert site.agent.round().changed
    assert county.agent.round().changed
    assert (site.denials(), county.denials()) == (1, 1)
    role.refuse({})
    site.agent.round()
    county.agent.round()
    assert (site.denials(), county.denials()) == (1, 1)
    shutil.move(world.folder / "away", world.public)
    assert world.publisher.collect(FileSource(tmp_path / "mirror")) == ("gd.guangzhou",)
    for one in (site, county):
        assert one.agent.round().codes == {}
        assert one.denials() == 0


def test_a_city_that_is_cut_off_by_the_province_refuses_no_more(world: World, site: Site, tmp_path: Path) -> None:
    """After `cut_off` the role's refusals are gone everywhere, its lane included."""
    site.agent.round()
    role = world.city(tmp_path / "mirror")
    role.refuse({"a.toml": deny({"key": world.trust.key("gz-public")})})
    site.agent.round()
    assert site.denials() == 1
    world.publisher.cut_off("gd/guangzhou")
    world.sign()
    site.agent.round()
    assert site.denials() == 0


def test_the_pause_is_never_above_45_seconds(world: World, tmp_path: Path) -> None:
    """Whatever the jitter: a refusal must be here within 60 s."""
    for chance in (0.0, 0.5, 1.0):
        settings = AgentSettings("gd/x", tmp_path, tmp_path / "b", (), interval_seconds=44)
        assert Agent(settings, chance=lambda chance=chance: chance).pause() <= MOST_SECONDS


def test_ten_thousand_steps_of_clock_and_partition() -> None:
    """Whatever happens to line, machine and messages, no node is ever on a better rung than the truth allows.

    The truth: the real age of the newest word that the node has applied, less what nobody can know: how long the
    machine was off, until a newer word tells. Until then the rung must be one lower.
    """
    chance = random.Random(6)
    record: clock.Reading | None = None
    real, boottime, boot, off = NOW, 100.0, 1, timedelta()
    issued = [NOW]
    accepted = 0
    for _ in range(10_000):
        passed = chance.choice([1, 30, 30, 60, 600, 3600, 6 * 3600])
        drift = 1 + chance.uniform(-5e-5, 5e-5)
        real += timedelta(seconds=passed)
        boottime += passed * drift
        if chance.random() < 0.9:
            issued.append(real - timedelta(seconds=chance.uniform(0, 60)))
        if chance.random() < 0.01:
            gone = chance.choice([5, 600, 3600])
            real += timedelta(seconds=gone)
            boottime, boot, off = 10.0, boot + 1, off + timedelta(seconds=gone + passed)
        got = None
        event = chance.random()
        if event < 0.3:
            got = issued[-1]
        elif event < 0.5:  # held back, replayed, or carried in the wrong order
            got = chance.choice(issued[-50:])
        if got is not None and record is not None and got < record.issued:
            got = None  # the client refuses it: federation.rollback
        record = clock.advance(record, (boottime, str(boot)), got)
        if record is None:
            continue
        off = min(off, max(real - record.now, timedelta()))  # what a newer word has told of it is unknown no more
        told = reckon(record, boottime, str(boot))
        truth = rung_of(max(real - record.issued - off - _unseen(record), timedelta()) - timedelta(seconds=30))
        order = list(Rung)
        assert order.index(told.rung) >= order.index(truth)
        if told.rebooted:
            assert told.rung is lower(rung_of(told.age))
        accepted += told.rung is not Rung.CLOSED
    assert accepted > 1000


def _unseen(record: clock.Reading) -> timedelta:
    """What counting a little slow may hide, by design: a part in ten thousand, twice."""
    return (record.now - record.issued) * (3 * clock.SLOW)


def test_a_disk_carried_in_while_the_loop_hangs_at_a_dead_source(
    world: World, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop read the time before the disk came and writes it afterwards: the disk's newer word stands."""
    site.agent.round()
    world.clock.pass_(minutes=30)
    world.publisher.stamp()
    asked, dead = threading.Event(), threading.Event()

    def hangs(_record: object, codes: dict[str, str]) -> tuple[None, str]:
        asked.set()
        assert dead.wait(10)
        codes["dead"] = "federation.source"
        return None, ""

    monkeypatch.setattr(site.agent, "_ask", hangs)
    disk = Agent(
        AgentSettings("gd/guangzhou", site.folder / "state", site.folder / "bundle", (f"file:{world.public}",)),
        machine=site.machine,
    )
    with ThreadPoolExecutor(2) as pool:
        loop = pool.submit(site.agent.round)
        assert asked.wait(10)
        carried = pool.submit(disk.round)
        assert not wait([carried], timeout=0.3).done, "it waits for the loop's round"
        dead.set()
        assert loop.result(10).codes == {"dead": "federation.source"}
        assert carried.result(10).codes == {}
    known = clock.load(site.folder / "state" / clock.FILE)
    assert known is not None
    assert known.issued == NOW + timedelta(minutes=30)


def test_a_round_that_gets_no_turn_changes_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process keeps the node's folder: the round says so and leaves everything as it was."""
    site.agent.round()
    monkeypatch.setattr("nodes.sync.LOCK_SECONDS", 0.05)
    before = (site.folder / "state" / clock.FILE).read_bytes()
    with FileLock(site.folder / "state" / "federation" / ".lock"):
        assert site.agent.round().codes == {"here": "federation.busy"}
    assert (site.folder / "state" / clock.FILE).read_bytes() == before
    assert site.agent.round().codes == {}
