"""`crosshall node`: a node's way into the federation, its running, and where it stands."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from ca_bridge.errors import ConfigError, FederationError, words
from ca_bridge.files import write_atomically
from ca_bridge.provider import logs
from ca_bridge.settings import Settings, load_settings
from ca_bridge.trust.bundle import read_bundle
from ca_bridge.trust.roster import Roster, RosterNode
from ca_bridge.types import utc_now
from crosshall.agents import agent_of, first_sync, health, office, own_role, page_rows, sync, trusted_time
from crosshall.options import DEFAULT_SETTINGS, Fingerprint, SettingsFile, named, text_of
from crosshall.pilot import differences, promote, shadow_app
from crosshall.province import admit, epoch, province, remove
from crosshall.running import run_node
from crosshall.sign_ins import cuts, sign_ins
from nodes import anchoring, joining, status_page
from nodes.admission import Admission, read_request, same
from nodes.keys import parse_public
from nodes.report import load_report
from nodes.roles import domain_role
from nodes.standing import Standing, look

app = typer.Typer(no_args_is_help=True)
app.command("sign-ins")(sign_ins)
app.command("cuts")(cuts)
app.command()(promote)
for act in (admit, remove, epoch, province):
    app.command()(act)
app.command()(differences)
app.add_typer(shadow_app, name="shadow")


@app.command()
def run(
    workers: Annotated[int, typer.Option(min=1, help="Processes of the bridge.")] = 2,
    settings: SettingsFile = DEFAULT_SETTINGS,
) -> None:
    """Bring up this node – bridge, Keycloak, nginx, watcher, sync – and keep it up until stopped."""
    run_node(settings, workers=workers)


@app.command()
def request(
    name: Annotated[str, typer.Argument(help="The node's domain: gd/guangzhou, gd/guangzhou/conghua.")],
    *,
    role: Annotated[str, typer.Option(help="city or county.")],
    hall: Annotated[str, typer.Option(help="Address of its hall: https://hall.gz.example")],
    sso: Annotated[str, typer.Option(help="Address of its Keycloak: https://sso.gz.example")],
    certificate_host: Annotated[
        str, typer.Option(help="Names of the certificate host.", show_default="*.cert.HALL")
    ] = "",
    title: Annotated[list[str], typer.Option(help="Name of the hall, or LANGUAGE=name for each language.")],
    listen: Annotated[str, typer.Option(help="address:port of its front.")] = "0.0.0.0:443",
    keycloak_port: Annotated[int, typer.Option(help="Keycloak's port on loopback.")] = 8080,
    management_port: Annotated[int, typer.Option(help="The port of Keycloak's health, on loopback.")] = 9000,
    source: Annotated[
        list[str] | None, typer.Option(help="Where the bundle is fetched; a county names its city's.")
    ] = None,
    folder: Annotated[Path, typer.Option(help="The node's folder; made when absent.")] = Path(),
    new_keys: Annotated[
        bool, typer.Option("--new-keys", help="Keys in place of those here, which count until it is admitted again.")
    ] = False,
) -> None:
    """Make a node's folder, keys and request, on the node itself; carry the request to the province."""
    parts = urlsplit(hall)
    port = f":{parts.port}" if parts.port else ""
    new = joining.NewNode(
        name=name,
        role=role,
        hall=hall.rstrip("/"),
        sso=sso.rstrip("/"),
        certificate_host=certificate_host or f"*.cert.{parts.hostname}{port}",
        title=named(title),
        listen=listen,
        keycloak_port=keycloak_port,
        management_port=management_port,
        sources=tuple(source or ()),
    )
    made = joining.begin(folder, new, utc_now(), new_keys=new_keys)
    typer.echo(f"request: {made}")
    typer.echo(f"fingerprint, to read aloud: {read_request(made.read_text('utf-8')).fingerprint}")
    typer.echo("next: carry the request to the province, which runs crosshall node admit")


@app.command()
def delegate(
    request_file: Path,
    *,
    fingerprint: Fingerprint,
    settings: SettingsFile = DEFAULT_SETTINGS,
) -> None:
    """At a city: let a county below it sign refusals of its own namespace."""
    node, asked = load_settings(settings), read_request(text_of(request_file))
    if not same(asked.fingerprint, fingerprint):
        raise FederationError("node.fingerprint", f"of the request: {asked.fingerprint}")
    role = own_role(node)
    if role is None:
        raise ConfigError("config.node_keys", "this node has no role key, or publishes no folder")
    number = role.delegate(asked.name, [parse_public(key) for key in asked.role_keys])
    typer.echo(f"{asked.name} signs its own refusals (version {number}); the province collects it within a minute")


@app.command()
def join(
    admission: Path,
    *,
    fingerprint: Fingerprint,
    replace_person_key: Annotated[
        bool, typer.Option(help="Take the admission's person key in place of the one here: everybody is somebody else.")
    ] = False,
    settings: SettingsFile = DEFAULT_SETTINGS,
) -> None:
    """On the node: pin the root, fetch the bundle, find this node in the roster, take its person key."""
    node = load_settings(settings)

    def fetch(found: Admission, sources: tuple[str, ...]) -> Roster:
        first_sync(node, found.root, sources, found.made)
        return read_bundle(node.node.bundle).roster

    row = joining.join(settings, node, text_of(admission), fingerprint, fetch=fetch, replace=replace_person_key)
    typer.echo(f"joined: {row.name}, stage {row.stage}")
    typer.echo("next: crosshall window add …, then crosshall node run")


