"""The bundle folder of the bridge, written from what is in force: the same octets on any two nodes with the same trust.

    targets  as listed            border/x/y  lands in x/y            status  as listed; a CRL or its filter
    refusals of nodes ──▶ denials/nodes/… (rows of their namespace only), crls/nodes/…

What of the border does not fit is left out with all of the border, and said; `bundle.json` is written last.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import tomli_w

from ca_bridge.errors import CrosshallError, FederationError
from ca_bridge.files import write_atomically
from ca_bridge.trust.bundle import MANIFEST, Bundle, coming, manifest_of, parse_bundle
from ca_bridge.trust.model import load_table
from ca_bridge.trust.profile import Profile, parse_profile
from ca_bridge.trust.rules import parse_denials
from nodes import roles
from nodes.filters import filter_path, unfit
from nodes.held import Folder
from nodes.refusals import in_namespace, table
from nodes.view import FileRef, Trusted

_CODE = "federation.bundle"


@dataclass(frozen=True, slots=True)
class Composed:
    """A bundle in memory, read once by the bridge's own reader."""

    manifest: bytes
    files: Mapping[str, bytes]
    bundle: Bundle
    failing: Mapping[str, str]
    """Roles that were left out here, beside those of `Trusted.failing`."""


@dataclass(frozen=True, slots=True)
class Written:
    """What `materialise` did."""

    changed: bool
    hash: str
    failing: Mapping[str, str]


def compose(trusted: Trusted, folder: Folder, own: str) -> Composed:
    """The bundle that is in force, at the node `own`. FederationError `federation.object`, `federation.bundle`."""
    core = {ref.path: _load(folder, ref) for ref in trusted.files if not _foreign(ref.path)}
    _lay_whole(core, trusted, folder)
    border = {ref.path.removeprefix("border/"): _load(folder, ref) for ref in trusted.files if _foreign(ref.path)}
    failing: dict[str, str] = {}
    if border:
        code = _border_fault(core, border, own.partition("/")[0])
        if not code:
            try:
                return _build(trusted, folder, own, {**core, **border}, failing)
            except FederationError as error:
                code = error.code
        failing[roles.BORDER] = code
    return _build(trusted, folder, own, _without_missing_levels(core), failing)


def materialise(trusted: Trusted, folder: Folder, bundle: Path, own: str) -> Written:
    """Make the folder `bundle` what is in force at the node `own`; files that are right are not touched.

    Raises FederationError `federation.object` (something must be fetched again), `federation.bundle`.
    """
    return write(compose(trusted, folder, own), bundle)


def write(composed: Composed, bundle: Path) -> Written:
    """Write what differs, then the manifest, then remove what is not listed.

    Stopped at any moment, the folder reads as the old bundle or the new one: the new one lies aside until it is whole.
    """
    hashes = {path: hashlib.sha256(data).hexdigest() for path, data in composed.files.items()}
    differing = {path: data for path, data in composed.files.items() if not _same(bundle / path, data)}
    new = not _same(bundle / MANIFEST, composed.manifest)
    if differing or new:
        for path, data in differing.items():
            write_atomically(bundle / coming(hashes[path]), data)
        write_atomically(bundle / coming(MANIFEST), composed.manifest)
    for path in differing:
        place = bundle / path
        place.parent.mkdir(parents=True, exist_ok=True)
        aside = place.with_name(f".{place.name}.new")
        aside.unlink(missing_ok=True)
        aside.hardlink_to(bundle / coming(hashes[path]))
        aside.replace(place)
    gone = _surplus(bundle, composed.files)
    if new:
        write_atomically(bundle / MANIFEST, composed.manifest)
    for found in sorted(bundle.glob(coming("*")), key=lambda each: each.name != coming(MANIFEST)):
        found.unlink()
    changed = bool(differing) or new or gone
    return Written(changed, hashlib.sha256(composed.manifest).hexdigest(), composed.failing)


