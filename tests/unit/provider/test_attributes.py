"""The attribute endpoint: to a registered window, with the realm's access token, while the session lives; recorded."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from joserfc.jwk import ECKey

from ca_bridge.provider import cookies
from ca_bridge.provider.realm_keys import AT_ONCE
from ca_bridge.registry import write_window
from ca_bridge.types import Capacity
from tests.parts.bridge import LEAF, NAME, NUMBER, Bridge, FakeSnapshot, cookie, window


def subject_of(bridge: Bridge, sector: str = "police", **changes: Any) -> str:
    """Sign a person in and return how a sector knows them."""
    client = bridge.browser()
    answer = bridge.authorize(client)
    opened = bridge.sign_in(client, answer, bridge.signin(**changes))
    return bridge.parts.services.person_keys.subject(sector, opened.session.person)


def fetch(bridge: Bridge, token: str | None) -> Any:
    """GET /attributes with a bearer token."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return bridge.get(bridge.browser(), "/attributes", headers=headers)


def test_a_window_receives_exactly_what_it_is_registered_for(bridge: Bridge):
    """Name and identifiers for `police`, nothing of the organisation; subject and kind always; the release recorded."""
    subject = subject_of(bridge)
    answer = fetch(bridge, bridge.realm.access_token(subject))
    assert answer.status_code == 200
    assert answer.json == {
        "subject": subject,
        "kind": "citizen",
        "name": NAME,
        "identifiers": [{"type": "cn-id", "state": "CN", "value": NUMBER}],
    }
    assert answer.headers["Cache-Control"] == "no-store"
    (release,) = bridge.parts.services.releases.of(bridge.signin().person)
    assert (release.window, release.attributes, release.at) == ("police", ("name", "identifiers"), bridge.clock())


def test_nothing_is_released_on_a_certificate_that_is_refused_now(bridge: Bridge):
    """Revoked since the watcher's last round, or while none works: no name leaves, the session is over."""
    subject = subject_of(bridge)
    bridge.source.snapshot = FakeSnapshot(hash="b" * 64, refused={LEAF + NUMBER.encode(): "revocation.revoked"})
    answer = fetch(bridge, bridge.realm.access_token(subject))
    assert answer.status_code == 401
    assert NAME not in answer.get_data(as_text=True)
    assert bridge.parts.services.releases.of(bridge.signin().person) == ()
    assert len(bridge.realm.logouts) == 1


def test_a_citizens_employer_is_not_told(bridge: Bridge):
    """A window registered for `organisation` sees it only where the person acts for it."""
    write_window(bridge.parts.services.settings.node.state, window("tax", "tax", ("organisation",)))
    bridge.clock.forward(2)
    subject = subject_of(bridge, "tax")
    assert fetch(bridge, bridge.realm.access_token(subject, azp="tax")).json["organisation"] is None
    bridge.clock.forward(2)
    acting = subject_of(bridge, "tax", capacity=Capacity.OPERATOR)
    told = fetch(bridge, bridge.realm.access_token(acting, azp="tax")).json
    assert told["organisation"] == {
        "name": "某公司",
        "type": "uscc",
        "state": "CN",
        "value": "91440101MA9W0Y0A0A",
    }
    assert set(told) == {"subject", "kind", "organisation"}


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://sso.gd.localhost:8443/realms/gd/"},
        {"iss": None},
        {"azp": "Police"},
        {"azp": "unknown"},
        {"azp": None},
        {"azp": ["police"]},
        {"typ": "ID"},
        {"typ": "Refresh"},
        {"typ": None},
        {"crosshall_subject": None},
        {"crosshall_subject": 7},
        {"exp": None},
        {"exp": 1},
        {"iat": 99999999999},
        {"nbf": 99999999999},
    ],
)
def test_a_token_for_something_else_is_refused(bridge: Bridge, changes: dict[str, Any]):
    """Issuer, type, window and times; 401 with a challenge (RFC 6750 §3), and nothing is recorded."""
    subject = subject_of(bridge)
    token = bridge.realm.access_token(subject, **changes)
    answer = fetch(bridge, token)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith('Bearer error="invalid_token"')
    assert NAME not in answer.get_data(as_text=True)
    assert bridge.parts.services.releases.of(bridge.signin().person) == ()


