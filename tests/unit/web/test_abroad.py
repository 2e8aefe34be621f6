"""One sign-in across halls (design §5): what travels, what does not, and that a hall in bad hands gains nothing."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ca_bridge.ceremony import abroad, codes
from ca_bridge.crypto import between
from ca_bridge.trust.rules import Levels, TrustPolicy
from ca_bridge.types import Capacity, Way
from tests.unit.web.federation import (
    CITY,
    COUNTY,
    LEVELS,
    OTHER,
    PROVINCE,
    Federation,
    Forger,
    Traveller,
    base64url,
    make_federation,
    new_key,
    origin_of,
    public,
    raw_signature,
)
from tests.unit.web.hall import Authority, Held, code_of


@pytest.fixture
def federation(tmp_path: Path, province: Authority, city: Authority) -> Iterator[Federation]:
    """A province, two cities, a county."""
    made = make_federation(tmp_path, [province, city])
    yield made
    made.close()


@pytest.fixture
def person(federation: Federation) -> Traveller:
    """Somebody with an empty browser."""
    return Traveller(federation)


@pytest.fixture
def forger(federation: Federation) -> Forger:
    """The city, fully taken over."""
    return Forger(federation)


class TestTravelling:
    """Silent, in every direction; the same human, the level that the evidence proves."""

    @pytest.mark.parametrize(("here", "there"), [(PROVINCE, CITY), (CITY, PROVINCE), (CITY, OTHER), (PROVINCE, COUNTY)])
    def test_signed_in_without_another_signature(
        self, federation: Federation, person: Traveller, li: Held, here: str, there: str
    ) -> None:
        """The receiver's own person, its own ceiling of the way, the time of the first proof."""
        person.token(there, li)
        first = federation.clock()
        federation.clock.forward(600)
        page = person.travel(here, there)
        session = person.session(here)
        assert page.headers["Refresh"].startswith("0; url=/authorize/continue")
        assert session is not None
        assert (session.way, session.level, session.capacity) == (Way.ABROAD, 3, Capacity.CITIZEN)
        assert session.auth_time == first
        there_session = person.session(there)
        assert there_session is not None
        assert session.person != there_session.person
        own = Traveller(federation)
        own.token(here, li)
        by_own_ceremony = own.session(here)
        assert by_own_ceremony is not None
        assert by_own_ceremony.person == session.person

    def test_no_hall_lengthens_a_sign_in(self, federation: Federation, person: Traveller, li: Held) -> None:
        """The session here ends when one of here made at the first proof's time would."""
        person.token(CITY, li)
        first = federation.clock()
        federation.clock.forward(1800)
        person.travel(PROVINCE, CITY)
        session = person.session(PROVINCE)
        assert session is not None
        assert session.expires == first + timedelta(seconds=3600)

    def test_the_page_offers_the_halls(self, person: Traveller) -> None:
        """The sign-in page leads to the list, the list to each hall but this one."""
        tx = person.begin(CITY)
        assert f"/sign-in/{tx}/abroad" in person.get(f"{origin_of(CITY)}/sign-in/{tx}").text
        page = person.get(f"{origin_of(CITY)}/sign-in/{tx}/abroad").text
        assert all(name.replace("/", "%2F") in page or name in page for name in (PROVINCE, OTHER, COUNTY))
        assert f'hall={CITY}"' not in page

    def test_a_link_that_says_where_from(self, person: Traveller, li: Held) -> None:
        """It leads there by itself, once; the way back, and Refresh, find our own page."""
        person.token(CITY, li)
        tx = person.begin(PROVINCE, hall=CITY)
        address = f"{origin_of(PROVINCE)}/sign-in/{tx}"
        first = person.get(address)
        assert first.headers["Location"] == f"{address}/abroad?hall={CITY}"
        page = person.get(first.headers["Location"])
        policy = page.headers["Content-Security-Policy"]
        assert f"connect-src 'self' {origin_of(CITY)};" in policy
        assert f"form-action 'self' {origin_of(CITY)};" in policy
        assert person.get(address).status_code == 200

    @pytest.mark.parametrize("hall", ["gd/unheard-of", PROVINCE, "https://evil.test", ""])
    def test_a_link_that_says_nonsense(self, person: Traveller, hall: str) -> None:
        """It is only ever a wish."""
        tx = person.begin(PROVINCE, hall=hall)
        assert person.get(f"{origin_of(PROVINCE)}/sign-in/{tx}").status_code == 200

    def test_several_capacities_are_asked_for_here(self, person: Traveller, operator: Held) -> None:
        """What was chosen there is not carried along: the person says it at each hall (R20)."""
        page = person.token(CITY, operator)
        tx = page.headers["Location"].split("/")[-2]
        data = {"csrf": person.csrf(CITY, tx), "capacity": "operator"}
        person.post(f"{origin_of(CITY)}/sign-in/{tx}/capacity", data=data)
        assert person.session(CITY) is not None
        assert person.travel(PROVINCE, CITY).headers["Location"].endswith("/capacity")

    def test_held_here_as_by_our_own_ceremony(
        self, federation: Federation, person: Traveller, li: Held, li_of_the_city: Held
    ) -> None:
        """A CA that is new for the person here waits, and hours-old evidence confirms nothing."""
        Traveller(federation).token(PROVINCE, li)
        person.token(CITY, li_of_the_city)
        assert person.travel(PROVINCE, CITY).headers["Location"].endswith("/held")
        assert person.session(PROVINCE) is None

    def test_somebody_else_is_asked(self, person: Traveller, li: Held, wang: Held) -> None:
        """Another person's session here does not end by itself."""
        person.token(PROVINCE, wang)
        person.token(CITY, li)
        assert person.travel(PROVINCE, CITY).headers["Location"].endswith("/switch")

    def test_the_certificate_is_judged_here_and_now(self, federation: Federation, person: Traveller, li: Held) -> None:
        """Revoked since, as this hall knows: refused here, whatever that hall thinks."""
        person.token(CITY, li)
        federation.halls[PROVINCE].snapshots.refuse = "revocation.revoked"
        page = person.travel(PROVINCE, CITY)
        assert code_of(page.text) == "revocation.revoked"
        assert person.session(PROVINCE) is None