def _surplus(bundle: Path, listed: Mapping[str, bytes]) -> bool:
    """Remove what is not listed; True when there was something."""
    gone = False
    for found in [p for p in bundle.rglob("*") if (p.is_file() or p.is_symlink()) and p.name != MANIFEST]:
        aside = found.parent == bundle and found.match(coming("*"))
        if found.is_symlink() or (not aside and found.relative_to(bundle).as_posix() not in listed):
            gone = True
            found.unlink()
    return gone


def _build(
    trusted: Trusted, folder: Folder, own: str, files: Mapping[str, bytes], failing: Mapping[str, str]
) -> Composed:
    whole = {**files, **_refusals(trusted, folder, own, files)}
    manifest = manifest_of(whole, max(trusted.version, 1), trusted.signed)
    try:
        bundle = parse_bundle(manifest, whole)
    except CrosshallError as error:
        raise FederationError(_CODE, f"{error.code}: {error.detail}") from error
    return Composed(manifest, whole, bundle, failing)


def _lay_whole(core: dict[str, bytes], trusted: Trusted, folder: Folder) -> None:
    """CRLs that are at hand whole take the place of their filters. FederationError `federation.object`: one must be."""
    needed = set(unfit(folder.get, trusted))
    for ref in trusted.whole:
        data = _load(folder, ref) if ref in needed else folder.get(ref.sha256)
        if data is not None:
            core[ref.path] = data
            del core[filter_path(ref.path)]


def _load(folder: Folder, ref: FileRef) -> bytes:
    data = folder.get(ref.sha256)
    if data is None:
        raise FederationError("federation.object", f"{ref.path} is missing or damaged")
    return data


def _same(path: Path, data: bytes) -> bool:
    try:
        return not path.is_symlink() and path.stat().st_size == len(data) and path.read_bytes() == data
    except OSError:
        return False


def _foreign(path: str) -> bool:
    return path.startswith(("border/", "lists/"))


def _border_fault(core: Mapping[str, bytes], border: Mapping[str, bytes], province: str) -> str:
    """Why the border does not fit, empty when it does: it speaks of no domain at home and over no file of targets."""
    if core.keys() & border.keys():
        return "federation.collision"
    try:
        profiles = _profiles(border)
    except CrosshallError:
        return _CODE
    if any(roles.within(profile.domain, province) for profile in profiles.values()):
        return "federation.namespace"
    return ""


def _profiles(files: Mapping[str, bytes]) -> dict[str, Profile]:
    found = [parse_profile(data, path) for path, data in files.items() if path.startswith("profiles/")]
    return {profile.id: profile for profile in found}


def _without_missing_levels(core: Mapping[str, bytes]) -> dict[str, bytes]:
    """Without the border, `levels.toml` has no rows for its CAs: else the whole bundle would contradict itself."""
    files = dict(core)
    if "levels.toml" not in files:
        return files
    try:
        known = set(_profiles(core))
        levels = load_table(files["levels.toml"], "trust.levels", "levels.toml")
        rows = levels.get("assigned", [])
        kept = [row for row in rows if row.get("ca") in known]
    except (CrosshallError, AttributeError, TypeError):
        return files  # it will be refused as a whole, by its own name
    if len(kept) != len(rows):
        files["levels.toml"] = tomli_w.dumps({**levels, "assigned": kept}).encode()
    return files


def _refusals(trusted: Trusted, folder: Folder, own: str, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Refusals of nodes and of the status role's lane; two versions of one file both count."""
    found: dict[str, bytes] = {}
    if not trusted.refusals:
        return found
    try:
        profiles = _profiles(files)
    except CrosshallError as error:
        raise FederationError(_CODE, f"{error.code}: {error.detail}") from error
    for role, refs in sorted(trusted.refusals.items()):
        for ref in refs:
            if files.get(ref.path) is not None and hashlib.sha256(files[ref.path]).hexdigest() == ref.sha256:
                continue
            data = _load(folder, ref)
            name = f"nodes/{role}/{ref.sha256[:16]}"
            if ref.path.endswith(".crl"):
                found[f"crls/{name}.crl"] = data
                continue
            rows = parse_denials(data, "a table of denials")
            if roles.is_node_role(role):
                rows = in_namespace(rows, roles.role_domain(role), profiles, own)
            if rows:
                found[f"denials/{name}.toml"] = table(rows)
    return found