def test_a_token_by_another_key_is_refused(bridge: Bridge):
    """Only the realm's keys, ES256."""
    subject = subject_of(bridge)
    for token in (
        bridge.realm.access_token(subject, key=ECKey.generate_key("P-256", private=True)),
        bridge.realm.access_token(subject)[:-5] + "AAAAA",
        "rubbish",
        "",
        " ",
    ):
        assert fetch(bridge, token).status_code == 401
    assert fetch(bridge, None).headers["WWW-Authenticate"] == 'Bearer, DPoP algs="ES256"'


def test_a_window_registered_for_nothing_receives_nothing(bridge: Bridge):
    """403, although token and session are good."""
    subject = subject_of(bridge, "environment")
    answer = fetch(bridge, bridge.realm.access_token(subject, azp="env"))
    assert answer.status_code == 403
    assert answer.json["error"] == "insufficient_scope"


def test_another_sectors_subject_opens_nothing(bridge: Bridge):
    """A window cannot use what another sector calls the person."""
    subject = subject_of(bridge, "environment")
    answer = fetch(bridge, bridge.realm.access_token(subject))
    assert answer.status_code == 401
    assert answer.json["error_description"] == "provider.session_over"


def test_after_the_end_of_the_session_nothing_is_released(bridge: Bridge):
    """A good access token outlives the session: the attributes do not."""
    client = bridge.browser()
    answer = bridge.authorize(client)
    opened = bridge.sign_in(client, answer)
    subject = bridge.parts.services.person_keys.subject("police", opened.session.person)
    token = bridge.realm.access_token(subject)
    assert fetch(bridge, token).status_code == 200
    bridge.parts.services.sessions.end(bridge.parts.services.sessions.find(cookie(client, cookies.SESSION)).sid, "x")
    assert fetch(bridge, token).status_code == 401


def test_a_window_taken_off_the_register_receives_nothing(bridge: Bridge):
    """Within a second of the file's removal."""
    subject = subject_of(bridge)
    token = bridge.realm.access_token(subject)
    assert fetch(bridge, token).status_code == 200
    (bridge.parts.services.settings.node.state / "windows" / "police.toml").unlink()
    bridge.clock.forward(2)
    assert fetch(bridge, token).status_code == 401


def test_what_cannot_be_recorded_is_not_released(bridge: Bridge, monkeypatch: pytest.MonkeyPatch):
    """The record comes first: a full database means 503 and no name."""
    subject = subject_of(bridge)
    token = bridge.realm.access_token(subject)
    database = bridge.parts.services.store.database
    with database.write() as connection:
        connection.execute(sa.text("DROP TABLE releases"))
    answer = fetch(bridge, token)
    assert answer.status_code == 503
    assert answer.json["error_description"] == "store.version"
    assert NAME not in answer.get_data(as_text=True)


def test_the_realms_keys_are_used_while_it_is_away(bridge: Bridge):
    """Stale keys serve for a day; strangers' key ids do not make us fetch without bounds."""
    subject = subject_of(bridge)
    assert fetch(bridge, bridge.realm.access_token(subject)).status_code == 200
    for number in range(20):
        fetch(bridge, bridge.realm.sign({"a": 1}, kid=f"stranger-{number}"))
    assert bridge.realm.fetched <= AT_ONCE
    bridge.realm.down = True
    bridge.clock.forward(3600)
    assert fetch(bridge, bridge.realm.access_token(subject)).status_code == 200


def test_a_new_key_of_the_realm_is_learnt(bridge: Bridge):
    """After a rotation at Keycloak the first token with the new key makes us fetch again."""
    subject = subject_of(bridge)
    assert fetch(bridge, bridge.realm.access_token(subject)).status_code == 200
    bridge.realm.key = ECKey.generate_key("P-256", private=True)
    assert fetch(bridge, bridge.realm.access_token(subject)).status_code == 200
