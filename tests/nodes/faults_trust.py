"""What can go wrong with trust itself: roles that expire, CRLs that are wrong, a province that was set back.

The faults are signed here with the federation's real keys by python-tuf alone, not by the publisher's code: only so
does a role expire within seconds. What heals them are the product's own steps.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from securesystemslib.signer import Signer
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, Targets, Timestamp

from ca_bridge.types import utc_now
from demo.pki.authorities import write_crl
from nodes import roles
from nodes.keys import load_key
from nodes.metadata import ISSUED, digest, time_text
from nodes.publish import Publisher
from nodes.repository import Repository
from tests.nodes.country import PLACES, SECRET, Country, status_of, wait
from tests.nodes.faults import Bring, Fault, pids

GD, GZ, FS, CH = PLACES
EXPIRED = "federation.expired"
_HOLDERS = {
    roles.ROOT: ("root-1", "root-3"),
    roles.TARGETS: ("targets-1", "targets-2"),
    roles.BORDER: ("border-1",),
}
_SOON = timedelta(seconds=14)
CA = "gd-public"


def _repository(country: Country) -> Repository:
    return Repository(country.folder(GD) / "federation" / "public")


def _signers(country: Country, role: str) -> list[Signer]:
    province = country.folder(GD)
    if role in _HOLDERS:
        return [load_key(province / f"{name}.pem", SECRET.encode()) for name in _HOLDERS[role]]
    if roles.is_node_role(role):
        return [load_key(country.folder(FS) / "state" / "keys" / "role-1.pem", None)]
    return [load_key(sorted((province / "federation" / "keys").glob(f"{role}-*.pem"))[-1], None)]


def _sign(country: Country, role: str, metadata: Metadata[Any]) -> bytes:
    metadata.signatures.clear()
    for signer in _signers(country, role):
        metadata.sign(signer, append=True)
    return metadata.to_bytes()


def put(country: Country, role: str, expires: datetime) -> None:
    """The role's next version, as it is, that ends then; a snapshot and a timestamp that name it."""
    repository, far = _repository(country), datetime.now(UTC).replace(microsecond=0) + timedelta(days=6)
    snapshot = repository.metadata(roles.SNAPSHOT, Snapshot)
    if role not in (roles.SNAPSHOT, roles.TIMESTAMP):
        kind: Any = Root if role == roles.ROOT else Targets
        found: Metadata[Any] = (
            repository.metadata(role, kind) if repository.newest(role) else Metadata(Targets(version=0))
        )
        found.signed.version += 1
        found.signed.expires = expires
        data = _sign(country, role, found)
        repository.put_metadata(role, found.signed.version, data)
        if role != roles.ROOT:
            snapshot.signed.meta[f"{role}.json"] = MetaFile(found.signed.version, len(data), {"sha256": digest(data)})
    snapshot.signed.version += 1
    snapshot.signed.expires = expires if role == roles.SNAPSHOT else far
    data = _sign(country, roles.SNAPSHOT, snapshot)
    repository.put_metadata(roles.SNAPSHOT, snapshot.signed.version, data)
    _stamp(country, snapshot.signed.version, data, expires if role == roles.TIMESTAMP else far)


def _stamp(country: Country, version: int, snapshot: bytes, expires: datetime) -> None:
    repository = _repository(country)
    before = Metadata[Timestamp].from_bytes(repository.timestamp()).signed
    now = datetime.now(UTC)
    number = max(int(now.timestamp()), before.version + 1)
    meta = MetaFile(version, len(snapshot), {"sha256": digest(snapshot)})
    stamp = Metadata(Timestamp(number, None, expires, meta, {ISSUED: time_text(now)}))
    repository.put_timestamp(_sign(country, roles.TIMESTAMP, stamp))


@contextmanager
def office_held(country: Country) -> Iterator[None]:
    """The province's office does nothing, and goes on where it was."""
    held = pids(country, GD, "node office")
    assert held, "no office"
    for pid in held:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in held:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def _heal(country: Country, role: str) -> None:
    """The key holders' own step, where there is one; online roles and nodes' roles are renewed by their machines."""
    if role == roles.ROOT:
        Publisher(country.folder(GD) / "federation", utc_now).renew_root()
        country.signed()
    elif role in (roles.TARGETS, roles.BORDER):
        country.office("federation", "publish", "bundle", "--renew")
        country.signed()


def expiring(role: str) -> Bring:
    """The role expires; it is signed again when the fault is over."""

    @contextmanager
    def bring(country: Country) -> Iterator[None]:
        with office_held(country):
            end = datetime.now(UTC).replace(microsecond=0) + _SOON
            put(country, role, end)
            wait(60, lambda: datetime.now(UTC) > end and says(country, EXPIRED))
            yield
        _heal(country, role)

    return bring


def says(country: Country, code: str) -> bool:
    """Whether Foshan's agent names this code, of a source, of itself or of a role."""
    told = status_of(country, FS)
    return any(code in dict(told.get(part) or {}).values() for part in ("codes", "failing"))  # type: ignore[call-overload]


def _crl(country: Country) -> bytes:
    return (country.bundle / "crls" / f"{CA}.crl").read_bytes()


