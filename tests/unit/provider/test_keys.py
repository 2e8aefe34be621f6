"""Signing keys: rotation without an interruption, and what happens to a stolen key."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt as pyjwt
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from ca_bridge.errors import ConfigError
from ca_bridge.provider.keys import LEAD, SigningKeys, create_ring, drop_old, read_ring, rotate
from tests.parts.bridge import START, Bridge, Hand

KEEP = timedelta(hours=9)


def signing(bridge: Bridge) -> Path:
    """The folder of the bridge's signing keys."""
    return bridge.parts.services.settings.bridge.keys / "signing"


def kid_of(token: str) -> str:
    """The key id in a token's header."""
    return str(pyjwt.get_unverified_header(token)["kid"])


def test_a_rotation_never_leaves_a_token_unverified(bridge: Bridge):
    """Sign-ins every minute through a whole rotation: a client that looks at the keys every ten minutes knows each."""
    client = bridge.browser()
    known: dict[str, Any] = bridge.get(client, "/jwks").json
    looked = bridge.clock()
    kids = []
    for minute in range(60 * 10):
        if minute == 5:
            rotate(signing(bridge), bridge.clock(), keep=KEEP)
        if bridge.clock() - looked >= timedelta(minutes=10):
            known, looked = bridge.get(client, "/jwks").json, bridge.clock()
        session = bridge.parts.services.sessions.open(bridge.signin()).session
        token = bridge.parts.tokens.id_token(session, "n")
        jwt.decode(token, KeySet.import_key_set(known), algorithms=["ES256"])
        kids.append(kid_of(token))
        bridge.clock.forward(60)
    assert len(set(kids)) == 2
    assert kids.index(kids[-1]) == 20, "the new key signs 15 minutes after it was published"
    assert len(bridge.get(client, "/jwks").json["keys"]) == 1, "the old key is gone after its time"


def test_a_sign_out_hint_of_the_old_key_is_taken(bridge: Bridge):
    """Keycloak sends the ID token of hours ago: its key is kept as long as a session may live."""
    client = bridge.browser()
    token = bridge.token(bridge.code(client)).json["id_token"]
    rotate(signing(bridge), bridge.clock(), keep=KEEP)
    bridge.clock.forward(8 * 3600)
    assert bridge.parts.tokens.read_hint(token)


def test_a_stolen_key_is_worth_nothing_at_once(bridge: Bridge):
    """Lead and keep of zero: a new key signs now, what the old one signed is refused."""
    token = bridge.token(bridge.code(bridge.browser())).json["id_token"]
    rotate(signing(bridge), bridge.clock(), keep=timedelta(0), lead=timedelta(0))
    bridge.clock.forward(1)
    answer = bridge.get(bridge.browser(), "/logout", query_string={"id_token_hint": token})
    assert answer.status_code == 400
    fresh = bridge.token(bridge.code(bridge.browser())).json["id_token"]
    assert kid_of(fresh) != kid_of(token)
    assert [row["kid"] for row in bridge.get(bridge.browser(), "/jwks").json["keys"]] == [kid_of(fresh)]


def test_only_public_halves_are_published(bridge: Bridge):
    """kty, crv, x, y, kid, use, alg; never d."""
    (row,) = bridge.get(bridge.browser(), "/jwks").json["keys"]
    assert set(row) == {"kty", "crv", "x", "y", "kid", "use", "alg"}


def test_a_second_rotation_waits_for_the_first(tmp_path: Path):
    """Else the key in between would sign before anybody saw it."""
    create_ring(tmp_path, START)
    rotate(tmp_path, START, keep=KEEP)
    with pytest.raises(ConfigError) as refused:
        rotate(tmp_path, START + LEAD - timedelta(seconds=1), keep=KEEP)
    assert refused.value.code == "config.rotation"
    assert len(rotate(tmp_path, START + LEAD, keep=KEEP).times) == 3


def test_making_the_ring_again_changes_nothing(tmp_path: Path):
    """Every start calls it."""
    assert create_ring(tmp_path, START).times == create_ring(tmp_path, START + KEEP).times


def test_old_keys_are_removed_from_the_disk(tmp_path: Path):
    """After their time the private halves are gone too."""
    create_ring(tmp_path, START)
    rotate(tmp_path, START, keep=KEEP)
    assert drop_old(tmp_path, START + LEAD + KEEP - timedelta(seconds=1)) == 0
    assert drop_old(tmp_path, START + LEAD + KEEP) == 1
    assert len(list(tmp_path.glob("*.pem"))) == 1


def test_private_keys_are_the_owners_alone(tmp_path: Path):
    """0600, from the first byte."""
    create_ring(tmp_path, START)
    assert {file.stat().st_mode & 0o777 for file in tmp_path.glob("*.pem")} == {0o600}


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "keys.json").unlink(),
        lambda folder: (folder / "keys.json").write_text("{"),
        lambda folder: (folder / "keys.json").write_text('{"keys": []}'),
        lambda folder: [file.unlink() for file in folder.glob("*.pem")],
        lambda folder: [file.write_text("rubbish") for file in folder.glob("*.pem")],
        lambda folder: (folder / "keys.json").write_text(
            json.dumps(
                {
                    "keys": [
                        {"kid": row.kid, "published": "2026-01-01T00:00:00", "signs": "x"}
                        for row in read_ring(folder).times
                    ]
                }
            )
        ),
    ],
    ids=["absent", "broken", "empty", "no_pem", "bad_pem", "bad_times"],
)
def test_damaged_keys_are_refused(tmp_path: Path, damage: Any):
    """`config.signing_keys`, never a new key in silence."""
    create_ring(tmp_path, START)
    damage(tmp_path)
    with pytest.raises(ConfigError) as refused:
        SigningKeys(tmp_path, Hand()).ring()
    assert refused.value.code == "config.signing_keys"


def test_a_clock_that_was_set_back(bridge: Bridge):
    """A day behind, the node's keys are there all the same; a key that is still to come does not sign for it."""
    ring = create_ring(signing(bridge), bridge.clock())
    first = ring.signing(bridge.clock()).thumbprint()
    rotate(signing(bridge), bridge.clock(), keep=KEEP)
    behind, ring = bridge.clock() - timedelta(days=1), read_ring(signing(bridge))
    assert ring.signing(behind).thumbprint() == first
    assert first in {key["kid"] for key in ring.published(behind)}
    assert ring.find(first, behind) is not None
