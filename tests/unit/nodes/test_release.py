"""Releases: only what the province named, staged to this node, octet for octet; a floor within reach."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ca_bridge.crypto.between import NodeKeys
from ca_bridge.errors import FederationError
from ca_bridge.trust.bundle import read_bundle, write_bundle_manifest
from crosshall.federation import app
from nodes import release
from nodes.bundle import materialise
from tests.unit.nodes.world import World
from tests.unit.verdict.conftest import NOW
from tests.unit.web.federation import CITY, OTHER, PROVINCE, new_key, roster_of

PACKAGE = b"a package of Crosshall"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A source bundle with three nodes, and a package beside it."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    roster = roster_of({name: NodeKeys(new_key(), new_key()) for name in (PROVINCE, CITY, OTHER)})
    (folder / "roster.json").write_text(json.dumps(roster.model_dump(mode="json")))
    write_bundle_manifest(folder, 1, NOW)
    (tmp_path / "package").write_bytes(PACKAGE)
    return folder


def named(bundle: Path, version: str = "0.3.0", since: str = "0.2.0") -> release.Release:
    """A release of the package."""
    return release.add(bundle, version, bundle.parent / "package", since, NOW)


def test_a_named_release_is_for_no_node_until_it_is_staged(bundle: Path):
    """Naming is not staging; staging replaces who it was for."""
    named(bundle)
    with pytest.raises(FederationError, match=r"node\.release"):
        release.allowed(release.read_releases(bundle), CITY, "0.2.0", "0.3.0")
    release.stage(bundle, "0.3.0", [CITY], NOW)
    found = release.read_releases(bundle)
    assert release.allowed(found, CITY, "0.2.0", "0.3").version == "0.3.0"
    with pytest.raises(FederationError, match=r"node\.release"):
        release.allowed(found, OTHER, "0.2.0", "0.3.0")
    release.stage(bundle, "0.3.0", "all", NOW)
    assert release.allowed(release.read_releases(bundle), OTHER, "0.2.0", "0.3.0")
    assert read_bundle(bundle).version == 4


@pytest.mark.parametrize(
    ("running", "wanted"),
    [("0.3.0", "0.3.0"), ("0.3", "0.3.0"), ("0.4.0", "0.3.0"), ("0.1.9", "0.3.0"), ("later", "0.3.0"), ("0.2.0", "9")],
)
def test_what_may_not_be_upgraded(bundle: Path, running: str, wanted: str):
    """Not to itself or backwards, not over a version too old or unreadable, not to what nobody named."""
    named(bundle)
    release.stage(bundle, "0.3.0", "all", NOW)
    with pytest.raises(FederationError, match=r"node\.release"):
        release.allowed(release.read_releases(bundle), CITY, running, wanted)


@pytest.mark.parametrize("octets", [b"", PACKAGE[:-1], PACKAGE + b"\0", b"A" + PACKAGE[1:]])
def test_another_package_is_refused(bundle: Path, octets: bytes):
    """Empty, cut, longer, or changed in one octet."""
    made = named(bundle)
    package = bundle.parent / "package"
    release.check_package(package, made)
    package.write_bytes(octets)
    with pytest.raises(FederationError, match=r"node\.package"):
        release.check_package(package, made)


def test_a_package_that_is_not_there_is_refused(bundle: Path):
    """By a code, before anything is written."""
    with pytest.raises(FederationError, match=r"node\.package"):
        release.add(bundle, "0.3.0", bundle / "none", "0.2.0", NOW)
    assert not (bundle / "software.json").exists()


@pytest.mark.parametrize(("version", "since"), [("new", "0.1"), ("1.", "0.1"), ("0.2", "0.3"), ("0.3", "x"), ("", "")])
def test_a_version_that_is_none_is_not_named(bundle: Path, version: str, since: str):
    """Nor one that upgrades from a later one."""
    with pytest.raises(FederationError, match=r"node\.release"):
        named(bundle, version, since)


def test_a_version_is_named_once(bundle: Path):
    """1.2 is 1.2.0: else a second package could stand for the first."""
    named(bundle, "1.2", "1.0")
    with pytest.raises(FederationError, match="twice"):
        named(bundle, "1.2.0", "1.0")


def test_a_release_for_an_unknown_node_is_refused(bundle: Path):
    """A slip of the pen would leave out whom it was meant for."""
    named(bundle)
    with pytest.raises(FederationError, match=r"node\.unknown"):
        release.stage(bundle, "0.3.0", ["gd/nowhere"], NOW)


def test_a_floor_needs_a_release_that_every_node_may_take(bundle: Path):
    """Else nodes would be red and could do nothing about it; and what it rests on cannot be withdrawn."""
    named(bundle)
    release.stage(bundle, "0.3.0", [CITY], NOW)
    with pytest.raises(FederationError, match=r"node\.release"):
        release.floor(bundle, "0.3.0", NOW)
    release.stage(bundle, "0.3.0", "all", NOW)
    with pytest.raises(FederationError, match=r"node\.release"):
        release.floor(bundle, "0.3.1", NOW)
    release.floor(bundle, "0.3.0", NOW)
    assert read_bundle(bundle).roster.software.below("0.2.9")
    with pytest.raises(FederationError, match="rests on"):
        release.stage(bundle, "0.3.0", [CITY], NOW)


@pytest.mark.parametrize("version", ["", "new", "-1"])
def test_a_floor_that_is_no_version_is_refused(bundle: Path, version: str):
    """The bundle stays as it was."""
    named(bundle)
    release.stage(bundle, "0.3.0", "all", NOW)
    before = (bundle / "roster.json").read_bytes()
    with pytest.raises(FederationError, match=r"node\.release"):
        release.floor(bundle, version, NOW)
    assert (bundle / "roster.json").read_bytes() == before


ROW = {"version": "1.0", "sha256": "a" * 64, "length": 1, "upgrades_from": "0.9"}


@pytest.mark.parametrize(
    "table",
    [
        [],
        {},
        {"format": 2},
        {"format": 1, "more": 1},
        *(
            {"format": 1, "releases": [{**ROW, **change}]}
            for change in (
                {"sha256": "A" * 64},
                {"sha256": ""},
                {"length": 0},
                {"length": "1"},
                {"length": 2**40},
                {"nodes": "some"},
                {"nodes": ["../x"]},
                {"more": 1},
                {"version": "1.0\n"},
            )
        ),
    ],
)
def test_a_list_that_is_malformed_is_refused(table: object):
    """Nothing unknown, nothing of another form."""
    with pytest.raises(FederationError, match=r"node\.release"):
        release.parse_releases(json.dumps(table).encode())


@pytest.mark.parametrize("data", [b"", b"\xff", b"[" * 100_000])
def test_what_is_not_json_is_refused(data: bytes):
    """By the same code."""
    with pytest.raises(FederationError, match=r"node\.release"):
        release.parse_releases(data)


def test_the_commands(bundle: Path):
    """Named, staged, floored, listed; the node's own check refuses what is not newer than what is installed."""
    run, at = CliRunner(), ["--bundle", str(bundle)]
    package = ["--file", str(bundle.parent / "package")]
    for words in (
        ["add", "999.0", *package, "--upgrades-from", "0.0.1"],
        ["stage", "999.0", "--to", "all"],
        ["floor", "999.0"],
        ["check", "999.0", *package, "--node", CITY],
    ):
        done = run.invoke(app, ["release", *words, *at])
        assert done.exit_code == 0, (words, done.output, done.exception)
    assert "nodes: all" in run.invoke(app, ["release", "list", *at]).output
    (bundle.parent / "package").write_bytes(b"another")
    refused = run.invoke(app, ["release", "check", "999.0", *package, "--node", CITY, *at])
    assert isinstance(refused.exception, FederationError)
    assert refused.exception.code == "node.package"


def test_a_release_arrives_signed(world: World, tmp_path: Path):
    """Not before enough holders have signed; then the node reads what the province named, by its own bundle."""
    package = tmp_path / "package"
    package.write_bytes(PACKAGE)
    made = release.add(world.source, "0.3.0", package, "0.2.0", NOW)
    drafts = world.publisher.publish(world.source)
    assert drafts
    node = world.node("a")
    for step in ("unsigned", "signed"):
        if step == "signed":
            world.sign()
        node.update()
        materialise(node.client.trusted(world.clock.now), node.client.folder, tmp_path / step, CITY)
    assert release.read_releases(tmp_path / "unsigned").releases == ()
    assert release.read_releases(tmp_path / "signed").find("0.3.0") == made
