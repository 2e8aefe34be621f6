"""Reading a bundle and its tables: whole or refused, nothing unknown, each fault with its own code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ca_bridge.errors import CrosshallError, PathError
from ca_bridge.trust.bundle import read_bundle, refresh_manifest, write_bundle_manifest
from ca_bridge.trust.lists import policy_matches
from ca_bridge.trust.profile import parse_profile
from ca_bridge.trust.rules import certificate_key, parse_denials, parse_levels, parse_policy
from tests.pki import NOW, Authority, pem

ROOT = Authority.create("Root")
KEY = hashlib.sha256(ROOT.spki).hexdigest()
PROFILE = f"""
id = "gd"
version = 1
domain = "gd"
accreditation = "gd-01"
name = {{ zh-Hans = "a", zh-Hant = "b", en = "c", pt = "d" }}
keys = ["{KEY}"]
algorithms = ["rsa"]
asserts = ["cn-id"]
max_level = 4
[[types]]
id = "person"
kind = "person"
storage = "token"
capacities = ["citizen"]
match = {{ subject_ou = "Person" }}
[[types.identifiers]]
type = "cn-id"
state = "CN"
from = "subject.serialNumber"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small bundle."""
    for path, text in {"anchors/root.pem": pem(ROOT.certificate), "profiles/gd.toml": PROFILE}.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text, "utf-8")
    write_bundle_manifest(tmp_path, 7, NOW)
    return tmp_path


def code(read: Callable[[], object]) -> str:
    """The code that reading raises."""
    with pytest.raises(CrosshallError) as caught:
        read()
    return caught.value.code


def test_a_bundle_is_read_whole(folder: Path) -> None:
    """Version, time, anchors, profiles; its hash is the manifest's."""
    bundle = read_bundle(folder)
    assert (bundle.version, bundle.issued, len(bundle.anchors)) == (7, NOW, 1)
    assert bundle.profiles["gd"].types[0].identifiers[0].source == "subject.serialNumber"
    assert bundle.hash == hashlib.sha256((folder / "bundle.json").read_bytes()).hexdigest()
    refresh_manifest(folder, NOW)
    assert read_bundle(folder).version == 8


def test_a_changed_an_added_and_a_missing_file_refuse(folder: Path) -> None:
    """What is not as listed is not trusted, denials that somebody took away included."""
    profile = folder / "profiles/gd.toml"
    profile.write_text(PROFILE + "\n", "utf-8")
    assert code(lambda: read_bundle(folder)) == "trust.bundle"
    profile.write_text(PROFILE, "utf-8")
    (folder / "anchors/more.pem").write_text("x")
    assert code(lambda: read_bundle(folder)) == "trust.bundle"
    (folder / "anchors/more.pem").unlink()
    profile.unlink()
    assert code(lambda: read_bundle(folder)) == "trust.bundle"


