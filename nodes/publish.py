"""The province's side: what is to be trusted, drafted for its key holders and put together when enough have signed.

    init ─▶ drafts of root and targets ─▶ holders sign copies ─▶ assemble ─▶ public/
    publish, delegate, cut_off, rotate ─▶ a draft each        status, stamp ─▶ online, at once

Home: `public/` (the published folder), `drafts/`, `keys/` (online keys, 0600, on this machine alone). One process at a
time changes it: the office's loop and a command that an operator types wait for each other, `federation.busy` else.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from filelock import FileLock, Timeout
from securesystemslib.signer import Key
from tuf.api.metadata import (
    Delegations,
    Metadata,
    Root,
    Targets,
)

from ca_bridge.errors import FederationError
from ca_bridge.files import write_atomically
from ca_bridge.types import Clock
from nodes import recovery, roles
from nodes.admission import groups
from nodes.collecting import Collector
from nodes.delegations import delegate_to, drop_keys, go_on, set_keys, set_names
from nodes.drafts import merge, read_draft, write_draft
from nodes.metadata import (
    CUT_OFF,
    names_in,
    parse,
)
from nodes.online import ONLINE, Online
from nodes.register import Register
from nodes.repository import Repository
from nodes.sorting import sort_bundle
from nodes.transport import Source, Ticks

_SECONDS = 60.0
P = ParamSpec("P")
R = TypeVar("R")
_CODE = "federation.draft"
LOCK_SECONDS = 10.0
"""How long one process waits for another; nothing that holds the lock waits for the line."""


@dataclass(frozen=True, slots=True)
class Assembled:
    """What `assemble` did: roles that are published now, and how many signatures others still want."""

    published: tuple[str, ...]
    waiting: Mapping[str, int]


def _alone(step: Callable[Concatenate[Publisher, P], R]) -> Callable[Concatenate[Publisher, P], R]:
    """A step that no other process's step comes between."""

    def run(self: Publisher, /, *words: P.args, **named: P.kwargs) -> R:
        with self.alone():
            return step(self, *words, **named)

    functools.update_wrapper(run, step)
    return run


