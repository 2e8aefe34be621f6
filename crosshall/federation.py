"""`crosshall federation`: the ceremonies of the trust bundle (docs/federation.md)."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import typer
from securesystemslib.signer import Signer

from ca_bridge.errors import ConfigError, CrosshallError
from ca_bridge.provider import logs
from ca_bridge.types import utc_now
from crosshall.options import moment
from crosshall.release import app as release_app
from nodes import recovery
from nodes.admission import groups
from nodes.carry import export as write_disk
from nodes.carry import verify as check
from nodes.drafts import sign_draft, summary
from nodes.keys import KINDS, load_key, new_key, public_text, read_public, save_key
from nodes.publish import Publisher
from nodes.token_key import find_key, make_key, open_token
from nodes.transport import open_source

app = typer.Typer(no_args_is_help=True)
app.add_typer(release_app, name="release")

Home = Annotated[Path, typer.Option("--home", help="The province's federation folder.")]
DEFAULT_HOME = Path("federation")
Secret = Annotated[
    Path | None, typer.Option("--passphrase-file", help="First line: passphrase or PIN.", show_default="asked for")
]
Module = Annotated[Path | None, typer.Option(help="PKCS#11 library of a token; the key is then a label on it.")]
Token = Annotated[str, typer.Option(help="Label of the token.")]
PublicKeys = Annotated[list[Path], typer.Option(help="Public key file (.pub) of a holder; repeat.")]
_SHORTEST = 12


@app.command()
def key(
    name: Annotated[str, typer.Argument(help="File to write, or the label on the token.")],
    *,
    kind: Annotated[str, typer.Option(help=", ".join(KINDS))] = "ed25519",
    passphrase_file: Secret = None,
    module: Module = None,
    token: Token = "",
) -> None:
    """Make a role's key: an encrypted file and NAME.pub beside it, or a key on a token (ECDSA) and its .pub here."""
    secret = _secret(passphrase_file, new=True, pin=module is not None)
    if module is not None:
        with open_token(module, token, secret, write=True) as session:
            text = public_text(make_key(session, name).public_key)
        Path(f"{name}.pub").write_text(text, "utf-8")
    else:
        made = new_key(kind)
        save_key(Path(name), made, secret.encode())
        text = public_text(made.public_key)
    typer.echo(f"public key: {name}.pub")
    typer.echo(f"fingerprint, to read aloud: {groups(text.encode())}")


@app.command()
def init(
    domain: Annotated[str, typer.Argument(help="The province's domain: gd.")],
    *,
    root_key: PublicKeys,
    root_threshold: Annotated[int, typer.Option(min=1, help="How many of the root keys must sign.")],
    targets_key: PublicKeys,
    targets_threshold: Annotated[int, typer.Option(min=1, help="How many of the province's keys must sign.")],
    border_key: PublicKeys,
    border_threshold: Annotated[int, typer.Option(min=1)] = 1,
    timestamp_key: Annotated[list[Path] | None, typer.Option(help="Timestamp key of another site; repeat.")] = None,
    kind: Annotated[str, typer.Option(help=f"Of the online keys: {', '.join(KINDS)}")] = "ed25519",
    after: Annotated[
        Path | None, typer.Option(help="Home of the federation that this one follows: nodes' roles and register.")
    ] = None,
    home: Home = DEFAULT_HOME,
) -> None:
    """Begin a federation: online keys here, drafts of root and targets for their holders to sign."""
    for path in (*root_key, *targets_key, *border_key):
        typer.echo(f"{path.name}: {groups(public_text(read_public(path)).encode())}")
    drafts = Publisher(home, utc_now).init(
        domain,
        root=[read_public(path) for path in root_key],
        root_threshold=root_threshold,
        targets=[read_public(path) for path in targets_key],
        targets_threshold=targets_threshold,
        border=[read_public(path) for path in border_key],
        border_threshold=border_threshold,
        timestamp=[read_public(path) for path in timestamp_key or ()],
        kind=kind,
        after=after,
    )
    _show(drafts)


@app.command()
def publish(
    bundle: Annotated[Path, typer.Argument(help="Source bundle: a folder with bundle.json.")],
    *,
    renew: Annotated[bool, typer.Option(help="Sign again although nothing has changed.")] = False,
    home: Home = DEFAULT_HOME,
) -> None:
    """Draft what changed in the source bundle; its CRLs and denials go out at once."""
    drafts = Publisher(home, utc_now).publish(bundle, renew=renew)
    _show(drafts)
    if not drafts:
        typer.echo("nothing that a key holder must sign")


