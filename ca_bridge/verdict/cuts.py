"""Sign-ins of a cut: kept while the line is down, judged again when it is back, and what is refused then is reported.

    state/cuts/records, keys     one record a sign-in (`evidence`): the certificate under a key of its own
    state/cuts/report.jsonl      one line for each that is refused now: which certificate, when, why

Live sessions are judged again by the watcher; this is for those that ended meanwhile, too (design §6: cutting the line
must not pay). Once a record has been judged its key is destroyed, whatever came of it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path

from ca_bridge.errors import CrosshallError, InputError
from ca_bridge.types import Verdict
from ca_bridge.verdict.evidence import Evidence, append_line
from ca_bridge.verdict.replay import Record, parse, unseal
from ca_bridge.verdict.snapshot import Snapshot

FOLDER = "cuts"
"""Below the state folder."""
REPORT = "report.jsonl"
DAMAGED = "input.record"
ORPHAN = timedelta(days=1)
"""A key this much older than its day without a record gets none any more: one is written right after the other."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Row:
    """One sign-in of a cut that is refused now. Times are aware UTC, trusted."""

    id: str
    signed_in: datetime
    judged: datetime
    code: str
    """Why it is refused: `revocation.revoked` …; `input.record` for a record that could not be opened any more."""
    domain: str
    ca: str
    level: int
    """That certificate and storage allowed then."""
    certificate_key: str
    """Issuing key and serial number, by which the CA finds the holder; empty when the record was damaged."""
    snapshot: str
    """Hash of the snapshot that refused it."""

    def line(self) -> str:
        """One line of JSON."""
        times = {"signed_in": self.signed_in.isoformat(), "judged": self.judged.isoformat()}
        return json.dumps({**asdict(self), **times}, sort_keys=True)


@dataclass(frozen=True, slots=True)
class Settled:
    """What one call judged."""

    judged: int = 0
    refused: int = 0


Whole = Callable[[Snapshot, bytes, datetime], Snapshot]
"""`fetch.whole.WholeCrls`: the snapshot under which a leaf can be judged at a time."""


def as_it_is(snapshot: Snapshot, _leaf: bytes, _at: datetime) -> Snapshot:
    """`Whole` where nothing can be brought."""
    return snapshot


class Cuts:
    """The journal of a node, in `folder`; every worker writes, one watcher settles."""

    def __init__(
        self,
        folder: Path,
        random: Callable[[int], bytes],
        whole: Whole = as_it_is,
    ) -> None:
        self._evidence = Evidence(folder)
        self._whole = whole
        self._report = folder / REPORT
        self._random = random

    def note(self, snapshot: Snapshot, leaf: bytes, verdict: Verdict) -> None:
        """Keep an accepted sign-in. Raises StoreError: what cannot be judged again later does not sign in now."""
        self._evidence.keep(snapshot, leaf, verdict, self._random)

    def waiting(self) -> int:
        """How many sign-ins are still to be judged again."""
        return sum(len(keys) for _, keys in self._evidence.open_days())

    def settle(self, snapshot: Snapshot, at: datetime, limit: int = 1000) -> Settled:
        """Judge up to `limit` kept sign-ins at `at` (trusted now) by a snapshot of after the cut.

        A crash between report and key repeats the report's line: `rows` shows it once. Raises StoreError.
        """
        judged = refused = 0
        # what is open now: a sign-in of the next cut, noted meanwhile, is judged by what comes after that
        for day, keys in list(self._evidence.open_days()):
            done: set[str] = set()
            for kept in self._kept(day):
                if judged == limit:
                    break
                if kept.id in keys and kept.id not in done:
                    refused += self._judge(kept, keys[kept.id], snapshot, at)
                    done.add(kept.id)
                    judged += 1
            else:
                if day < (at - ORPHAN).date().isoformat():
                    done = set(keys)  # a key that a crash left without its record
            if done:
                self._evidence.shred_all(day, done)
        self._evidence.tidy((at - ORPHAN).date())
        return Settled(judged, refused)

    def rows(self) -> Iterator[Row]:
        """What was reported, oldest first, each sign-in once; lines that a crash tore are passed over."""
        seen: set[str] = set()
        if not self._report.is_file():
            return
        for line in self._report.read_text("utf-8", errors="replace").splitlines():
            with suppress(ValueError, TypeError, KeyError):
                raw = json.loads(line)
                times = {name: datetime.fromisoformat(raw[name]) for name in ("signed_in", "judged")}
                row = Row(**{**raw, **times})
                if row.id not in seen:
                    seen.add(row.id)
                    yield row

    def _kept(self, day: str) -> Iterator[Record]:
        for line in self._evidence.lines(day):
            with suppress(InputError):
                yield parse(line)

    def _judge(self, kept: Record, key: bytes, snapshot: Snapshot, at: datetime) -> bool:
        code = certificate_key = ""
        try:
            leaf, certificate_key, answers = unseal(kept, key)
            snapshot = self._whole(snapshot, leaf, at)
            verdict = (snapshot.beside(answers) if answers else snapshot).judge(leaf, at)
            code = "" if verdict.accepted else verdict.code
        except (CrosshallError, ValueError, KeyError, TypeError):
            code = DAMAGED  # unknown never passes
        if not code:
            return False
        then = kept.verdict
        domain, ca, level = str(then.get("domain", "")), str(then.get("ca", "")), int(then.get("level") or 0)
        row = Row(kept.id, kept.at, at, code, domain, ca, level, certificate_key, snapshot.hash)
        append_line(self._report, row.line())
        _log.warning(
            "sign-in of a cut is refused now", extra={"code": code, "ca": ca, "signed_in": kept.at.isoformat()}
        )
        return True
