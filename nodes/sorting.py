"""A province's source bundle, checked and parted among the roles that sign it.

What belongs to domains outside the province goes to the border: its profiles, its trust lists, and those CA
certificates through which nothing else is reached.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path

from ca_bridge.asn1.certificate import Certificate, load_certificate
from ca_bridge.errors import CrosshallError, FederationError
from ca_bridge.trust.bundle import MANIFEST, Bundle, read_bundle
from ca_bridge.trust.profile import parse_profile
from ca_bridge.verdict.lint import lint
from ca_bridge.verdict.snapshot import compile_bundle
from nodes import roles

_CODE = "federation.bundle"
_MOVED = ("anchors/", "cross/", "profiles/")


def sort_bundle(folder: Path, province: str, now: datetime) -> dict[str, dict[str, bytes]]:
    """Files by role: targets, border, status. `now`: aware, for the linter.

    Raises FederationError `federation.bundle`: unreadable, or the linter finds an error; `federation.path`,
    `federation.namespace`: a file that no role may sign.
    """
    try:
        bundle = read_bundle(folder)
        errors = [found for found in lint(compile_bundle(bundle), now) if found.severity == "error"]
    except CrosshallError as error:
        raise FederationError(_CODE, str(error)) from error
    if errors:
        raise FederationError(_CODE, "; ".join(f"{found.code}: {found.subject}" for found in errors[:5]))
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".") and path != folder / MANIFEST
    }
    return part(files, bundle, province)


def part(files: Mapping[str, bytes], bundle: Bundle, province: str) -> dict[str, dict[str, bytes]]:
    """Each file under the path and role by which it is published."""
    abroad = {p.id for p in bundle.profiles.values() if not roles.within(p.domain, province)}
    keys = {key for p in bundle.profiles.values() if p.id in abroad for key in p.keys}
    home = {key for p in bundle.profiles.values() if p.id not in abroad for key in p.keys}
    certificates = {p: load_certificate(d) for p, d in files.items() if p.startswith(_MOVED[:2]) and p.endswith(".pem")}
    border = _border_keys(certificates.values(), keys, home)
    found: dict[str, dict[str, bytes]] = {roles.TARGETS: {}, roles.BORDER: {}, roles.STATUS: {}}
    for path, data in files.items():
        moved = path in certificates and certificates[path].spki_sha256 in border
        moved = moved or (path.startswith("profiles/") and parse_profile(data, path).id in abroad)
        target = f"border/{path}" if moved else path
        found[roles.owner(target)][target] = data
    return found


def _border_keys(certificates: Iterable[Certificate], keys: set[str], home: set[str]) -> set[str]:
    """Keys of CAs abroad, and of those above them that issue for nobody at home."""
    known = list(certificates)
    border = set(keys)
    while True:
        subjects = {c.issuer.normalised for c in known if c.spki_sha256 in border and not _self(c)}
        needed = {c.issuer.normalised for c in known if c.spki_sha256 not in border and not _self(c)}
        more = {
            c.spki_sha256
            for c in known
            if c.subject.normalised in subjects - needed and c.spki_sha256 not in border | home
        }
        if not more:
            return border
        border |= more


def _self(certificate: Certificate) -> bool:
    return certificate.issuer.normalised == certificate.subject.normalised
