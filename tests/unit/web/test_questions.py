"""What may stand between a proof and a session: capacity, holding, level, somebody else, another proof."""

from __future__ import annotations

from typing import Any

import pytest

from ca_bridge.ceremony import transaction
from ca_bridge.types import Capacity, Way
from tests.unit.web.hall import LI, Authority, Hall, Held, code_of, equal, session_of


def ended(hall: Hall, tx: transaction.Transaction) -> transaction.Transaction:
    """The transaction as the store has it."""
    return transaction.peek(hall.services.store, tx.id, hall.clock())


class TestCapacity:
    """One human, several capacities: an explicit choice, never a default (R20)."""

    def test_the_person_is_asked_and_nobody_is_signed_in(self, hall: Hall, operator: Held) -> None:
        """Two choices, none preset."""
        browser = hall.browser()
        tx = browser.begin()
        page = browser.follow(browser.tls(tx.id, operator))
        assert 'value="citizen"' in page.text
        assert 'value="operator"' in page.text
        assert "checked" not in page.text
        assert session_of(browser) is None

    @pytest.mark.parametrize("capacity", [Capacity.CITIZEN, Capacity.OPERATOR])
    def test_the_choice_is_the_session_s(self, hall: Hall, operator: Held, capacity: Capacity) -> None:
        """The session acts in what was chosen."""
        browser = hall.browser()
        tx = browser.begin()
        browser.tls(tx.id, operator)
        page = browser.post(f"/sign-in/{tx.id}/capacity", tx.id, data={"capacity": capacity.value})
        assert page.status_code == 200
        assert session_of(browser).capacity is capacity

    def test_a_company_s_certificate_opens_the_same_citizen(self, hall: Hall, li: Held, operator: Held) -> None:
        """As a citizen the person is one; as an operator another key."""
        persons = []
        for held, chosen in ((li, None), (operator, "citizen"), (operator, "operator")):
            browser = hall.browser()
            tx = browser.begin()
            browser.tls(tx.id, held)
            if chosen:
                browser.post(f"/sign-in/{tx.id}/capacity", tx.id, data={"capacity": chosen})
            persons.append(session_of(browser).person)
        assert persons[0] == persons[1] != persons[2]

    @pytest.mark.parametrize("chosen", ["", "officer", "Citizen", "root", "citizen "])
    def test_what_the_certificate_does_not_give(self, hall: Hall, operator: Held, chosen: str) -> None:
        """Only the listed capacities."""
        browser = hall.browser()
        tx = browser.begin()
        browser.tls(tx.id, operator)
        answer = browser.post(f"/sign-in/{tx.id}/capacity", tx.id, data={"capacity": chosen})
        assert (answer.status_code, code_of(answer.text)) == (400, "ceremony.capacity")
        assert session_of(browser) is None

    def test_before_any_proof(self, hall: Hall) -> None:
        """No certificate, no question."""
        browser = hall.browser()
        tx = browser.begin()
        for answer in (browser.get(f"/sign-in/{tx.id}/capacity"), browser.post(f"/sign-in/{tx.id}/capacity", tx.id)):
            assert code_of(answer.text) == "ceremony.no_proof"

    def test_revoked_while_the_person_thinks(self, hall: Hall, operator: Held) -> None:
        """The answer does not outlive the certificate: it is judged again."""
        browser = hall.browser()
        tx = browser.begin()
        browser.tls(tx.id, operator)
        hall.snapshots.refuse = "crypto.key"
        answer = browser.post(f"/sign-in/{tx.id}/capacity", tx.id, data={"capacity": "citizen"})
        assert code_of(answer.text) == "crypto.key"
        assert session_of(browser) is None

    @pytest.mark.parametrize("spoilt", [{"csrf": "x"}, {"headers": {"Origin": "https://evil.test"}}])
    def test_not_from_our_page(self, hall: Hall, operator: Held, spoilt: dict[str, Any]) -> None:
        """The choice must be the person's own."""
        browser = hall.browser()
        tx = browser.begin()
        browser.tls(tx.id, operator)
        answer = browser.post(f"/sign-in/{tx.id}/capacity", tx.id, data={"capacity": "citizen"}, **spoilt)
        assert code_of(answer.text) == "ceremony.forged"


