"""The pinned Keycloak: fetched by Maven, checked by hash, built once into a cache that copies of the project share.

A folder in the cache is complete or absent: everything is made in a `.keycloak-partial-*` folder under a file lock
and renamed at the end, so that an interrupt anywhere leaves nothing that a later call could take for whole.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from filelock import FileLock

from ca_bridge.errors import UpstreamError

VERSION = "26.7.3"
ZIP_SHA256 = "27a6535553c3cdcd083872ba40629efafb3475e3b758e0c6f691395561dd0f1f"
# 2.8, the default of older Mavens, and 3.8.1 both work; one is named so that every machine runs the same.
_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"
_ARTIFACT = f"org.keycloak:keycloak-quarkus-dist:{VERSION}:zip"

# Off because nothing here uses them: each is a way in that need not be defended (research: keycloak.md, section 11).
_FEATURES_OFF = (
    "ciba,device-flow,impersonation,kerberos,kubernetes-service-accounts,opentelemetry,organization,passkeys,"
    "step-up-authentication-saml,token-exchange-standard,workflows"
)

Database = Literal["dev-file", "postgres"]
Progress = Callable[[str], None]


def cache_folder() -> Path:
    """Where built distributions are kept: `$XDG_CACHE_HOME/crosshall`, else `~/.cache/crosshall`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "crosshall"


def build_options(database: Database) -> list[str]:
    """Arguments of `kc.sh build`; with the version they name the folder in the cache."""
    return [f"--db={database}", "--health-enabled=true", f"--features-disabled={_FEATURES_OFF}"]


def home_folder(database: Database, cache: Path | None = None) -> Path:
    """Where the distribution built for `database` is, or would be."""
    key = hashlib.sha256("\0".join([ZIP_SHA256, *build_options(database)]).encode()).hexdigest()[:12]
    return (cache or cache_folder()) / f"keycloak-{VERSION}-{database}-{key}"


def install(
    database: Database = "dev-file",
    *,
    cache: Path | None = None,
    archive: Path | None = None,
    progress: Progress = lambda _: None,
) -> Path:
    """A built Keycloak for `database`, made when absent (about 40 s); safe to interrupt and to call side by side.

    `archive`: the distribution's zip, for a machine that reaches no Maven repository; the same hash is asked of it.
    `progress` is told each long step. Returns the folder, to be read only. Raises UpstreamError `realm.download`
    (Maven failed, or the archive is not the pinned one) or `realm.build`.
    """
    home = home_folder(database, cache)
    if home.is_dir():
        return home
    with locked(home.parent):
        if home.is_dir():
            return home
        with partial_folder(home.parent) as work:
            given = _download(work, progress) if archive is None else _carried(archive, work)
            tree = _unpack(given, work, progress)
            _build(tree, database, progress)
            tree.rename(home)
    return home


@contextmanager
def locked(cache: Path) -> Iterator[None]:
    """The cache is ours alone until the block ends; what interrupted runs left half made is removed first."""
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / "keycloak.lock"):
        for left in cache.glob(".keycloak-partial-*"):
            shutil.rmtree(left, ignore_errors=True)
        yield


@contextmanager
def partial_folder(cache: Path) -> Iterator[Path]:
    """A work folder beside the final ones (so that a rename is atomic); removed at the end. Call it under `locked`."""
    work = Path(tempfile.mkdtemp(dir=cache, prefix=".keycloak-partial-"))
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _download(work: Path, progress: Progress) -> Path:
    progress(f"Keycloak {VERSION}: fetching by Maven (177 MB)")
    command = ["mvn", "-q", "-B", f"{_PLUGIN}:copy", f"-Dartifact={_ARTIFACT}", f"-DoutputDirectory={work}"]
    try:
        done = subprocess.run(command, cwd=work, capture_output=True, text=True, timeout=900, check=False)
    except FileNotFoundError as error:
        raise UpstreamError("realm.download", "mvn is not on the PATH") from error
    except subprocess.TimeoutExpired as error:
        raise UpstreamError("realm.download", "Maven took more than 15 minutes") from error
    archive = work / f"keycloak-quarkus-dist-{VERSION}.zip"
    if done.returncode != 0 or not archive.is_file():
        raise UpstreamError("realm.download", f"Maven ended with {done.returncode}: {done.stdout[-1500:]}")
    check_archive(archive)
    return archive


def _carried(archive: Path, work: Path) -> Path:
    """A copy, checked: what lies on the disk that was carried stays there."""
    try:
        copy = Path(shutil.copy(archive, work / f"keycloak-quarkus-dist-{VERSION}.zip"))
    except OSError as error:
        raise UpstreamError("realm.download", f"cannot read {archive}: {error.strerror}") from error
    check_archive(copy)
    return copy


def check_archive(archive: Path, expected: str = ZIP_SHA256) -> None:
    """Return when the file's SHA-256 is `expected`, else raise UpstreamError `realm.download`."""
    with archive.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise UpstreamError("realm.download", f"{archive.name} has SHA-256 {found}, pinned is {expected}")


def _unpack(archive: Path, work: Path, progress: Progress) -> Path:
    progress(f"Keycloak {VERSION}: unpacking")
    try:
        with zipfile.ZipFile(archive) as bundle:
            bundle.extractall(work)
    except (zipfile.BadZipFile, OSError) as error:
        raise UpstreamError("realm.build", f"cannot unpack {archive.name}: {error}") from error
    archive.unlink()
    return work / f"keycloak-{VERSION}"


def _build(tree: Path, database: Database, progress: Progress) -> None:
    progress(f"Keycloak {VERSION}: building for {database} (about 25 s, once)")
    command = ["sh", str(tree / "bin" / "kc.sh"), "build", *build_options(database)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KC_")}
    try:
        done = subprocess.run(
            command, env=environment, cwd=tree, capture_output=True, text=True, timeout=900, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise UpstreamError("realm.build", "kc.sh build took more than 15 minutes") from error
    if done.returncode != 0:
        raise UpstreamError("realm.build", f"kc.sh build ended with {done.returncode}: {done.stdout[-1500:]}")
