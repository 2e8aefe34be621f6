"""Writes the nginx configuration of a node from `config/nginx/`, and names the part that runs it."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template

from ca_bridge.errors import LANGUAGES, words
from ca_bridge.files import config_dir, write_atomically
from crosshall.supervisor import Part, port_ready


@dataclass(frozen=True, slots=True)
class Front:
    """What nginx serves: host names without port; `listen` is `address:port`."""

    folder: Path
    logs: Path
    listen: str
    hall: str
    certificate_names: str
    sso: str
    bridge_socket: Path
    keycloak: str
    certificate: Path
    certificate_key: Path
    channel_secret: str
    windows: tuple[tuple[str, str], ...] = ()
    """Host name → `address:port` of systems that share this front (the demo's windows)."""
    published: Path | None = None
    """Handed out below `/federation/` at the hall: signed files that anyone may read."""


def write_configuration(front: Front) -> Path:
    """Write all of nginx's files below `front.folder`; returns the main one. The channel's secret is in a 0600 file."""
    (front.folder / "tmp").mkdir(parents=True, exist_ok=True)
    pages = front.folder / "pages"
    write_atomically(pages / "crosshall-refused.html", _page("upstream.refused"))
    write_atomically(pages / "crosshall-unavailable.html", _page("upstream.unavailable"))
    port = front.listen.rpartition(":")[2]
    common = {"folder": front.folder, "pages": pages, "listen": front.listen, "secret": front.channel_secret}
    windows = "\n".join(
        _fill("window.conf", {**common, "name": name, "upstream": upstream}) for name, upstream in front.windows
    )
    user = f"user {pwd.getpwuid(0).pw_name};" if os.geteuid() == 0 else ""
    values = {
        **common,
        "user": user,
        "logs": front.logs,
        "port": port,
        "hall": front.hall,
        "hall_address": f"{front.hall}:{port}",
        "certificate_names": front.certificate_names,
        "sso": front.sso,
        "bridge_socket": front.bridge_socket,
        "keycloak": front.keycloak,
        "certificate": front.certificate,
        "certificate_key": front.certificate_key,
        "windows": windows,
        "published": f"        location ^~ /federation/ {{ alias {front.published}/; }}\n" if front.published else "",
    }
    write_atomically(front.folder / "pages.conf", _fill("pages.conf", common).encode())
    write_atomically(front.folder / "certificate.conf", _fill("certificate.conf", common).encode(), mode=0o600)
    main = front.folder / "nginx.conf"
    write_atomically(main, _fill("main.conf", values).encode())
    return main


def nginx_part(front: Front) -> Part:
    """The front as a part for the supervisor; ready when it takes connections (a killed one leaves its pid file)."""
    main = write_configuration(front)
    # Debian's nginx lies in /usr/sbin, which is not on every user's PATH.
    path = f"{os.environ.get('PATH', '')}:/usr/sbin"
    command = ("nginx", "-e", front.logs / "nginx-error.log", "-p", front.folder, "-c", main)
    return Part("nginx", command, port_ready(front.listen), {"PATH": path}, start_seconds=15)


def _fill(name: str, values: dict[str, object]) -> str:
    return Template((config_dir() / "nginx" / name).read_text("utf-8")).substitute(values)


def _page(code: str) -> bytes:
    blocks = []
    for language in LANGUAGES:
        why, what = words(code, language)
        blocks.append(f'<section lang="{language}"><h2>{escape(why)}</h2><p>{escape(what)}</p></section>')
    style = (
        "body{font:1.1rem/1.6 system-ui,sans-serif;max-width:40rem;margin:2rem auto;padding:0 1rem}"
        "h2{font-size:1.15rem;margin:1.5rem 0 .25rem}p{margin:0}small{color:#555}"
    )
    return (
        f'<!doctype html><html lang="zh-Hans"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(words(code)[0])}</title><style>{style}</style><main>{''.join(blocks)}"
        f"<p><small>{code}</small></p></main></html>"
    ).encode()
