"""The provider's whole way on each database: sign-in, single sign-on, a code twice, revocation, logout, purge."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from ca_bridge.provider import cookies
from ca_bridge.provider.watcher import Watcher
from ca_bridge.store.logouts import Logouts
from tests.contract.test_items import at_once
from tests.parts.bridge import Bridge, FakeSnapshot, cookie, make_bridge, parameters


@pytest.fixture
def bridge(url: str, tmp_path: Path) -> Iterator[Bridge]:
    """A bridge on a database of each kind."""
    made = make_bridge(tmp_path, url, rate_per_minute=10000)
    yield made
    made.parts.services.store.close()


def test_the_whole_way(bridge: Bridge):
    """Sign-in, silent answer, attributes, sign-out told by Keycloak."""
    client = bridge.browser()
    token = bridge.token(bridge.code(client)).json["id_token"]
    claims = bridge.claims(token)
    assert "code" in parameters(bridge.authorize(client, prompt="none"))
    access = bridge.realm.access_token(claims["crosshall_subject_police"])
    answer = bridge.get(client, "/attributes", headers={"Authorization": f"Bearer {access}"})
    assert answer.json["subject"] == claims["crosshall_subject_police"]
    assert bridge.get(client, "/logout", query_string={"id_token_hint": token}).status_code == 200
    assert parameters(bridge.authorize(client, prompt="none"))["error"] == "login_required"


def test_of_eight_uses_of_a_code_at_once_one_gets_tokens(bridge: Bridge):
    """And because the others were second uses, the session is over."""
    client = bridge.browser()
    code = bridge.code(client)
    answers = at_once(8, lambda _: bridge.token(code).status_code)
    assert answers.count(200) <= 1
    assert set(answers) <= {200, 400}
    assert bridge.parts.services.sessions.find(cookie(client, cookies.SESSION)) is None


def test_of_eight_continues_at_once_one_gets_a_code(bridge: Bridge):
    """The transaction is taken once, in all workers."""
    client = bridge.browser()
    answer = bridge.authorize(client)
    bridge.sign_in(client, answer)
    tx = answer.location.rpartition("/")[2]
    header = {"Cookie": "; ".join(f"{n}={cookie(client, n)}" for n in (cookies.BROWSER, cookies.SESSION))}
    query = {"tx": tx}
    answers = at_once(
        8,
        lambda _: bridge.get(
            bridge.app.test_client(use_cookies=False), "/authorize/continue", query_string=query, headers=header
        ),
    )
    assert sum("code=" in (one.location or "") for one in answers) == 1
    assert sum(400 <= one.status_code < 500 for one in answers) == 7


def test_revocation_reaches_keycloak_and_the_rest_goes_on(bridge: Bridge):
    """A changed snapshot, one tick: over here, told there; then everything that is over is purged."""
    client = bridge.browser()
    claims = bridge.claims(bridge.token(bridge.code(client)).json["id_token"])
    services = bridge.parts.services
    watcher = Watcher(services, services.settings.bridge.keys / "signing")
    bridge.source.snapshot = FakeSnapshot(hash="b" * 64, refused={bridge.signin().leaf: "revocation.revoked"})
    assert (watcher.tick().ended, len(bridge.realm.logouts)) == (1, 1)
    assert bridge.claims(bridge.realm.logouts[0])["sub"] == claims["sub"]
    assert "/sign-in/" in bridge.authorize(client).location
    bridge.clock.now += timedelta(days=1)
    watcher.tick()
    assert services.store.purge(bridge.clock()) == 0, "the tick has purged"
    assert Logouts(services.store).waiting() == 0
