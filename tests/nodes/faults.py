"""What can go wrong with a node: each fault as a context that brings it about and takes it back."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.nodes.country import PLACES, Country, Place

GD, GZ, FS, CH = PLACES
Bring = Callable[[Country], AbstractContextManager[None]]


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. `serves`: people can sign in at Foshan while it lasts. `knows`: new refusals reach Foshan."""

    name: str
    bring: Bring
    serves: bool = True
    knows: bool = False
    seconds: float = 12.0
    """How long it lasts."""
    red: str = ""
    """What `/health` of Foshan must say while it lasts, and be red."""
    refusal: str = ""
    """With what a good certificate must be refused at the end of it: closed, not open."""


def pids(country: Country, place: Place, *words: str) -> list[int]:
    """Processes in the place's namespace whose command line holds all of `words`."""
    found = subprocess.run(
        ["/usr/sbin/ip", "netns", "pids", country.wires.namespace(place.name)],
        capture_output=True,
        text=True,
        check=True,
    )
    rows = []
    for pid in map(int, found.stdout.split()):
        if pid == os.getpid():  # the observer stands among the people there
            continue
        with contextlib.suppress(OSError):
            line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            if all(word in line for word in words):
                rows.append(pid)
    return rows


def killing(*words: str) -> Bring:
    """Every process of Foshan whose command line holds these words is killed."""

    @contextmanager
    def bring(country: Country) -> Iterator[None]:
        victims = pids(country, FS, *words)
        assert victims, words
        for pid in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        yield

    return bring


@contextmanager
def cut_at_node(country: Country) -> Iterator[None]:
    """Foshan's cable is pulled."""
    country.wires.cut(FS.name)
    try:
        yield
    finally:
        country.wires.join(FS.name)


@contextmanager
def cut_at_province(country: Country) -> Iterator[None]:
    """The province's cable is pulled: nobody reaches it."""
    country.wires.cut(GD.name)
    try:
        yield
    finally:
        country.wires.join(GD.name)


@contextmanager
def nothing_out(country: Country) -> Iterator[None]:
    """What Foshan sends to the province is lost."""
    country.wires.deafen(FS.name, GD.name)
    try:
        yield
    finally:
        country.wires.hear(FS.name, GD.name)


@contextmanager
def nothing_in(country: Country) -> Iterator[None]:
    """What the province sends to Foshan is lost."""
    country.wires.deafen(GD.name, FS.name)
    try:
        yield
    finally:
        country.wires.hear(GD.name, FS.name)


def losing(percent: int) -> Bring:
    """So many of a hundred packets that reach Foshan are lost."""

    @contextmanager
    def bring(country: Country) -> Iterator[None]:
        inside = country.wires.inside(FS.name)
        rules = (
            "add table inet chaos",
            "add chain inet chaos in { type filter hook input priority 0 ; }",
            f"add rule inet chaos in iifname eth0 numgen random mod 100 < {percent} drop",
        )
        for rule in rules:
            subprocess.run([*inside, "nft", rule], check=True)
        try:
            yield
        finally:
            subprocess.run([*inside, "nft", "delete table inet chaos"], check=True)

    return bring


@contextmanager
def slow(country: Country) -> Iterator[None]:
    """A line of 64 kbit/s: every answer comes late."""
    country.wires.shape(FS.name, "64kbit")
    try:
        yield
    finally:
        country.wires.shape(FS.name, "10mbit")


def clock(days: int) -> Bring:
    """Foshan's whole node restarts with a wall clock that is wrong by so many days."""

    @contextmanager
    def bring(country: Country) -> Iterator[None]:
        library = country.root / "wrong_clock.so"
        source = Path(__file__).with_name("wrong_clock.c")
        subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", library, source, "-ldl"], check=True)
        country.stop(FS)
        country.environment[FS.name] = {"LD_PRELOAD": str(library), "WRONG_CLOCK": str(days * 86400)}
        country.launch(FS)
        country.ready(FS)
        try:
            yield
        finally:
            country.stop(FS)
            del country.environment[FS.name]
            country.launch(FS)
            country.ready(FS)

    return bring


