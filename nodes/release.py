"""The releases of Crosshall that the province names in the bundle's `software.json`, signed by its targets role.

A package itself does not travel with the bundle: it comes by any way, and counts when its octets are those named here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from filelock import FileLock
from pydantic import Field, field_validator, model_validator

from ca_bridge.errors import FederationError, PathError
from ca_bridge.files import write_atomically
from ca_bridge.trust.bundle import refresh_manifest
from ca_bridge.trust.model import DomainName, Model, Sha256, build
from ca_bridge.trust.roster import Software
from nodes.roster import read_roster, set_floor

FILE = "software.json"
ALL = "all"
MAX_PACKAGE_OCTETS = 512 * 1024 * 1024
Version = Annotated[str, Field(pattern=r"^[0-9]{1,9}(\.[0-9]{1,9}){0,4}$")]


class Release(Model):
    """One version: its package, the versions it upgrades from, the nodes that it is for."""

    version: Version
    sha256: Sha256
    length: Annotated[int, Field(ge=1, le=MAX_PACKAGE_OCTETS, strict=True)]
    upgrades_from: Version
    """The lowest version that can be upgraded to this one at once."""
    nodes: Literal["all"] | tuple[DomainName, ...] = ()

    @model_validator(mode="after")
    def _forward(self) -> Release:
        if below(self.version, self.upgrades_from):
            raise ValueError("upgrades from a later version")
        return self

    def is_for(self, node: str) -> bool:
        """Whether the release is staged to that node."""
        return self.nodes == ALL or node in self.nodes


class Releases(Model):
    """All releases, each version once."""

    format: Literal[1] = 1
    releases: tuple[Release, ...] = ()

    @field_validator("releases")
    @classmethod
    def _once(cls, releases: tuple[Release, ...]) -> tuple[Release, ...]:
        # pairwise, for 1.2 is 1.2.0; there are few
        if any(same(one.version, other.version) for n, one in enumerate(releases) for other in releases[:n]):
            raise ValueError("a version is there twice")
        return releases

    def find(self, version: str) -> Release:
        """The release of that version. Raises FederationError `node.release`."""
        for release in self.releases:
            if same(release.version, version):
                return release
        raise FederationError("node.release", f"{version} is not named by the province")


def below(version: str, other: str) -> bool:
    """Whether `version` is lower than `other`, by number. Raises FederationError `node.release`: `other` is none."""
    try:
        return Software(floor=other).below(version)
    except ValueError as error:
        raise FederationError("node.release", "a version is dotted numbers: 1.2.0") from error


def same(version: str, other: str) -> bool:
    """Whether both are one version: 1.2 is 1.2.0."""
    return not below(version, other) and not below(other, version)


def parse_releases(data: bytes) -> Releases:
    """The releases from JSON. Raises FederationError `node.release`."""
    try:
        table: Any = json.loads(data)
        if not isinstance(table, dict) or table.get("format") != 1:
            raise FederationError("node.release", f"{FILE}: only format 1 is known")
        return build(Releases, table, "trust.roster", FILE)
    except (ValueError, RecursionError, PathError) as error:
        raise FederationError("node.release", f"{FILE}: {error}") from error


def read_releases(bundle: Path) -> Releases:
    """The releases of a bundle's folder; none where the file is absent. Raises FederationError `node.release`."""
    path = bundle / FILE
    return parse_releases(path.read_bytes()) if path.exists() else Releases()


def check_package(package: Path, release: Release) -> None:
    """The file is the release's package, octet for octet. Raises FederationError `node.package`."""
    digest, length = _digest(package)
    if (digest, length) != (release.sha256, release.length):
        raise FederationError("node.package", f"{package.name} is not the package of {release.version}")


def allowed(releases: Releases, node: str, running: str, wanted: str) -> Release:
    """The release `wanted`, when `node` may go to it from `running`. Raises FederationError `node.release`."""
    release = releases.find(wanted)
    if not release.is_for(node):
        raise FederationError("node.release", f"{release.version} is not staged to {node}")
    if not below(running, release.version):
        raise FederationError("node.release", f"{running} is running, {release.version} is not newer")
    if below(running, release.upgrades_from):
        raise FederationError("node.release", f"{release.version} upgrades from {release.upgrades_from} or later")
    return release


def add(bundle: Path, version: str, package: Path, upgrades_from: str, now: datetime) -> Release:
    """Name a release, staged to no node yet. Raises FederationError `node.release`, `node.package`."""
    digest, length = _digest(package)
    row = {"version": version, "sha256": digest, "length": length, "upgrades_from": upgrades_from}
    with _lock(bundle):
        old = read_releases(bundle)
        _write(bundle, [*(known.model_dump(mode="json") for known in old.releases), row], now)
        return read_releases(bundle).find(version)


def stage(bundle: Path, version: str, to: Iterable[str] | Literal["all"], now: datetime) -> Release:
    """The release is for these nodes and no other. Raises FederationError `node.release`, `node.unknown`."""
    nodes: str | list[str] = ALL if to == ALL else sorted(set(to))
    roster = read_roster(bundle)
    for name in nodes if isinstance(nodes, list) else ():
        if roster.find(name) is None:
            raise FederationError("node.unknown", f"no such node: {name}")
    with _lock(bundle):
        old = read_releases(bundle)
        wanted = old.find(version)
        if nodes != ALL and _carriers(old, roster.software.floor) == [wanted.version]:
            raise FederationError("node.release", f"{version} is what the floor {roster.software.floor} rests on")
        rows = [known.model_dump(mode="json") for known in old.releases]
        _write(bundle, [{**row, "nodes": nodes} if row["version"] == wanted.version else row for row in rows], now)
        return read_releases(bundle).find(version)


def floor(bundle: Path, version: str, now: datetime) -> None:
    """Below `version` nodes are red. Refused while no release at or above it is staged to all nodes: they could do
    nothing about it. Raises FederationError `node.release`.
    """
    with _lock(bundle):
        if not _carriers(read_releases(bundle), version):
            raise FederationError("node.release", f"no release at or above {version} is staged to all nodes")
        set_floor(bundle, version, now)


def _carriers(releases: Releases, floor: str) -> list[str]:
    """The releases by which every node reaches the floor; none where there is no floor."""
    return [row.version for row in releases.releases if floor and row.nodes == ALL and not below(row.version, floor)]


def _digest(package: Path) -> tuple[str, int]:
    try:
        with package.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return digest, file.tell()
    except OSError as error:
        raise FederationError("node.package", f"{package.name}: {error.strerror}") from error


def _write(bundle: Path, rows: list[dict[str, Any]], now: datetime) -> None:
    text = json.dumps({"format": 1, "releases": rows}, indent=1, sort_keys=True).encode()
    parse_releases(text)  # what is written is what every node will be able to read
    write_atomically(bundle / FILE, text)
    refresh_manifest(bundle, now)


def _lock(bundle: Path) -> FileLock:
    return FileLock(bundle.parent / ".software.lock", timeout=10)