class TestWhatStaysAtHome:
    """Nothing travels: the person is told, and signs in here; never a loop, never a dead end."""

    def back(self, person: Traveller, here: str = PROVINCE, there: str = CITY) -> str:
        """Why nothing came, as the address says; the page there is the ordinary one."""
        tx, address = person.ask(here, there)
        action, evidence = person.answer(address)
        assert not evidence
        page = person.get(action)
        assert page.status_code == 200
        assert f"/sign-in/{tx}/challenge" in page.text
        assert f'href="/sign-in/{tx}/abroad"' not in page.text  # one try in a transaction
        return action.partition("abroad=")[2]

    def test_nobody_is_signed_in_there(self, person: Traveller) -> None:
        """No session."""
        assert self.back(person) == "none"

    def test_a_tls_sign_in(self, federation: Federation, person: Traveller, li: Held) -> None:
        """A handshake leaves nothing that another hall could check."""
        tx = person.begin(CITY)
        hall = federation.halls[CITY]
        current = abroad.transaction.peek(hall.services.store, tx, hall.clock())
        code = codes.issue(hall.services.store, current, codes.Proven(li.der, Way.TLS, hall.clock()), hall.clock())
        person.get(f"{origin_of(CITY)}/sign-in/{tx}/return?code={code}")
        assert person.session(CITY) is not None
        assert self.back(person) == "way"

    def test_a_sign_in_that_came_from_elsewhere(self, person: Traveller, li: Held) -> None:
        """The evidence is where it was made."""
        person.token(CITY, li)
        person.travel(PROVINCE, CITY)
        assert self.back(person, OTHER, PROVINCE) == "way"

    def test_too_old_there(self, federation: Federation, person: Traveller, li: Held) -> None:
        """Older than the setting."""
        settings = federation.halls[CITY].services.settings
        person.token(CITY, li)
        object.__setattr__(settings, "bridge", settings.bridge.model_copy(update={"abroad_seconds": 600}))
        federation.clock.forward(601)
        assert self.back(person) == "old"

    def test_refused_there_by_now(self, federation: Federation, person: Traveller, li: Held) -> None:
        """That hall knows already that the certificate is bad."""
        person.token(CITY, li)
        federation.halls[CITY].snapshots.refuse = "revocation.revoked"
        assert self.back(person) == "refused"

    @pytest.mark.parametrize("change", ["level", "login", "no way", "alone", "trial"])
    def test_not_offered(self, federation: Federation, person: Traveller, li: Held, change: str) -> None:
        """Above the way's ceiling, a new proof demanded, the way closed, no federation, the hall not live."""
        asked: dict[str, Any] = {}
        hall = federation.halls[PROVINCE]
        match change:
            case "level":
                asked["level"] = 4
            case "login":
                asked["fresh_after"] = federation.clock()
            case "no way":
                hall.snapshots.levels = Levels(ways={Way.TOKEN: 4})
            case "alone":
                federation.publish(PROVINCE)
            case "trial":
                federation.publish(**dict.fromkeys(("gd_guangzhou", "gd_shenzhen", "gd_guangzhou_conghua"), "trial"))
        tx = person.begin(PROVINCE, hall=CITY, **asked)
        page = person.get(f"{origin_of(PROVINCE)}/sign-in/{tx}")
        assert page.status_code == 200
        assert "/abroad" not in page.text
        _, address = person.ask(PROVINCE, CITY, tx)
        assert address == f"{origin_of(PROVINCE)}/sign-in/{tx}"

    def test_one_try_in_a_transaction(self, person: Traveller) -> None:
        """The second one leads to our own page."""
        tx, first = person.ask(PROVINCE, CITY)
        assert first.startswith(f"{origin_of(CITY)}/abroad?request=")
        assert person.ask(PROVINCE, OTHER, tx)[1] == f"{origin_of(PROVINCE)}/sign-in/{tx}"
        page = person.get(f"{origin_of(PROVINCE)}/sign-in/{tx}/abroad?hall={OTHER}")
        assert page.headers["Location"] == f"{origin_of(PROVINCE)}/sign-in/{tx}"

    @pytest.mark.parametrize("why", ["unheard-of", "<script>", "none", ""])
    def test_the_word_in_the_address_is_ours(self, person: Traveller, why: str) -> None:
        """Only words of a list become a sentence."""
        tx = person.begin(PROVINCE)
        page = person.get(f"{origin_of(PROVINCE)}/sign-in/{tx}", query_string={"abroad": why})
        assert page.status_code == 200
        assert ("还没有登录" in page.text) == (why == "none")
        assert "<script>" not in page.text


