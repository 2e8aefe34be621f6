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
from tests.nodes.country import Country, Place, status_of
from tests.nodes.faults import FAULTS, FS, GD, Fault
from tests.nodes.wires import PEOPLE

GOOD, BAD = persona("gd-zhang"), persona("gd-revoked")
RECOVERY = 150.0


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


def _whole(country: Country) -> bool:
    """As before: served, connected, fresh, and the bridge has nothing to complain of."""
    try:
        if status_of(country, FS)["codes"] or not enters(country, FS, country.browser(GOOD)):
            return False
        page = Browser(country.tls_ca).get(f"{FS.url('hall')}/health")
    except (urllib3.exceptions.HTTPError, OSError, ValueError, KeyError):
        return False
    return page.status == 200


def report(rows: list[Seen], seconds: float) -> str:
    """The report in Markdown."""
    minutes = round(seconds / 60)
    lines = [
        "# Faults injected into a running federation",
        "",
        f"Written by `make chaos` on {datetime.now(UTC):%Y-%m-%d}: a province and the city of Foshan in network",
        f"namespaces, a Keycloak each, real nginx; {len(rows)} faults in {minutes} minutes, at Foshan but where",
        "said. The observer is people's browsers, outside the code under test: a good certificate, and a revoked one",
        "that must never get in.",
        "",
        "| Fault | Served | Turned away | Revoked let in | Session kept | Whole again after | Verdict |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        after = f"{row.recovered:.0f} s" if row.recovered >= 0 else "–"
        verdict = "held" if row.well else "**" + "; ".join(row.broken or ["wrongly accepted"]) + "**"
        counts = f"{row.served} | {row.turned_away} | {row.wrongly_accepted} | {'yes' if row.kept else 'no'}"
        lines.append(f"| {row.fault} | {counts} | {after} | {verdict} |")
    return "\n".join(lines) + "\n"


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
            country.found()
            for place in (GD, FS):
                if place is FS:
                    country.bring_in(place)
                country.launch(place)
                country.ready(place)
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
    text = report(rows, time.monotonic() - started)
    say(text)
    if target is not None:
        target.write_text(text, "utf-8")
    return 0 if rows and all(row.well for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
