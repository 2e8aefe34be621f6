"""`crosshall-rp`: tools for the developer of a window.

Exit status: 0 done, 1 `doctor` found a fault, 2 arguments or settings that do not hold.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

from relying_party_sdk.errors import RPError, SettingsError
from relying_party_sdk.settings import ALGORITHMS, CLIENT_AUTH, Settings


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    given = _parser().parse_args(arguments)
    try:
        return int(given.run(given))
    except ImportError as error:
        sys.stderr.write(f"crosshall-rp: {error.name} is missing: pip install crosshall-rp[{given.extra}]\n")
    except (RPError, OSError) as error:
        sys.stderr.write(f"crosshall-rp: {error}\n")
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("crosshall-rp", description="tools for the developer of a window")
    commands = parser.add_subparsers(required=True, metavar="command")
    _add_doctor(commands)
    _add_rotate(commands)
    _add_new(commands)
    _add_proxy(commands)
    _add_conformance(commands)
    return parser


# ---- doctor


def _add_doctor(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    each = commands.add_parser(
        "doctor",
        help="is this window set up right? 本系统的接入设置是否正确",
        description="Checks settings, key files, store, provider, clock, keys, levels, and the window at its public "
        "address: proxy, cookies, public key, back channel, redirect address. Says what to change, in Chinese and in "
        "English. Exit status 1 when something has to be changed.",
    )
    each.set_defaults(run=_doctor, extra="")
    each.add_argument("file", type=Path, nargs="?", metavar="FILE", help="default: as the application finds it")
    each.add_argument("--level", type=int, action="append", default=[], help="a level that a page asks; repeatable")
    each.add_argument("--json", action="store_true")


def _doctor(given: argparse.Namespace) -> int:
    from relying_party_sdk.doctor import examine  # noqa: PLC0415 - only this command needs it
    from relying_party_sdk.findings import as_json, as_text, faulty  # noqa: PLC0415

    findings = examine(given.file, tuple(given.level))
    sys.stdout.write(as_json(findings) if given.json else as_text(findings))
    return 1 if faulty(findings) else 0


# ---- rotate


def _add_rotate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    each = commands.add_parser(
        "rotate",
        help="give the client's key a successor 更换本系统的密钥",
        description="Adds a new key to the key file: published at jwks.json at once, used in an hour, the old one "
        "published for an hour after that. Running processes take it up by themselves. For a provider that reads "
        "jwks.json, as the hall does; `key_rotation` in the settings does the same by itself.",
    )
    each.set_defaults(run=_rotate, extra="")
    each.add_argument("file", type=Path, nargs="?", metavar="FILE", help="default: as the application finds it")


def _rotate(given: argparse.Namespace) -> int:
    from relying_party_sdk.clientauth import AHEAD, ClientKey  # noqa: PLC0415 - only this command needs it

    settings = Settings.from_toml(given.file) if given.file else Settings.from_environment()
    if settings.client_secret:
        raise SettingsError("rp.settings", "this client has a secret, and no key")
    if not settings.key_file.exists():
        raise SettingsError("rp.settings", f"{settings.key_file} is not there: start the application first")
    key = ClientKey(settings.key_file, secrets.token_bytes)
    if not key.rotate():
        raise SettingsError("rp.key_file", "another process is changing the key, or the last new one is not in use yet")
    names = ", ".join(str(each["kid"])[:8] for each in key.jwks["keys"])
    sys.stdout.write(f"published: {names}; the new key signs in {AHEAD:.0f} s\n")
    return 0


# ---- new


def _add_new(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from relying_party_sdk.new import FRAMEWORKS  # noqa: PLC0415 - only this command needs it

    each = commands.add_parser(
        "new",
        help="write a runnable example",
        description="Writes a folder NAME: an application, its test, its settings file and a README.",
    )
    each.set_defaults(run=_new, extra="")
    each.add_argument("framework", choices=FRAMEWORKS)
    each.add_argument("name", help="a folder that is not there yet; its last part is the client_id")


def _new(given: argparse.Namespace) -> int:
    from relying_party_sdk.new import write  # noqa: PLC0415

    for path in write(given.framework, Path(given.name)):
        sys.stdout.write(f"{path}\n")
    return 0


# ---- proxy


def _add_proxy(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    each = commands.add_parser(
        "proxy",
        help="unified login before a system that cannot be changed",
        description="Runs relying_party_sdk.proxy under gunicorn, until interrupted. FILE holds the window's settings "
        "and a [proxy] table; without upstream in it, it answers nginx's auth_request.",
    )
    each.set_defaults(run=_proxy, extra="proxy")
    each.add_argument("file", type=Path, metavar="FILE")
    each.add_argument("--listen", default="127.0.0.1:8080", help="address:port, or unix:PATH; TLS is the front's")
    each.add_argument("--workers", type=int, default=2)
    each.add_argument("--threads", type=int, default=16, help="of each worker: requests under way at once")


def _proxy(given: argparse.Namespace) -> int:
    if importlib.util.find_spec("gunicorn") is None:
        raise ModuleNotFoundError(name="gunicorn")
    from relying_party_sdk.proxy import from_file  # noqa: PLC0415

    from_file(str(given.file))  # what does not hold is told here, not by each worker
    options = ["--bind", given.listen, "--workers", str(given.workers), "--threads", str(given.threads)]
    options += ["--worker-class", "gthread", "--limit-request-line", "8190", "--timeout", "120"]
    app = f"relying_party_sdk.proxy:from_file({str(given.file.resolve())!r})"
    os.execv(sys.executable, [sys.executable, "-m", "gunicorn", *options, app])  # noqa: S606


# ---- conformance


def _add_conformance(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    each = commands.add_parser(
        "conformance",
        help="a small relying party for the OpenID Foundation's conformance suite",
        description="Serves until interrupted. Open /start for each test module: it signs in, with nothing cached; "
        "/leave signs out. A refused answer is an error page (HTTP 4xx or 5xx) with its code.",
    )
    each.set_defaults(run=_conformance, extra="flask")
    each.add_argument("--adapter", choices=("flask", "asgi"), default="flask")
    each.add_argument("--issuer", required=True, help="exactly as the provider writes it, a slash at the end included")
    each.add_argument("--client-id", required=True)
    each.add_argument("--client-secret", default="", help="without one: private_key_jwt")
    each.add_argument("--client-auth", choices=CLIENT_AUTH, help="default: client_secret_basic with a secret")
    each.add_argument("--assertion-audience", choices=("issuer", "token_endpoint"), default="issuer")
    each.add_argument("--host", default="127.0.0.1", help="address to listen at; the suite calls the back channel")
    each.add_argument("--port", type=int, default=8080, help="0: a free one; the addresses are printed")
    each.add_argument("--base-url", default="", help="default: http(s)://localhost:PORT")
    each.add_argument("--scope", default="openid profile email")
    each.add_argument("--response-mode", choices=("query", "form_post"), default="query")
    each.add_argument("--sign-out-return", choices=("signed-out", "home"), default="signed-out")
    each.add_argument("--algorithms", nargs="+", choices=ALGORITHMS, default=["ES256", "PS256", "RS256"])
    each.add_argument("--folder", type=Path, default=Path("crosshall-rp-conformance"), help="for the key files")
    each.add_argument("--ca-file", type=Path, help="roots, or the one certificate (PEM), for TLS to the provider")
    each.add_argument("--tls-cert", type=Path, help="serve https with this chain (PEM)")
    each.add_argument("--tls-key", type=Path)
    each.add_argument("--dangerously-skip-tls-verification", action="store_true", help="better: --ca-file")
    each.add_argument("--dangerously-allow-http", action="store_true", help="an http provider on another machine")
    each.add_argument(
        "--dangerously-accept-untyped-logout-tokens",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="the suite's have no typ; a window refuses them unless its settings say otherwise",
    )


def _conformance(given: argparse.Namespace) -> int:
    from relying_party_sdk.testing.conformance import Options, serve  # noqa: PLC0415 - Flask is an extra

    if bool(given.tls_cert) != bool(given.tls_key):
        raise SettingsError("rp.settings", "--tls-cert and --tls-key go together")
    scheme = "https" if given.tls_cert else "http"

    def settings_at(port: int) -> Settings:
        return Settings(
            issuer=given.issuer,
            client_id=given.client_id,
            client_secret=given.client_secret,
            client_auth=given.client_auth or ("client_secret_basic" if given.client_secret else "private_key_jwt"),
            assertion_audience=given.assertion_audience,
            base_url=given.base_url.rstrip("/") or f"{scheme}://localhost:{port}",
            key_file=given.folder / "client.pem",
            store="memory:",
            claims="standard",
            userinfo="on",
            scope=given.scope,
            algorithms=tuple(given.algorithms),
            response_mode=given.response_mode,
            sign_out_return=given.sign_out_return,
            ca_file=given.ca_file,
            dangerously_allow_http=given.dangerously_allow_http,
            dangerously_skip_tls_verification=given.dangerously_skip_tls_verification,
            dangerously_accept_untyped_logout_tokens=given.dangerously_accept_untyped_logout_tokens,
        )

    settings_at(given.port)  # what does not hold is told before anything is opened
    tls = (given.tls_cert, given.tls_key) if given.tls_cert else None
    serve(settings_at, Options(given.adapter, given.host, given.port, tls))
    return 0


if __name__ == "__main__":
    sys.exit(main())
