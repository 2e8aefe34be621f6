"""Hong Kong's CA on a machine of its own: a plain web server that gives out the lists it signs, and nothing else.

Its host stands across the border line, in a namespace of its own; nodes know its address from the CA's profile alone.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import tomli_w

from ca_bridge.files import write_atomically
from crosshall.supervisor import Part, port_ready
from demo.pki import certificates
from demo.pki.authorities import Authorities
from tests.nodes.wires import Wires

PLACE, HOST, ADDRESS, PORT = "hk", "ca.hk.test", "10.77.0.5", 8080
CA = "hk-public"
LIST = f"{CA}.crl"


def name_in_profile(bundle: Path) -> None:
    """The province's profile of the CA says where its list is fetched; the test's network is not public."""
    path = bundle / "profiles" / f"{CA}.toml"
    raw = tomllib.loads(path.read_text("utf-8"))
    raw["status"] |= {"fetch": [f"http://{HOST}:{PORT}/{LIST}"], "private": ["10.77.0.0/24"], "refresh_seconds": 60}
    write_atomically(path, tomli_w.dumps(raw).encode())


def publish(
    authorities: Authorities, folder: Path, revoked: Sequence[tuple[int, datetime]], now: datetime, life: timedelta
) -> datetime:
    """A new list, good for `life`; returns when it ends."""
    der = certificates.issue_crl(
        authorities.row(CA).subject,
        authorities.key(CA),
        revoked,
        number=int(now.timestamp() * 1000),
        this_update=now,
        next_update=now + life,
    )
    write_atomically(folder / LIST, der)
    return now + life


def server(wires: Wires, folder: Path, environment: Mapping[str, str]) -> Part:
    """The web server; its log has a line for each request."""
    serve = (sys.executable, "-u", "-m", "http.server", str(PORT), "--bind", ADDRESS, "--directory", str(folder))
    return Part(PLACE, (*wires.inside(PLACE), *serve), port_ready(f"{ADDRESS}:{PORT}"), environment, folder=folder)
