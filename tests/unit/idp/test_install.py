"""The pinned Keycloak: fetched, checked, complete or absent."""

from __future__ import annotations

import hashlib
import stat
import zipfile
from pathlib import Path

import pytest

from ca_bridge.errors import UpstreamError
from idp import install as module
from idp.install import build_options, check_archive, home_folder, install, locked

BUILD = '#!/bin/sh\ntest "$1" = build || exit 3\ncd "$(dirname "$0")/.."\nmkdir -p lib/quarkus\n: > lib/built\n'


@pytest.fixture(name="cache")
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache, and a Maven that hands out a small archive which is taken for the pinned one."""
    archive = tmp_path / "dist.zip"
    script(tmp_path, monkeypatch, archive, BUILD)
    return tmp_path / "cache"


def script(folder: Path, patch: pytest.MonkeyPatch, archive: Path, build: str) -> None:
    """Put a stand-in `mvn` on the PATH that copies `archive`, whose kc.sh is `build`."""
    with zipfile.ZipFile(archive, "w") as bundle:
        bundle.writestr(f"keycloak-{module.VERSION}/bin/kc.sh", build)
    programs = folder / "programs"
    programs.mkdir(exist_ok=True)
    maven = programs / "mvn"
    maven.write_text(
        f'#!/bin/sh\ncp "{archive}" "./keycloak-quarkus-dist-{module.VERSION}.zip"\necho run >> "{folder}/runs"\n'
    )
    maven.chmod(maven.stat().st_mode | stat.S_IXUSR)
    patch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    patch.setattr(check_archive, "__defaults__", (hashlib.sha256(archive.read_bytes()).hexdigest(),))


def test_installed_once(cache: Path, tmp_path: Path) -> None:
    """The first call fetches and builds and tells so; the second finds it."""
    said: list[str] = []
    home = install(cache=cache, progress=said.append)
    assert (home / "lib" / "built").is_file()
    assert len(said) == 3
    assert install(cache=cache, progress=said.append) == home
    assert len(said) == 3
    assert (tmp_path / "runs").read_text().count("run") == 1
    assert not list(cache.glob(".keycloak-partial-*"))


def test_the_folder_names_version_database_and_options() -> None:
    """Another database or other build options are another folder."""
    assert home_folder("dev-file") != home_folder("postgres")
    assert module.VERSION in home_folder("dev-file").name
    assert "--db=postgres" in build_options("postgres")


def test_a_wrong_hash_is_refused(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An archive that is not the pinned one is not unpacked: `realm.download`, nothing left behind."""
    monkeypatch.setattr(check_archive, "__defaults__", (module.ZIP_SHA256,))
    with pytest.raises(UpstreamError) as caught:
        install(cache=cache)
    assert caught.value.code == "realm.download"
    assert module.ZIP_SHA256 in caught.value.detail
    assert not home_folder("dev-file", cache).exists()
    assert not list(cache.glob(".keycloak-partial-*"))


def test_a_carried_archive_needs_no_maven(cache: Path, tmp_path: Path) -> None:
    """The archive is copied and checked by the same hash; Maven is not asked, the disk keeps its file."""
    home = install(cache=cache, archive=tmp_path / "dist.zip")
    assert (home / "lib" / "built").is_file()
    assert (tmp_path / "dist.zip").is_file()
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("content", [None, b"", b"PK another"], ids=["absent", "empty", "another"])
def test_a_carried_archive_that_is_not_the_pinned_one(cache: Path, tmp_path: Path, content: bytes | None) -> None:
    """`realm.download`, and nothing is left behind."""
    carried = tmp_path / "carried.zip"
    if content is not None:
        carried.write_bytes(content)
    with pytest.raises(UpstreamError) as caught:
        install(cache=cache, archive=carried)
    assert caught.value.code == "realm.download"
    assert not home_folder("dev-file", cache).exists()
    assert not list(cache.glob(".keycloak-partial-*"))


def test_a_failing_maven_is_told(cache: Path, tmp_path: Path) -> None:
    """Maven's own words are in the detail."""
    (tmp_path / "programs" / "mvn").write_text("#!/bin/sh\necho no such host\nexit 1\n")
    with pytest.raises(UpstreamError, match="no such host") as caught:
        install(cache=cache)
    assert caught.value.code == "realm.download"


def test_no_maven_at_all(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Maven: a typed error, not a trace."""
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    with pytest.raises(UpstreamError) as caught:
        install(cache=cache)
    assert caught.value.code == "realm.download"


@pytest.mark.parametrize("build", ["#!/bin/sh\necho out of memory\nexit 2\n"], ids=["fails"])
def test_a_failing_build_leaves_nothing(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, build: str
) -> None:
    """`realm.build` with the build's words; the next call starts afresh and succeeds."""
    script(tmp_path, monkeypatch, tmp_path / "bad.zip", build)
    with pytest.raises(UpstreamError, match="out of memory") as caught:
        install(cache=cache)
    assert caught.value.code == "realm.build"
    script(tmp_path, monkeypatch, tmp_path / "good.zip", BUILD)
    assert install(cache=cache).is_dir()


def test_an_archive_that_is_none(cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Bytes that are no zip, though of the expected hash: `realm.build`."""
    (tmp_path / "dist.zip").write_bytes(b"not a zip")
    monkeypatch.setattr(check_archive, "__defaults__", (hashlib.sha256(b"not a zip").hexdigest(),))
    with pytest.raises(UpstreamError) as caught:
        install(cache=cache)
    assert caught.value.code == "realm.build"


def test_an_interrupt_leaves_nothing_whole(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed while building: no folder of the final name; leftovers go with the next call."""
    (cache / ".keycloak-partial-left").mkdir(parents=True)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "_build", stop)
        with pytest.raises(KeyboardInterrupt):
            install(cache=cache)
    assert not home_folder("dev-file", cache).exists()
    assert install(cache=cache).is_dir()
    assert not list(cache.glob(".keycloak-partial-*"))


def test_others_files_in_the_cache_stay(cache: Path) -> None:
    """The cache is shared with other parts: only our own leftovers are removed."""
    (cache / ".partial-of-others").mkdir(parents=True)
    with locked(cache):
        assert (cache / ".partial-of-others").is_dir()
