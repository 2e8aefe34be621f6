"""Headers, languages, errors and what never appears: the pages as answers, without a browser."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from ca_bridge.errors import LANGUAGES, CrosshallError, StoreError, catalogue
from ca_bridge.web import guard, language
from tests.unit.web.hall import CHANNEL, ISSUER, LI, SIGNER, Hall, Held, code_of

WEB = Path(guard.__file__).parent


class TestHeaders:
    """Every answer, refusals included."""

    @pytest.mark.parametrize("path", ["/", "/signed-out", "/nowhere", "/sign-in/x", "/refused/ceremony.expired"])
    def test_strict_policy_and_no_store(self, hall: Hall, path: str) -> None:
        """Nothing from elsewhere, nothing inline, no frame, nothing kept."""
        headers = hall.browser().get(path).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["Cache-Control"] == "no-store"
        assert headers["Referrer-Policy"] == "same-origin"
        assert headers["X-Content-Type-Options"] == "nosniff"

    def test_only_the_sign_in_page_may_reach_the_signer(self, hall: Hall) -> None:
        """connect-src names the signer there and nowhere else."""
        browser = hall.browser()
        assert SIGNER in browser.get(f"/sign-in/{browser.begin().id}").headers["Content-Security-Policy"]
        assert SIGNER not in browser.get("/").headers["Content-Security-Policy"]

    def test_cookies(self, hall: Hall, li: Held) -> None:
        """`__Host-`, Secure, HttpOnly, SameSite=Lax, no Domain."""
        browser = hall.browser()
        tx = browser.begin()
        set_at_host = browser.at_certificate_host(tx.id, li).headers["Set-Cookie"]
        set_at_hall = browser.tls(tx.id, li).headers["Set-Cookie"]
        for line, name in ((set_at_host, "cert"), (set_at_hall, "session")):
            assert line.startswith(f"__Host-crosshall-{name}=")
            assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} <= set(line.split("; "))
            assert "Domain" not in line

    def test_no_inline_script_or_style(self) -> None:
        """Templates hold neither, so that the policy needs no exception."""
        for file in (WEB / "templates").iterdir():
            text = file.read_text("utf-8")
            assert not re.search(r"<script(?![^>]* src=)|<style|\son[a-z]+=|\sstyle=|javascript:", text), file.name

    def test_static_files_are_kept_by_their_version(self, hall: Hall) -> None:
        """Their address changes with them."""
        browser = hall.browser()
        found = re.findall(r'(?:href|src)="(/static/[^"]+)"', browser.get(f"/sign-in/{browser.begin().id}").text)
        assert len(found) == 4
        for address in found:
            with browser.get(address) as answer:
                assert (answer.status_code, "immutable" in answer.headers["Cache-Control"]) == (200, True)


class TestLanguages:
    """简体 by default; the switch, the window's wish, the browser's wish, in that order."""

    @pytest.mark.parametrize(
        ("accept", "expected"),
        [
            ("", "zh-Hans"),
            ("zh-CN,zh;q=0.9", "zh-Hans"),
            ("zh-HK", "zh-Hant"),
            ("zh-MO", "zh-Hant"),
            ("zh-TW,en", "zh-Hant"),
            ("zh-Hant-HK", "zh-Hant"),
            ("pt-BR,en;q=0.5", "pt"),
            ("fr,en-GB;q=0.5", "en"),
            ("fr,de", "zh-Hans"),
            ("*", "zh-Hans"),
            (";;,q=", "zh-Hans"),
        ],
    )
    def test_accept_language(self, hall: Hall, accept: str, expected: str) -> None:
        """The first language of the browser that we have."""
        page = hall.browser().get("/", headers={"Accept-Language": accept})
        assert f'<html lang="{expected}">' in page.text

    def test_the_window_s_wish_wins_over_the_browser_s(self, hall: Hall) -> None:
        """`ui_locales`."""
        browser = hall.browser()
        tx = browser.begin(languages=("fr", "pt-PT"))
        assert '<html lang="pt">' in browser.get(f"/sign-in/{tx.id}", headers={"Accept-Language": "en"}).text

    def test_the_switch_wins_and_stays(self, hall: Hall) -> None:
        """Chosen once, kept for this browser session; `ui_locales` does not undo it."""
        browser = hall.browser()
        tx = browser.begin(languages=("pt",))
        browser.get(f"/sign-in/{tx.id}?lang=en")
        assert '<html lang="en">' in browser.get(f"/sign-in/{tx.id}").text

    @pytest.mark.parametrize("lang", ["xx", "", "en\r\nSet-Cookie: a=b", "../en", "EN"])
    def test_an_unknown_choice_changes_nothing(self, hall: Hall, lang: str) -> None:
        """Only our four; nothing else reaches a cookie."""
        page = hall.browser().get("/", query_string={"lang": lang})
        assert '<html lang="zh-Hans">' in page.text
        assert "Set-Cookie" not in page.headers

    def test_the_choice_goes_along_to_the_certificate_host(self, hall: Hall, li: Held) -> None:
        """Another host, another jar: the address carries the language."""
        browser = hall.browser()
        tx = browser.begin()
        address = browser.get(f"/sign-in/{tx.id}/certificate?lang=pt").headers["Location"]
        assert address.endswith("?lang=pt")

    def test_every_language_has_every_word(self) -> None:
        """The same keys, the same placeholders, no empty text."""
        reference = language.locale("zh-Hans")
        for tag in LANGUAGES:
            words = language.locale(tag)
            assert set(words) == set(reference), tag
            for key, text in words.items():
                assert text.strip(), key
                assert set(re.findall(r"{(\w+)}", text)) == set(re.findall(r"{(\w+)}", reference[key])), (tag, key)

    def test_every_word_is_used(self) -> None:
        """What no page says is taken out."""
        pages = "".join(file.read_text("utf-8") for file in (WEB / "templates").iterdir())
        built = ("common.grade_", "capacity.", "token.", "continue.", "status.", "abroad.why_")
        unused = [key for key in language.locale("en") if f'"{key}"' not in pages and f"'{key}'" not in pages]
        assert not [key for key in unused if not key.startswith(built)]


class TestErrors:
    """Any error becomes a page or JSON; none says who."""

    @pytest.fixture
    def faulty(self, hall: Hall) -> Hall:
        """A hall with pages that fail."""

        @hall.app.get("/fails")
        def _fails() -> str:
            raise RuntimeError(f"no such person: {LI}")

        @hall.app.get("/full")
        def _full() -> str:
            raise StoreError("store.full", "disk full")

        @hall.app.get("/unknown")
        def _unknown() -> str:
            raise CrosshallError("path.never_heard_of", LI)

        return hall

    @pytest.mark.parametrize(("path", "code"), [("/fails", "run.fault"), ("/unknown", "path.never_heard_of")])
    def test_neither_page_nor_log_says_who(self, faulty: Hall, path: str, code: str) -> None:
        """The exception's text stays out of the page; of a fault it stays out of the log too."""
        with capture_logs() as lines:
            page = faulty.browser().get(path)
        assert page.status_code == 500
        assert code_of(page.text) == code
        assert LI not in page.text
        if code == "run.fault":
            assert LI not in str(lines)
            assert lines[-1]["kind"] == "RuntimeError"

    def test_json_for_scripts(self, faulty: Hall) -> None:
        """Whoever asks for JSON gets code, say, do and the number."""
        answer = faulty.browser().get("/full", headers={"Accept": "application/json"})
        assert set(answer.json or {}) == {"code", "say", "do", "request"}
        assert (answer.json or {})["code"] == "store.full"

    @pytest.mark.parametrize(
        ("method", "path", "status", "code"),
        [
            ("GET", "/nowhere", 404, "ceremony.no_page"),
            ("POST", "/", 405, "ceremony.method"),
            ("DELETE", "/sign-in/x", 405, "ceremony.method"),
            ("GET", "/refused/no.such_code", 404, "ceremony.no_page"),
            ("GET", "/static/../guard.py", 404, "ceremony.no_page"),
        ],
    )
    def test_http_errors_in_our_words(self, hall: Hall, method: str, path: str, status: int, code: str) -> None:
        """404 and 405 are pages of ours."""
        answer = hall.browser().client.open(path, method=method, base_url=ISSUER)
        assert (answer.status_code, code_of(answer.text)) == (status, code)

    def test_every_refusal_in_every_language(self, hall: Hall) -> None:
        """Each code of the catalogue renders, with its words, in four languages."""
        browser = hall.browser()
        for code, entry in catalogue().items():
            for tag in LANGUAGES:
                page = browser.get(f"/refused/{code}", query_string={"lang": tag, "n": "abcdefgh", "tx": "T" * 43})
                assert page.status_code == 200
                assert f'<html lang="{tag}">' in page.text
                assert entry.say[tag].split("<")[0].split("'")[0].split('"')[0].split("&")[0] in page.text

    @pytest.mark.parametrize(
        ("name", "value"),
        [("tx", "//evil.test"), ("tx", "https://evil.test"), ("tx", '"><script>'), ("n", "<b>"), ("n", "1" * 500)],
    )
    def test_nothing_of_an_address_reaches_a_refusal(self, hall: Hall, name: str, value: str) -> None:
        """No open redirect, no markup, no text of somebody else's."""
        page = hall.browser().get("/refused/ceremony.expired", query_string={name: value}).text
        assert value not in page
        assert "evil" not in page

    @pytest.mark.parametrize("number", ["x", "<script>", "a b c d e f", "é" * 10, "A" * 65])
    def test_a_number_that_is_not_one(self, hall: Hall, number: str) -> None:
        """A request number from outside is taken only in its form."""
        page = hall.browser().get("/nowhere", headers={"X-Request-Id": number})
        assert page.headers["X-Request-Id"] != number
        assert number not in re.findall(r"<dd>(.*?)</dd>", page.text)


class TestWhoIsNeverSaid:
    """No name, number or person key in an address or a log line of a whole sign-in."""

    def test_logs_and_addresses(self, hall: Hall, li: Held, operator: Held) -> None:
        """Both ways, a question, a refusal: nothing in log or Location."""
        seen: list[str] = []
        with capture_logs() as lines:
            browser = hall.browser()
            tx = browser.begin()
            clicked = browser.click(tx.id, operator)
            answer = browser.follow(clicked)
            seen += [clicked.headers["Location"], answer.headers["Location"]]
            answer = browser.post(f"/sign-in/{tx.id}/capacity", tx.id, data={"capacity": "operator"})
            seen.append(answer.headers["Refresh"])
            hall.snapshots.refuse = "crypto.key_size"
            browser.token(browser.begin().id, li)
        person = hall.services.sessions.live()[0].person
        told = f"{lines}{seen}"
        for secret in (LI, "李示范", "样例有限公司", "91350100M000100Y43", person, CHANNEL, browser.cookie):
            assert secret not in told
        assert "crypto.key_size" in told
