"""Status data that is newer than the bundle's: CRLs and OCSP answers which the fetcher lays beside it.

    <folder>/status.json ── format, files: {path: SHA-256}      replaced last, atomically
    <folder>/crls/<SHA-256>.crl   <folder>/ocsp/<SHA-256>.ocsp  named by their content, never changed

The bundle stays what its publisher signed. Nothing here is trusted for lying here: an answer counts only by a signature
under a key that the bundle trusts, checked when a certificate is judged, as it is for the bundle's own CRLs.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ca_bridge.asn1.crl import MAX_CRL_OCTETS, Crl, parse_crl
from ca_bridge.asn1.ocsp import MAX_OCSP_OCTETS, OcspResponse, parse_ocsp
from ca_bridge.errors import CrosshallError, RevocationError
from ca_bridge.files import write_atomically

FORMAT = 1
LIST = "status.json"
MAX_LIST_OCTETS = 4 << 20
MAX_FILES = 10_000
_PATH = re.compile(r"(crls/([0-9a-f]{64})\.crl|ocsp/([0-9a-f]{64})\.ocsp)")
_CODE = "revocation.overlay"


@dataclass(frozen=True, slots=True)
class Overlay:
    """What one `status.json` lists; empty when there is none."""

    hash: str = ""
    """SHA-256 of `status.json`, hexadecimal; empty: no overlay."""
    crls: Mapping[str, Crl] = field(default_factory=dict)
    """By path."""
    responses: Mapping[str, OcspResponse] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    """What was left out, for operators."""


EMPTY = Overlay()


def read_list(folder: Path) -> bytes | None:
    """`status.json` as it stands, None when there is none. Raises RevocationError `revocation.overlay`."""
    try:
        with (folder / LIST).open("rb") as file:
            data = file.read(MAX_LIST_OCTETS + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RevocationError(_CODE, f"{LIST}: {error.strerror}") from error
    if len(data) > MAX_LIST_OCTETS:
        raise RevocationError(_CODE, f"{LIST} is larger than {MAX_LIST_OCTETS} octets")
    return data


def read_overlay(folder: Path, known: Overlay = EMPTY) -> Overlay:
    """The overlay in `folder`; files that `known` holds already are not read again.

    Raises RevocationError `revocation.overlay`. A file that is missing or differs refuses the whole; one that cannot be
    parsed is left out and named.
    """
    for _ in range(3):
        listed = read_list(folder)
        if listed is None:
            return EMPTY
        digest = hashlib.sha256(listed).hexdigest()
        if digest == known.hash:
            return known
        try:
            return _read(folder, listed, digest, known)
        except RevocationError:
            if read_list(folder) == listed:  # else the fetcher has just replaced it
                raise
    raise RevocationError(_CODE, "the overlay changes faster than it can be read")


def write_overlay(folder: Path, crls: Mapping[str, bytes | None], responses: Mapping[str, bytes | None]) -> None:
    """Make these the overlay, whole or not at all; what is no longer listed is removed afterwards.

    Both by SHA-256 (hexadecimal) of their octets; None: the file is there already. Raises RevocationError
    `revocation.overlay` when it cannot be written (the disk is full).
    """
    files = {f"crls/{digest}.crl": data for digest, data in crls.items()}
    files |= {f"ocsp/{digest}.ocsp": data for digest, data in responses.items()}
    body = {"format": FORMAT, "files": {path: Path(path).stem for path in sorted(files)}}
    try:
        for path, data in files.items():
            if data is not None:
                write_atomically(folder / path, data)
        write_atomically(folder / LIST, (json.dumps(body, indent=1) + "\n").encode())
        for path in _present(folder):
            if path not in files:
                (folder / path).unlink(missing_ok=True)
    except OSError as error:
        raise RevocationError(_CODE, f"{folder}: {error.strerror}") from error


def salvage(folder: Path) -> None:
    """Make an overlay that cannot be read one of those files that are whole. Raises RevocationError."""
    good: dict[str, set[str]] = {"crls": set(), "ocsp": set()}
    for path in _present(folder):
        try:
            _file(folder, path, MAX_CRL_OCTETS)
        except RevocationError:
            continue
        good[path.partition("/")[0]].add(Path(path).stem)
    write_overlay(folder, dict.fromkeys(good["crls"]), dict.fromkeys(good["ocsp"]))


def _present(folder: Path) -> list[str]:
    found = [f"{path.parent.name}/{path.name}" for kind in ("crls", "ocsp") for path in (folder / kind).glob("*")]
    return sorted(path for path in found if _PATH.fullmatch(path))


def _read(folder: Path, listed: bytes, digest: str, known: Overlay) -> Overlay:
    crls: dict[str, Crl] = {}
    responses: dict[str, OcspResponse] = {}
    problems = []
    for path in _paths(listed):
        if path in known.crls:
            crls[path] = known.crls[path]
            continue
        if path in known.responses:
            responses[path] = known.responses[path]
            continue
        try:
            if path.startswith("crls/"):
                crls[path] = parse_crl(_file(folder, path, MAX_CRL_OCTETS))
            else:
                responses[path] = parse_ocsp(_file(folder, path, MAX_OCSP_OCTETS))
        except RevocationError:
            raise
        except CrosshallError as error:
            problems.append(f"status {path}: {error.code}")
    return Overlay(digest, crls, responses, tuple(problems))


def _paths(listed: bytes) -> list[str]:
    """What the list names; each path carries the hash that the list gives it."""
    try:
        table = json.loads(listed)
    except (ValueError, RecursionError) as error:
        raise RevocationError(_CODE, f"{LIST}: not JSON") from error
    files = table.get("files") if isinstance(table, dict) and table.get("format") == FORMAT else None
    if not isinstance(files, dict) or len(files) > MAX_FILES:
        raise RevocationError(_CODE, f"{LIST}: only format {FORMAT} is known")
    for path, digest in files.items():
        if _PATH.fullmatch(path) is None or digest != Path(path).stem:
            raise RevocationError(_CODE, f"{LIST}: a path that is not one of ours")
    return list(files)


def _file(folder: Path, path: str, limit: int) -> bytes:
    try:
        with (folder / path).open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise RevocationError(_CODE, f"{path}: {error.strerror}") from error
    if hashlib.sha256(data).hexdigest() != Path(path).stem:
        raise RevocationError(_CODE, f"{path} is not the file that is listed")
    return data
