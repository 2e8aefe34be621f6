"""The trust bundle: a folder of files, all of which `bundle.json` lists with their hashes (docs/contracts.md).

    bundle.json ── format, version, issued, files: {path: SHA-256}
    anchors/ cross/ crls/ lists/ ── certificates, CRLs
    filters/<name>.gcs ── in the place of crls/<name>.crl (`trust.filter`)
    profiles/ levels.toml policy.toml denials/ lists/ roster.json ── tables

A file that is not listed, is missing, or differs makes the whole bundle refused. A listed CRL or filter that cannot be
read is left out and named in `problems`: the certificates it covers are then unknown, and nobody else's sign-in stops.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from pydantic import AwareDatetime, Field

from ca_bridge.asn1.certificate import Certificate, load_anchor, load_certificate
from ca_bridge.asn1.crl import MAX_CRL_OCTETS, Crl, load_crl
from ca_bridge.errors import CrosshallError, PathError
from ca_bridge.files import write_atomically
from ca_bridge.trust.filter import parse_filter
from ca_bridge.trust.lists import ListEntry, parse_rows
from ca_bridge.trust.model import Model, Sha256, build
from ca_bridge.trust.profile import Profile, parse_profile
from ca_bridge.trust.roster import Roster, parse_roster
from ca_bridge.trust.rules import (
    Denial,
    Levels,
    TrustPolicy,
    parse_denials,
    parse_levels,
    parse_policy,
)

T = TypeVar("T")
FORMAT = 1
MANIFEST = "bundle.json"
MAX_FILES = 50_000
MAX_MANIFEST_OCTETS = 16 << 20
MAX_FILE_OCTETS = 1 << 20


class _Manifest(Model):
    format: int
    version: int = Field(ge=1)
    issued: AwareDatetime
    files: Mapping[str, Sha256] = Field(max_length=MAX_FILES)


@dataclass(frozen=True, slots=True)
class Bundle:
    """All of trust, read and checked against itself; nothing in it has been verified cryptographically yet."""

    version: int
    issued: datetime
    hash: str
    """SHA-256 of `bundle.json`, which names every other file's hash."""
    anchors: tuple[Certificate, ...] = ()
    certificates: tuple[Certificate, ...] = ()
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    lists: tuple[ListEntry, ...] = ()
    levels: Levels = field(default_factory=Levels)
    policy: TrustPolicy = field(default_factory=TrustPolicy)
    crls: tuple[Crl, ...] = ()
    denials: tuple[Denial, ...] = ()
    origins: bytes = b""
    """`origins.json` as it stands, for signers."""
    roster: Roster = field(default_factory=Roster)
    """The federation's nodes; empty for a node that stands alone."""
    problems: tuple[str, ...] = ()
    """What was left out, for operators."""
    parsed: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """Certificates, CRLs and profiles by reader and SHA-256 of their files, for the bundle that comes next."""


def read_bundle(folder: Path, known: Bundle | None = None) -> Bundle:
    """The bundle in `folder`, whole. Raises PathError `trust.bundle` or the code of the table that is wrong.

    `known`: a bundle whose files, where they are there again octet for octet, need not be parsed again.
    """
    for _ in range(3):
        manifest = _read(folder / MANIFEST, MAX_MANIFEST_OCTETS)
        try:
            bundle = _assemble(manifest, _checked_files(folder, manifest), {} if known is None else known.parsed)
        except CrosshallError:
            # A publisher may have replaced files between our two looks; an unchanged manifest means the fault is real.
            if _read(folder / MANIFEST, MAX_MANIFEST_OCTETS) != manifest:
                continue
            newer = _coming(folder, manifest)
            if newer is None:
                raise
            return newer
        return bundle
    raise PathError("trust.bundle", "the bundle changes faster than it can be read")


def coming(name: str) -> str:
    """Where a bundle that replaces another keeps its manifest, and a file by its SHA-256, until all is in place."""
    return f".{name}.coming"


def parse_bundle(manifest: bytes, files: Mapping[str, bytes]) -> Bundle:
    """The bundle of files that are at hand, before they are written. Raises PathError as `read_bundle`."""
    listed = _manifest(manifest).files
    if set(listed) != set(files) or any(hashlib.sha256(files[path]).hexdigest() != listed[path] for path in files):
        raise PathError("trust.bundle", "files and list differ")
    return _assemble(manifest, files)