def wrong_crl(make: Callable[[Country, bytes], bytes]) -> Bring:
    """The province's operator puts another file in the place of the CA's CRL; then the CA's next CRL."""

    @contextmanager
    def bring(country: Country) -> Iterator[None]:
        path = country.bundle / "crls" / f"{CA}.crl"
        path.write_bytes(make(country, path.read_bytes()))
        country.remanifest()
        try:
            yield
        finally:
            renew_crl(country)

    return bring


def renew_crl(country: Country, now: datetime | None = None) -> bytes:
    """The CA's next CRL lies in the province's bundle."""
    moment = now or datetime.now(UTC)
    write_crl(country._authorities, CA, country.bundle / "crls", country.revoked.get(CA, ()), moment)
    country.remanifest()
    return _crl(country)


def _stale(country: Country, good: bytes) -> bytes:
    del good
    days = country._authorities.federation.crl_days
    return renew_crl(country, datetime.now(UTC) - timedelta(days=days, seconds=1))


def _flipped(country: Country, good: bytes) -> bytes:
    del country
    return good[:-5] + bytes([good[-5] ^ 1]) + good[-4:]


def _others(country: Country, good: bytes) -> bytes:
    del good
    return next(p for p in sorted((country.bundle / "crls").glob("*.crl")) if p.stem != CA).read_bytes()


def arrived(country: Country, data: bytes) -> bool:
    """Whether Foshan's bridge has this very CRL."""
    return any(path.read_bytes() == data for path in (country.folder(FS) / "bundle" / "crls").glob("*.crl"))


@contextmanager
def killed_in_sync(country: Country) -> Iterator[None]:
    """Five rounds on a slow line: a new CRL goes out, and the agent is killed at a random moment of taking it."""
    chance = random.Random(7)
    country.wires.shape(FS.name, "128kbit")
    try:
        for _ in range(5):
            newest = renew_crl(country)
            time.sleep(chance.uniform(0.0, 8.0))
            for pid in pids(country, FS, "node sync"):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        yield
    finally:
        country.wires.shape(FS.name, "10mbit")
    wait(120, lambda: arrived(country, newest))


@contextmanager
def killed_in_publish(country: Country) -> Iterator[None]:
    """Five rounds: a new CRL lies in the bundle, and the office is killed at a random moment of publishing it."""
    chance = random.Random(8)
    for _ in range(5):
        newest = renew_crl(country)
        time.sleep(chance.uniform(0.0, 5.0))
        for pid in pids(country, GD, "node office"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    yield
    wait(120, lambda: arrived(country, newest))


@contextmanager
def resets(country: Country) -> Iterator[None]:
    """Every tenth packet from the province's front resets its connection, in the middle of what it carries."""
    inside = country.wires.inside(GD.name)
    rules = (
        "add table inet chaos",
        "add chain inet chaos in { type filter hook input priority 0 ; }",
        f"add rule inet chaos in ip saddr {FS.address} tcp dport 8443 numgen random mod 100 < 10 reject with tcp reset",
    )
    for rule in rules:
        subprocess.run([*inside, "nft", rule], check=True)
    try:
        newest = renew_crl(country)
        yield
        wait(120, lambda: arrived(country, newest))
    finally:
        subprocess.run([*inside, "nft", "delete table inet chaos"], check=True)


@contextmanager
def set_back(country: Country) -> Iterator[None]:
    """The province's machine is restored from a backup older than what Foshan has; later the newer one is found."""
    province = country.folder(GD)
    names = ("federation", "bundle")
    for name in names:
        shutil.copytree(province / name, country.root / f"backup-{name}")
    newest = renew_crl(country)
    wait(60, lambda: arrived(country, newest))
    with office_held(country):
        for name in names:
            (province / name).rename(country.root / f"newer-{name}")
            shutil.copytree(country.root / f"backup-{name}", province / name)
    try:
        wait(90, lambda: says(country, "federation.rollback"))
        yield
        assert arrived(country, newest), "the node went back"
    finally:
        with office_held(country):
            for name in names:
                shutil.rmtree(province / name)
                (country.root / f"newer-{name}").rename(province / name)
                shutil.rmtree(country.root / f"backup-{name}")


def _role(name: str, role: str) -> Fault:
    return Fault(f"expired role: {name}", expiring(role), seconds=6, red="trust.role_expired")


_UNKNOWN = "revocation."
FAULTS = (
    _role("timestamp", roles.TIMESTAMP),
    _role("snapshot", roles.SNAPSHOT),
    _role("online revocation", roles.STATUS),
    _role("cross-border", roles.BORDER),
    _role("targets", roles.TARGETS),
    _role("root", roles.ROOT),
    Fault("CRL: stale by time", wrong_crl(_stale), serves=False, seconds=25, refusal=_UNKNOWN),
    Fault("CRL: bad signature", wrong_crl(_flipped), serves=False, seconds=25, refusal=_UNKNOWN),
    Fault("CRL: another CA's in its place", wrong_crl(_others), serves=False, seconds=25, refusal=_UNKNOWN),
    Fault("kill: the agent, in the middle of a sync, 5 times", killed_in_sync, seconds=10),
    Fault("kill: the office, in the middle of a publish, 5 times", killed_in_publish, seconds=6),
    Fault("line: connections reset in mid-transfer", resets, seconds=15),
    Fault("province set back to an older backup", set_back, seconds=8),
)
