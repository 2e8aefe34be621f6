"""Which CRLs travel as filters: made where they are published, held against what is listed where they arrive.

    crls/<name>.crl with filters/<name>.gcs beside it in one role's metadata ── the CRL is brought when it is needed

The whole CRL stays listed, with its hash and length: the filter says what it stands for, and counts for nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from ca_bridge.asn1.certificate import Certificate, load_certificate
from ca_bridge.asn1.crl import Crl, load_crl
from ca_bridge.errors import CrosshallError, RevocationError
from ca_bridge.path.validate import DEFAULT_SM2_ID
from ca_bridge.revocation.crl import signed
from ca_bridge.trust import filter as compact
from ca_bridge.trust.profile import parse_profile
from nodes import roles

if TYPE_CHECKING:
    from nodes.view import FileRef, Trusted

SMALL = 4096
"""A CRL of fewer octets travels whole."""
_CERTIFICATES = ("anchors/", "cross/", "lists/")


def filter_path(path: str) -> str:
    """Where the filter of the CRL at `path` lies; empty for what no filter stands for."""
    if not (path.startswith("crls/") and path.endswith(".crl")):
        return ""
    return f"filters/{path[5:-4]}.gcs"


def worth(whole: bytes, made: bytes) -> bool:
    """Whether the filter is sent: for CRLs that are not small, when it is much smaller."""
    return len(whole) > SMALL and len(made) < len(whole) // 2 and len(made) <= roles.FILE_CAP


def with_filters(
    files: Mapping[str, bytes], trust: Callable[[], Mapping[str, bytes]], known: Callable[[str], bytes | None]
) -> dict[str, bytes]:
    """`files` with a filter beside each CRL that is worth one, and no other.

    `trust`: published certificates and profiles by path, whose keys sign CRLs; a CRL that none of them signed, or that
    more than one may have, stays alone. `known`: the filter published before at a path, used again when it fits.
    """
    made = {path: data for path, data in files.items() if not path.startswith("filters/")}
    large = {path: data for path, data in made.items() if filter_path(path) and len(data) > SMALL}
    signers = _Signers(trust()) if large else None
    for path, data in large.items():
        try:
            crl = load_crl(data)
        except CrosshallError:
            continue  # nodes say that it cannot be read
        found = None if signers is None or crl.der != data else signers.of(crl)
        if found is None:
            continue
        before = known(filter_path(path))
        if before is None or not fits(before, crl.sha256, found):
            try:
                before = compact.build(crl, *found)
            except CrosshallError:
                continue
        if worth(data, before):
            made[filter_path(path)] = before
    return made


def fits(data: bytes | None, whole: str, signer: tuple[str, str] | None = None) -> bool:
    """Whether `data` is a filter of the CRL with the SHA-256 `whole` (and of that key and SM2 ID, when given)."""
    try:
        summary = compact.parse_filter(data or b"").summary
    except RevocationError:
        return False
    return summary is not None and summary.whole == whole and signer in (None, (summary.key, summary.sm2_id))


def unfit(get: Callable[[str], bytes | None], trusted: Trusted) -> list[FileRef]:
    """The CRLs whose filter is not theirs, or cannot be read: they must be at hand whole. `get`: a file by SHA-256."""
    filters = {ref.path: ref.sha256 for ref in trusted.files if ref.path.startswith("filters/")}
    return [ref for ref in trusted.whole if not fits(get(filters[filter_path(ref.path)]), ref.sha256)]


def dishonest(get: Callable[[str], bytes | None], trusted: Trusted, known: dict[str, bool]) -> bool:
    """Whether a filter is not what its CRL makes, of those whose CRLs are at hand: the online role's word is checked.

    `known`: what was found before, by SHA-256 of the filter; brought up to date here.
    """
    filters = {ref.path: ref.sha256 for ref in trusted.files if ref.path.startswith("filters/")}
    found: dict[str, bool] = {}
    for ref in trusted.whole:
        name = filters[filter_path(ref.path)]
        data, whole = get(name), get(ref.sha256)
        if name in known:
            found[name] = known[name]
        elif data is not None and whole is not None:
            found[name] = _made(data, whole)
    known.clear()
    known.update(found)
    return not all(found.values())


def _made(data: bytes, whole: bytes) -> bool:
    try:
        summary = compact.parse_filter(data).summary
        assert summary is not None
        return compact.build(load_crl(whole), summary.key, summary.sm2_id) == data
    except CrosshallError:
        return False


class _Signers:
    """The published keys that may have signed a CRL, by subject."""

    def __init__(self, trust: Mapping[str, bytes]) -> None:
        self._ids: dict[str, str] = {}
        self._certificates: dict[object, list[Certificate]] = {}
        for path, data in trust.items():
            inner = path.removeprefix("border/")
            try:
                if inner.startswith("profiles/"):
                    profile = parse_profile(data, path)
                    self._ids.update(dict.fromkeys(profile.keys, profile.sm2_id))
                elif inner.startswith(_CERTIFICATES) and inner.endswith(".pem"):
                    certificate = load_certificate(data)
                    self._certificates.setdefault(certificate.subject.normalised, []).append(certificate)
            except CrosshallError:
                continue  # what cannot be read signs nothing

    def of(self, crl: Crl) -> tuple[str, str] | None:
        """SHA-256 of the SubjectPublicKeyInfo, and SM2 ID, of the one key that signed it; None: no or no single one."""
        found = set(self._tried(self._certificates.get(crl.issuer.normalised, ()), crl))
        return found.pop() if len(found) == 1 else None

    def _tried(self, certificates: Iterable[Certificate], crl: Crl) -> Iterable[tuple[str, str]]:
        for spki, name in {(each.spki, each.spki_sha256) for each in certificates}:
            sm2_id = self._ids.get(name, DEFAULT_SM2_ID)
            if signed(crl, spki, sm2_id):
                yield name, sm2_id
