"""The desired realm from realm.toml, the contract of claims, and registered windows."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from ca_bridge.errors import UpstreamError
from ca_bridge.files import config_dir
from ca_bridge.settings import Settings
from idp.desired import claim_names, desired_realm
from idp.model import Desired
from idp.salts import Salts, node_salts
from tests.unit.idp.conftest import window


def mappers(desired: Desired, client: str) -> dict[str, dict[str, str]]:
    """Configurations of a client's mappers by name."""
    found = next(each for each in desired.clients if each.id == client)
    return {mapper["name"]: mapper["config"] for mapper in found.mappers}


def test_every_claim_of_the_contract_is_carried(desired: Desired) -> None:
    """Each claim of claims.schema.json is a note of the bridge and a mapper; numbers are mapped as numbers."""
    notes = {pair["key"] for pair in json.loads(desired.provider_mappers[0]["config"]["claims"])}
    assert notes == (set(claim_names()) - {"crosshall_subject"}) | {"crosshall_subject_police", "crosshall_subject_env"}
    kinds = {each["config"]["claim.name"]: each["config"]["jsonType.label"] for each in desired.scope_mappers}
    assert set(kinds) == set(claim_names()) - {"crosshall_subject"}
    assert kinds["crosshall_level"] == kinds["crosshall_auth_time"] == "long"
    assert kinds["acr"] == kinds["crosshall_rung"] == "String"


def test_a_note_keeps_line_breaks(desired: Desired) -> None:
    """Keycloak drops a value with a line break when the pattern is a plain `.*`."""
    assert {pair["value"] for pair in json.loads(desired.provider_mappers[0]["config"]["claims"])} == {"(?s).*"}


def test_a_window_sees_its_own_sector_only(desired: Desired) -> None:
    """Subject and introspection's username come from the window's own sector; username goes to introspection alone."""
    police = mappers(desired, "police")
    assert police["crosshall_subject"]["user.session.note"] == "crosshall_subject_police"
    username = police["introspection username"]
    assert username["user.session.note"] == "crosshall_subject_police"
    assert [name for name in username if username[name] == "true"] == ["introspection.token.claim"]
    assert "crosshall_subject_env" not in json.dumps(police)


def test_windows_of_one_sector_share_a_salt(settings: Settings) -> None:
    """The salt is the sector's: equal inside, different outside, the same for the same secret."""
    windows = (window(), window("traffic", sector="police"), window("env"))
    made = desired_realm(settings, windows, Salts(b"x" * 32))
    salts = {
        client: mappers(made, client)["pairwise sub"]["pairwiseSubAlgorithmSalt"]
        for client in ("police", "traffic", "env")
    }
    assert salts["police"] == salts["traffic"] != salts["env"]
    assert salts["env"] == Salts(b"x" * 32).of("env")
    assert salts["env"] != Salts(b"y" * 32).of("env")


def test_the_bridge_may_have_an_address_between_servers(settings: Settings) -> None:
    """Browsers go to the issuer; Keycloak's own calls to the given address; assertions name the issuer."""
    config = desired_realm(settings, (), Salts(b"x" * 32), bridge_server="http://127.0.0.1:9/").provider["config"]
    assert config["authorizationUrl"] == "https://hall.gd.localhost:8443/authorize"
    assert config["tokenUrl"] == "http://127.0.0.1:9/token"
    assert config["clientAssertionAudience"] == config["issuer"] == "https://hall.gd.localhost:8443"


def test_levels_have_a_step_each(desired: Desired) -> None:
    """The after-sign-in flow has one condition a level, which that level and higher ones pass."""
    steps = desired.flow("after").steps
    assert [step.name for step in steps] == [f"reached {level}" for level in (1, 2, 3, 4)]
    patterns = [dict(step.steps[0].config)["attribute_expected_value"] for step in steps]
    assert patterns == [f"^urn:crosshall:loa:[{level}-4]$" for level in (1, 2, 3, 4)]


def test_nothing_is_left_unfilled(desired: Desired) -> None:
    """No `${…}` of realm.toml is left but Keycloak's own template."""
    rest = replace(desired, provider_mappers=())
    assert "${" not in repr(rest)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("realm/realm.toml", None),
        ("realm/realm.toml", "not = [toml"),
        ("realm/realm.toml", "[realm]\nenabled = true\n"),
        ("claims.schema.json", "{"),
        ("claims.schema.json", '{"properties": {"x": {"type": "array"}}}'),
        ("claims.schema.json", "[]"),
    ],
)
def test_broken_data_files_are_refused(settings: Settings, tmp_path: Path, file: str, text: str | None) -> None:
    """A data file that is absent, malformed or incomplete: `realm.config`, not a half-made realm."""
    shutil.copytree(config_dir(), tmp_path / "config")
    (tmp_path / "config" / file).unlink()
    if text is not None:
        (tmp_path / "config" / file).write_text(text)
    with pytest.raises(UpstreamError) as caught:
        desired_realm(settings, (), Salts(b"x" * 32), config=tmp_path / "config")
    assert caught.value.code == "realm.config"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('issuer = "${bridge}"', 'issuer = "${brigde}"'),
        ('authenticator = "auth-cookie"', 'authenticator = ""'),
        ("[disabled]", "[dissabled]"),
    ],
)
def test_slips_in_realm_toml_are_refused(settings: Settings, tmp_path: Path, old: str, new: str) -> None:
    """An unknown placeholder, a step that does nothing, a misspelt table: `realm.config`."""
    shutil.copytree(config_dir(), tmp_path / "config")
    file = tmp_path / "config" / "realm" / "realm.toml"
    text = file.read_text("utf-8")
    assert old in text
    file.write_text(text.replace(old, new))
    with pytest.raises(UpstreamError) as caught:
        desired_realm(settings, (), Salts(b"x" * 32), config=tmp_path / "config")
    assert caught.value.code == "realm.config"


def test_the_node_keeps_its_salt(tmp_path: Path) -> None:
    """The secret is made once, readable by its owner only, and found again."""
    first = node_salts(tmp_path / "keys")
    assert node_salts(tmp_path / "keys") == first
    assert (tmp_path / "keys" / "pairwise").stat().st_mode & 0o777 == 0o600
    assert "x" * 10 not in repr(Salts(b"x" * 32))
    assert [path.name for path in (tmp_path / "keys").iterdir()] == ["pairwise"]


@pytest.mark.parametrize("secret", [b"", b"short", b"x" * 33])
def test_a_broken_salt_is_refused(tmp_path: Path, secret: bytes) -> None:
    """A secret of another length is not used: every window's sub would change in silence."""
    (tmp_path / "pairwise").write_bytes(secret)
    with pytest.raises(UpstreamError) as caught:
        node_salts(tmp_path)
    assert caught.value.code == "realm.salt"
