"""The realm's keys: a realm rebuilt a moment ago is believed at once, strangers' key ids cost few fetches."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from ca_bridge.errors import CrosshallError
from ca_bridge.provider.http import Answer
from ca_bridge.provider.realm_keys import AT_ONCE, BETWEEN, RealmKeys

NOW = datetime(2026, 3, 2, 8, tzinfo=UTC)


class Realm:
    """A realm with one key at a time, and a clock."""

    def __init__(self) -> None:
        self.now, self.fetches, self.name = NOW, 0, ""
        self.rebuild("first")

    def rebuild(self, name: str) -> None:
        """Another key."""
        self.name, self._key = name, ec.generate_private_key(ec.SECP256R1())

    def token(self, kid: str = "") -> str:
        """Signed by the realm."""
        return jwt.encode({"sub": "x"}, self._key, algorithm="ES256", headers={"kid": kid or self.name})

    def get(self, url: str) -> Answer:
        """Its JWKS."""
        self.fetches += 1
        row = jwt.algorithms.ECAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        return Answer(200, {}, json.dumps({"keys": [{**row, "kid": self.name, "use": "sig"}]}).encode())


@pytest.fixture(name="realm")
def _realm() -> Realm:
    return Realm()


@pytest.fixture(name="keys")
def _keys(realm: Realm) -> RealmKeys:
    return RealmKeys("http://realm/certs", realm, lambda: realm.now)


def test_rebuilt_a_second_ago(realm: Realm, keys: RealmKeys) -> None:
    """Its new key is fetched, though the keys were fetched a second ago."""
    keys.verify(realm.token())
    realm.now += timedelta(seconds=1)
    realm.rebuild("second")
    assert keys.verify(realm.token()) == {"sub": "x"}


def test_strangers_cost_few_fetches(realm: Realm, keys: RealmKeys) -> None:
    """A thousand ids at once are three fetches, and after that one in ten seconds; a new key then waits no longer."""
    for number in range(1000):
        with pytest.raises(CrosshallError, match="not a key of the realm"):
            keys.verify(realm.token(f"bogus-{number}"))
    assert realm.fetches == AT_ONCE
    for _ in range(5):
        realm.now += BETWEEN
        for number in range(3):
            with pytest.raises(CrosshallError):
                keys.verify(realm.token(f"more-{number}"))
    assert realm.fetches == AT_ONCE + 5
    realm.rebuild("second")
    realm.now += BETWEEN
    keys.verify(realm.token())


def test_a_clock_that_is_set_back_does_not_lock_out(realm: Realm, keys: RealmKeys) -> None:
    """What was paid for in a time that has not come is forgotten."""
    keys.verify(realm.token())
    realm.now -= timedelta(days=1)
    realm.rebuild("second")
    keys.verify(realm.token())
