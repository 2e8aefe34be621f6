"""`crosshall domain off|on`: a trust domain is switched by a denial, which can only add refusals (design §3, R4)."""

from __future__ import annotations

from pathlib import Path

import tomli_w
import typer

from ca_bridge.errors import ConfigError
from ca_bridge.files import write_atomically
from ca_bridge.settings import Settings, load_settings
from ca_bridge.trust.bundle import read_bundle, refresh_manifest
from ca_bridge.types import utc_now
from crosshall.options import DEFAULT_SETTINGS, SettingsFile

app = typer.Typer(no_args_is_help=True)


@app.command()
def off(domain: str, why: str = "switched off by the operator", settings: SettingsFile = DEFAULT_SETTINGS) -> None:
    """Refuse every certificate of DOMAIN and of the domains below it; live sessions end within 60 seconds."""
    node = load_settings(settings)
    _known(node, domain)
    write_atomically(_file(node, domain), tomli_w.dumps({"deny": [{"domain": domain, "why": why}]}).encode())
    refresh_manifest(node.node.bundle, utc_now())
    typer.echo(f"{domain}: off. Sessions of this domain end within 60 seconds.")


@app.command()
def on(domain: str, settings: SettingsFile = DEFAULT_SETTINGS) -> None:
    """Take back `domain off`; other denials stay."""
    node = load_settings(settings)
    _known(node, domain)
    _file(node, domain).unlink(missing_ok=True)
    refresh_manifest(node.node.bundle, utc_now())
    typer.echo(f"{domain}: on.")


def _file(settings: Settings, domain: str) -> Path:
    # No domain's name holds a dot, so that `a/b` and `a-b` never share a file: `on` for one would let the other in.
    return settings.node.bundle / "denials" / f"domain-{domain.replace('/', '.')}.toml"


def _known(settings: Settings, domain: str) -> None:
    known = {profile.domain for profile in read_bundle(settings.node.bundle).profiles.values()}
    if domain not in known:
        raise ConfigError("config.unknown_domain", f"{domain}; there are: {', '.join(sorted(known))}")
