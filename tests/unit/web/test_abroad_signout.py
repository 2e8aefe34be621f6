"""Signing out reaches all halls, through any cut; a hall ends only what came from it or went to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ca_bridge.crypto import between
from ca_bridge.errors import CrosshallError, UpstreamError
from ca_bridge.provider import hall_logout, watcher
from ca_bridge.provider.hall_logout import HallTeller
from ca_bridge.provider.http import Answer
from ca_bridge.store.hall_logouts import GIVEN_UP, HallQueue
from ca_bridge.store.links import KEPT, Links
from ca_bridge.store.sessions import SIGNED_OUT
from tests.unit.web.federation import (
    CITY,
    COUNTY,
    OTHER,
    PROVINCE,
    Federation,
    Traveller,
    make_federation,
    new_key,
    origin_of,
)
from tests.unit.web.hall import Authority, Held


class Line:
    """The line between the halls: whom it reaches, what went over it."""

    def __init__(self, federation: Federation) -> None:
        self.federation = federation
        self.cut: set[str] = set()
        self.status = 0
        self.sent: list[str] = []

    def post(self, url: str, form: Mapping[str, str]) -> Answer:
        """As `HttpClient.post`: the other hall's own code answers."""
        name = next(name for name in self.federation.halls if url == f"{origin_of(name)}/abroad/logout")
        if name in self.cut:
            raise UpstreamError("upstream.unavailable", "cut")
        if self.status:
            return Answer(self.status, {}, b"")
        self.sent.append(form["logout"])
        try:
            hall_logout.take(self.federation.halls[name].services, form["logout"])
        except CrosshallError:
            return Answer(403, {}, b"")
        return Answer(204, {}, b"")

    def deliver(self) -> int:
        """A turn of every hall's teller."""
        return sum(HallTeller(hall.services, self).deliver() for hall in self.federation.halls.values())


@pytest.fixture
def federation(tmp_path: Path, province: Authority, city: Authority) -> Iterator[Federation]:
    """A province, two cities, a county."""
    made = make_federation(tmp_path, [province, city])
    yield made
    made.close()


@pytest.fixture
def line(federation: Federation) -> Line:
    """Whole until a test cuts it."""
    return Line(federation)


@pytest.fixture
def person(federation: Federation, li: Held) -> Traveller:
    """Signed in at the city, and by that at the province and the other city."""
    found = Traveller(federation)
    found.token(CITY, li)
    for name in (PROVINCE, OTHER):
        found.travel(name, CITY)
        assert found.session(name) is not None
    return found


def end(federation: Federation, person: Traveller, name: str) -> None:
    """The person signs out at a hall."""
    session = person.session(name)
    assert session is not None
    federation.halls[name].services.sessions.end(session.sid, SIGNED_OUT)


def message(federation: Federation, name: str, to: str, **changed: Any) -> str:
    """A sign-out as `name` says it, with its own key."""
    key = federation.keys[name].sign
    now = int(federation.clock().timestamp())
    claims = {"iss": name, "aud": to, "iat": now, "jti": "j" * 32, "handles": ["h" * 43]} | changed
    return between.sign(key, key.thumbprint(), hall_logout.LOGOUT_TYP, claims)


def handles_of(federation: Federation, name: str, of: str) -> list[str]:
    """The handles of the links that `name` has with `of`, by a look into what it would send."""
    services = federation.halls[name].services
    found = []
    for link in services.links.taken(of, federation.clock() - timedelta(days=1)):
        evidence = services.links.evidence(link.id)
        found.append(between.verify(evidence, _public(federation, of), "crosshall-evidence+jwt", 65536)["handle"])
    return found


def _public(federation: Federation, name: str) -> Mapping[str, str]:
    node = federation.halls[name].snapshots.roster.find(name)
    assert node is not None
    return node.sign


