"""`crosshall node`: a node's way into the federation, its running, and where it stands."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from ca_bridge.errors import ConfigError, FederationError, words
from ca_bridge.files import write_atomically
from ca_bridge.provider import logs
from ca_bridge.settings import Settings, load_settings
from ca_bridge.trust.bundle import read_bundle
from ca_bridge.trust.roster import Roster, RosterNode
from ca_bridge.types import utc_now
from crosshall.agents import HOME, agent_of, first_sync, health, office, own_role, page_rows, sync
from crosshall.options import DEFAULT_SETTINGS, SettingsFile, named
from crosshall.pilot import differences, promote, shadow_app
from crosshall.running import run_node
from crosshall.sign_ins import cuts, sign_ins
from nodes import joining, roster, status_page
from nodes.admission import Admission, groups, make_admission, read_request, same
from nodes.identity import make_node_keys, read_node_keys
from nodes.keys import parse_public
from nodes.publish import Publisher
from nodes.report import load_report
from nodes.roles import domain_role
from nodes.standing import Standing, look

app = typer.Typer(no_args_is_help=True)
app.command("sign-ins")(sign_ins)
app.command("cuts")(cuts)
app.command()(promote)
app.command()(differences)
app.add_typer(shadow_app, name="shadow")

DEFAULT_HOME = Path(HOME)
MASTER = "federation-master"
Home = Annotated[Path, typer.Option("--home", help="The province's federation folder.")]
Fingerprint = Annotated[str, typer.Option(help="As the other operator read it to you: eight groups of five digits.")]


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
    made = joining.begin(folder, new, utc_now())
    typer.echo(f"request: {made}")
    typer.echo(f"fingerprint, to read aloud: {read_request(made.read_text('utf-8')).fingerprint}")
    typer.echo("next: carry the request to the province, which runs crosshall node admit")


@app.command()
def admit(
    request_file: Path,
    *,
    fingerprint: Fingerprint,
    out: Annotated[Path, typer.Option(help="Where the admission goes.")] = Path("admission.jws"),
    source: Annotated[
        list[str] | None, typer.Option(help="Where the node fetches.", show_default="this hall's /federation/")
    ] = None,
    home: Home = DEFAULT_HOME,
    settings: SettingsFile = DEFAULT_SETTINGS,
) -> None:
    """At the province: take a node's request into roster and roles, and write the admission for its operator."""
    node, now = load_settings(settings), utc_now()
    asked = read_request(_text(request_file))
    if not same(asked.fingerprint, fingerprint):
        raise FederationError("node.fingerprint", f"of the request: {asked.fingerprint}")
    epoch = roster.put_node(node.node.bundle, asked, now)
    publisher = Publisher(home, utc_now)
    drafts = [*publisher.publish(node.node.bundle)]
    if asked.role == "city":
        drafts.append(publisher.delegate(asked.name, [parse_public(key) for key in asked.role_keys]))
    root = publisher.root()
    text = make_admission(
        read_node_keys(node.bridge.keys),
        asked,
        province=node.node.name,
        master=_master(node),
        epoch=epoch,
        root=root,
        sources=source or [f"{node.bridge.issuer}/federation/"],
        now=now,
    )
    write_atomically(out, text.encode())
    typer.echo(f"admitted: {asked.name} as {asked.role} of {asked.parent}, stage pilot, epoch {epoch}")
    typer.echo(f"admission: {out}")
    typer.echo(f"fingerprint of the root, to read aloud: {groups(root)}")
    if asked.role == "county":
        typer.echo(f"its refusals count when {asked.parent} has run: crosshall node delegate {request_file.name}")
    _drafts(drafts)


