"""A node in pilot decides, the province decides again as of that time, and both are recorded.

    state/shadow/<node>.json                    its numbers (`nodes.tally`)
    state/shadow/differences/<node>.jsonl       one line for each verdict that is not equal, both verdicts in it
    state/shadow/evidence/                      the province's verdict of it, certificate sealed: `crosshall replay run`

Equal verdicts leave a number and nothing else. What cannot be judged again counts as different. What is kept is bounded
(settings `pilot.keep_…`); a difference stays, with all that replays it, as long as its node is in pilot.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from filelock import FileLock

from ca_bridge.ceremony.journal import PILOT
from ca_bridge.errors import CrosshallError, InputError, StoreError
from ca_bridge.files import write_atomically
from ca_bridge.settings import Pilot
from ca_bridge.trust.roster import RosterNode
from ca_bridge.types import Clock, Verdict
from ca_bridge.verdict.evidence import Evidence, append_line
from ca_bridge.verdict.replay import parse, plain, unseal
from ca_bridge.verdict.snapshot import Snapshot
from nodes import roles
from nodes.history import LAG, History
from nodes.tally import Tally, parse_tally

FOLDER = "shadow"
ALWAYS = ("accepted", "code")
ACCEPTED = ("domain", "ca", "accreditation", "certificate_type", "level", "policies")
"""What else must be equal in a verdict that accepts. How old the data was, and the path, may differ."""
PRUNE_EVERY = timedelta(hours=1)
_LOCK_SECONDS = 10
Plain = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Differing:
    """One verdict that node and province do not share."""

    id: str
    """Of the province's record in the evidence; empty for what could not be read."""
    at: str
    node: Plain
    """What the node decided, as far as it is compared."""
    province: Plain
    source: str
    """`sign-in` or `corpus`."""


def essence(verdict: Plain) -> dict[str, Any]:
    """What of a verdict (`replay.plain`) is compared."""
    names = (*ALWAYS, *ACCEPTED) if verdict.get("accepted") else ALWAYS
    return {name: verdict.get(name) for name in names}