class TestReachingAll:
    """At whichever hall it is said, by whoever ends the session there."""

    @pytest.mark.parametrize("at", [CITY, PROVINCE, OTHER])
    def test_signing_out_anywhere_ends_it_everywhere(
        self, federation: Federation, line: Line, person: Traveller, at: str
    ) -> None:
        """From the first hall to the others, from one of the others over the first to the third."""
        end(federation, person, at)
        for _ in range(3):
            line.deliver()
        assert [person.session(name) for name in (CITY, PROVINCE, OTHER)] == [None, None, None]
        assert line.deliver() == 0
        assert all(HallQueue(hall.services.store).waiting() == 0 for hall in federation.halls.values())

    def test_keycloak_s_sign_out_reaches_the_halls(self, federation: Federation, line: Line, person: Traveller) -> None:
        """Signing out at a window is signing out: Keycloak tells the bridge, the bridge the halls."""
        session = person.session(PROVINCE)
        assert session is not None
        federation.halls[PROVINCE].services.sessions.end_told(session.sid)
        line.deliver()
        line.deliver()
        assert person.session(CITY) is None

    def test_a_revocation_at_one_hall(self, federation: Federation, line: Line, person: Traveller) -> None:
        """What the watcher ends there ends here."""
        session = person.session(CITY)
        assert session is not None
        services = federation.halls[CITY].services
        services.sessions.end_refused(session.sid, session.certificate_key, "revocation.revoked")
        line.deliver()
        assert person.session(PROVINCE) is None

    def test_an_expired_session_tells_nobody(self, federation: Federation, line: Line, person: Traveller) -> None:
        """The other hall's session has its own end."""
        federation.clock.forward(3601)
        for hall in federation.halls.values():
            hall.services.sessions.purge(federation.clock())
        assert line.deliver() == 0

    def test_only_this_session_ends(self, federation: Federation, line: Line, person: Traveller, li: Held) -> None:
        """The same person's session in another browser, by another ceremony, is not the other hall's to end."""
        elsewhere = Traveller(federation)
        elsewhere.token(PROVINCE, li)
        end(federation, person, CITY)
        line.deliver()
        assert person.session(PROVINCE) is None
        assert elsewhere.session(PROVINCE) is not None

    def test_cut_for_days(self, federation: Federation, line: Line, person: Traveller) -> None:
        """Told when the line is back, within a minute, whatever was tried in between."""
        line.cut = {PROVINCE}
        end(federation, person, CITY)
        for _ in range(12):
            line.deliver()
            federation.clock.forward(300)
        assert HallQueue(federation.halls[CITY].services.store).waiting() == 1
        federation.clock.forward(4 * 86400)
        line.deliver()
        line.cut = set()
        federation.clock.forward(30)
        assert line.deliver() == 1
        assert HallQueue(federation.halls[CITY].services.store).waiting() == 0

    @pytest.mark.parametrize("status", [200, 302, 403, 429, 500, 503])
    def test_anything_but_204_is_told_again(
        self, federation: Federation, line: Line, person: Traveller, status: int
    ) -> None:
        """A proxy's page is not the hall."""
        end(federation, person, CITY)
        line.status = status
        assert line.deliver() == 0
        line.status = 0
        federation.clock.forward(2)
        assert line.deliver() == 2
        assert person.session(PROVINCE) is None

    def test_a_dead_hall_keeps_no_other_waiting(self, federation: Federation, line: Line, person: Traveller) -> None:
        """One probe for it, the rest go out."""
        line.cut = {PROVINCE}
        end(federation, person, CITY)
        assert line.deliver() == 1
        assert person.session(OTHER) is None
        assert person.session(PROVINCE) is not None

    def test_a_hall_that_was_cut_off_is_not_called(self, federation: Federation, line: Line, person: Traveller) -> None:
        """And what waits for it is given up in the end."""
        end(federation, person, CITY)
        federation.publish(PROVINCE)
        line.deliver()
        queue = HallQueue(federation.halls[CITY].services.store)
        assert queue.waiting() == 1
        assert queue.purge(federation.clock() + GIVEN_UP + timedelta(seconds=1)) == 1