class Publisher:
    """The federation's home on the province's machine."""

    def __init__(self, home: Path, clock: Clock) -> None:
        self.home = home
        self.repository = Repository(home / "public")
        self.drafts = home / "drafts"
        self.online = Online(self.repository, home / "keys", clock)
        self._clock = clock
        self._lock = FileLock(home / ".lock", timeout=LOCK_SECONDS)
        self._collecting = FileLock(home / ".collect.lock", timeout=LOCK_SECONDS)

    @contextmanager
    def alone(self, lock: FileLock | None = None) -> Iterator[None]:
        """Nobody else changes the home within. Raises FederationError `federation.busy` after LOCK_SECONDS."""
        self.home.mkdir(parents=True, exist_ok=True)
        lock = lock or self._lock
        try:
            lock.acquire()
        except Timeout as error:
            raise FederationError("federation.busy", "another process is changing the federation's home") from error
        try:
            if lock is self._lock:
                recovery.complete(self.home)
            yield
        finally:
            lock.release()

    @_alone
    def init(
        self,
        domain: str,
        *,
        root: Sequence[Key],
        root_threshold: int,
        targets: Sequence[Key],
        targets_threshold: int,
        border: Sequence[Key],
        border_threshold: int,
        timestamp: Sequence[Key] = (),
        kind: str = "ed25519",
        after: Path | None = None,
    ) -> tuple[Path, ...]:
        """Drafts of the first root and targets of the province `domain`; online keys are made here.

        `timestamp`: keys of other sites. `after`: the home of a federation that can sign no root any more; its nodes'
        roles and its register go on.

        Raises FederationError `federation.draft` when a federation is there already, `federation.key`.
        """
        if self.repository.newest(roles.ROOT) or any(self.drafts.glob("*.root.json")):
            raise FederationError(_CODE, "a federation lives here already")
        if not roles.is_province(domain):
            raise FederationError("federation.role", "not the domain of a province")
        if after is not None and Publisher(after, self._clock).domain != domain:
            raise FederationError(_CODE, "the federation before is another province's")
        before = None if after is None else Repository(after / "public").metadata(roles.TARGETS, Targets).signed
        write_atomically(self.home / "domain", f"{domain}\n".encode())
        Register(self.home).begin(None if after is None else Register(after))
        made = {role: self.online.new_key(role, kind) for role in ONLINE}
        first = Root(expires=self._expiry(roles.ROOT))
        for role, keys, threshold in (
            (roles.ROOT, root, root_threshold),
            (roles.TARGETS, targets, targets_threshold),
            (roles.SNAPSHOT, [made[roles.SNAPSHOT]], 1),
            (roles.TIMESTAMP, [made[roles.TIMESTAMP], *timestamp], 1),
        ):
            set_keys(first.roles[role], keys, threshold, first.keys)
        policy = Targets(expires=self._expiry(roles.TARGETS), delegations=Delegations({}, {}))
        delegate_to(policy, roles.BORDER, border, border_threshold)
        delegate_to(policy, roles.STATUS, [made[roles.STATUS]], 1)
        if before is not None:
            go_on(policy, before)
        return self._draft(roles.ROOT, Metadata(first)), self._draft(roles.TARGETS, Metadata(policy))

    @property
    def domain(self) -> str:
        """The province's own domain. Raises FederationError `federation.draft` before `init`."""
        try:
            return (self.home / "domain").read_text("ascii").strip()
        except OSError as error:
            raise FederationError(_CODE, "no federation lives here: crosshall federation init") from error

    def root(self) -> bytes:
        """The newest root, for the admission of a node. Raises FederationError `federation.absent`."""
        return self.repository.octets(roles.ROOT, self.repository.newest(roles.ROOT))

    def first_root(self) -> bytes:
        """The root that the first nodes pinned, from which every other follows."""
        return self.repository.octets(roles.ROOT, 1)

    def fingerprint(self) -> str:
        """Of the newest root, to read aloud."""
        return groups(self.root())

    @_alone
    def publish(self, bundle: Path, *, renew: bool = False) -> tuple[Path, ...]:
        """Drafts of targets and border with the files of the folder `bundle`, which must be without errors.

        What lies outside the province's domain is the border's. CRLs and denials go out at once when a federation is
        published. `renew`: a draft even when nothing has changed. Raises FederationError
        `federation.bundle`.
        """
        parts = sort_bundle(bundle, self.domain, self._clock())
        # first, for it can fail: nothing is drafted then
        if self.repository.newest(roles.TARGETS):
            self.status(parts[roles.STATUS])
        else:
            published = {**parts[roles.TARGETS], **parts[roles.BORDER]}
            refusals = self.online.with_filters(parts[roles.STATUS], lambda: published)
            self.online.write(refusals, suspended=False)
        drafts = []
        for role in (roles.TARGETS, roles.BORDER):
            files = {path: self.repository.put_file(path, data) for path, data in parts[role].items()}
            metadata = self._working(role)
            if renew or {**metadata.signed.targets} != files:
                metadata.signed.targets = files
                if files or role == roles.TARGETS or self.repository.newest(role):
                    drafts.append(self._draft(role, metadata))
        return tuple(drafts)

    @_alone
    def delegate(self, domain: str, keys: Sequence[Key], threshold: int = 1) -> Path:
        """A draft of targets that gives a node's role these keys. Raises FederationError `federation.role`, `.key`."""
        role = roles.domain_role(domain)
        metadata = self._working(roles.TARGETS)
        delegate_to(metadata.signed, role, keys, threshold)
        set_names(metadata.signed, CUT_OFF, [n for n in names_in(metadata.signed, CUT_OFF) if n != role])
        return self._draft(roles.TARGETS, metadata)

    @_alone
    def cut_off(self, domain: str) -> Path:
        """A draft of targets after which the role of `domain` and all below it count no more."""
        role = roles.domain_role(domain)
        metadata = self._working(roles.TARGETS)
        delegations = metadata.signed.delegations
        assert delegations is not None
        assert delegations.roles is not None
        delegations.roles.pop(role, None)
        drop_keys(delegations)
        set_names(metadata.signed, CUT_OFF, sorted({*names_in(metadata.signed, CUT_OFF), role}))
        return self._draft(roles.TARGETS, metadata)

    @_alone
    def take_back(self, domain: str) -> Path | None:
        """A draft of targets after which the role of `domain`, once cut off, counts again; None when it does."""
        role = roles.domain_role(domain)
        metadata = self._working(roles.TARGETS)
        names = names_in(metadata.signed, CUT_OFF)
        if role not in names:
            return None
        set_names(metadata.signed, CUT_OFF, [name for name in names if name != role])
        return self._draft(roles.TARGETS, metadata)

    @_alone
    def rotate(self, role: str, keys: Sequence[Key], threshold: int, *, kind: str = "ed25519") -> Path:
        """A draft that gives `role` these keys and no others; an online role without `keys` gets a new one here.

        The draft is root's for top roles, else targets'. Raises FederationError `federation.role`, `federation.key`.
        """
        if role in ONLINE and not keys:
            keys = [self.online.new_key(role, kind)]
        above = roles.delegator(role)
        if above == roles.ROOT:
            metadata = self._working(roles.ROOT)
            set_keys(metadata.signed.roles[role], keys, threshold, metadata.signed.keys)
            used = {keyid for row in metadata.signed.roles.values() for keyid in row.keyids}
            metadata.signed.keys = {keyid: key for keyid, key in metadata.signed.keys.items() if keyid in used}
            if role == roles.TARGETS:
                self._draft(role, self._working(role))  # the new holders sign what the old ones signed
            return self._draft(roles.ROOT, metadata)
        metadata = self._working(roles.TARGETS)
        delegate_to(metadata.signed, role, keys, threshold)
        if role == roles.BORDER and self.repository.newest(role):
            self._draft(role, self._working(role))
        return self._draft(roles.TARGETS, metadata)

    def signed_by(self, role: str) -> tuple[Path, ...]:
        """The waiting drafts of a role."""
        return tuple(path for path in self.drafts.glob("*.json") if path.name.partition(".")[2] == f"{role}.json")

    @_alone
    def renew_root(self) -> Path:
        """A draft of root with the same keys and a new expiry."""
        return self._draft(roles.ROOT, self._working(roles.ROOT))

    @_alone
    def assemble(self, copies: Iterable[Path] = ()) -> Assembled:
        """Put signed copies together; what has reached its threshold is published, with a new snapshot and timestamp.

        Raises FederationError `federation.draft` for a file that is not a copy of a waiting draft.
        """
        read_copies = [(path.name, *read_draft(path)) for path in copies]
        published, waiting, held = [], {}, 0
        for role in (roles.ROOT, roles.TARGETS, roles.BORDER):
            draft = self._waiting(role)
            mine = [(name, metadata) for name, found, metadata in read_copies if found == role]
            if draft is None:
                if mine:
                    raise FederationError(_CODE, f"{role}: no draft waits")
                continue
            merge(draft, mine)
            path = write_draft(self.drafts, role, draft)
            missing = held if held and role == roles.TARGETS else self._missing(role, draft)
            if missing:
                waiting[role] = missing
                continue
            if role == roles.ROOT and (held := self._left_behind(draft.signed, read_copies)):
                continue
            self.repository.put_metadata(role, draft.signed.version, draft.to_bytes())
            path.unlink()
            published.append(role)
        if published and self.repository.newest(roles.ROOT) and self.repository.newest(roles.TARGETS):
            if not self.repository.newest(roles.STATUS):
                self.online.write({}, suspended=False)
            self.online.resign()
            self.online.snapshot(whole=True)
        return Assembled(tuple(published), waiting)

    @_alone
    def status(self, files: Mapping[str, bytes], *, suspended: bool | None = None) -> None:
        """See `Online.status`."""
        self.online.status(files, suspended=suspended)

    @_alone
    def suspend_border(self, *, suspended: bool) -> None:
        """Take the border's files out of force everywhere, or put them back; online, at once."""
        self.online.status(self.online.status_files(), suspended=suspended)

    @_alone
    def stamp(self) -> datetime:
        """See `Online.stamp`."""
        return self.online.stamp()

    def collect(self, source: Source, ticks: Ticks = time.monotonic) -> tuple[str, ...]:
        """Take newer metadata of nodes' roles from a node's published folder into ours; what was taken, by role.

        What is wrong refuses that role alone. Raises FederationError when the source does not answer.
        """
        targets = self.repository.metadata(roles.TARGETS, Targets).signed
        with self.alone(self._collecting):  # the line may be slow: who signs is not kept waiting
            deadline = ticks() + _SECONDS
            scratch = self.home / "collect"
            taken = Collector(self.repository, source, self._clock(), deadline, scratch).newer_roles(targets)
        if taken:
            with self.alone():
                self.online.snapshot()
        return taken

    def _working(self, role: str) -> Metadata[Any]:
        """The waiting draft of a role, else what is published, one version higher and unsigned."""
        draft = self._waiting(role)
        if draft is not None:
            draft.signatures.clear()
            return draft
        if not self.repository.newest(role):
            return Metadata(Targets(expires=self._expiry(role)))
        metadata: Metadata[Any] = self.repository.metadata(role, Root if role == roles.ROOT else Targets)
        metadata.signed.version += 1
        metadata.signatures.clear()
        return metadata

    def _waiting(self, role: str) -> Metadata[Any] | None:
        for path in sorted(self.drafts.glob(f"*.{role}.json")):
            if path.name.partition(".")[2] == f"{role}.json":
                return read_draft(path)[1]
        return None

    def _draft(self, role: str, metadata: Metadata[Any]) -> Path:
        metadata.signed.expires = self._expiry(role)
        kind: Any = Root if role == roles.ROOT else Targets
        parse(metadata.to_bytes(), role, kind)
        self.drafts.mkdir(parents=True, exist_ok=True)
        return write_draft(self.drafts, role, metadata)

    def _left_behind(self, root: Root, copies: Iterable[tuple[str, str, Metadata[Any]]]) -> int:
        """How many signatures targets lacks under the new root, which waits for them; a draft waits for them then."""
        if not self.repository.newest(roles.TARGETS):
            return 0
        waiting = self._waiting(roles.TARGETS)
        targets = waiting or self.repository.metadata(roles.TARGETS, Targets)
        if waiting is not None:
            merge(waiting, [(name, copy) for name, found, copy in copies if found == roles.TARGETS])
        missing = int(root.get_verification_result(roles.TARGETS, targets.signed_bytes, targets.signatures).missing)
        if missing and waiting is None:
            self._draft(roles.TARGETS, self._working(roles.TARGETS))
        return missing

    def _missing(self, role: str, draft: Metadata[Any]) -> int:
        """How many signatures a draft still wants; a root is signed by the one before too."""
        above: list[Any] = []
        if role == roles.ROOT:
            above = [draft.signed]
            if self.repository.newest(roles.ROOT):
                above.append(self.repository.metadata(roles.ROOT, Root).signed)
        elif self.repository.newest(roles.delegator(role)):
            kind: Any = Root if roles.delegator(role) == roles.ROOT else Targets
            above = [self.repository.metadata(roles.delegator(role), kind).signed]
        else:
            return 1
        results = [row.get_verification_result(role, draft.signed_bytes, draft.signatures) for row in above]
        return max(int(result.missing) for result in results)

    def _expiry(self, role: str) -> datetime:
        return self._clock().replace(microsecond=0) + roles.lifetime(role)
