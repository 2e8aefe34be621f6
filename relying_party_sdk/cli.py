"""`crosshall-rp`: tools for the developer of a window. Exit status 0 done, 2 arguments or settings that do not hold."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from relying_party_sdk.errors import SettingsError
from relying_party_sdk.settings import ALGORITHMS, CLIENT_AUTH, Settings


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    given = _parser().parse_args(arguments)
    try:
        return _conformance(given)
    except SettingsError as error:
        sys.stderr.write(f"crosshall-rp: {error}\n")
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("crosshall-rp", description="tools for the developer of a window")
    commands = parser.add_subparsers(required=True, metavar="command")
    each = commands.add_parser(
        "conformance",
        help="a small relying party for the OpenID Foundation's conformance suite",
        description="Serves until interrupted. Open /start for each test module: it signs in, with nothing cached.",
    )
    each.add_argument("--adapter", choices=("flask", "asgi"), default="flask")
    each.add_argument("--issuer", required=True, help="exactly as the provider writes it")
    each.add_argument("--client-id", required=True)
    each.add_argument("--client-secret", default="", help="without one: private_key_jwt")
    each.add_argument("--client-auth", choices=CLIENT_AUTH, help="default: client_secret_basic with a secret")
    each.add_argument("--host", default="127.0.0.1", help="address to listen at; the suite calls the back channel")
    each.add_argument("--port", type=int, default=8080)
    each.add_argument("--base-url", default="", help="default: http(s)://localhost:PORT")
    each.add_argument("--scope", default="openid")
    each.add_argument("--response-mode", choices=("query", "form_post"), default="query")
    each.add_argument("--algorithms", nargs="+", choices=ALGORITHMS, default=["ES256", "PS256", "RS256"])
    each.add_argument("--folder", type=Path, default=Path("crosshall-rp-conformance"), help="for the key files")
    each.add_argument("--ca-file", type=Path, help="roots (PEM) for TLS to the provider")
    each.add_argument("--tls-cert", type=Path, help="serve https with this chain (PEM)")
    each.add_argument("--tls-key", type=Path)
    each.add_argument("--dangerously-accept-untyped-logout-tokens", action="store_true")
    return parser


def _conformance(given: argparse.Namespace) -> int:
    from relying_party_sdk.testing.conformance import serve  # noqa: PLC0415 - Flask is an extra

    if bool(given.tls_cert) != bool(given.tls_key):
        raise SettingsError("rp.settings", "--tls-cert and --tls-key go together")
    scheme = "https" if given.tls_cert else "http"
    settings = Settings(
        issuer=given.issuer,
        client_id=given.client_id,
        client_secret=given.client_secret,
        client_auth=given.client_auth or ("client_secret_basic" if given.client_secret else "private_key_jwt"),
        base_url=given.base_url or f"{scheme}://localhost:{given.port}",
        key_file=given.folder / "client.pem",
        store="memory:",
        claims="standard",
        userinfo="on",
        scope=given.scope,
        algorithms=tuple(given.algorithms),
        response_mode=given.response_mode,
        sign_out_return="signed-out",
        ca_file=given.ca_file,
        dangerously_accept_untyped_logout_tokens=given.dangerously_accept_untyped_logout_tokens,
    )
    tls = (given.tls_cert, given.tls_key) if given.tls_cert else None
    serve(settings, given.adapter, (given.host, given.port), tls)
    return 0


if __name__ == "__main__":
    sys.exit(main())
