"""K=signin: what one sign-in costs, beside Keycloak's own password login.

Both are done by the same client in the same run: an authorization request, the sign-in, the code exchanged for tokens
at the same Keycloak through the same nginx (TLS), client authentication and PKCE alike. Ours goes by TLS client
certificate through the bridge; the peer's by Keycloak's login form with its default password hash, in a realm of its
own. Rounds are interleaved; each figure is the median of the rounds. CPU is that of all server processes.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.peers.password import PasswordRealm
from bench.relying_party import RelyingParty
from demo.addresses import free_block
from demo.personas import persona
from demo.selfcheck import new_browser, present_certificate
from demo.stack import Demo, Options

ROUNDS = 7
SIGN_INS = 20
WARM_UP = 40
SERVERS = ("bridge", "nginx", "keycloak")


@dataclass(frozen=True, slots=True)
class Round:
    """One round of one kind: seconds by the clock and CPU seconds of each server, per sign-in."""

    wall: float
    cpu: dict[str, float]


def run() -> None:
    """Print `rate` and `ratio` lines."""
    folder = Path(tempfile.mkdtemp(prefix="crosshall-bench-"))
    demo = Demo(Options(folder / "node", free_block(), rate_per_minute=1_000_000), print)
    try:
        demo.prepare()
        demo.start()
        measure(demo)
    finally:
        demo.stop()
        shutil.rmtree(folder, ignore_errors=True)


def measure(demo: Demo) -> None:
    """Measure on a running demo."""
    with RelyingParty(demo) as party, PasswordRealm(demo, party) as realm:
        kinds: dict[str, Callable[[], None]] = {
            "certificate": lambda: certificate_sign_in(demo, party),
            "password": realm.sign_in,
        }
        for sign_in in kinds.values():
            for _ in range(WARM_UP):
                sign_in()
        rounds: dict[str, list[Round]] = {name: [] for name in kinds}
        for number in range(ROUNDS):
            for name in list(kinds)[:: 1 if number % 2 else -1]:
                rounds[name].append(one_round(demo, kinds[name]))
    report(rounds)


def one_round(demo: Demo, sign_in: Callable[[], None]) -> Round:
    """Some sign-ins one after the other."""
    before, started = cpu(demo), time.monotonic()
    for _ in range(SIGN_INS):
        sign_in()
    wall = (time.monotonic() - started) / SIGN_INS
    return Round(wall, {name: (value - before[name]) / SIGN_INS for name, value in cpu(demo).items()})


def report(rounds: dict[str, list[Round]]) -> None:
    """The lines of design §10."""
    wall = {name: statistics.median(r.wall for r in found) for name, found in rounds.items()}
    total = {name: statistics.median(sum(r.cpu.values()) for r in found) for name, found in rounds.items()}
    bridge = statistics.median(r.cpu["bridge"] for r in rounds["certificate"])
    keycloak = {name: statistics.median(r.cpu["keycloak"] for r in found) for name, found in rounds.items()}
    print(f"rate signin.bridge_cpu {bridge * 1000:.1f} ms")
    print(f"rate signin.keycloak_cpu {keycloak['certificate'] * 1000:.1f} ms")
    print(f"rate signin.certificate {1 / wall['certificate']:.2f} 1/s")
    print(f"rate signin.password {1 / wall['password']:.2f} 1/s")
    print(f"rate signin.certificate_cpu {total['certificate'] * 1000:.1f} ms")
    print(f"rate signin.password_cpu {total['password'] * 1000:.1f} ms")
    print(f"ratio signin.vs_password {wall['password'] / wall['certificate']:.2f}")
    print(f"ratio signin.vs_password_cpu {total['password'] / total['certificate']:.2f}")


def certificate_sign_in(demo: Demo, party: RelyingParty) -> None:
    """A citizen with a new browser, from the authorization request to the tokens."""
    browser = new_browser(demo.pki, persona("gd-zhang"))
    browser.stop_at = party.redirect_uri
    request = party.begin(f"{demo.settings.keycloak.issuer}")
    page = present_certificate(browser, demo.addresses, browser.get(request.url))
    party.finish(request, page)


def cpu(demo: Demo) -> dict[str, float]:
    """CPU seconds so far of each server, its children included."""
    tick = os.sysconf("SC_CLK_TCK")
    found = dict.fromkeys(SERVERS, 0.0)
    groups = {demo.supervisor.pid(name): name for name in SERVERS}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if name := groups.get(int(fields[2])):
            found[name] += (int(fields[11]) + int(fields[12])) / tick
    return found