class TestHolding:
    """A first certificate of another CA for a known person waits until it is proved (design §5)."""

    def test_is_held_and_signs_nobody_in(self, hall: Hall, li: Held, li_of_the_city: Held) -> None:
        """Known by the province's CA; the city's is held, in any browser, again and again."""
        first = hall.browser()
        first.tls(first.begin().id, li)
        for _ in range(2):
            browser = hall.browser()
            tx = browser.begin()
            answer = browser.tls(tx.id, li_of_the_city)
            assert answer.headers["Location"] == f"/sign-in/{tx.id}/held"
            assert code_of(browser.follow(answer).text) == "identity.held"
            assert session_of(browser) is None

    def test_the_earlier_credential_in_the_same_sign_in_proves_it(
        self, hall: Hall, li: Held, li_of_the_city: Held
    ) -> None:
        """Held, then the earlier certificate in the same browser: from then on both sign in."""
        first = hall.browser()
        first.tls(first.begin().id, li)
        browser = hall.browser()
        tx = browser.begin()
        browser.tls(tx.id, li_of_the_city)
        assert browser.tls(tx.id, li).status_code == 200
        later = hall.browser()
        assert later.tls(later.begin().id, li_of_the_city).status_code == 200
        assert session_of(later).ca == "gz-public"

    def test_the_earlier_credential_s_live_session_proves_it(self, hall: Hall, li: Held, li_of_the_city: Held) -> None:
        """Signed in with the earlier one in this browser, the new one is taken at once."""
        browser = hall.browser()
        browser.tls(browser.begin().id, li)
        sid = session_of(browser).sid
        assert browser.tls(browser.begin().id, li_of_the_city).status_code == 200
        assert session_of(browser).sid == sid

    def test_a_session_left_behind_proves_nothing(self, hall: Hall, li: Held, li_of_the_city: Held) -> None:
        """A sign-in that was left open is no proof by the earlier credential: a certificate is bound for good by it."""
        browser = hall.browser()
        browser.tls(browser.begin().id, li)
        hall.clock.forward(transaction.LIFETIME.total_seconds() + 1)
        tx = browser.begin()
        assert browser.tls(tx.id, li_of_the_city).headers["Location"] == f"/sign-in/{tx.id}/held"
        assert browser.tls(tx.id, li).status_code == 200, "proved afresh, in the same sign-in"
        assert browser.tls(browser.begin().id, li_of_the_city).status_code == 200

    def test_somebody_else_s_session_proves_nothing(
        self, hall: Hall, li: Held, li_of_the_city: Held, wang: Held
    ) -> None:
        """Another person who is signed in here cannot vouch."""
        first = hall.browser()
        first.tls(first.begin().id, li)
        browser = hall.browser()
        browser.tls(browser.begin().id, wang)
        tx = browser.begin()
        assert browser.tls(tx.id, li_of_the_city).headers["Location"] == f"/sign-in/{tx.id}/held"

    def test_somebody_else_s_certificate_proves_nothing(
        self, hall: Hall, li: Held, li_of_the_city: Held, wang: Held
    ) -> None:
        """In the same sign-in, another person's certificate: the claim stays held."""
        first = hall.browser()
        first.tls(first.begin().id, li)
        browser = hall.browser()
        tx = browser.begin()
        browser.tls(tx.id, li_of_the_city)
        browser.tls(tx.id, wang)
        later = hall.browser()
        tx = later.begin()
        assert later.tls(tx.id, li_of_the_city).headers["Location"] == f"/sign-in/{tx.id}/held"

    def test_another_capacity_is_the_same_human(self, hall: Hall, li: Held, city: Authority) -> None:
        """A CA that is new for a citizen is not let in by bringing their number as an operator's."""
        first = hall.browser()
        first.tls(first.begin().id, li)
        theirs = city.issue("李示范", LI, "经办人证书", "样例有限公司")
        browser = hall.browser()
        tx = browser.begin()
        browser.tls(tx.id, theirs)
        answer = browser.post(f"/sign-in/{tx.id}/capacity", tx.id, data={"capacity": "operator"})
        assert answer.headers["Location"] == f"/sign-in/{tx.id}/held"
        assert session_of(browser) is None

    def test_an_officer_confirms(self, hall: Hall, li: Held, li_of_the_city: Held) -> None:
        """`crosshall person confirm` opens it."""
        first = hall.browser()
        first.tls(first.begin().id, li)
        browser = hall.browser()
        browser.tls(browser.begin().id, li_of_the_city)
        assert hall.services.people.confirm(session_of(first).person, "gz-ca-01", "officer:7")
        assert browser.tls(browser.begin().id, li_of_the_city).status_code == 200

    def test_cas_that_the_province_names_equal(self, hall: Hall, li: Held, li_of_the_city: Held) -> None:
        """No holding between them; the person is told once, and goes on by a click."""
        hall.snapshots.policy = equal("gd-ca-01", "gz-ca-01")
        told = []
        for held in (li, li_of_the_city, li_of_the_city):
            hall.clock.forward(1)
            browser = hall.browser()
            tx = browser.begin()
            page = browser.tls(tx.id, held)
            assert page.status_code == 200
            assert f"/authorize/continue?tx={tx.id}" in page.text
            told.append("Refresh" not in page.headers)
        assert told == [False, True, False]