def manifest_of(files: Mapping[str, bytes], version: int, issued: datetime) -> bytes:
    """`bundle.json` over these files. `issued`: aware."""
    listed = {path: hashlib.sha256(data).hexdigest() for path, data in files.items()}
    body = {"format": FORMAT, "version": version, "issued": issued.isoformat(), "files": listed}
    return (json.dumps(body, indent=1, sort_keys=True) + "\n").encode()


def write_bundle_manifest(folder: Path, version: int | None, issued: datetime) -> None:
    """(Re)write `bundle.json` over all files of `folder`, atomically; `version` None: one more than the last.

    `issued`: aware. Raises PathError `trust.bundle` when the old manifest is needed and cannot be read.
    """
    if version is None:
        version = _manifest(_read(folder / MANIFEST, MAX_MANIFEST_OCTETS)).version + 1
    files = {path: (folder / path).read_bytes() for path in _present(folder)}
    write_atomically(folder / MANIFEST, manifest_of(files, version, issued))


def refresh_manifest(folder: Path, issued: datetime) -> None:
    """`bundle.json` over what `folder` holds now, its version one higher. Raises PathError `trust.bundle`."""
    write_bundle_manifest(folder, None, issued)


def _coming(folder: Path, manifest: bytes) -> Bundle | None:
    """The bundle whose writer was stopped between its files: all of it is at hand, in place or aside. Else None."""
    try:
        newer = _read(folder / coming(MANIFEST), MAX_MANIFEST_OCTETS)
        if _manifest(newer).version < _manifest(manifest).version:
            return None
        return _assemble(newer, {path: _either(folder, path, sha) for path, sha in _manifest(newer).files.items()})
    except CrosshallError:
        return None


def _either(folder: Path, path: str, wanted: str) -> bytes:
    """The file with that SHA-256, from its place or from aside."""
    for place in (folder / path, folder / coming(wanted)):
        if place.is_file() and not place.is_symlink():
            data = _read(place, _limit(path))
            if hashlib.sha256(data).hexdigest() == wanted:
                return data
    raise PathError("trust.bundle", f"{path} is not the file that is listed")


def _limit(path: str) -> int:
    return MAX_CRL_OCTETS if path.startswith("crls/") else MAX_FILE_OCTETS


def _checked_files(folder: Path, manifest: bytes) -> dict[str, bytes]:
    listed = _manifest(manifest).files
    present = set(_present(folder))
    if present != set(listed):
        odd = sorted(present ^ set(listed))
        raise PathError("trust.bundle", f"files and list differ: {', '.join(odd[:5])}")
    files = {}
    for path, wanted in listed.items():
        data = _read(folder / path, _limit(path))
        if hashlib.sha256(data).hexdigest() != wanted:
            raise PathError("trust.bundle", f"{path} is not the file that is listed")
        files[path] = data
    return files


def _present(folder: Path) -> list[str]:
    """Relative paths of all files but the manifest; names that begin with a dot are files being written."""
    found = []
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if path.is_symlink():
            raise PathError("trust.bundle", f"{relative} is a link")
        if path.is_file() and not path.name.startswith(".") and str(relative) != MANIFEST:
            found.append(relative.as_posix())
    return found