def test_links_are_refused(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A bundle is files, and nothing outside its folder."""
    outside = tmp_path_factory.mktemp("outside") / "x.pem"
    outside.write_text("x")
    (folder / "anchors/link.pem").symlink_to(outside)
    assert code(lambda: read_bundle(folder)) == "trust.bundle"


def test_a_file_that_is_being_written_is_passed_over(folder: Path) -> None:
    """Atomic writes lie beside their target under a name that begins with a dot."""
    (folder / "profiles/.gd.toml.x").write_text("half")
    assert read_bundle(folder).version == 7


@pytest.mark.parametrize(
    ("manifest", "wanted"),
    [
        (b"", "trust.bundle"),
        (b"[]", "trust.format"),
        (b'{"format": 2}', "trust.format"),
        (b'{"format": 1}', "trust.bundle"),
        (b"[" * 100_000, "trust.bundle"),
        (b'{"format": 1, "version": 1, "issued": "2026-01-01T00:00:00", "files": {}}', "trust.bundle"),
    ],
)
def test_a_manifest_that_is_wrong_refuses(folder: Path, manifest: bytes, wanted: str) -> None:
    """An unknown format, no version, a time without zone, no JSON."""
    (folder / "bundle.json").write_bytes(manifest)
    assert code(lambda: read_bundle(folder)) == wanted


def test_no_path_leads_out_of_the_bundle(folder: Path) -> None:
    """A manifest that names a file elsewhere does not match what is in the folder."""
    manifest = json.loads((folder / "bundle.json").read_text())
    manifest["files"]["../x"] = "0" * 64
    (folder / "bundle.json").write_text(json.dumps(manifest))
    assert code(lambda: read_bundle(folder)) == "trust.bundle"


@pytest.mark.parametrize(
    ("path", "text", "wanted"),
    [
        ("profiles/b.toml", PROFILE, "trust.profile"),
        ("profiles/b.toml", PROFILE.replace('id = "gd"', 'id = "b"', 1), "trust.profile"),
        ("levels.toml", '[[assigned]]\nca = "x"\ntype = "person"\nlevel = 4', "trust.levels"),
        ("levels.toml", '[[assigned]]\nca = "gd"\ntype = "staff"\nlevel = 4', "trust.levels"),
        ("cross/x.pem", "rubbish", "trust.certificate"),
        ("lists/x.toml", "[[entry]]", "trust.list"),
        ("policy.toml", "x = 1", "trust.policy"),
        ("denials/x.toml", '[[deny]]\nwhy = "x"', "trust.denials"),
    ],
)
def test_tables_that_contradict_refuse_the_bundle(folder: Path, path: str, text: str, wanted: str) -> None:
    """Two profiles of one id or key, levels of nobody, broken certificates, unknown keys."""
    (folder / path).parent.mkdir(exist_ok=True)
    (folder / path).write_text(text, "utf-8")
    write_bundle_manifest(folder, 8, NOW)
    assert code(lambda: read_bundle(folder)) == wanted


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("version = 1", "version = 0"),
        ('algorithms = ["rsa"]', 'algorithms = ["dsa"]'),
        ('asserts = ["cn-id"]', 'asserts = ["uscc"]'),
        ("max_level = 4", "max_level = 5"),
        ("max_level = 4", "max_level = 4\nunknown = 1"),
        ('pt = "d"', 'fr = "d"'),
        ('id = "person"', 'id = "Person"'),
        ('from = "subject.serialNumber"', 'from = "anywhere"'),
        ('from = "subject.serialNumber"', 'from = "subject.CN"\npattern = "("'),
        ('from = "subject.serialNumber"', 'from = "subject.CN"\npattern = "a"'),
        (KEY, "xyz"),
        ("capacities", "capacity"),
    ],
)
def test_profiles_that_say_something_wrong_refuse(old: str, new: str) -> None:
    """Unknown keys and values, and identifiers that the CA may not assert."""
    assert old in PROFILE
    with pytest.raises(PathError) as caught:
        parse_profile(PROFILE.replace(old, new, 1).encode())
    assert caught.value.code == "trust.profile"


def test_other_tables_refuse_what_they_do_not_know() -> None:
    """Each table with its own code; broken TOML and broken UTF-8 too."""
    for data in (b"x = 1", b"=", b"\xff"):
        assert code(lambda data=data: parse_levels(data)) == "trust.levels"  # type: ignore[misc]
        assert code(lambda data=data: parse_policy(data)) == "trust.policy"  # type: ignore[misc]
        assert code(lambda data=data: parse_denials(data)) == "trust.denials"  # type: ignore[misc]
    assert code(lambda: parse_levels(b"[policies]\n'1.2' = 5")) == "trust.levels"
    assert code(lambda: parse_denials(b"[[deny]]\nwhy='x'\ndomain='a'\nkey='" + b"0" * 64 + b"'")) == "trust.denials"


@pytest.mark.parametrize(
    ("policy", "matches"),
    [
        ("2.16.344.8.2.2008.810.2.2018.1.0", True),
        ("2.16.344.8.2.2008.810.21.2018.1.0", False),
        ("2.16.344.8.2.2008.810.2", False),
        ("2.16.344.8.2.2008.810.2.1.2", False),
        ("2.16.344.8.2.2008.810.2.1.2.3.4", False),
        ("2.16.344.8.2.2008.810.3.1.2.3", False),
    ],
)
def test_list_policies_match_by_whole_arcs(policy: str, matches: bool) -> None:
    """Prefix and exactly three arcs more."""
    assert policy_matches(policy, "2.16.344.8.2.2008.810.2") is matches


@pytest.mark.parametrize("serial", ["0a1b", "000a1b", "a1b"])
def test_a_denied_serial_is_one_number_however_it_is_written(serial: str) -> None:
    """openssl prints 0A1B: a leading zero must not make a denial that matches nothing and says nothing."""
    (denial,) = parse_denials(f'[[deny]]\nwhy = "x"\ncertificate = "{KEY}:{serial}"\n'.encode())
    assert denial.certificate == certificate_key(KEY, 0xA1B)


@pytest.mark.parametrize("name", ["denials/mo.TOML", "denials/mo.toml.txt", "denials/mo", "denials/sub/mo.json"])
def test_a_denial_that_would_not_be_read_refuses_the_bundle(folder: Path, name: str) -> None:
    """A refusal left out in silence would be trust: whatever lies under denials/ is a table, or the bundle is bad."""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text('[[deny]]\nwhy = "x"\ndomain = "gd"\n')
    write_bundle_manifest(folder, 8, NOW)
    assert code(lambda: read_bundle(folder)) == "trust.denials"
