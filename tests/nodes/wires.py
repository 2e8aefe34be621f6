"""Network namespaces joined by one bridge: a machine for each node and one for the people, lines that can be cut.

Everything – the bridge too – lies in namespaces made here; the machine's own network is not touched. Names are
resolved by a hosts file in each namespace, and in this process by `names`.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

IP, TC = "/usr/sbin/ip", "/usr/sbin/tc"
_CLONE_NEWNET = 0x40000000
_NETNS = Path("/etc/netns")
PEOPLE = "people"


class Wires:
    """The namespaces of one test run. `place → address`; people have the last address."""

    def __init__(self, places: Mapping[str, str], hosts: Mapping[str, str]) -> None:
        """`places`: name → address in one /24; `hosts`: host name → address (`*.x` for people alone)."""
        self._tag = f"ch{os.getpid()}"
        self._hub = f"{self._tag}-hub"
        self.places = dict(places)
        self.hosts = dict(hosts)

    def namespace(self, place: str) -> str:
        """Name of a place's namespace."""
        return f"{self._tag}-{place}"

    def inside(self, place: str) -> tuple[str, ...]:
        """The words before a command that runs there."""
        return (IP, "netns", "exec", self.namespace(place))

    def up(self) -> None:
        """Make everything; all lines are whole."""
        self._add(self._hub)
        self._in(self._hub, "link add br0 type bridge")
        self._in(self._hub, "link set br0 up")
        text = "127.0.0.1 localhost\n" + "".join(f"{address} {name}\n" for name, address in self.hosts.items())
        for number, (place, address) in enumerate(self.places.items()):
            space = self.namespace(place)
            self._add(space)
            (_NETNS / space).mkdir(parents=True, exist_ok=True)
            (_NETNS / space / "hosts").write_text(f"{text}127.0.0.1 {socket.gethostname()}\n")
            self._in(self._hub, f"link add port{number} type veth peer name eth0 netns {space}")
            self._in(self._hub, f"link set port{number} master br0 up")
            for line in ("link set lo up", f"addr add {address}/24 dev eth0", "link set eth0 up"):
                self._in(space, line)

    def down(self) -> None:
        """Remove everything that `up` made."""
        for space in (*(self.namespace(place) for place in self.places), self._hub):
            subprocess.run([IP, "netns", "delete", space], check=False, capture_output=True)
            shutil.rmtree(_NETNS / space, ignore_errors=True)
        if _NETNS.is_dir() and not any(_NETNS.iterdir()):
            _NETNS.rmdir()

    def cut(self, place: str) -> None:
        """Nobody reaches the place, and it reaches nobody."""
        self._port(place, "down")

    def join(self, place: str) -> None:
        """The line is whole again."""
        self._port(place, "up")

    def deafen(self, place: str, to: str) -> None:
        """Asymmetric: what `place` sends to `to` is lost on the way; what comes from there arrives."""
        self._in(self.namespace(place), f"route add blackhole {self.places[to]}/32")

    def hear(self, place: str, to: str) -> None:
        """End of `deafen`."""
        self._in(self.namespace(place), f"route del blackhole {self.places[to]}/32")

    def shape(self, place: str, rate: str) -> None:
        """The place's line carries this much, each way: `10mbit`."""
        rule = f"qdisc replace dev {{}} root tbf rate {rate} burst 64kb latency 200ms"
        number = list(self.places).index(place)
        subprocess.run([TC, "-n", self.namespace(place), *rule.format("eth0").split()], check=True)
        subprocess.run([TC, "-n", self._hub, *rule.format(f"port{number}").split()], check=True)

    def octets(self, place: str) -> tuple[int, int]:
        """Octets that the place has received and sent since it is there."""
        text = subprocess.run(
            [*self.inside(place), "cat", "/proc/net/dev"], check=True, capture_output=True, text=True
        ).stdout
        row = next(line for line in text.splitlines() if "eth0" in line).split(":")[1].split()
        return int(row[0]), int(row[8])

    @contextmanager
    def standing(self, place: str) -> Iterator[None]:
        """This thread, and every process it starts, stands in the place's namespace and knows the names."""
        with (
            Path("/proc/thread-self/ns/net").open("rb") as home,
            (Path("/run/netns") / self.namespace(place)).open("rb") as there,
        ):
            _enter(there.fileno())
            real = socket.getaddrinfo

            def resolve(host: object, *arguments: object, **named: object) -> object:
                known = self.hosts.get(str(host)) or self.hosts.get(f"*.{str(host).partition('.')[2]}")
                return real(known or host, *arguments, **named)  # type: ignore[arg-type]

            try:
                with mock.patch.object(socket, "getaddrinfo", resolve):
                    yield
            finally:
                _enter(home.fileno())

    def _port(self, place: str, state: str) -> None:
        self._in(self._hub, f"link set port{list(self.places).index(place)} {state}")

    def _add(self, space: str) -> None:
        subprocess.run([IP, "netns", "add", space], check=True)

    def _in(self, space: str, line: str) -> None:
        subprocess.run([IP, "-n", space, *line.split()], check=True)


def _enter(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