def _read(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise PathError("trust.bundle", f"{path.name}: {error.strerror}") from error
    if len(data) > limit:
        raise PathError("trust.bundle", f"{path.name} is larger than {limit} octets")
    return data


def _manifest(data: bytes) -> _Manifest:
    try:
        table: Any = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise PathError("trust.bundle", f"{MANIFEST}: {error}") from error
    if not isinstance(table, dict) or table.get("format") != FORMAT:
        raise PathError("trust.format", f"{MANIFEST}: only format {FORMAT} is known")
    return build(_Manifest, table, "trust.bundle", MANIFEST)


class _Files(dict[str, bytes]):
    """A bundle's files by path; what has been parsed for another bundle, octet for octet, is not parsed again."""

    def __init__(self, files: Mapping[str, bytes], hashes: Mapping[str, str], known: Mapping[str, Any]) -> None:
        super().__init__(files)
        self._hashes = hashes
        self._known = known
        self.parsed: dict[str, Any] = {}

    def once(self, path: str, parse: Callable[[bytes], T]) -> T:
        """The file as `parse` reads it. Raises what `parse` raises, each time."""
        key = f"{parse.__name__} {self._hashes[path]}"
        if key not in self.parsed:
            self.parsed[key] = self._known[key] if key in self._known else parse(self[path])
        found: T = self.parsed[key]
        return found


def _assemble(manifest: bytes, octets: Mapping[str, bytes], known: Mapping[str, Any] = MappingProxyType({})) -> Bundle:
    head = _manifest(manifest)
    files = _Files(octets, head.files, known)
    crls, problems = _crls(files)
    profiles = _profiles(files)
    bundle = Bundle(
        version=head.version,
        issued=head.issued,
        hash=hashlib.sha256(manifest).hexdigest(),
        anchors=tuple(_certificate(files, path, load_anchor) for path in _under(files, "anchors/", ".pem")),
        certificates=tuple(_certificate(files, path) for path in _under(files, "cross/", ".pem")),
        profiles=profiles,
        lists=tuple(_entries(files)),
        levels=_table(files, "levels.toml", parse_levels, Levels()),
        policy=_table(files, "policy.toml", parse_policy, TrustPolicy()),
        crls=crls,
        denials=tuple(_denials(files)),
        origins=files.get("origins.json", b""),
        roster=_table(files, "roster.json", parse_roster, Roster()),
        problems=problems,
        parsed=files.parsed,
    )
    _consistent(bundle)
    return bundle


def _under(files: Mapping[str, bytes], folder: str, ending: str) -> list[str]:
    return sorted(path for path in files if path.startswith(folder) and path.endswith(ending))


def _certificate(files: _Files, path: str, load: Callable[[bytes], Certificate] = load_certificate) -> Certificate:
    if path not in files:
        raise PathError("trust.list", f"{path} is not in the bundle")
    try:
        return files.once(path, load)
    except CrosshallError as error:
        raise PathError("trust.certificate", f"{path}: {error}") from error


def _profiles(files: _Files) -> Mapping[str, Profile]:
    profiles: dict[str, Profile] = {}
    keys: dict[str, str] = {}
    for path in _under(files, "profiles/", ".toml"):
        profile = _profile(files, path)
        if profile.id in profiles:
            raise PathError("trust.profile", f"{path}: id {profile.id} is there twice")
        profiles[profile.id] = profile
        for key in profile.keys:
            if keys.setdefault(key, profile.id) != profile.id:
                raise PathError("trust.profile", f"{path}: a key of {keys[key]} is claimed again")
    return MappingProxyType(profiles)


def _profile(files: _Files, path: str) -> Profile:
    def profile(data: bytes) -> Profile:
        return parse_profile(data, path)

    return files.once(path, profile)


def _entries(files: _Files) -> Iterable[ListEntry]:
    for path in _under(files, "lists/", ".toml"):
        for row in parse_rows(files[path], path):
            root, signing = _certificate(files, f"lists/{row.root}"), _certificate(files, f"lists/{row.signing}")
            yield ListEntry(row.ca, root, signing, row.valid_from, row.valid_to, row.type_name, row.policy_prefix)


def _denials(files: Mapping[str, bytes]) -> Iterable[Denial]:
    """Everything below `denials/`: a refusal that was passed over for its name would be trust."""
    for path in sorted(path for path in files if path.startswith("denials/")):
        if not path.endswith(".toml"):
            raise PathError("trust.denials", f"{path} is not a table of denials")
        yield from parse_denials(files[path], path)


def _table(files: Mapping[str, bytes], path: str, parse: Callable[[bytes, str], Any], empty: Any) -> Any:
    return parse(files[path], path) if path in files else empty


def _crls(files: _Files) -> tuple[tuple[Crl, ...], tuple[str, ...]]:
    crls, problems = [], []
    filters = {f"crls/{path[8:-4]}.crl": path for path in _under(files, "filters/", ".gcs")}
    for named in sorted({*_under(files, "crls/", ".crl"), *filters}):  # as if all were whole
        path = named if named in files else filters[named]
        try:
            crls.append(files.once(path, load_crl if path == named else parse_filter))
        except CrosshallError as error:
            problems.append(f"{path}: {error.code}")
    return tuple(crls), tuple(problems)


def _consistent(bundle: Bundle) -> None:
    for row in bundle.levels.assigned:
        profile = bundle.profiles.get(row.ca)
        if profile is None or profile.type(row.type) is None:
            raise PathError("trust.levels", f"a level is assigned to {row.ca} {row.type}, which no profile has")
    for entry in bundle.lists:
        profile = bundle.profiles.get(entry.ca)
        if profile is None or entry.signing.spki_sha256 not in profile.keys:
            raise PathError("trust.list", f"entry of {entry.ca}: no profile with the signing CA's key")