@app.command()
def reanchor(
    root: Annotated[Path, typer.Argument(help="The new federation's 1.root.json, carried here.")],
    *,
    fingerprint: Fingerprint,
    source: Annotated[
        list[str] | None, typer.Option(help="Where it is fetched.", show_default="as in the settings")
    ] = None,
    settings: SettingsFile = DEFAULT_SETTINGS,
) -> None:
    """On the node: trust a new root in place of the pinned one; only when the province has begun its federation anew.

    Keys, person key, windows and records stay.
    """
    node = load_settings(settings)
    if node.node.role == "province":
        raise ConfigError("config.invalid", "the province pins no root")
    found = anchoring.reanchor(node, text_of(root).encode(), fingerprint, tuple(source or node.sync.sources))
    typer.echo(f"anchored anew: version {found.version}, issued {found.issued.isoformat()}")
    done = agent_of(node, tuple(source or ())).round()
    for where, code in done.codes.items():
        typer.echo(f"{where}: {code}", err=True)
    if done.codes:
        raise typer.Exit(1)


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    settings: SettingsFile = DEFAULT_SETTINGS,
) -> None:
    """The stages of this node: what is well, what fails and what to do. Exit code 1 when something fails."""
    node = load_settings(settings)
    found = look(node, utc_now(), lambda: health(settings, node))
    if as_json:
        rows = [
            {"stage": check.stage, "check": check.name, "code": check.code, "detail": check.detail}
            for check in found.checks
        ]
        line = _line(node)
        typer.echo(json.dumps({"node": node.node.name, "stage": found.stage, "checks": rows, "line": line}))
    else:
        _tell(node, found)
    if found.failing:
        raise typer.Exit(1)


@app.command("sync")
def sync_command(
    once: Annotated[
        bool, typer.Option("--once", help="One round; exit code 1 when no source gave a good answer.")
    ] = False,
    source: Annotated[str, typer.Option(help="With --once: this source, a carried disk for example (file:/…).")] = "",
    settings: SettingsFile = DEFAULT_SETTINGS,
) -> None:
    """Keep the trust bundle and trusted time current, until stopped; `node run` starts this by itself."""
    logs.configure()
    node = load_settings(settings)
    if not once:
        sync(settings, node)
        return
    done = agent_of(node, (source,) if source else ()).round()
    for where, code in done.codes.items():
        typer.echo(f"{where}: {code}", err=True)
    typer.echo(f"version {done.version}, issued {done.issued or '-'}, {'changed' if done.changed else 'unchanged'}")
    if done.codes:
        raise typer.Exit(1)


@app.command("office")
def office_command(settings: SettingsFile = DEFAULT_SETTINGS) -> None:
    """The province's online work, until stopped: time stamps, refusals, nodes' words; `node run` starts it."""
    logs.configure()
    office(settings, load_settings(settings))


@app.command("list")
def list_command(
    html: Annotated[Path | None, typer.Option(help="Write the status page of all nodes there (0600).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The status page as JSON.")] = False,
    settings: SettingsFile = DEFAULT_SETTINGS,
) -> None:
    """Every node of the roster; at the province with what each last said of itself."""
    node = load_settings(settings)
    listed = read_bundle(node.node.bundle).roster
    if html is not None:
        write_atomically(html, status_page.as_html(page_rows(node, listed), utc_now()).encode(), mode=0o600)
    elif as_json:
        typer.echo(status_page.as_json(page_rows(node, listed), utc_now()))
    else:
        for row in listed.nodes:
            typer.echo(f"{row.name}\t{row.role}\t{row.stage}\t{row.hall}\tepoch {row.epoch}\t{_said(node, row)}")


@app.command()
def leave(settings: SettingsFile = DEFAULT_SETTINGS) -> None:
    """On the node: stop taking trust from the federation; nobody can sign in here until it joins again.

    Keys, windows and records stay. The province runs crosshall node remove.
    """
    node = load_settings(settings)
    joining.leave(node)
    typer.echo(f"{node.node.name} has left. Tell the province to run: crosshall node remove {node.node.name}")


def _said(settings: Settings, row: RosterNode) -> str:
    try:
        found = load_report(settings.node.state / "reports" / f"{domain_role(row.name)}.jws", row)
    except FederationError as error:
        return error.code
    if found is None:
        return "-"
    return f"{found.made} {found.version} {found.rung} {' '.join((*found.reasons, *found.failing)) or 'well'}"


def _line(settings: Settings) -> dict[str, Any] | None:
    """The line to the node's sources as the sync agent last found it; None where there is none to have."""
    if not settings.sync.sources:
        return None
    last, time = agent_of(settings).last(), trusted_time(settings)
    age = None if time.code else int(time.age.total_seconds())
    return {"good": last.good, "failing": dict(last.codes), "age_seconds": age, "rung": time.rung.value}


def _tell_line(line: Mapping[str, Any] | None) -> None:
    """A cut line is no fault of the node: it is told, and fails no check."""
    if line is None:
        return
    state = "no good answer yet" if not line["good"] else "whole"
    if line["failing"]:
        state = f"cut, last good answer {line['good'] or 'never'}"
    age = "none" if line["age_seconds"] is None else f"{line['age_seconds']} s old"
    typer.echo(f"  line: {state}; trust data: {age}, rung {line['rung']}")
    for source, code in line["failing"].items():
        typer.echo(f"      [{code}] {words(code, 'en')[0]} {source}")


def _tell(settings: Settings, found: Standing) -> None:
    typer.echo(f"{settings.node.name} ({settings.node.role}): {found.stage or 'not installed'}")
    _tell_line(_line(settings))
    for check in found.checks:
        typer.echo(f"  {'✗' if check.code else '✓'} {check.stage:8} {check.name}")
        if check.code:
            why, what = words(check.code, "en")
            typer.echo(f"      [{check.code}] {why} {check.detail}")
            typer.echo(f"      → {what}")
