"""`make chaos`: one fault after the other in a running federation, judged from outside, with a written report.

The observer is not the code under test: browsers of people, whose certificates it knows to be good or revoked. For each
fault: nobody who is revoked gets in, anywhere, ever; who can be served is; what was begun is not lost; and when the
fault is over the node is as before, without hands, within the time that is told.

`python -m tests.nodes.chaos [WORD …] [--report FILE]` runs the faults whose name holds a word; all without.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import urllib3

from ca_bridge.errors import CrosshallError
from demo.browser import Browser
from demo.personas import persona
from tests.nodes import faults, faults_trust
from tests.nodes.country import Country, Place, status_of
from tests.nodes.faults import FS, GD, Fault
from tests.nodes.wires import PEOPLE

FAULTS = (*faults.FAULTS, *faults_trust.FAULTS)
GOOD, BAD = persona("gd-zhang"), persona("gd-revoked")
RECOVERY = 150.0
_HEAD = """# Faults injected into a running federation

Written by `make chaos` (`K=word` renews the rows of a part; the last column says when that run ended, UTC): a
province and the city of Foshan in network namespaces, a Keycloak each, real nginx; {count} faults, at Foshan but
where said. The observer is people's browsers, outside the code under test: a good certificate, and a revoked one
that must never get in.

| Fault | Served | Turned away | Revoked let in | Session kept | Whole again after | Verdict | Run |
| --- | --- | --- | --- | --- | --- | --- | --- |
"""
_NOTES = """
What is behind the rows:

- While the wall clock is a day behind or ahead, sign-ins go on: certificates are judged at trusted time, and the keys
  of the node's own tokens do not depend on the day.
- "Turned away" while Keycloak, bridge or nginx are dead is a page of the front, or no answer; each is started again
  by `crosshall node run`.
- An expired role: metadata that ends within seconds, signed with the role's real keys while the office is held.
  `/health` must be red with `trust.role_expired`. Online roles are then signed again by the office, the others by
  their key holders; the node needs no hand. "Whole again" counts from then. The first run found `/health` green
  under an expired root or timestamp; it was mended, and both were run again.
- A stale or wrong CRL: a good certificate must be refused with a `revocation.` code until the CA's next CRL is there.
- Kills of agent and office, resets: a new CRL goes out each time, the moment is random, and it is not recorded how many
  kills or resets hit a transfer. In the end, within 120 s, the newest CRL must be the node's, octet by octet; "whole
  again" counts from then. Set back: the agent must say `federation.rollback`, and the node must keep the newer CRL.
- Not injected here: freeze and mix-and-match (`tests/unit/nodes`, 323 generated attacks); PostgreSQL killed in a node
  of the federation, and Keycloak on PostgreSQL; an expired role of a city and its refusal lane; a CRL with an older
  number; the loss of one of two timestamp sites.
"""


@dataclass(slots=True)
class Seen:
    """What the observer saw of one fault."""

    fault: str
    served: int = 0
    turned_away: int = 0
    wrongly_accepted: int = 0
    broken: list[str] = field(default_factory=list)
    kept: bool = False
    """The session that was begun before the fault is there after it."""
    recovered: float = -1.0

    @property
    def well(self) -> bool:
        """Every invariant held."""
        return not self.broken and not self.wrongly_accepted and self.recovered >= 0


def say(text: str) -> None:
    """One line, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def enters(country: Country, place: Place, browser: Browser) -> bool:
    """Whether the browser ends at the place's window, signed in."""
    try:
        page = country.sign_in(place, browser)
    except (urllib3.exceptions.HTTPError, OSError, RuntimeError):
        return False
    return page.status == 200 and urlsplit(page.url).hostname == f"police.{place.base}"


def observe(country: Country, fault: Fault) -> Seen:
    """Bring the fault about, look while it lasts and after it."""
    seen = Seen(fault.name)
    with country.wires.standing(FS.name):  # the people of Foshan are on its side of every line
        live = country.browser(GOOD)
        if not enters(country, FS, live):
            seen.broken.append("no sign-in before the fault")
        with fault.bring(country):
            ends = time.monotonic() + fault.seconds
            while time.monotonic() < ends:
                _look(country, seen)
            _said(country, fault, seen)
        if fault.serves and not seen.served:
            seen.broken.append("nobody was served")
        started = time.monotonic()
        while time.monotonic() - started < RECOVERY:
            if _whole(country):
                seen.recovered = time.monotonic() - started
                break
            time.sleep(0.5)
        else:
            seen.broken.append("not recovered")
        _look(country, seen)
        seen.kept = enters(country, FS, live)
        if not seen.kept:
            seen.broken.append("who was signed in before cannot come in any more")
    if enters(country, GD, country.browser(BAD)):
        seen.wrongly_accepted += 1
    return seen


