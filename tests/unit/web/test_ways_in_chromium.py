"""Both ways in a real browser, under the pages' own policies; the script of the token way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.unit.web.chromium import AtTheHall, Served, person_at, with_check_digit
from tests.unit.web.hall import LI, SIGNER, Held

pytestmark = pytest.mark.live


@pytest.fixture
def at_desk(served: Served, chromium: Browser) -> Iterator[AtTheHall]:
    """A person at a desk."""
    yield from person_at(served, chromium, 1280, 900, "light")


class TestWays:
    """The flow under the pages' own policies, in a browser that enforces them."""

    def test_the_tls_way_ends_at_the_window(self, at_desk: AtTheHall) -> None:
        """Two clicks, a redirect, a page that goes on by itself; no policy of ours is in the way."""
        at_desk.served.presents = at_desk.served.hall.snapshots.authorities[0].issue("李示范", LI)
        at_desk.open_sign_in()
        at_desk.page.get_by_role("link", name="选择浏览器里的证书").click()
        at_desk.page.get_by_role("button", name="用这张证书登录").click()
        expect(at_desk.page.get_by_role("heading", name="window reached")).to_be_visible()
        assert not at_desk.complaints

    def test_two_people_one_after_the_other(self, at_desk: AtTheHall) -> None:
        """The second person is asked first; the first one's session ends."""
        province = at_desk.served.hall.snapshots.authorities[0]
        for number, asked in ((LI, False), (with_check_digit("44052419900101001"), True)):
            at_desk.served.presents = province.issue("某人", number)
            at_desk.open_sign_in()
            at_desk.page.get_by_role("link", name="选择浏览器里的证书").click()
            at_desk.page.get_by_role("button", name="用这张证书登录").click()
            if asked:
                at_desk.page.get_by_role("button", name="退出原来的登录，继续").click()
            expect(at_desk.page.get_by_role("heading", name="window reached")).to_be_visible()
        assert not at_desk.complaints

    def test_the_token_way_ends_at_the_window(self, at_desk: AtTheHall) -> None:
        """Status, request, the signer's page in a window of its own, proof, onward."""
        held = at_desk.served.hall.snapshots.authorities[0].issue("李示范", LI)
        asked = at_desk.signer(held=held)
        at_desk.open_sign_in(level=4)
        with at_desk.page.expect_popup() as opened:
            at_desk.page.get_by_role("button", name="用 UKey 登录").click()
        assert opened.value.url in (f"{SIGNER}/requests/r1", "about:blank", "")
        expect(at_desk.page.get_by_role("heading", name="window reached")).to_be_visible()
        assert asked[0] == "GET /v1/status"
        assert not at_desk.complaints

    @pytest.mark.parametrize(
        ("answers", "say"),
        [
            ({"status": None}, "没有找到签名程序。"),
            ({"status": {"name": "another"}}, "签名程序的回答不对。"),
            ({"page": "https://evil.test/requests/r1"}, "签名程序的回答不对。"),
            ({"state": "refused"}, "您在签名程序里取消了登录。"),
            ({"state": "expired"}, "超过 60 秒没有签名，这次已作废。"),
            ({"state": "unheard-of"}, "签名程序的回答不对。"),
        ],
    )
    def test_the_token_way_never_hangs(self, at_desk: AtTheHall, answers: dict[str, Any], say: str) -> None:
        """Whatever the signer does, the page says so, takes the focus there, and offers another try."""
        at_desk.signer(**answers)
        at_desk.open_sign_in()
        at_desk.page.get_by_role("button", name="用 UKey 登录").click()
        expect(at_desk.page.locator("[data-say]")).to_have_text(say)
        expect(at_desk.page.locator("[data-say]")).to_be_focused()
        expect(at_desk.page.get_by_role("button", name="用 UKey 登录")).to_be_visible()

    def test_the_browser_would_ask(self, at_desk: AtTheHall) -> None:
        """Before the browser asks, the page explains; nothing is fetched until the person goes on."""
        at_desk.page.context.clear_permissions()
        asked = at_desk.signer(state="refused")
        at_desk.open_sign_in()
        at_desk.page.get_by_role("button", name="用 UKey 登录").click()
        expect(at_desk.page.get_by_role("heading", name="浏览器会先问您一句")).to_be_focused()
        assert not asked
        at_desk.page.get_by_role("button", name="继续").click()
        expect(at_desk.page.locator("[data-say]")).to_have_text("您在签名程序里取消了登录。")

    def test_the_browser_s_permission_refused(self, at_desk: AtTheHall) -> None:
        """The page says what happened and how to change it, at once and without a request."""
        at_desk.page.context.clear_permissions()
        at_desk.page.context.grant_permissions(["geolocation"])  # everything else is refused by this
        asked = at_desk.signer()
        at_desk.open_sign_in()
        at_desk.page.get_by_role("button", name="用 UKey 登录").click()
        expect(at_desk.page.locator("[data-say]")).to_have_text("浏览器没有让本页连接签名程序。")
        assert not asked

    def test_a_signer_that_never_answers(self, at_desk: AtTheHall) -> None:
        """The wait has an end, and the person can end it sooner."""
        at_desk.page.context.route(f"{SIGNER}/**", lambda _route: None)
        at_desk.open_sign_in()
        at_desk.page.get_by_role("button", name="用 UKey 登录").click()
        at_desk.page.get_by_role("button", name="停止").click()
        expect(at_desk.page.locator("[data-say]")).to_have_text("已停止。")
        at_desk.page.get_by_role("button", name="用 UKey 登录").click()
        expect(at_desk.page.locator("[data-say]")).to_have_text("没有找到签名程序。", timeout=9000)

    def test_the_hall_s_refusal_is_shown_with_its_code(self, at_desk: AtTheHall) -> None:
        """A proof that the hall refuses: its words, code and number, on the page where the person is."""
        held = at_desk.served.hall.snapshots.authorities[0].issue("李示范", LI)
        other = at_desk.served.hall.snapshots.authorities[0].issue("李示范", LI)
        at_desk.signer(held=Held(other.key, held.pem, held.der))
        at_desk.open_sign_in()
        at_desk.page.get_by_role("button", name="用 UKey 登录").click()
        expect(at_desk.page.locator("[data-code]")).to_contain_text("crypto.signature")

    def test_without_a_script_the_tls_way_works(self, served: Served, chromium: Browser) -> None:
        """No JavaScript: the page says what cannot be done, and the other way goes to its end."""
        context = chromium.new_context(ignore_https_errors=True, java_script_enabled=False, locale="zh-CN")
        person = AtTheHall(served, context)
        served.presents, served.hall.snapshots.refuse = served.hall.snapshots.authorities[0].issue("李示范", LI), ""
        person.open_sign_in()
        expect(person.page.get_by_text("需要浏览器启用 JavaScript")).to_be_visible()
        expect(person.page.get_by_role("button", name="用 UKey 登录")).to_have_count(0)
        person.page.get_by_role("link", name="选择浏览器里的证书").click()
        person.page.get_by_role("button", name="用这张证书登录").click()
        expect(person.page.get_by_role("heading", name="window reached")).to_be_visible()
        context.close()

    def test_keyboard_alone(self, at_desk: AtTheHall) -> None:
        """Tab and Enter reach the end; the first stop is the way past the header."""
        at_desk.served.presents = at_desk.served.hall.snapshots.authorities[0].issue("李示范", LI)
        at_desk.open_sign_in()
        at_desk.page.keyboard.press("Tab")
        expect(at_desk.page.get_by_role("link", name="跳到正文")).to_be_focused()
        at_desk.page.keyboard.press("Enter")
        for _ in range(2):
            at_desk.page.keyboard.press("Tab")
        expect(at_desk.page.get_by_role("link", name="选择浏览器里的证书")).to_be_focused()
        at_desk.page.keyboard.press("Enter")
        button = at_desk.page.get_by_role("button", name="用这张证书登录")
        button.focus()
        at_desk.page.keyboard.press("Enter")
        expect(at_desk.page.get_by_role("heading", name="window reached")).to_be_visible()