@app.command()
def delegate(
    request_file: Path,
    *,
    fingerprint: Fingerprint,
    settings: SettingsFile = DEFAULT_SETTINGS,
) -> None:
    """At a city: let a county below it sign refusals of its own namespace."""
    node, asked = load_settings(settings), read_request(_text(request_file))
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

    row = joining.join(settings, node, _text(admission), fingerprint, fetch=fetch, replace=replace_person_key)
    typer.echo(f"joined: {row.name}, stage {row.stage}")
    typer.echo("next: crosshall window add …, then crosshall node run")


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
        typer.echo(json.dumps({"node": node.node.name, "stage": found.stage, "checks": rows}))
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
def remove(name: str, home: Home = DEFAULT_HOME, settings: SettingsFile = DEFAULT_SETTINGS) -> None:
    """At the province: cut a node off, with all below it; everywhere within 60 seconds of the signed publication."""
    node = load_settings(settings)
    gone = roster.remove(node.node.bundle, name, utc_now())
    publisher = Publisher(home, utc_now)
    typer.echo(f"cut off: {', '.join(gone)}")
    _drafts([*publisher.publish(node.node.bundle), publisher.cut_off(name)])


@app.command()
def epoch(name: str, home: Home = DEFAULT_HOME, settings: SettingsFile = DEFAULT_SETTINGS) -> None:
    """At the province: give a node the next person key; it takes it by a new request, admission and join."""
    node = load_settings(settings)
    number = roster.next_epoch(node.node.bundle, name, utc_now())
    typer.echo(f"{name}: epoch {number}; on the node, once admitted: crosshall node join --replace-person-key")
    _drafts([*Publisher(home, utc_now).publish(node.node.bundle)])


@app.command()
def leave(settings: SettingsFile = DEFAULT_SETTINGS) -> None:
    """On the node: stop taking trust from the federation; nobody can sign in here until it joins again.

    Keys, windows and records stay. The province runs crosshall node remove.
    """
    node = load_settings(settings)
    joining.leave(node)
    typer.echo(f"{node.node.name} has left. Tell the province to run: crosshall node remove {node.node.name}")


@app.command()
def province(
    title: Annotated[list[str], typer.Option(help="Name of the hall, or LANGUAGE=name for each language.")],
    settings: SettingsFile = DEFAULT_SETTINGS,
) -> None:
    """At the province, once: its own node keys and its row in the roster; before crosshall federation publish."""
    node = load_settings(settings)
    if node.node.role != "province":
        raise ConfigError("config.invalid", f"this node is a {node.node.role}")
    keys = make_node_keys(node.bridge.keys)
    roster.put_province(
        node.node.bundle, keys, name=node.node.name, hall=node.bridge.issuer, title=named(title), now=utc_now()
    )
    _master(node)
    typer.echo(f"{node.node.name} is in its roster")


def _master(settings: Settings) -> bytes:
    """K_master: made once, never leaves the province."""
    path = settings.bridge.keys / MASTER
    if not path.exists():
        write_atomically(path, secrets.token_bytes(32), mode=0o600)
    return path.read_bytes()


def _said(settings: Settings, row: RosterNode) -> str:
    try:
        found = load_report(settings.node.state / "reports" / f"{domain_role(row.name)}.jws", row)
    except FederationError as error:
        return error.code
    if found is None:
        return "-"
    return f"{found.made} {found.version} {found.rung} {' '.join((*found.reasons, *found.failing)) or 'well'}"


def _drafts(drafts: list[Path]) -> None:
    for draft in dict.fromkeys(drafts):
        typer.echo(f"to be signed: {draft}")
    if drafts:
        typer.echo("next: each key holder runs crosshall federation sign, then crosshall federation assemble")


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("config.missing", f"{path}: {type(error).__name__}") from error


def _tell(settings: Settings, found: Standing) -> None:
    typer.echo(f"{settings.node.name} ({settings.node.role}): {found.stage or 'not installed'}")
    for check in found.checks:
        typer.echo(f"  {'✗' if check.code else '✓'} {check.stage:8} {check.name}")
        if check.code:
            why, what = words(check.code, "en")
            typer.echo(f"      [{check.code}] {why} {check.detail}")
            typer.echo(f"      → {what}")
