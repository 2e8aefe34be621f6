"""Metadata that waits for its key holders: each signs a copy on a machine of his own, the publisher puts them together.

A draft is the metadata itself, with the signatures it has so far: `drafts/<version>.<role>.json`. Key holders compare
its fingerprint before they sign.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from securesystemslib.signer import Signer
from tuf.api.metadata import Metadata, Root, Targets

from ca_bridge.errors import FederationError
from ca_bridge.files import write_atomically
from nodes import roles
from nodes.admission import groups
from nodes.metadata import parse

_CODE = "federation.draft"
LOCK_SECONDS = 10.0
"""How long one process waits for another."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What a key holder sees before signing."""

    role: str
    version: int
    expires: datetime
    fingerprint: str
    signatures: int
    files: int
    delegations: tuple[str, ...]


def read_draft(path: Path) -> tuple[str, Metadata[Any]]:
    """The role and the metadata of a draft. Raises FederationError `federation.draft`, and as `parse`."""
    number, _, rest = path.name.partition(".")
    role = rest.removesuffix(".json")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FederationError(_CODE, f"{path.name}: {error.strerror}") from error
    metadata: Metadata[Any] = parse(data, role, Root) if role == roles.ROOT else parse(data, role, Targets)
    if number != str(metadata.signed.version):
        raise FederationError(_CODE, f"{path.name}: another version than its name says")
    return role, metadata


def write_draft(folder: Path, role: str, metadata: Metadata[Any]) -> Path:
    """Write a draft; other drafts of the role are gone."""
    for old in folder.glob(f"*.{role}.json"):
        if old.name.partition(".")[2] == f"{role}.json":
            old.unlink()
    path = folder / f"{metadata.signed.version}.{role}.json"
    write_atomically(path, metadata.to_bytes())
    return path


def summary(path: Path) -> Summary:
    """What is in a draft, and its fingerprint, which does not change with signatures."""
    role, metadata = read_draft(path)
    signed = metadata.signed
    names = list(signed.delegations.roles or {}) if isinstance(signed, Targets) and signed.delegations else []
    return Summary(
        role,
        signed.version,
        signed.expires,
        groups(metadata.signed_bytes),
        len(metadata.signatures),
        len(signed.targets) if isinstance(signed, Targets) else 0,
        tuple(sorted(names)),
    )


def sign_draft(path: Path, signer: Signer, *, shown: str = "") -> None:
    """Add one signature to the draft file, in place. `shown`: the fingerprint that its holder has agreed to.

    Raises FederationError `federation.draft`, also when the draft is another by now; `federation.busy`.
    """
    with _unchanged(path):
        _, metadata = read_draft(path)
        if shown and groups(metadata.signed_bytes) != shown:
            raise FederationError(_CODE, f"{path.name}: it was replaced since it was shown")
        metadata.sign(signer, append=True)
        write_atomically(path, metadata.to_bytes())


@contextmanager
def _unchanged(path: Path) -> Iterator[None]:
    """A draft in the federation's own home is not replaced within: a signature on the old one would undo the new."""
    lock = path.resolve().parent.parent / ".lock"
    if path.resolve().parent.name != "drafts" or not lock.exists():
        yield
        return
    held = FileLock(lock, timeout=LOCK_SECONDS)
    try:
        held.acquire()
    except Timeout as error:
        raise FederationError("federation.busy", "another process is changing the federation's home") from error
    try:
        yield
    finally:
        held.release()


def merge(draft: Metadata[Any], copies: Iterable[tuple[str, Metadata[Any]]]) -> None:
    """Take the signatures of copies of the same draft into it. Raises FederationError `federation.draft`."""
    for name, copy in copies:
        if copy.signed_bytes != draft.signed_bytes:
            raise FederationError(_CODE, f"{name}: not a copy of the draft that waits")
        draft.signatures.update(copy.signatures)
