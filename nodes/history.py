"""The province's own snapshots by time, so that a verdict of an hour ago is judged by what held an hour ago.

state/shadow/evidence/bundles, status, objects     what was in force (`ca_bridge.verdict.evidence`), each file once
state/shadow/evidence/history.jsonl                 from when
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from ca_bridge.errors import PathError
from ca_bridge.files import write_atomically
from ca_bridge.revocation.overlay import LIST
from ca_bridge.trust.bundle import MANIFEST
from ca_bridge.types import Clock
from ca_bridge.verdict.evidence import Evidence, append_line
from ca_bridge.verdict.snapshot import Snapshot

LAG = timedelta(seconds=60)
"""News reaches every node within it: what held this long before or after counts, too."""


class History:
    """Remembers what is in force, and finds what was."""

    def __init__(self, evidence: Evidence, bundle: Path, status: Path, clock: Clock) -> None:
        self._evidence = evidence
        self._file = evidence.folder / "history.jsonl"
        self._bundle = bundle
        self._status = status
        self._clock = clock
        self._seen: tuple[bytes, bytes] | None = None

    def remember(self) -> None:
        """Keep what is in force now, if it is new. Raises PathError `trust.*`, RevocationError, StoreError, OSError."""
        listed = self._status / LIST
        seen = (self._bundle / MANIFEST).read_bytes(), listed.read_bytes() if listed.is_file() else b""
        if seen == self._seen:
            return
        names = self._evidence.archive(self._bundle, self._status)
        last = [row[1:] for row in self._rows()][-1:]
        if last != [names]:
            row = {"at": self._clock().isoformat(), "bundle": names[0], "overlay": names[1]}
            append_line(self._file, json.dumps(row))
        self._seen = seen

    def around(self, at: datetime) -> Iterator[Snapshot]:
        """What was in force at `at` (the oldest kept, for a time before it), then what was within `LAG` of it.

        Raises PathError `trust.bundle` when nothing is kept, or what is kept is damaged.
        """
        rows = sorted(self._rows())
        if not rows:
            raise PathError("trust.bundle", "nothing is kept yet of what was in force")
        ends = [row[0] for row in rows[1:]] + [datetime.max.replace(tzinfo=at.tzinfo)]
        then = max((number for number, row in enumerate(rows) if row[0] <= at), default=0)
        near = [
            number
            for number, row in enumerate(rows)
            if number != then and row[0] <= at + LAG and ends[number] >= at - LAG
        ]
        for number in (then, *near):
            yield self._evidence.snapshot(rows[number][1], rows[number][2])

    def keep(self, since: datetime, most: int) -> frozenset[tuple[str, str]]:
        """Forget what was out of force before `since`, and all but the newest `most`; what is left, as archived.

        The newest always stays. Whoever calls `remember` must wait. Raises OSError.
        """
        rows = sorted(self._rows())
        then = max((number for number, row in enumerate(rows) if row[0] <= since), default=0)
        kept = rows[max(then, len(rows) - most) :] or rows[-1:]
        if len(kept) < len(rows):
            lines = [json.dumps({"at": at.isoformat(), "bundle": one, "overlay": other}) for at, one, other in kept]
            write_atomically(self._file, "".join(f"{line}\n" for line in lines).encode(), mode=0o600)
        return frozenset(row[1:] for row in kept)

    def _rows(self) -> list[tuple[datetime, str, str]]:
        rows: list[tuple[datetime, str, str]] = []
        if not self._file.is_file():
            return rows
        for line in self._file.read_text("utf-8", errors="replace").splitlines():
            with suppress(ValueError, TypeError, KeyError):  # a line that a crash tore
                raw = json.loads(line)
                rows.append((datetime.fromisoformat(raw["at"]), str(raw["bundle"]), str(raw["overlay"])))
        return rows