@app.command("sign")
def sign_command(
    draft: Path,
    *,
    key_name: Annotated[str, typer.Option("--key", help="Key file, or label on the token.")],
    passphrase_file: Secret = None,
    module: Module = None,
    token: Token = "",
    yes: Annotated[bool, typer.Option("--yes", help="Without asking; for rehearsals.")] = False,
) -> None:
    """Sign a copy of a draft, on the key holder's own machine."""
    shown = summary(draft).fingerprint
    _show((draft,))
    if not yes:
        typer.confirm("Is this the fingerprint that was read to you, and do you sign?", abort=True)
    with _signer(key_name, passphrase_file, module, token) as signer:
        sign_draft(draft, signer, shown=shown)
    typer.echo(f"signed: {draft}")


@app.command()
def assemble(
    copies: Annotated[list[Path] | None, typer.Argument(help="Signed copies; none: the drafts as they are.")] = None,
    home: Home = DEFAULT_HOME,
) -> None:
    """Put signatures together and publish what has enough. Exit code 1 while signatures are missing."""
    done = Publisher(home, utc_now).assemble(copies or ())
    for role in done.published:
        typer.echo(f"published: {role}")
    for role, missing in done.waiting.items():
        typer.echo(f"waiting: {role}, {missing} more signature(s)")
    if done.waiting:
        raise typer.Exit(1)


@app.command()
def drafts(home: Home = DEFAULT_HOME) -> None:
    """What waits for signatures."""
    _show(sorted((home / "drafts").glob("*.json")))


@app.command()
def fingerprint(home: Home = DEFAULT_HOME) -> None:
    """The newest root's fingerprint, for who pins it: at a join, or when a federation has begun anew."""
    typer.echo(f"fingerprint of the root, to read aloud: {Publisher(home, utc_now).fingerprint()}")


@app.command()
def stamp(
    every: Annotated[int, typer.Option(min=0, help="Seconds between two, until stopped; 0: once.")] = 0,
    home: Home = DEFAULT_HOME,
) -> None:
    """Sign the time: a new timestamp, and snapshot and status before they grow old."""
    publisher = Publisher(home, utc_now)
    if not every:
        typer.echo(f"issued: {publisher.stamp().isoformat()}")
        return
    logs.configure()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    while not stop.is_set():
        try:
            publisher.stamp()
        except (CrosshallError, OSError) as error:  # the next minute tries again; nodes see the age grow
            typer.echo(f"stamp: {error}", err=True)
        stop.wait(every)


@app.command()
def status(
    folder: Annotated[Path, typer.Argument(help="Folder with crls/ and denials/: exactly these from now on.")],
    home: Home = DEFAULT_HOME,
) -> None:
    """Publish revocations and denials at once, by the online key."""
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for part in ("crls", "denials")
        for path in sorted((folder / part).glob("*"))
        if path.is_file() and not path.name.startswith(".")
    }
    Publisher(home, utc_now).status(files)
    typer.echo(f"published: {len(files)} files")


@app.command()
def rotate(
    role: Annotated[str, typer.Argument(help="root, targets, border, snapshot, timestamp, status, or gd.guangzhou …")],
    *,
    key_file: Annotated[list[Path] | None, typer.Option("--key", help="Public key file; repeat.")] = None,
    threshold: Annotated[int, typer.Option(min=1)] = 1,
    kind: Annotated[str, typer.Option(help="Of a new online key.")] = "ed25519",
    home: Home = DEFAULT_HOME,
) -> None:
    """Draft new keys for a role, in place of all it has; an online role without --key gets a new one here."""
    publisher = Publisher(home, utc_now)
    changed = publisher.rotate(role, [read_public(p) for p in key_file or ()], threshold, kind=kind)
    _show(dict.fromkeys((changed, *publisher.signed_by(role))))


@app.command()
def delegate(
    domain: Annotated[str, typer.Argument(help="The node's domain: gd/guangzhou.")],
    *,
    key_file: Annotated[list[Path], typer.Option("--key", help="Public key file; repeat.")],
    threshold: Annotated[int, typer.Option(min=1)] = 1,
    home: Home = DEFAULT_HOME,
) -> None:
    """Draft a node's role: it may refuse and propose in its own namespace."""
    _show((Publisher(home, utc_now).delegate(domain, [read_public(path) for path in key_file], threshold),))


@app.command()
def revoke(
    domain: Annotated[str, typer.Argument(help="The node's domain: gd/guangzhou.")], home: Home = DEFAULT_HOME
) -> None:
    """Draft the end of a node's role and of all below it."""
    _show((Publisher(home, utc_now).cut_off(domain),))


