"""One-time codes, and ceremonies begun in one browser and finished in another (design §5)."""

from __future__ import annotations

import pytest

from ca_bridge.ceremony import transaction
from tests.unit.web.hall import Hall, Held, code_of, path_of, session_of, sign


class TestOneTimeCodes:
    """A proof comes back through the browser that began, once, within 60 s."""

    def test_used_twice(self, hall: Hall, li: Held) -> None:
        """The second use of a code is refused, also before the sign-in has ended."""
        hall.snapshots.level = 2
        browser = hall.browser()
        back = path_of(browser.click(browser.begin(level=3).id, li).headers["Location"])
        assert browser.get(back).status_code == 303
        again = browser.get(back)
        assert (again.status_code, code_of(again.text)) == (403, "ceremony.code")

    def test_after_a_minute(self, hall: Hall, li: Held) -> None:
        """61 s later the code is worth nothing."""
        browser = hall.browser()
        back = path_of(browser.click(browser.begin().id, li).headers["Location"])
        hall.clock.forward(61)
        assert code_of(browser.get(back).text) == "ceremony.code"
        assert session_of(browser) is None

    def test_of_another_transaction(self, hall: Hall, li: Held) -> None:
        """A code opens only the transaction that it was made for."""
        browser = hall.browser()
        one, other = browser.begin(), browser.begin()
        back = path_of(browser.click(one.id, li).headers["Location"]).replace(one.id, other.id)
        assert code_of(browser.get(back).text) == "ceremony.code"

    @pytest.mark.parametrize("code", ["", "x", "A" * 43, "../..", "é" * 50])
    def test_made_up(self, hall: Hall, code: str) -> None:
        """A guessed code is refused."""
        browser = hall.browser()
        answer = browser.get(f"/sign-in/{browser.begin().id}/return", query_string={"code": code})
        assert code_of(answer.text) == "ceremony.code"


class TestTwoBrowsers:
    """A ceremony begun in one browser and finished in another fails, by every way."""

    def test_the_victim_s_click_signs_nobody_in(self, hall: Hall, li: Held) -> None:
        """The lurer's transaction, the victim's certificate: the code is in the wrong browser."""
        lurer, victim = hall.browser(), hall.browser()
        tx = lurer.begin()
        answer = victim.tls(tx.id, li)
        assert (answer.status_code, code_of(answer.text)) == (403, "ceremony.other_browser")
        assert session_of(victim) is None
        assert session_of(lurer) is None

    def test_no_cookie_at_all(self, hall: Hall, li: Held) -> None:
        """A browser without the cookie is another browser."""
        lurer, victim = hall.browser(), hall.browser()
        victim.client.delete_cookie("__Host-crosshall-browser", domain="hall.test")
        assert code_of(victim.tls(lurer.begin().id, li).text) == "ceremony.other_browser"

    @pytest.mark.parametrize("step", ["", "/certificate", "/return?code=x", "/capacity", "/switch", "/held", "/level"])
    def test_no_page_of_it_opens_elsewhere(self, hall: Hall, step: str) -> None:
        """Every page below a transaction is for its own browser."""
        tx = hall.browser().begin()
        answer = hall.browser().get(f"/sign-in/{tx.id}{step}")
        assert (answer.status_code, code_of(answer.text)) == (403, "ceremony.other_browser")

    @pytest.mark.parametrize("step", ["challenge", "proof", "capacity", "switch", "cancel"])
    def test_no_step_of_it_is_taken_elsewhere(self, hall: Hall, li: Held, step: str) -> None:
        """Every POST as well, with the token of the browser that sends it."""
        tx = hall.browser().begin()
        other = hall.browser()
        answer = other.post(f"/sign-in/{tx.id}/{step}", tx.id)
        code = (answer.json or {})["code"] if answer.is_json else code_of(answer.text)
        assert (answer.status_code, code) == (403, "ceremony.other_browser")

    def test_a_token_proof_from_another_browser(self, hall: Hall, li: Held) -> None:
        """The challenge went to one browser, the right signature comes from another."""
        lurer, victim = hall.browser(), hall.browser()
        tx = lurer.begin()
        proof = sign(lurer.challenge(tx.id), li)
        answer = victim.json(f"/sign-in/{tx.id}/proof", tx.id, proof)
        assert (answer.json or {})["code"] == "ceremony.other_browser"

    def test_continue_in_another_browser(self, hall: Hall, li: Held) -> None:
        """A finished sign-in is handed on in its own browser only, and once."""
        browser, other = hall.browser(), hall.browser()
        tx = browser.begin()
        browser.tls(tx.id, li)
        store = hall.services.store
        with pytest.raises(transaction.CeremonyError, match=r"ceremony\.other_browser"):
            transaction.finish(store, tx.id, other.cookie, hall.clock())
        assert transaction.finish(store, tx.id, browser.cookie, hall.clock()).sid
        with pytest.raises(transaction.CeremonyError, match=r"ceremony\.expired"):
            transaction.finish(store, tx.id, browser.cookie, hall.clock())