@contextmanager
def disk_full(country: Country) -> Iterator[None]:
    """The disk under Foshan's federation state takes nothing more; it lies in the mount namespace of the node alone."""
    folder = country.folder(FS) / "state" / "federation"
    kept = folder.with_name("federation-kept")
    inside = ["nsenter", "-t", str(pids(country, FS, "node sync")[0]), "-m", "sh", "-c"]
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    mount = f"mount -t tmpfs -o size={(2 * size + (1 << 20)) // 1024}k tmpfs {folder}"
    subprocess.run([*inside, f"cp -a {folder} {kept} && {mount} && cp -a {kept}/. {folder}"], check=True)
    try:
        full = subprocess.run([*inside, f"cat /dev/zero > {folder}/filler"], check=False, capture_output=True)
        assert full.returncode, "the disk is not full"
        yield
    finally:
        subprocess.run([*inside, f"umount -l {folder}"], check=True)
        subprocess.run(["rm", "-rf", kept], check=True)


def spoil(pattern: str, count: int) -> Bring:
    """Random octets of files below Foshan's folder are changed."""

    @contextmanager
    def bring(country: Country) -> Iterator[None]:
        chance = random.Random(pattern)
        files = sorted(path for path in country.folder(FS).glob(pattern) if path.is_file() and path.stat().st_size)
        assert files, pattern
        for path in chance.sample(files, min(count, len(files))):
            data = bytearray(path.read_bytes())
            for _ in range(3):
                data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
            path.write_bytes(data)
        yield

    return bring


@contextmanager
def time_lost(country: Country) -> Iterator[None]:
    """The record of trusted time is gone."""
    (country.folder(FS) / "state" / "trusted-time.json").unlink()
    yield


@contextmanager
def node_killed(country: Country) -> Iterator[None]:
    """Everything of Foshan is killed at once, in the middle of whatever it does; the machine starts it again."""
    country.stop(FS, kill=True)
    for pid in pids(country, FS):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    country.launch(FS)
    yield
    country.ready(FS)


@contextmanager
def bad_crl(country: Country) -> Iterator[None]:
    """A file that is no CRL lies among the province's CRLs."""
    path = country.bundle / "crls" / "zz-noise.crl"
    path.write_bytes(b"\x30\x82noise")
    country.remanifest()
    try:
        yield
    finally:
        path.unlink()
        country.remanifest()


@contextmanager
def office_killed(country: Country) -> Iterator[None]:
    """The province's office dies, and is started again by the province's node."""
    for pid in pids(country, GD, "node office"):
        os.kill(pid, signal.SIGKILL)
    yield


FAULTS = (
    Fault("line cut at the node", cut_at_node),
    Fault("line cut at the province", cut_at_province),
    Fault("asymmetric: nothing gets out of the node", nothing_out),
    Fault("asymmetric: nothing from the province gets in", nothing_in),
    Fault("a fifth of all packets is lost", losing(20), knows=True, seconds=40),
    Fault("a line of 64 kbit/s", slow, knows=True, seconds=40),
    Fault("wall clock a day ahead", clock(1), knows=True, seconds=15),
    Fault("wall clock a day behind", clock(-1), knows=True, seconds=15),
    Fault("disk full under the federation's state", disk_full),
    Fault("random octets of the kept trust data", spoil("state/federation/objects/*", 10), knows=True, seconds=25),
    Fault("random octets of its index", spoil("state/federation/**/trusted*.json", 2), knows=True, seconds=25),
    Fault("random octets of the bridge's bundle", spoil("bundle/**/*.pem", 3), knows=True, seconds=25),
    Fault("the record of trusted time is lost", time_lost, knows=True, seconds=20),
    Fault("Keycloak is killed", killing("QuarkusEntryPoint"), serves=False, knows=True, seconds=5),
    Fault("bridge is killed", killing("ca_bridge.app"), serves=False, knows=True, seconds=3),
    Fault("nginx is killed", killing("nginx"), serves=False, knows=True, seconds=3),
    Fault("the sync agent is killed", killing("node sync"), knows=True, seconds=20),
    Fault("the watcher is killed", killing("bridge watch"), knows=True, seconds=15),
    Fault("the whole node is killed", node_killed, serves=False, knows=True, seconds=1),
    Fault("a wrong file among the province's CRLs", bad_crl),
    Fault("the province's office is killed", office_killed, knows=True, seconds=15),
)