def _look(country: Country, seen: Seen) -> None:
    if enters(country, FS, country.browser(GOOD)):
        seen.served += 1
    else:
        seen.turned_away += 1
    if enters(country, FS, country.browser(BAD)):
        seen.wrongly_accepted += 1
    time.sleep(0.3)


def _said(country: Country, fault: Fault, seen: Seen) -> None:
    """What the fault must make the hall say, at its end."""
    if fault.red:
        page = Browser(country.tls_ca).get(f"{FS.url('hall')}/health")
        if page.status == 200 or fault.red not in page.text:
            seen.broken.append(f"health does not say {fault.red}: {page.status} {page.text[:300]}")
    if fault.refusal:
        page = country.sign_in(FS, country.browser(GOOD))
        if urlsplit(page.url).hostname == f"police.{FS.base}" or fault.refusal not in page.text:
            seen.broken.append(f"a good certificate is not refused with {fault.refusal}")


def _whole(country: Country) -> bool:
    """As before: served, connected, fresh, and the bridge has nothing to complain of."""
    try:
        if status_of(country, FS)["codes"] or not enters(country, FS, country.browser(GOOD)):
            return False
        page = Browser(country.tls_ca).get(f"{FS.url('hall')}/health")
    except (urllib3.exceptions.HTTPError, OSError, ValueError, KeyError):
        return False
    return page.status == 200


def report(rows: list[Seen], before: str, now: datetime) -> str:
    """The report in Markdown; a fault that was not injected in this run keeps its row, with that run's time."""
    table = {line.split(" | ")[0].removeprefix("| "): line for line in before.splitlines() if line.endswith(" |")}
    for row in rows:
        after = f"{row.recovered:.0f} s" if row.recovered >= 0 else "–"
        verdict = "held" if row.well else "**" + "; ".join(row.broken or ["wrongly accepted"]) + "**"
        counts = f"{row.served} | {row.turned_away} | {row.wrongly_accepted} | {'yes' if row.kept else 'no'}"
        table[row.fault] = f"| {row.fault} | {counts} | {after} | {verdict} | {now:%m-%d %H:%M} |"
    lines = [table[fault.name] for fault in FAULTS if fault.name in table]
    never = [fault.name for fault in FAULTS if fault.name not in table]
    missing = f"\nNot yet run: {'; '.join(never)}.\n" if never else ""
    return _HEAD.format(count=len(lines)) + "\n".join(lines) + "\n" + missing + _NOTES


def main(words: list[str]) -> int:
    """Run, tell, write the report; exit code 1 when an invariant did not hold."""
    target = Path(words.pop(words.index("--report") + 1)) if "--report" in words else None
    words = [word for word in words if not word.startswith("--")]
    chosen = [fault for fault in FAULTS if not words or any(word in fault.name for word in words)]
    root = Path(tempfile.mkdtemp(prefix="crosshall-chaos-"))
    country = Country(root)
    rows: list[Seen] = []
    started = time.monotonic()
    try:
        country.wires.up()
        with country.wires.standing(PEOPLE):
            country.rise(FS)
            for fault in chosen:
                try:
                    seen = observe(country, fault)
                except (AssertionError, CrosshallError, subprocess.SubprocessError) as error:
                    say(f"{fault.name}: {error}")
                    seen = Seen(fault.name, broken=["could not be brought about"])
                rows.append(seen)
                say(f"{'held' if seen.well else 'BROKEN':6} {fault.name}: {seen}")
    finally:
        country.supervisor.stop_all()
        country.wires.down()
        shutil.rmtree(Path(".run") / "chaos-logs", ignore_errors=True)
        if (country.folder(FS) / "run" / "logs").is_dir():
            shutil.copytree(country.folder(FS) / "run" / "logs", Path(".run") / "chaos-logs")
        shutil.rmtree(root, ignore_errors=True)
    if target is not None:
        before = target.read_text("utf-8") if target.exists() else ""
        target.write_text(report(rows, before, datetime.now(UTC)), "utf-8")
    say(f"{sum(row.well for row in rows)} of {len(rows)} held, {(time.monotonic() - started) / 60:.0f} minutes")
    return 0 if rows and all(row.well for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