class TestTheAskedHall:
    """`/abroad` answers halls of the roster only, and only with this browser's own key."""

    @pytest.mark.parametrize(
        "change", ["cut off", "other hall", "late", "long", "return", "nonce", "issuer", "typ", ""]
    )
    def test_requests_that_are_none(self, federation: Federation, person: Traveller, li: Held, change: str) -> None:
        """Nothing is said of the session to whoever may not ask."""
        person.token(CITY, li)
        _, address = person.ask(PROVINCE, CITY)
        claims = Forger(federation).read(address)
        code, typ = "abroad.request", abroad.REQUEST_TYP
        match change:
            case "cut off":
                federation.publish(PROVINCE)
                code = "abroad.unknown_hall"
            case "other hall":
                claims["aud"] = OTHER
            case "late":
                federation.clock.forward(121)
            case "long":
                claims["exp"] += 1
            case "return":
                claims["return"] = "https://evil.test/sign-in/" + "T" * 43
            case "nonce":
                claims["nonce"] = "short"
            case "issuer":
                claims["iss"] = OTHER
            case "typ":
                typ, code = "JWT", "crypto.jws"
            case "":
                code = "crypto.jws"
        key = federation.keys[PROVINCE].sign
        text = "" if not change else between.sign(key, key.thumbprint(), typ, claims)
        page = person.get(f"{origin_of(CITY)}/abroad", query_string={"request": text})
        assert code_of(page.text) == code
        assert li.pem[30:60] not in page.text

    @pytest.mark.parametrize(
        "suffix", ["@evil.test/sign-in/x", ".evil.test/sign-in/x", "/sign-in/../x", "/sign-in/" + "T" * 43 + "?a=b"]
    )
    def test_where_it_leads_back_is_a_sign_in_there(
        self, federation: Federation, person: Traveller, suffix: str
    ) -> None:
        """No open redirect, even by a hall of the roster."""
        _, address = person.ask(PROVINCE, CITY)
        claims = {**Forger(federation).read(address), "return": origin_of(PROVINCE) + suffix}
        key = federation.keys[PROVINCE].sign
        text = between.sign(key, key.thumbprint(), abroad.REQUEST_TYP, claims)
        page = person.get(f"{origin_of(CITY)}/abroad", query_string={"request": text})
        assert code_of(page.text) == "abroad.request"

    def test_another_key_gets_no_evidence(self, person: Traveller, li: Held) -> None:
        """Who has the session's cookie but not the browser's key: no evidence, no link."""
        person.token(CITY, li)
        _, address = person.ask(PROVINCE, CITY)
        with pytest.raises(AssertionError, match=r"crypto\.signature"):
            person.answer(address, signature=person_signature())

    @pytest.mark.parametrize("headers", [{"Origin": "https://evil.test"}, {"X-Crosshall-CSRF": "x"}, {"Origin": ""}])
    def test_sign_is_our_page_s_only(self, person: Traveller, li: Held, headers: dict[str, str]) -> None:
        """Another site cannot have evidence made."""
        person.token(CITY, li)
        _, address = person.ask(PROVINCE, CITY)
        good = {"X-Crosshall-CSRF": person.csrf(CITY, "abroad")}
        body = {"request": address.partition("request=")[2], "signature": "AA"}
        answer = person.post(f"{origin_of(CITY)}/abroad/sign", json=body, headers={**good, **headers})
        assert (answer.json or {})["code"] == "ceremony.forged"

    def test_here_is_said_to_halls_only(self, person: Traveller) -> None:
        """The look before the way: 204 for a hall of the roster, nothing readable for anybody else."""
        address = f"{origin_of(CITY)}/abroad/here"
        good = person.get(address, headers={"Origin": origin_of(PROVINCE)})
        assert (good.status_code, good.headers["Access-Control-Allow-Origin"]) == (204, origin_of(PROVINCE))
        for origin in ("https://evil.test", "null", ""):
            answer = person.get(address, headers={"Origin": origin})
            assert answer.status_code == 403
            assert "Access-Control-Allow-Origin" not in answer.headers


