"""`crosshall window add|list`: registers departmental systems, and writes what their developers need."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import tomli_w
import typer

from ca_bridge.errors import ConfigError
from ca_bridge.files import write_atomically
from ca_bridge.registry import Window, find_window, load_windows, write_window
from ca_bridge.settings import Settings, load_settings
from ca_bridge.types import LEVELS, loa
from crosshall.options import DEFAULT_SETTINGS, SettingsFile, named
from idp.desired import claim_names

app = typer.Typer(no_args_is_help=True)

_HEAD = """# Settings of the window "{id}" for crosshall-rp (relying_party_sdk). Written by `crosshall window add`.
# The private key is made on first use; its public half must be reachable at the jwks address below, where the hall
# reads each new one (key_rotation, in seconds). Machines that have copies of the key file: set it to 0.
"""
_KEY_ROTATION = 90 * 86_400


@app.command()
def add(
    window_id: Annotated[str, typer.Argument(metavar="ID", help="Client id: a-z, 0-9, hyphens; never changed again.")],
    *,
    name: Annotated[list[str], typer.Option(help="Name, or LANGUAGE=name for one of zh-Hans, zh-Hant, en, pt.")],
    base_url: Annotated[str, typer.Option(help="The system's address as browsers see it.")],
    sector: Annotated[
        str, typer.Option(help="Windows of one sector see one person alike.", show_default="the id")
    ] = "",
    attribute: Annotated[
        list[str] | None, typer.Option(help="What it may receive: name, identifiers, organisation. Repeat it.")
    ] = None,
    redirect_uri: Annotated[
        list[str] | None, typer.Option(help="Exact address of return.", show_default="BASE/oidc/callback")
    ] = None,
    jwks_url: Annotated[
        str, typer.Option(help="Its public keys, as Keycloak reaches them.", show_default="BASE/oidc/jwks.json")
    ] = "",
    backchannel_url: Annotated[
        str, typer.Option(help="Its logout address, as Keycloak reaches it.", show_default="BASE/oidc/…-logout")
    ] = "",
    ca_file: Annotated[
        Path | None, typer.Option(help="Roots for TLS to this node, when they are not public ones.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where the developer's file goes.", show_default="window-ID.toml")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Change a window that is registered.")] = False,
    settings: SettingsFile = DEFAULT_SETTINGS,
) -> None:
    """Register a window and write the settings file for its developer. Then: crosshall realm apply."""
    node = load_settings(settings)
    if find_window(load_windows(node.node.state), window_id) and not replace:
        raise ConfigError("config.window", f"{window_id} is registered already; --replace changes it")
    base = base_url.rstrip("/")
    window = Window(
        id=window_id,
        sector=sector or window_id,
        name=named(name),
        base_url=base,
        redirect_uris=tuple(redirect_uri or [f"{base}/oidc/callback"]),
        post_logout_redirect_uris=(f"{base}/",),
        backchannel_logout_url=backchannel_url or f"{base}/oidc/backchannel-logout",
        jwks_url=jwks_url or f"{base}/oidc/jwks.json",
        attributes=tuple(attribute or ()),
    )
    file = write_window(node.node.state, window)
    given = write_developer_settings(node, window, out or Path(f"window-{window_id}.toml"), ca_file=ca_file)
    typer.echo(f"registered: {file}")
    typer.echo(f"for the developer: {given}")
    typer.echo("next: crosshall realm apply")


@app.command("list")
def list_command(settings: SettingsFile = DEFAULT_SETTINGS) -> None:
    """Every registered window: id, sector, address, attributes."""
    node = load_settings(settings)
    for window in load_windows(node.node.state):
        attributes = ",".join(window.attributes) or "-"
        typer.echo(f"{window.id}\t{window.sector}\t{window.base_url}\t{attributes}\t{window.name.get('zh-Hans', '')}")


def write_developer_settings(settings: Settings, window: Window, path: Path, *, ca_file: Path | None = None) -> Path:
    """Put at `path` what `relying_party_sdk.Settings.from_toml` reads, with a table of what the window will receive."""
    keys: dict[str, Any] = {
        "issuer": settings.keycloak.issuer,
        "client_id": window.id,
        "base_url": window.base_url.rstrip("/"),
        "key_file": f"{window.id}-key.pem",
        "store": f"sqlite:{window.id}.sqlite",
    }
    keys["key_rotation"] = _KEY_ROTATION
    keys["status_url"] = f"{settings.bridge.issuer}/status"
    if window.attributes:
        keys["attributes_url"] = f"{settings.bridge.issuer}/attributes"
    if ca_file is not None:
        keys["ca_file"] = str(ca_file.resolve())
    about = {
        "name": dict(window.name),
        "redirect_uris": list(window.redirect_uris),
        "post_logout_redirect_uris": list(window.post_logout_redirect_uris),
        "jwks_url": window.jwks_url,
        "backchannel_logout_url": window.backchannel_logout_url,
        "levels": [loa(level) for level in LEVELS],
        "claims": list(claim_names()),
        "attributes": list(window.attributes),
    }
    text = _HEAD.format(id=window.id) + tomli_w.dumps({**keys, "about": about})
    write_atomically(path, text.encode())
    return path