class TestLevel:
    """Never below what was asked, never a loop, and a way back."""

    @pytest.mark.parametrize("tries", [1, 3])
    def test_below_what_was_asked(self, hall: Hall, li: Held, tries: int) -> None:
        """TLS reaches 3 here, 4 is asked: the page says so, however often it is tried; nobody is signed in."""
        browser = hall.browser()
        tx = browser.begin(level=4)
        for _ in range(tries):
            answer = browser.tls(tx.id, li)
            assert answer.headers["Location"] == f"/sign-in/{tx.id}/level"
            page = browser.follow(answer)
            assert (page.status_code, code_of(page.text)) == (403, "policy.level")
            assert "五级" in page.text
            assert "四级" in page.text
        assert session_of(browser) is None
        assert not ended(hall, tx).sid

    def test_a_better_way_goes_on(self, hall: Hall, li: Held) -> None:
        """After the page, the token way reaches it in the same sign-in."""
        browser = hall.browser()
        tx = browser.begin(level=4)
        browser.tls(tx.id, li)
        assert browser.token(tx.id, li).status_code == 200
        assert session_of(browser).level == 4

    def test_back_is_interaction_required(self, hall: Hall, li: Held) -> None:
        """The window learns that a page could not help."""
        browser = hall.browser()
        tx = browser.begin(level=4)
        browser.tls(tx.id, li)
        page = browser.post(f"/sign-in/{tx.id}/cancel", tx.id)
        assert page.headers["Refresh"] == f"0; url=/authorize/continue?tx={tx.id}"
        assert ended(hall, tx).refused == "interaction_required"

    def test_back_without_a_try_is_login_required(self, hall: Hall) -> None:
        """The person did not want to."""
        browser = hall.browser()
        tx = browser.begin(level=4)
        browser.post(f"/sign-in/{tx.id}/cancel", tx.id)
        assert ended(hall, tx).refused == "login_required"

    def test_a_live_session_below_it_stays(self, hall: Hall, li: Held) -> None:
        """A failed step-up takes nothing from the person."""
        browser = hall.browser()
        browser.tls(browser.begin().id, li)
        before = session_of(browser)
        tx = browser.begin(level=4)
        browser.tls(tx.id, li)
        assert session_of(browser) == before


class TestStepUp:
    """The same person proves more: one session, one sid."""

    def test_keeps_sid_and_changes_level_and_time(self, hall: Hall, li: Held) -> None:
        """Level, way and auth_time are of the new proof; the old cookie is dead."""
        browser = hall.browser()
        browser.tls(browser.begin().id, li)
        before = session_of(browser)
        old = browser.client.get_cookie("__Host-crosshall-session", domain="hall.test")
        hall.clock.forward(60)
        browser.token(browser.begin(level=4).id, li)
        after = session_of(browser)
        assert (after.sid, after.level, after.way) == (before.sid, 4, Way.TOKEN)
        assert after.auth_time > before.auth_time
        assert old is not None
        assert hall.services.sessions.find(old.value) is None

    def test_two_sign_ins_of_one_new_person(self, hall: Hall, li: Held) -> None:
        """In two browsers at once: one person, two sessions."""
        one, two = hall.browser(), hall.browser()
        first, second = one.begin(), two.begin()
        back = [browser.click(tx.id, li) for browser, tx in ((one, first), (two, second))]
        for browser, answer in zip((one, two), back, strict=True):
            assert browser.follow(answer).status_code == 200
        assert session_of(one).person == session_of(two).person
        assert session_of(one).sid != session_of(two).sid


