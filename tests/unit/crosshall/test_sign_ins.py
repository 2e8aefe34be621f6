"""`crosshall node sign-ins`: what came from a node, here and as it told the province; by certificate, never by name."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from pathlib import Path

import pytest
import tomli_w
from typer.testing import CliRunner

from ca_bridge.ceremony import journal
from ca_bridge.ceremony.journal import Journal
from ca_bridge.crypto.between import BOX_FILE, SIGN_FILE, NodeKeys
from ca_bridge.errors import ConfigError
from ca_bridge.store import Box, migrate, open_store
from ca_bridge.store.links import Arrival
from ca_bridge.store.sessions import Sessions, SignIn
from ca_bridge.types import Capacity, Identifier, IdentifierType, Identity, Way
from crosshall.nodes import app
from tests.unit.web.federation import CITY, OTHER, PROVINCE, new_key, roster_of

NAME, NUMBER = "张三", "440105199001011239"


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """A province with one arrival from the city and one copy of it, and one from elsewhere."""
    keys = tmp_path / "state" / "keys"
    keys.mkdir(parents=True)
    (keys / "attributes").write_bytes(bytes(range(32)))
    own = {name: NodeKeys(new_key(), new_key()) for name in (PROVINCE, CITY, OTHER)}
    for name, key in ((SIGN_FILE, own[PROVINCE].sign), (BOX_FILE, own[PROVINCE].box)):
        (keys / name).write_bytes(key.as_pem(private=True))
        (keys / name).chmod(0o600)
    now = datetime.now(UTC)
    url = f"sqlite:///{tmp_path}/state/bridge.sqlite"
    migrate(url)
    store = open_store(url, Box(bytes(range(32))))
    for node in (CITY, OTHER):
        Sessions(store, 3600).open(_signin(now, node))
    store.close()
    out = tmp_path / "out"
    Journal(
        out, CITY, keys=lambda: own[CITY], roster=lambda: roster_of(own), clock=lambda: now, random=secrets.token_bytes
    )(journal.entry(_signin(now, "")))
    (file,) = out.iterdir()
    journal.take_in(tmp_path / "state" / journal.INBOX, own[PROVINCE], roster_of(own), file.name, file.read_text())
    written = {
        "bridge": {"issuer": "https://hall.gd.test", "certificate_host": "*.cert.gd.test"},
        "keycloak": {"issuer": "https://sso.gd.test/realms/gd", "internal": "http://127.0.0.1:1"},
    }
    path = tmp_path / "node.toml"
    path.write_text(tomli_w.dumps(written))
    return path


def _signin(now: datetime, node: str) -> SignIn:
    identity = Identity(NAME, (Identifier(IdentifierType.CN_ID, "CN", NUMBER),), None, (Capacity.CITIZEN,))
    return SignIn(
        person="p1:" + secrets.token_hex(4),
        capacity=Capacity.CITIZEN,
        level=3,
        way=Way.ABROAD if node else Way.TOKEN,
        domain="gd",
        ca="gd-public",
        certificate_key=f"{'a' * 64}:{len(node)}",
        leaf=b"leaf",
        identity=identity,
        auth_time=now,
        checked_at=now,
        status_issued_at=None,
        arrival=Arrival(node, secrets.token_urlsafe(32), "a.b.c") if node else None,
    )


def run(settings: Path, *arguments: str) -> str:
    """What the command says."""
    done = CliRunner().invoke(app, ["sign-ins", *arguments, "--settings", str(settings)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_both_lists(settings: Path) -> None:
    """What came here by the city's evidence, and what the city told of itself; nobody's name or number."""
    told = run(settings, "--of", CITY, "--since", "2026-01-01T00:00:00+08:00")
    assert f"here by {CITY}  level 3  open  {'a' * 64}:{len(CITY)}" in told
    assert f"at {CITY} by token  level 3  {'a' * 64}:0" in told
    assert told.endswith("1 here, 1 there\n")
    assert OTHER not in told
    assert NAME not in told
    assert NUMBER not in told


def test_since(settings: Path) -> None:
    """Nothing after a time to come."""
    assert run(settings, "--of", CITY, "--since", "2999-01-01T00:00:00Z") == "0 here, 0 there\n"


@pytest.mark.parametrize("since", ["yesterday", "2026-01-01T00:00:00", ""])
def test_a_time_without_a_zone_is_none(settings: Path, since: str) -> None:
    """An hour too late would hide what is looked for."""
    with pytest.raises(ConfigError, match=r"config\.invalid"):
        run(settings, "--of", CITY, "--since", since)
