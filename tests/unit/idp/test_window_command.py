"""`crosshall window`: registration, and the file that the window's developer gets."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
import tomli_w
from typer.testing import CliRunner, Result

from ca_bridge.errors import ConfigError
from ca_bridge.registry import load_windows
from crosshall.window import app
from relying_party_sdk.settings import Settings as WindowSettings

BASE = "https://police.gd.gov.cn"


@pytest.fixture(name="node")
def _node(tmp_path: Path) -> Path:
    keycloak = {"issuer": "https://sso.gd.gov.cn/realms/gd", "internal": "http://127.0.0.1:8444"}
    bridge = {"issuer": "https://hall.gd.gov.cn", "certificate_host": "*.cert.gd.gov.cn:443"}
    (tmp_path / "node.toml").write_text(tomli_w.dumps({"bridge": bridge, "keycloak": keycloak}))
    return tmp_path


def run(node: Path, *arguments: str) -> Result:
    """`crosshall window …` in the node's folder."""
    words = [*arguments, "--settings", str(node / "node.toml")]
    if arguments[0] == "add":
        words += ["--out", str(node / "given.toml")]
    return CliRunner().invoke(app, words)


def test_a_window_is_registered(node: Path) -> None:
    """The file of the registry holds what was said; addresses that were not said follow from the base."""
    done = run(
        node,
        "add",
        "police",
        "--name",
        "公安窗口",
        "--name",
        "en=Police",
        "--base-url",
        BASE + "/",
        "--attribute",
        "name",
    )
    assert done.exit_code == 0, done.output
    (window,) = load_windows(node / "state")
    assert window.name == {"zh-Hans": "公安窗口", "zh-Hant": "公安窗口", "en": "Police", "pt": "公安窗口"}
    assert window.redirect_uris == (f"{BASE}/oidc/callback",)
    assert window.post_logout_redirect_uris == (f"{BASE}/",)
    assert (window.sector, window.attributes) == ("police", ("name",))
    listed = run(node, "list")
    assert listed.output.split("\t")[:4] == ["police", "police", BASE, "name"]


def test_the_sdk_reads_what_the_developer_gets(node: Path) -> None:
    """The file is valid for the SDK as it is, holds no secret, and tells what will be received."""
    (node / "ca.pem").write_text("x")
    run(
        node,
        "add",
        "police",
        "--name",
        "公安",
        "--base-url",
        BASE,
        "--attribute",
        "name",
        "--ca-file",
        str(node / "ca.pem"),
    )
    settings = WindowSettings.from_toml(node / "given.toml", {})
    assert settings.issuer == "https://sso.gd.gov.cn/realms/gd"
    assert settings.client_id == "police"
    assert settings.redirect_uri == f"{BASE}/oidc/callback"
    assert settings.attributes_url == "https://hall.gd.gov.cn/attributes"
    assert settings.key_file.parent == node
    assert settings.key_rotation == 90 * 86_400
    about = tomllib.loads((node / "given.toml").read_text())["about"]
    assert about["levels"] == [f"urn:crosshall:loa:{level}" for level in (1, 2, 3, 4)]
    assert "crosshall_subject" in about["claims"]


def test_no_attributes_no_endpoint(node: Path) -> None:
    """A window that may receive nothing is not told of the attribute endpoint."""
    run(node, "add", "env", "--name", "环保", "--base-url", BASE)
    assert WindowSettings.from_toml(node / "given.toml", {}).attributes_url == ""


def test_a_registered_window_is_not_changed_by_chance(node: Path) -> None:
    """The same id again is refused and nothing changes; --replace changes it."""
    run(node, "add", "police", "--name", "公安", "--base-url", BASE)
    again = run(node, "add", "police", "--name", "公安", "--base-url", "https://other.gd.gov.cn")
    assert isinstance(again.exception, ConfigError)
    assert load_windows(node / "state")[0].base_url == BASE
    assert (
        run(node, "add", "police", "--name", "公", "--base-url", "https://other.gd.gov.cn", "--replace").exit_code == 0
    )
    assert load_windows(node / "state")[0].base_url == "https://other.gd.gov.cn"


@pytest.mark.parametrize(
    "arguments",
    [
        ("Police", "--name", "x", "--base-url", BASE),
        ("../police", "--name", "x", "--base-url", BASE),
        ("police", "--name", "", "--base-url", BASE),
        ("police", "--name", "x", "--base-url", "police.gd.gov.cn"),
        ("police", "--name", "x", "--base-url", "https://*.gd.gov.cn"),
        ("police", "--name", "x", "--base-url", BASE, "--redirect-uri", f"{BASE}/*"),
        ("police", "--name", "x", "--base-url", BASE, "--attribute", "birthday"),
        ("police", "--name", "x", "--base-url", BASE, "--sector", "A B"),
        ("police", "--name", "x", "--base-url", BASE, "--jwks-url", "file:///etc/passwd"),
    ],
    ids=["case", "path", "noname", "noscheme", "wildhost", "wildpath", "attribute", "sector", "jwks"],
)
def test_unsafe_registrations_are_refused(node: Path, arguments: tuple[str, ...]) -> None:
    """An id, address, sector or attribute that is not allowed: `config.window`, and no file is written."""
    done = run(node, "add", *arguments)
    assert isinstance(done.exception, ConfigError)
    assert done.exception.code == "config.window"
    assert not (node / "state").exists()
    assert not (node / "given.toml").exists()