class TestWhoMaySay:
    """Fresh, once, by a node of the roster, for its own links."""

    @pytest.mark.parametrize(
        ("changed", "code"),
        [
            ({"iss": OTHER}, "abroad.logout"),
            ({"aud": OTHER}, "abroad.logout"),
            ({"iat": 0}, "abroad.logout"),
            ({"iat": "now"}, "abroad.logout"),
            ({"iat": True}, "abroad.logout"),
            ({"iat": 2**62}, "abroad.logout"),
            ({"jti": ""}, "abroad.logout"),
            ({"jti": 1}, "abroad.logout"),
            ({"handles": []}, "abroad.logout"),
            ({"handles": "h" * 43}, "abroad.logout"),
            ({"handles": ["h" * 43] * 101}, "abroad.logout"),
            ({"handles": ["%"]}, "abroad.logout"),
            ({"handles": [1]}, "abroad.logout"),
            ({"sid": "x"}, "abroad.logout"),
        ],
    )
    def test_refused(self, federation: Federation, changed: dict[str, Any], code: str) -> None:
        """Form, audience, age."""
        with pytest.raises(CrosshallError) as caught:
            hall_logout.take(federation.halls[PROVINCE].services, message(federation, CITY, PROVINCE, **changed))
        assert caught.value.code == code

    @pytest.mark.parametrize("seconds", [-121, 121])
    def test_fresh(self, federation: Federation, seconds: int) -> None:
        """Two minutes either way, for clocks that differ."""
        token = message(federation, CITY, PROVINCE, iat=int(federation.clock().timestamp()) + seconds)
        with pytest.raises(CrosshallError, match=r"abroad\.logout"):
            hall_logout.take(federation.halls[PROVINCE].services, token)

    def test_once(self, federation: Federation) -> None:
        """The same message again is refused; another hall's `jti` is its own."""
        services = federation.halls[PROVINCE].services
        token = message(federation, CITY, PROVINCE)
        assert hall_logout.take(services, token) == 0
        with pytest.raises(CrosshallError, match=r"abroad\.logout"):
            hall_logout.take(services, token)
        assert hall_logout.take(services, message(federation, OTHER, PROVINCE)) == 0

    @pytest.mark.parametrize("token", ["", "a.b.c", "x" * 20000])
    def test_no_message(self, federation: Federation, token: str) -> None:
        """Refused by form."""
        with pytest.raises(CrosshallError, match=r"crypto\."):
            hall_logout.take(federation.halls[PROVINCE].services, token)

    def test_strangers_and_the_cut_off(self, federation: Federation) -> None:
        """A key of no node; a node that the roster no longer has; ourselves."""
        services = federation.halls[PROVINCE].services
        key = new_key()
        stranger = between.sign(key, key.thumbprint(), hall_logout.LOGOUT_TYP, {})
        own = message(federation, PROVINCE, PROVINCE)
        token = message(federation, CITY, PROVINCE)
        federation.publish(CITY)
        for one in (stranger, own, token):
            with pytest.raises(CrosshallError, match=r"abroad\.unknown_hall"):
                hall_logout.take(services, one)

    def test_another_hall_s_links(self, federation: Federation, person: Traveller) -> None:
        """Known handles in another hall's mouth end nothing."""
        handles = handles_of(federation, PROVINCE, CITY)
        assert len(handles) == 1
        services = federation.halls[PROVINCE].services
        assert hall_logout.take(services, message(federation, COUNTY, PROVINCE, handles=handles)) == 0
        assert person.session(PROVINCE) is not None
        assert hall_logout.take(services, message(federation, CITY, PROVINCE, handles=handles)) == 1
        assert person.session(PROVINCE) is None

    def test_evidence_is_no_sign_out(self, federation: Federation) -> None:
        """Another kind of document by the same key."""
        key = federation.keys[CITY].sign
        token = between.sign(key, key.thumbprint(), "crosshall-evidence+jwt", {})
        with pytest.raises(CrosshallError, match=r"crypto\.jws"):
            hall_logout.take(federation.halls[PROVINCE].services, token)


class TestCuttingOff:
    """A hall that is cut off takes along what came by its evidence; what came can be listed."""

    def test_its_sign_ins_end(self, federation: Federation, person: Traveller) -> None:
        """The watcher judges by the new roster."""
        session = person.session(PROVINCE)
        assert session is not None
        services = federation.halls[PROVINCE].services
        federation.halls[PROVINCE].snapshots.hash = "0" * 64
        for profile in (one.profile for one in federation.halls[PROVINCE].snapshots.authorities):
            assert profile.asserts
        assert watcher.still_good(services, session)
        federation.publish(CITY)
        assert not watcher.still_good(services, session)
        assert person.session(PROVINCE) is None

    def test_its_sign_ins_are_listed(self, federation: Federation, person: Traveller, li: Held) -> None:
        """By the receiver, from a time on, with all nodes below; the evidence itself is kept."""
        links = federation.halls[PROVINCE].services.links
        start = federation.clock()
        found = links.taken(CITY, start)
        assert [(link.node, link.level, link.ended) for link in found] == [(CITY, 3, None)]
        assert links.taken(CITY, start + timedelta(seconds=1)) == ()
        assert links.taken(OTHER, start) == ()
        assert links.taken("gd/guang", start) == ()
        person.token(COUNTY, li)
        person.travel(PROVINCE, COUNTY)
        assert len(links.taken(CITY, start)) == 2
        federation.publish(CITY)
        assert len(links.taken(CITY, start)) == 2
        assert links.evidence(found[0].id).count(".") == 2
        assert links.evidence("none") == ""

    def test_kept_six_months(self, federation: Federation, person: Traveller) -> None:
        """Then they are gone."""
        store = federation.halls[PROVINCE].services.store
        assert Links(store).purge(federation.clock() + KEPT) == 0
        assert Links(store).purge(federation.clock() + KEPT + timedelta(seconds=1)) == 1