@app.command()
def suspend(what: Literal["border"], home: Home = DEFAULT_HOME) -> None:
    """Take the border's trust out of force everywhere, at once."""
    Publisher(home, utc_now).suspend_border(suspended=True)
    typer.echo(f"{what}: suspended")


@app.command()
def resume(what: Literal["border"], home: Home = DEFAULT_HOME) -> None:
    """Put the border's trust back into force."""
    Publisher(home, utc_now).suspend_border(suspended=False)
    typer.echo(f"{what}: in force")


@app.command()
def collect(
    source: Annotated[str, typer.Argument(help="Address of a node's published folder.")], home: Home = DEFAULT_HOME
) -> None:
    """Take what nodes' roles have signed since from a node's published folder."""
    taken = Publisher(home, utc_now).collect(open_source(source))
    typer.echo(f"taken: {', '.join(taken) or 'nothing newer'}")


@app.command()
def export(into: Path, home: Home = DEFAULT_HOME) -> None:
    """Write the published repository to a folder or disk, verified."""
    publisher = Publisher(home, utc_now)
    trusted = write_disk(publisher.repository.folder, publisher.first_root(), into, publisher.domain)
    typer.echo(f"written: version {trusted.version}, issued {trusted.issued.isoformat()}")


@app.command()
def recover(
    source: Annotated[str, typer.Argument(help="Folder of a node's mirror, or its address.")],
    *,
    bundle: Annotated[Path, typer.Option(help="The source bundle; brought up to what is published.")] = Path("bundle"),
    ca_file: Annotated[Path | None, typer.Option(help="TLS CA of that address.", show_default="the system's")] = None,
    home: Home = DEFAULT_HOME,
) -> None:
    """After a restore: take what was published since the backup from a node's mirror, checked by our own root."""
    publisher = Publisher(home, utc_now)
    address = source if ":" in source else f"file:{Path(source).resolve()}"
    done = recovery.recover(publisher, open_source(address, ca_file=str(ca_file or "")), bundle)
    typer.echo(f"caught up: version {done.version}, issued {done.issued.isoformat()}")
    for name in done.gone:
        typer.echo(f"removed since the backup: {name}")
    if done.bundle:
        typer.echo(f"{bundle} is what is published; what the backup had is in {home / recovery.BEFORE}")
    else:
        typer.echo(f"no source bundle in {bundle}: it was not brought up")
    typer.echo("next: changes that were made since and not published; then crosshall node run")


@app.command()
def verify(
    source: Annotated[str, typer.Argument(help="Folder, or address of a published folder.")],
    *,
    root: Annotated[Path, typer.Option(help="The root that was pinned: 1.root.json.")],
    at: Annotated[str | None, typer.Option(help="Trusted time, RFC 3339.", show_default="the signed time")] = None,
    node: Annotated[str, typer.Option(help="As this node would take it.")] = "gd",
) -> None:
    """Check a repository as a node would. Exit code 1 when it is refused."""
    now: datetime | None = moment(at) if at else None
    address = source if ":" in source else f"file:{Path(source).resolve()}"
    trusted, composed = check(address, root.read_bytes(), now, node)
    typer.echo(f"good: version {trusted.version}, issued {trusted.issued.isoformat()}, {len(composed.files)} files")
    for role, code in sorted({**trusted.failing, **composed.failing}.items()):
        typer.echo(f"failing: {role}: {code}")


def _show(paths: Iterable[Path]) -> None:
    for path in paths:
        found = summary(path)
        typer.echo(f"{path}: {found.role} version {found.version}, until {found.expires:%Y-%m-%d}, {found.files} files")
        if found.delegations:
            typer.echo(f"  delegates: {', '.join(found.delegations)}")
        typer.echo(f"  signatures: {found.signatures}; fingerprint: {found.fingerprint}")


@contextmanager
def _signer(name: str, secret: Path | None, module: Path | None, token: str) -> Iterator[Signer]:
    if module is None:
        yield load_key(Path(name), _secret(secret, new=False).encode())
        return
    with open_token(module, token, _secret(secret, new=False, pin=True)) as session:
        yield find_key(session, name)


def _secret(path: Path | None, *, new: bool, pin: bool = False) -> str:
    """A passphrase or PIN from a file or the keyboard, never from the command line, which everybody sees."""
    if path is None:
        return str(typer.prompt("PIN" if pin else "Passphrase", hide_input=True, confirmation_prompt=new and not pin))
    try:
        line = path.read_text("utf-8").splitlines()[0]
    except (OSError, IndexError, UnicodeDecodeError) as error:
        raise ConfigError("config.passphrase", f"{path}: {error}") from error
    if new and not pin and len(line) < _SHORTEST:
        raise ConfigError("config.passphrase", f"{path}: {len(line)} characters")
    return line