def essence_hash(verdict: Plain) -> str:
    """SHA-256 of what is compared, by which a node tells a verdict without telling whose."""
    text = json.dumps(essence(verdict), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


class Shadow:
    """The province's own judgement beside its nodes'. Several processes may use the folder at once."""

    def __init__(
        self,
        state: Path,
        bundle: Path,
        *,
        clock: Clock,
        random: Callable[[int], bytes],
        bounds: Pilot | None = None,
        lag: timedelta = LAG,
    ) -> None:
        """`bounds`: how much is kept and how long; None: the settings' own defaults."""
        self.folder = state / FOLDER
        self.evidence = Evidence(self.folder / "evidence")
        self.history = History(self.evidence, bundle, state / "status", clock)
        self._clock = clock
        self._random = random
        self._lag = lag
        self._bounds = bounds or Pilot()
        self._room: dict[str, int] = {}
        """By node: how many more differences are recorded; counted once for each batch."""
        self._pruned: datetime | None = None

    def remember(self) -> None:
        """What is in force now is kept for later. Raises as `History.remember`."""
        with self._locked():
            self.history.remember()

    def prune(self, nodes: Iterable[RosterNode]) -> None:
        """Remove, at most once an hour, what is older than agreed and belongs to no node in pilot. Raises StoreError.

        `nodes`: of the roster. Not touched: differences of nodes in pilot, with all that replays them.
        """
        now = self._clock()
        if not self.folder.is_dir() or (self._pruned is not None and abs(now - self._pruned) < PRUNE_EVERY):
            return
        since = now - timedelta(days=self._bounds.keep_days)
        with self._locked():
            open_ids: set[str] = set()
            names = {roles.domain_role(node.name) for node in nodes if node.stage == PILOT}
            for file in sorted((self.folder / "differences").glob("*.jsonl")):
                rows = list(_rows(file))
                if file.stem not in names:
                    rows = [row for row in rows if row.at and datetime.fromisoformat(row.at) >= since]
                    self._rewrite(file, rows)
                open_ids.update(row.id for row in rows if row.id)
            in_force = self.history.keep(since, self._bounds.keep_snapshots)
            self.evidence.prune(since.astimezone(UTC).date(), open_ids, in_force)
        self._pruned = now

    def tally(self, node: RosterNode) -> Tally:
        """The node's numbers; new ones for a node that was admitted anew. Raises StoreError: damaged."""
        with suppress(FileNotFoundError):
            found = parse_tally(self._file(node).read_bytes())
            if found.began >= node.since:
                return found
        return Tally(began=node.since)

    def restart(self, node: RosterNode) -> None:
        """The pilot begins now: numbers and differences of before do not count any more. Raises StoreError."""
        with self._locked():
            batch = self.tally(node).batch if self._file(node).is_file() else ""
            self._differences(node).unlink(missing_ok=True)
            self._write(node, Tally(began=self._clock(), batch=batch))

    def take(self, node: RosterNode, batch: str, sign_ins: int, told: Iterable[Mapping[str, Any]]) -> Tally:
        """Count a batch once: `sign_ins` new ones, and the verdicts that the node told (`journal.VERDICT`).

        Raises StoreError; PathError `trust.*` when the province has nothing to judge by: the batch is taken later.
        """
        with self._locked():
            tally = self.tally(node)
            if tally.batch == batch:
                return tally
            tally = replace(tally, batch=batch, sign_ins=tally.sign_ins + sign_ins)
            self._room.pop(node.name, None)
            for claims in told:
                tally = self._compare(node, tally, claims)
            self._write(node, tally)
            return tally

    def corpus(self, node: RosterNode, rows: Iterable[tuple[bytes, bool, str, Verdict, Snapshot]]) -> Tally:
        """Put the node's answers to the corpus in place of earlier ones.

        A row: certificate, whether the node accepts, its hash, the province's verdict and snapshot. Raises StoreError.
        """
        with self._locked():
            self._room.pop(node.name, None)
            count = equal = alone = 0
            for leaf, accepted, sha256, verdict, snapshot in rows:
                ours = plain(verdict)
                count += 1
                if (accepted, sha256) == (verdict.accepted, essence_hash(ours)):
                    equal += 1
                    continue
                alone += accepted and not verdict.accepted
                theirs = {"accepted": accepted, "hash": sha256}
                self._differ(node, leaf, (verdict, snapshot), theirs, "corpus")
            tally = replace(
                self.tally(node),
                corpus=count,
                corpus_equal=equal,
                corpus_alone=alone,
                corpus_at=self._clock().isoformat(timespec="seconds"),
            )
            self._write(node, tally)
            return tally

    def differences(self, node: RosterNode) -> Iterator[Differing]:
        """What is recorded, oldest first, each record once; lines that a crash tore are passed over."""
        yield from _rows(self._differences(node))

    def leaves(self, ids: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Certificates (DER) of records of the evidence, for `crosshall check`; destroyed ones are left out."""
        wanted = set(ids)
        for line in self.evidence.lines():
            with suppress(InputError):
                kept = parse(line)
                key = self.evidence.key(kept) if kept.id in wanted else None
                if key is not None:
                    yield kept.id, unseal(kept, key)[0]

    def _compare(self, node: RosterNode, tally: Tally, claims: Mapping[str, Any]) -> Tally:
        try:
            kept = parse(str(claims["record"]))
            leaf, _, answers = unseal(kept, b64decode(claims["key"], validate=True))
            if kept.at > self._clock() + self._lag:
                raise InputError("input.record", "judged in time to come")
        except (CrosshallError, ValueError, KeyError, TypeError, AttributeError):
            if self._has_room(node):
                self._note(node, Differing("", "", {}, {}, "sign-in"))
            return replace(tally, compared=tally.compared + 1, unreadable=tally.unreadable + 1)
        if kept.at < tally.began:
            return tally
        at = kept.at.isoformat()
        tally = replace(tally, compared=tally.compared + 1, first=tally.first or at, last=max(tally.last, at))
        theirs = essence(kept.verdict)
        first: tuple[Verdict, Snapshot] | None = None
        for held in self.history.around(kept.at):
            snapshot = held.beside(answers) if answers else held
            verdict = snapshot.judge(leaf, kept.at)
            if essence(plain(verdict)) == theirs:
                return replace(tally, equal=tally.equal + 1)
            first = first or (verdict, snapshot)
        assert first is not None
        verdict = first[0]
        self._differ(node, leaf, first, theirs, "sign-in")
        accepted = kept.verdict.get("accepted") is not False  # nonsense is no refusal
        return replace(
            tally,
            alone=tally.alone + int(accepted and not verdict.accepted),
            refused_alone=tally.refused_alone + int(not accepted and verdict.accepted),
        )

    def _differ(
        self, node: RosterNode, leaf: bytes, judged: tuple[Verdict, Snapshot], theirs: Plain, source: str
    ) -> None:
        if not self._has_room(node):
            return
        verdict, snapshot = judged
        made = self.evidence.keep(snapshot, leaf, verdict, self._random)
        self._note(node, Differing(made.id, verdict.at.isoformat(), theirs, essence(plain(verdict)), source))

    def _has_room(self, node: RosterNode) -> bool:
        """Whether one more difference is recorded; the tally counts those that are not, too."""
        if node.name not in self._room:
            self._room[node.name] = self._bounds.keep_differences - sum(1 for _ in self.differences(node))
        self._room[node.name] -= 1
        return self._room[node.name] >= 0

    @staticmethod
    def _rewrite(file: Path, rows: Sequence[Differing]) -> None:
        if not rows:
            file.unlink()
            return
        lines = [json.dumps(asdict(row), ensure_ascii=False, sort_keys=True) for row in rows]
        write_atomically(file, "".join(f"{line}\n" for line in lines).encode(), mode=0o600)

    def _note(self, node: RosterNode, row: Differing) -> None:
        append_line(self._differences(node), json.dumps(asdict(row), ensure_ascii=False, sort_keys=True))

    def _write(self, node: RosterNode, tally: Tally) -> None:
        try:
            write_atomically(self._file(node), tally.text().encode(), mode=0o600)
        except OSError as error:
            raise StoreError("store.full", f"tally of a pilot: {error.strerror}") from error

    def _file(self, node: RosterNode) -> Path:
        return self.folder / f"{roles.domain_role(node.name)}.json"

    def _differences(self, node: RosterNode) -> Path:
        return self.folder / "differences" / f"{roles.domain_role(node.name)}.jsonl"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with FileLock(self.folder / ".lock", timeout=_LOCK_SECONDS, mode=0o600):
                yield
        except OSError as error:  # filelock's Timeout is one
            raise StoreError("store.unavailable", f"shadow: {error.strerror or error}") from error


def _rows(file: Path) -> Iterator[Differing]:
    """Each record once; lines that a crash tore, or whose time is none, are passed over."""
    seen: set[str] = set()
    for line in file.read_text("utf-8", errors="replace").splitlines() if file.is_file() else ():
        with suppress(ValueError, TypeError):
            row = Differing(**json.loads(line))
            if row.at and datetime.fromisoformat(row.at).tzinfo is None:
                continue
            if not row.id or row.id not in seen:
                seen.add(row.id)
                yield row


def when(claims: Mapping[str, Any]) -> datetime | None:
    """The time of a copy; None when it tells none."""
    with suppress(KeyError, TypeError, ValueError):
        found = datetime.fromisoformat(claims["at"])
        return found if found.tzinfo is not None else None
    return None
