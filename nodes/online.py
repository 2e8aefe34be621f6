"""The online roles: status, snapshot and timestamp, signed by keys of this machine without a key holder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from securesystemslib.signer import Key, Signer
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, Targets, Timestamp

from ca_bridge.errors import FederationError
from ca_bridge.types import Clock
from nodes import roles
from nodes.filters import with_filters
from nodes.keys import load_key, save_key
from nodes.keys import new_key as make_key
from nodes.metadata import ISSUED, SUSPENDED, digest, issued_of, names_in, parse, time_text, verify
from nodes.refusals import check_refusals
from nodes.repository import Repository

ONLINE = (roles.STATUS, roles.SNAPSHOT, roles.TIMESTAMP)
AHEAD = timedelta(seconds=60)
"""How far the last timestamp may lie ahead of this machine's clock."""


class Online:
    """What the publishing machine signs by itself."""

    def __init__(self, repository: Repository, keys: Path, clock: Clock) -> None:
        self.repository = repository
        self._keys = keys
        self._clock = clock

    def status(self, files: Mapping[str, bytes], *, suspended: bool | None = None) -> None:
        """Exactly these CRLs and denials from now on; `suspended`: the border, as it was when None.

        Filters of large CRLs of published CAs are made here, whatever `files` holds of filters.
        """
        before = self._status()
        files = self.with_filters(files)
        same = {p: digest(d) for p, d in files.items()} == {p: f.hashes["sha256"] for p, f in before.targets.items()}
        now = roles.BORDER in names_in(before, SUSPENDED)
        if same and suspended in (None, now):
            return
        self.write(files, suspended=now if suspended is None else suspended)
        self.snapshot()

    def with_filters(
        self, files: Mapping[str, bytes], trust: Callable[[], Mapping[str, bytes]] | None = None
    ) -> dict[str, bytes]:
        """`files` of the status role with the filters that they are worth; `trust`: what will be published, by path."""
        before = self._status().targets

        def known(path: str) -> bytes | None:
            return self.repository.file(before[path]) if path in before else None

        return with_filters(files, trust or self._trust, known)

    def _trust(self) -> dict[str, bytes]:
        """The published files of key holders, by path."""
        found: dict[str, bytes] = {}
        for role in (roles.TARGETS, roles.BORDER):
            if self.repository.newest(role):
                listed = self.repository.metadata(role, Targets).signed.targets
                found |= {path: self.repository.file(file) for path, file in listed.items()}
        return found

    def status_files(self) -> dict[str, bytes]:
        """What the status role publishes now."""
        return {path: self.repository.file(file) for path, file in self._status().targets.items()}

    def snapshot(self, *, whole: bool = False) -> None:
        """Sign a new snapshot over everything that is published, and a timestamp; `whole`: a pack for new nodes too."""
        meta: dict[str, MetaFile] = {}
        octets = {}
        for role, version in sorted(self.repository.published().items()):
            if role in (roles.ROOT, roles.SNAPSHOT):
                continue
            octets[role] = self.repository.octets(role, version)
            meta[f"{role}.json"] = MetaFile(version, len(octets[role]), {"sha256": digest(octets[role])})
        signed = Snapshot(
            self.repository.newest(roles.SNAPSHOT) + 1, None, self._expiry(roles.SNAPSHOT), meta, self._issued()
        )
        metadata = Metadata(signed)
        self._sign(roles.SNAPSHOT, metadata)
        data = metadata.to_bytes()
        self.repository.put_metadata(roles.SNAPSHOT, signed.version, data)
        if whole:
            listed = [parse(found, role, Targets).signed for role, found in octets.items()]
            self.repository.put_pack(listed, [data, *octets.values()])
        self.stamp()

    def stamp(self) -> datetime:
        """Sign a new timestamp; re-sign snapshot and status before they grow old. Returns `issued`.

        Raises FederationError `federation.clock` (the last one lies ahead of this clock), `federation.key`.
        """
        now = self._clock()
        if self._old(roles.STATUS, Targets, now) or self._old(roles.SNAPSHOT, Snapshot, now):
            self.write(self.status_files(), suspended=roles.BORDER in names_in(self._status(), SUSPENDED))
            self.snapshot()
            return self.stamp()
        version = self.repository.newest(roles.SNAPSHOT)
        data = self.repository.octets(roles.SNAPSHOT, version)
        last = self._last_stamp()
        issued = now
        if last is not None:
            if issued_of(last) > now + AHEAD:
                raise FederationError("federation.clock", "the last timestamp lies ahead of this machine's clock")
            issued = max(now, issued_of(last))
        # Versions are seconds, so that two sites that sign in turns never use one twice.
        number = max(int(issued.timestamp()), 0 if last is None else last.version + 1)
        meta = MetaFile(version, len(data), {"sha256": digest(data)})
        expires = issued + roles.lifetime(roles.TIMESTAMP)
        signed = Timestamp(number, None, expires, meta, {ISSUED: time_text(issued)})
        metadata = Metadata(signed)
        self._sign(roles.TIMESTAMP, metadata)
        self.repository.put_timestamp(metadata.to_bytes())
        return issued_of(signed)

    def _status(self) -> Targets:
        if not self.repository.newest(roles.STATUS):
            return Targets(expires=self._expiry(roles.STATUS))
        return self.repository.metadata(roles.STATUS, Targets).signed

    def write(self, files: Mapping[str, bytes], *, suspended: bool) -> None:
        """Sign and publish status metadata; without a snapshot."""
        for path in files:
            if roles.owner(path) != roles.STATUS:
                raise FederationError("federation.namespace", f"status: {path}")
        listed = {path: self.repository.put_file(path, data) for path, data in sorted(files.items())}
        signed = Targets(
            self.repository.newest(roles.STATUS) + 1,
            None,
            self._expiry(roles.STATUS),
            listed,
            unrecognized_fields={SUSPENDED: [roles.BORDER]} if suspended else None,
        )
        check_refusals(signed, self.repository.file)
        metadata = Metadata(signed)
        self._sign(roles.STATUS, metadata)
        self.repository.put_metadata(roles.STATUS, signed.version, metadata.to_bytes())

    def resign(self) -> None:
        """Under new keys, when they were replaced; with filters of CRLs whose CAs are published only now."""
        files = self.status_files()
        made = self.with_filters(files)
        if made != files:
            self.write(made, suspended=roles.BORDER in names_in(self._status(), SUSPENDED))
        targets = self.repository.metadata(roles.TARGETS, Targets).signed
        try:
            verify(targets, roles.STATUS, self.repository.metadata(roles.STATUS, Targets))
        except FederationError:
            self.write(self.status_files(), suspended=roles.BORDER in names_in(self._status(), SUSPENDED))

    def _old(self, role: str, kind: Any, now: datetime) -> bool:
        return bool(self.repository.metadata(role, kind).signed.expires < now + roles.lifetime(role) / 2)

    def _last_stamp(self) -> Timestamp | None:
        try:
            return parse(self.repository.timestamp(), roles.TIMESTAMP, Timestamp).signed
        except FederationError as error:
            if error.code == "federation.absent":
                return None
            raise

    def _sign(self, role: str, metadata: Metadata[Any]) -> None:
        """Sign with every key of this machine that the role has. Raises FederationError `federation.key`."""
        above = roles.delegator(role)
        if self.repository.newest(above):
            wanted = self._role_keys(role)
            signers = [signer for signer in self._online("*") if signer.public_key.keyid in wanted]
        else:  # the first of all, whose keys wait in a draft
            signers = self._online(f"{role}-*")
        if not signers:
            raise FederationError("federation.key", f"{role}: no key of it is on this machine")
        metadata.sign(signers[0])

    def _role_keys(self, role: str) -> list[str]:
        if roles.delegator(role) == roles.ROOT:
            return list(self.repository.metadata(roles.ROOT, Root).signed.roles[role].keyids)
        return list(self.repository.metadata(roles.TARGETS, Targets).signed.get_delegated_role(role).keyids)

    def _online(self, names: str) -> list[Signer]:
        return [load_key(path, None) for path in sorted(self._keys.glob(f"{names}.pem"))]

    def new_key(self, role: str, kind: str) -> Key:
        """A new online key of `role`, mode 0600, on this machine; its public half."""
        number = len(list(self._keys.glob(f"{role}-*.pem"))) + 1
        signer = make_key(kind)
        self._keys.mkdir(mode=0o700, parents=True, exist_ok=True)
        save_key(self._keys / f"{role}-{number}.pem", signer, None)
        return signer.public_key

    def _expiry(self, role: str) -> datetime:
        return self._clock().replace(microsecond=0) + roles.lifetime(role)

    def _issued(self) -> dict[str, str]:
        return {ISSUED: time_text(self._clock())}