class TestSomebodyElse:
    """Another person's certificate, or another capacity, in a live session."""

    def test_is_asked_first(self, hall: Hall, li: Held, wang: Held) -> None:
        """Nothing changes until the person says so."""
        browser = hall.browser()
        browser.tls(browser.begin().id, li)
        before = session_of(browser)
        tx = browser.begin()
        answer = browser.tls(tx.id, wang)
        assert answer.headers["Location"] == f"/sign-in/{tx.id}/switch"
        assert code_of(browser.follow(answer).text) == "ceremony.somebody_else"
        assert session_of(browser) == before
        assert not ended(hall, tx).sid

    def test_signs_the_other_out_everywhere(self, hall: Hall, li: Held, wang: Held) -> None:
        """The first session is over, Keycloak is told before the browser gets there, the new one has its own sid."""
        browser = hall.browser()
        browser.tls(browser.begin().id, li)
        before = session_of(browser)
        tx = browser.begin()
        browser.tls(tx.id, wang)
        assert browser.post(f"/sign-in/{tx.id}/switch", tx.id).status_code == 200
        assert hall.told == [1]
        assert hall.services.sessions.by_sid(before.sid) is None
        assert session_of(browser).person != before.person
        assert session_of(browser).sid != before.sid

    def test_another_capacity_is_somebody_else(self, hall: Hall, li: Held, operator: Held) -> None:
        """A citizen does not become a company's operator in passing."""
        browser = hall.browser()
        browser.tls(browser.begin().id, li)
        tx = browser.begin()
        browser.tls(tx.id, operator)
        answer = browser.post(f"/sign-in/{tx.id}/capacity", tx.id, data={"capacity": "operator"})
        assert answer.headers["Location"] == f"/sign-in/{tx.id}/switch"
        assert browser.post(f"/sign-in/{tx.id}/switch", tx.id).status_code == 200
        assert session_of(browser).capacity is Capacity.OPERATOR

    def test_back_keeps_the_first(self, hall: Hall, li: Held, wang: Held) -> None:
        """Not switching leaves the session as it was, and the proof is gone."""
        browser = hall.browser()
        browser.tls(browser.begin().id, li)
        before = session_of(browser)
        tx = browser.begin()
        browser.tls(tx.id, wang)
        browser.post(f"/sign-in/{tx.id}/cancel", tx.id)
        assert session_of(browser) == before
        assert browser.post(f"/sign-in/{tx.id}/switch", tx.id).status_code == 200
        assert session_of(browser) == before

    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_before_any_proof(self, hall: Hall, li: Held, method: str) -> None:
        """Nobody is signed out by an address."""
        browser = hall.browser()
        browser.tls(browser.begin().id, li)
        before = session_of(browser)
        tx = browser.begin()
        path = f"/sign-in/{tx.id}/switch"
        answer = browser.get(path) if method == "GET" else browser.post(path, tx.id)
        assert code_of(answer.text) == "ceremony.no_proof"
        assert session_of(browser) == before


class TestRefusedCertificates:
    """The verdict's own code reaches the person, in words, with another try."""

    def test_page_with_code_number_and_another_try(self, hall: Hall, li: Held) -> None:
        """Why, what to do, the number, the code small, and a way to start over in the same sign-in."""
        hall.snapshots.refuse = "crypto.key_size"
        browser = hall.browser()
        tx = browser.begin()
        page = browser.tls(tx.id, li)
        assert code_of(page.text) == "crypto.key_size"
        assert f"/sign-in/{tx.id}" in page.text
        assert page.headers["X-Request-Id"] in page.text
        assert "told by the test" not in page.text

    def test_another_certificate_in_the_same_sign_in(self, hall: Hall, li: Held) -> None:
        """A refusal is not the end of the sign-in."""
        browser = hall.browser()
        tx = browser.begin()
        hall.snapshots.refuse = "crypto.key_size"
        browser.tls(tx.id, li)
        hall.snapshots.refuse = ""
        assert browser.tls(tx.id, li).status_code == 200

    def test_an_unknown_ca(self, hall: Hall) -> None:
        """A certificate of nobody's CA signs nobody in."""
        browser = hall.browser()
        stranger = Authority("rogue", "rogue-01").issue("李示范", "11010519491231002X")
        assert browser.tls(browser.begin().id, stranger).status_code >= 400
        assert session_of(browser) is None

    def test_a_number_with_a_wrong_check_digit(self, hall: Hall, province: Authority) -> None:
        """The identity's own errors reach the person as well."""
        browser = hall.browser()
        held = province.issue("李示范", "110105194912310021")
        page = browser.tls(browser.begin().id, held)
        assert code_of(page.text).startswith("identity.")
        assert "110105194912310021" not in page.text


class TestTheEnd:
    """A sign-in ends once; afterwards its pages lead on, its steps do nothing."""

    def test_after_the_end_every_page_leads_on(self, hall: Hall, li: Held) -> None:
        """Back and reload bring the person to the window, not to a second sign-in."""
        browser = hall.browser()
        tx = browser.begin()
        browser.tls(tx.id, li)
        assert browser.get(f"/sign-in/{tx.id}").headers["Location"] == f"/authorize/continue?tx={tx.id}"
        assert "Refresh" in browser.get(f"/sign-in/{tx.id}/return?code=x").headers
        assert browser.post(f"/sign-in/{tx.id}/cancel", tx.id).status_code == 200
        assert ended(hall, tx).sid == session_of(browser).sid

    def test_after_ten_minutes(self, hall: Hall) -> None:
        """An old sign-in is gone: a page that says where to begin again, without a way back into it."""
        browser = hall.browser()
        tx = browser.begin()
        hall.clock.forward(600)
        page = browser.get(f"/sign-in/{tx.id}")
        assert (page.status_code, code_of(page.text)) == (410, "ceremony.expired")
        assert f"/sign-in/{tx.id}" not in page.text

    @pytest.mark.parametrize("tx", ["x", "A" * 43, "A" * 44, "%2e%2e", "é"])
    def test_made_up(self, hall: Hall, tx: str) -> None:
        """An id that was never given out."""
        assert code_of(hall.browser().get(f"/sign-in/{tx}").text) == "ceremony.expired"