class TestAHallThatWasTakenOver:
    """It has its node's keys; it cannot make a person, a level, a capacity, or use a real person's proof elsewhere."""

    def refused(self, person: Traveller, sealed: str, code: str, tx: str = "") -> None:
        """Refused with this code; nothing was made of it; our own ceremony is offered where the request is known."""
        answer = person.bring(f"{origin_of(PROVINCE)}/abroad/evidence", sealed)
        if answer.status_code == 303:
            answer = person.get(answer.headers["Location"])
        assert code_of(answer.text) == code
        assert person.session(PROVINCE) is None
        services = person.federation.halls[PROVINCE].services
        assert services.links.taken(CITY, person.federation.clock() - timedelta(days=1)) == ()
        if tx:
            assert f"/sign-in/{tx}" in answer.text

    def test_the_forger_can_do_what_an_honest_hall_does(self, person: Traveller, forger: Forger, li: Held) -> None:
        """The tests below refuse for the one thing that each spoils."""
        _, address = person.ask(PROVINCE, CITY)
        answer = person.bring(f"{origin_of(PROVINCE)}/abroad/evidence", forger.seal(forger.claims(li, address)))
        person.get(answer.headers["Location"])
        assert person.session(PROVINCE) is not None

    @pytest.mark.parametrize(
        ("spoilt", "code"),
        [
            ({"signed": {"signature": b64encode(bytes(70)).decode()}}, "crypto.signature_form"),
            ({"signed": {"algorithm": "none"}}, "crypto.challenge_algorithm"),
            ({"signed": {"algorithm": "RS256"}}, "crypto.challenge_algorithm"),
            ({"signed": {"nonce": "M" * 43}}, "crypto.signature"),
            ({"signed": {"transaction": "M" * 43}}, "crypto.signature"),
            ({"challenge": {"browser": ""}}, "crypto.signature"),
            ({"challenge": {"browser": "B" * 43}}, "crypto.signature"),
            ({"signed": {"origin": origin_of(PROVINCE)}}, "abroad.origin"),
            ({"signed": {"origin": origin_of(OTHER)}}, "abroad.origin"),
            ({"challenge": {"origin": origin_of(OTHER)}}, "crypto.signature"),
            ({"answered": (OTHER, "N" * 43)}, "abroad.browser"),
            ({"answered": (PROVINCE, "N" * 43)}, "abroad.browser"),
            ({"browser_signature": b64encode(bytes(64)).decode()}, "abroad.browser"),
            ({"browser_signature": ""}, "abroad.browser"),
            ({"browser_signature": "!"}, "abroad.form"),
            ({"signed": {"browser": {"kty": "oct"}}}, "abroad.browser"),
            ({"signed": {"browser": None}}, "abroad.browser"),
            ({"auth_time": 1}, "abroad.time"),
            ({"shift": 3600, "auth_time": None}, "abroad.form"),
            ({"shift": 7200}, "abroad.time"),
            ({"shift": -8 * 3600}, "abroad.age"),
            ({"aud": CITY}, "abroad.audience"),
            ({"aud": OTHER}, "abroad.audience"),
            ({"iss": OTHER}, "abroad.audience"),
            ({"iss": PROVINCE}, "abroad.audience"),
            ({"nonce": "N" * 43}, "abroad.nonce"),
            ({"nonce": "short"}, "abroad.form"),
            ({"handle": "h"}, "abroad.form"),
            ({"leaf": "AAAA"}, "asn1.certificate"),
            ({"level": 4}, "abroad.form"),
            ({"capacity": "officer"}, "abroad.form"),
            ({"person": "p1:x"}, "abroad.form"),
            ({"auth_time": "1"}, "abroad.form"),
            ({"auth_time": True}, "abroad.form"),
            ({"auth_time": 2**60}, "abroad.form"),
            ({"signed": {"expires": "2026-11-23T08:01:00"}}, "abroad.form"),
            ({"signed": {"expires": "tomorrow"}}, "abroad.form"),
            ({"signed": {"more": "1"}}, "abroad.form"),
            ({"signed": {"origin": 1}}, "abroad.form"),
        ],
    )
    def test_forged(self, person: Traveller, forger: Forger, li: Held, spoilt: dict[str, Any], code: str) -> None:
        """Each part that the person, the browser or this hall fixed; and every form that is not the one."""
        _, address = person.ask(PROVINCE, CITY)
        self.refused(person, forger.seal(forger.claims(li, address, **spoilt)), code)

    def test_other_people_s_certificates(self, person: Traveller, forger: Forger, li: Held, wang: Held) -> None:
        """A certificate is public: without its holder's signature it is worth nothing."""
        tx, address = person.ask(PROVINCE, CITY)
        claims = forger.claims(li, address, leaf=b64encode(wang.der).decode())
        self.refused(person, forger.seal(claims), "crypto.signature", tx)

    def test_a_real_sign_in_of_today_without_the_browser_s_key(
        self, federation: Federation, person: Traveller, forger: Forger, li: Held
    ) -> None:
        """All that the hall holds of it – certificate, challenge, signature – does not do."""
        victim = Traveller(federation)
        victim.token(CITY, li)
        session = victim.session(CITY)
        assert session is not None
        holder = federation.halls[CITY].services.sessions.holder(session.sid)
        assert holder is not None
        assert holder.signed is not None
        _, address = person.ask(PROVINCE, CITY)
        claims = forger.claims(li, address, signed=dict(holder.signed), auth_time=int(session.auth_time.timestamp()))
        self.refused(person, forger.seal(claims), "abroad.browser")
        _, address = person.ask(PROVINCE, CITY)
        own = new_key()
        swapped = {**holder.signed, "browser": {k: v for k, v in public(own).items() if k != "kid"}}
        claims = forger.claims(li, address, key=own, signed=swapped)
        self.refused(person, forger.seal(claims), "crypto.signature")

    def test_replayed(self, federation: Federation, person: Traveller, li: Held) -> None:
        """The same evidence again: in this browser, in another, at another hall, under another request."""
        person.token(CITY, li)
        _, address = person.ask(PROVINCE, CITY)
        action, evidence = person.answer(address)
        thief = Traveller(federation)
        assert code_of(thief.bring(action, "x" + evidence).text) == "crypto.jwe"
        answer = person.bring(action, evidence)
        assert answer.status_code == 303
        again = thief.bring(action, evidence)
        assert code_of(again.text) == "abroad.nonce"
        assert code_of(thief.bring(f"{origin_of(OTHER)}/abroad/evidence", evidence).text) == "crypto.jwe"

    def test_resealed_to_another_hall(
        self, federation: Federation, person: Traveller, forger: Forger, li: Held
    ) -> None:
        """A hall that received evidence cannot pass it on as its own, nor as the first one's."""
        person.token(CITY, li)
        _, address = person.ask(OTHER, CITY)
        _, evidence = person.answer(address)
        text = between.unseal(evidence, federation.keys[OTHER].box, abroad.SEALED_TYP, abroad.MAX_SEALED)
        sealed = between.seal(text, public(federation.keys[PROVINCE].box), abroad.SEALED_TYP)
        self.refused(person, sealed, "abroad.audience")
        claims = between.verify(text, public(federation.keys[CITY].sign), abroad.EVIDENCE_TYP, abroad.MAX_EVIDENCE)
        _, mine = person.ask(PROVINCE, OTHER)
        own = Forger(federation, OTHER)
        claims |= {"iss": OTHER, "aud": PROVINCE, "nonce": own.read(mine)["nonce"]}
        self.refused(person, own.seal(claims), "abroad.origin")

    def test_an_answer_by_another_hall_than_was_asked(
        self, federation: Federation, person: Traveller, li: Held
    ) -> None:
        """The nonce belongs to the hall that was asked."""
        _, address = person.ask(PROVINCE, CITY)
        other = Forger(federation, OTHER)
        self.refused(person, other.seal(other.claims(li, address)), "abroad.nonce")

    def test_our_own_words_sent_back(self, federation: Federation, person: Traveller, li: Held) -> None:
        """Evidence that this node itself signed, and its request, are no evidence."""
        _, address = person.ask(PROVINCE, CITY)
        own = Forger(federation, PROVINCE)
        self.refused(person, own.seal(own.claims(li, address)), "abroad.audience")
        request = address.partition("request=")[2]
        sealed = between.seal(request, public(federation.keys[PROVINCE].box), abroad.SEALED_TYP)
        self.refused(person, sealed, "crypto.jws")

    @pytest.mark.parametrize("how", ["cut off", "trial", "data"])
    def test_cut_off(self, federation: Federation, person: Traveller, forger: Forger, li: Held, how: str) -> None:
        """From the moment the roster says so, also for a request that is open."""
        _, address = person.ask(PROVINCE, CITY)
        sealed = forger.seal(forger.claims(li, address))
        federation.publish(*([CITY] if how == "cut off" else []), **({} if how == "cut off" else {"gd_guangzhou": how}))
        self.refused(person, sealed, "abroad.unknown_hall")

    def test_signed_by_another_key_than_the_roster_s(self, person: Traveller, forger: Forger, li: Held) -> None:
        """Under the node's name, by its box key, by nobody's."""
        _, address = person.ask(PROVINCE, CITY)
        claims = forger.claims(li, address)
        kid = forger.federation.keys[CITY].sign.thumbprint()
        box = public(forger.federation.keys[PROVINCE].box)
        for key in (new_key(), forger.federation.keys[CITY].box):
            text = between.sign(key, kid, abroad.EVIDENCE_TYP, claims)
            self.refused(person, between.seal(text, box, abroad.SEALED_TYP), "crypto.jws")
        stranger = new_key()
        text = between.sign(stranger, stranger.thumbprint(), abroad.EVIDENCE_TYP, claims)
        self.refused(person, between.seal(text, box, abroad.SEALED_TYP), "abroad.unknown_hall")

    def test_algorithms_are_ours_to_choose(self, person: Traveller, forger: Forger, li: Held) -> None:
        """`none`, and a payload without a signature."""
        _, address = person.ask(PROVINCE, CITY)
        text = forger.federation.keys[CITY].sign.thumbprint()
        box = public(forger.federation.keys[PROVINCE].box)
        good = between.sign(forger.federation.keys[CITY].sign, text, abroad.EVIDENCE_TYP, forger.claims(li, address))
        header, payload, _ = good.split(".")
        none = base64url(json.dumps({"alg": "none", "kid": text, "typ": abroad.EVIDENCE_TYP}).encode())
        for bad in (f"{none}.{payload}.", f"{header}.{payload}.", "..", ""):
            self.refused(person, between.seal(bad, box, abroad.SEALED_TYP), "crypto.jws")

    def test_too_large(self, person: Traveller) -> None:
        """Before anything is computed; a form that is larger still is not read at all."""
        self.refused(person, "x" * (abroad.MAX_SEALED + 1), "crypto.size")
        self.refused(person, "x" * 100_000, "ceremony.too_large")

    @pytest.mark.parametrize("evidence", ["", "a", "a.b.c.d.e", "....", "é" * 20])
    def test_no_evidence(self, person: Traveller, evidence: str) -> None:
        """A form that is none."""
        self.refused(person, evidence, "crypto.jwe")

    def test_late(self, federation: Federation, person: Traveller, forger: Forger, li: Held) -> None:
        """59 s after the request it counts, 60 s after it does not."""
        _, address = person.ask(PROVINCE, CITY)
        sealed = forger.seal(forger.claims(li, address))
        federation.clock.forward(60)
        self.refused(person, sealed, "abroad.nonce")
        _, address = person.ask(PROVINCE, CITY)
        sealed = forger.seal(forger.claims(li, address))
        federation.clock.forward(59)
        assert person.bring(f"{origin_of(PROVINCE)}/abroad/evidence", sealed).status_code == 303

    def test_somebody_else_s_browser_began(self, federation: Federation, person: Traveller, li: Held) -> None:
        """A lure: the attacker's transaction, the victim's session at the other hall, signs nobody in."""
        attacker, victim = Traveller(federation), person
        victim.token(CITY, li)
        _, address = attacker.ask(PROVINCE, CITY)
        action, evidence = victim.answer(address)
        answer = victim.bring(action, evidence)
        page = victim.get(answer.headers["Location"])
        assert code_of(page.text) == "ceremony.other_browser"
        assert attacker.session(PROVINCE) is None
        assert victim.session(PROVINCE) is None

    def test_level_and_way_are_this_hall_s(self, federation: Federation, person: Traveller, li: Held) -> None:
        """The ceiling of `abroad`, never above that of `token`; no ceiling, no way, whatever arrives."""
        person.token(CITY, li)
        hall = federation.halls[PROVINCE]
        hall.snapshots.levels = Levels(ways={Way.TOKEN: 2, Way.ABROAD: 4})
        person.travel(PROVINCE, CITY)
        session = person.session(PROVINCE)
        assert session is not None
        assert session.level == 2
        hall.snapshots.levels = LEVELS
        tx, address = person.ask(PROVINCE, CITY)
        action, evidence = person.answer(address)
        hall.snapshots.levels = Levels(ways={Way.TOKEN: 4})
        answer = person.bring(action, evidence)
        assert code_of(person.get(answer.headers["Location"]).text) == "policy.way"
        assert tx

    def test_an_age_that_the_window_asked(self, federation: Federation, person: Traveller, li: Held) -> None:
        """`max_age`: evidence of an older proof is not enough."""
        person.token(CITY, li)
        federation.clock.forward(600)
        tx, address = person.ask(PROVINCE, CITY, fresh_after=federation.clock() - timedelta(seconds=300))
        self.refused(person, person.answer(address)[1], "abroad.age", tx)


def test_the_policy_says_which_stages_count(federation: Federation, person: Traveller, li: Held) -> None:
    """A pilot's evidence does not count where the province says so."""
    person.token(CITY, li)
    federation.publish(gd_guangzhou="pilot")
    federation.halls[PROVINCE].snapshots.policy = TrustPolicy(halls=("live",))
    tx = person.begin(PROVINCE)
    assert person.ask(PROVINCE, CITY, tx)[1] == f"{origin_of(PROVINCE)}/sign-in/{tx}"
    federation.halls[PROVINCE].snapshots.policy = TrustPolicy()
    assert person.ask(PROVINCE, CITY)[1].startswith(f"{origin_of(CITY)}/abroad")


def person_signature() -> str:
    """By a key that nobody knows."""
    return base64url(raw_signature(new_key(), b"x"))
