"""`crosshall domain`: a denial for one domain is that domain's alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from ca_bridge.errors import ConfigError
from ca_bridge.trust.bundle import read_bundle, write_bundle_manifest
from crosshall import domain
from tests.pki import NOW
from tests.unit.trust.test_bundle import KEY, PROFILE


@pytest.fixture(name="settings")
def _settings(tmp_path: Path) -> Path:
    """A node whose bundle has the domains `gd/guangzhou` and `gd-guangzhou`."""
    for number, name in enumerate(("gd/guangzhou", "gd-guangzhou")):
        text = PROFILE.replace('domain = "gd"', f'domain = "{name}"').replace('id = "gd"', f'id = "ca-{number}"')
        file = tmp_path / f"bundle/profiles/ca-{number}.toml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.replace(KEY, f"{number}" * 64), "utf-8")
    write_bundle_manifest(tmp_path / "bundle", 1, NOW)
    (tmp_path / "node.toml").write_text(
        '[bridge]\nissuer = "https://hall.test"\ncertificate_host = "*.cert.test"\n'
        '[keycloak]\nissuer = "https://sso.test/realms/gd"\ninternal = "http://127.0.0.1:8444"\n'
    )
    return tmp_path / "node.toml"


def denied(settings: Path) -> set[str | None]:
    """The domains that are off."""
    return {denial.domain for denial in read_bundle(settings.parent / "bundle").denials}


def test_one_domain_does_not_switch_another_on(settings: Path) -> None:
    """Both off, one on again: the other one stays off, however alike their names are."""
    domain.off("gd/guangzhou", settings=settings)
    domain.off("gd-guangzhou", settings=settings)
    assert denied(settings) == {"gd/guangzhou", "gd-guangzhou"}
    domain.on("gd-guangzhou", settings=settings)
    assert denied(settings) == {"gd/guangzhou"}


@pytest.mark.parametrize("name", ["mo", "../keys", "gd", ""])
def test_an_unknown_domain_is_refused(settings: Path, name: str) -> None:
    """A mistyped name would switch nothing off, and say it had."""
    for act in (domain.off, domain.on):
        with pytest.raises(ConfigError) as caught:
            act(name, settings=settings)
        assert caught.value.code == "config.unknown_domain"
    assert denied(settings) == set()
