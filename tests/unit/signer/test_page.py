"""The signer's own page: what it shows, and that no signature comes without it."""

from __future__ import annotations

import re

import pytest
from structlog.testing import capture_logs

from ca_bridge.errors import LANGUAGES, SignerError
from demo.personas import PIN
from signer.words import words
from tests.parts.signer import HALL, Person


def _made(person: Person, **changes: object) -> dict[str, str]:
    made = person.ask({"challenge": person.challenge(), "level": 4, "languages": ["en"], **changes}).json
    assert made is not None
    return dict(made)


@pytest.mark.parametrize(
    ("language", "hall", "level"),
    [
        ("zh-Hans", "广东省网上办事大厅（演示）", "第 4 级（广东五级）"),
        ("zh-Hant", "廣東省網上辦事大廳（演示）", "第 4 級（廣東五級）"),
        ("en", "Guangdong online service hall (demo)", "Level 4"),
        ("pt", "Balcão em linha de Guangdong (demonstração)", "Nível 4"),
    ],
)
def test_page_says_who_asks_and_for_what(person: Person, language: str, hall: str, level: str) -> None:
    """In the hall's language: the hall's name from the signed list, its origin, the level, sign-in only."""
    page = person.page(_made(person, languages=[language]))
    for text in (hall, HALL, level, words(language)["purpose"], f'lang="{language}"'):
        assert text in page


def test_person_can_change_the_language(person: Person) -> None:
    """The page's own choice wins over the hall's."""
    assert words("pt")["heading"] in person.page(_made(person), "?lang=pt")
    assert words("en")["heading"] in person.page(_made(person), "?lang=xx")


def test_all_languages_have_the_same_texts() -> None:
    """Every text is there in four languages, with the same blanks to fill."""
    blanks = {name: re.findall(r"\{\w+\}", text) for name, text in words("zh-Hans").items()}
    for language in LANGUAGES:
        assert {name: re.findall(r"\{\w+\}", text) for name, text in words(language).items()} == blanks
        assert all(words(language).values())


def test_page_runs_no_script_and_no_frame_holds_it(person: Person) -> None:
    """Strict CSP without scripts, no framing, no caching, no referrer to others."""
    answer = person.get(f"/requests/{_made(person)['id']}")
    policy = answer.headers["Content-Security-Policy"]
    for part in ("default-src 'none'", "frame-ancestors 'none'", "form-action 'self'", "base-uri 'none'"):
        assert part in policy
    assert "script-src" not in policy
    assert "unsafe" not in policy
    assert "<script" not in answer.text
    assert " style=" not in answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Frame-Options"] == "DENY"


def test_page_is_no_subresource(person: Person) -> None:
    """A browser that says it wants the page for a frame or a script is refused."""
    made = _made(person)
    for wanted in ("iframe", "frame", "embed", "object", "script", "empty"):
        assert person.get(f"/requests/{made['id']}", Sec_Fetch_Dest=wanted).status_code == 403
    assert person.get(f"/requests/{made['id']}", Sec_Fetch_Dest="document").status_code == 200


def test_encryption_certificates_are_shown_but_cannot_be_picked(person: Person) -> None:
    """The person learns why the certificate is not offered; a form that names it all the same is refused."""
    made = _made(person)
    page = person.page(made)
    assert words("en")["others_why"] in page
    assert f'value="{person.held("gd-encryption").id}"' not in page
    answer = person.submit(made, "gd-encryption")
    assert answer.status_code == 422
    assert "signer.certificate" in answer.text


def test_expired_certificates_are_marked(person: Person) -> None:
    """Dates are shown in words; the hall, not the signer, decides over them."""
    page = person.page(_made(person))
    assert words("en")["expired"] in page
    assert words("en")["not_yet"] in page


def test_wrong_pin_is_counted_and_ends_the_request(person: Person) -> None:
    """Two wrong PINs are told with the tries left; the third ends it, and the right PIN comes too late."""
    made = _made(person)
    for left in (2, 1):
        answer = person.submit(made, "gz-li", "000000")
        assert answer.status_code == 422
        assert words("en")["left"].format(left=left) in answer.text
        assert "000000" not in answer.text
    assert person.submit(made, "gz-li", "000000").status_code == 303
    assert person.submit(made, "gz-li").status_code != 303
    assert person.collect(made).json == {"state": "refused"}


@pytest.mark.parametrize("pin", ["", "x" * 65])
def test_empty_and_overlong_pins_are_no_try(person: Person, pin: str) -> None:
    """A PIN that cannot be one reaches no token."""
    made = _made(person)
    answer = person.submit(made, "gz-li", pin)
    assert answer.status_code == 422
    assert "signer.incomplete" in answer.text
    assert words("en")["left"].split("{")[0] not in answer.text


def test_no_certificate_picked(person: Person) -> None:
    """The PIN alone signs nothing."""
    assert "signer.incomplete" in person.submit(_made(person), "gz-li", certificate="").text


def test_unknown_certificate_is_refused(person: Person) -> None:
    """A certificate that is on no token, or was pulled out meanwhile."""
    assert "signer.certificate" in person.submit(_made(person), "gz-li", certificate="0" * 64).text


@pytest.mark.parametrize("origin", [None, "null", HALL, "https://evil.example", "http://127.0.0.1:1"])
def test_form_must_come_from_the_signers_own_page(person: Person, origin: str | None) -> None:
    """Not even the hall may send the form: only the signer's own origin."""
    made = _made(person)
    assert person.submit(made, "gz-li", Origin=origin).status_code == 403
    assert person.submit(made, "gz-li", to="/refuse", Origin=origin).status_code == 403
    assert person.collect(made).json == {"state": "waiting"}


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none"])
def test_form_of_another_site_is_refused(person: Person, site: str) -> None:
    """Sec-Fetch-Site must agree with Origin."""
    assert person.submit(_made(person), "gz-li", Sec_Fetch_Site=site).status_code == 403


def test_form_token_is_of_its_request(person: Person) -> None:
    """A token of another request, or none, signs nothing."""
    made, other = _made(person), _made(person)
    found = re.search(r'name="form_token" value="([^"]+)"', person.page(other))
    assert found
    for token in (found[1], "", None, "é"):
        assert person.submit(made, "gz-li", form_token=token).status_code == 403


def test_refused_request_stays_refused(person: Person) -> None:
    """No is no: the hall hears it, and a later PIN signs nothing."""
    made = _made(person)
    page = person.page(made)
    token = re.search(r'name="form_token" value="([^"]+)"', page)
    assert token
    assert person.submit(made, "gz-li", to="/refuse").status_code == 303
    assert "signer.not_waiting" in person.submit(made, "gz-li", form_token=token[1]).text
    assert person.collect(made).json == {"state": "refused"}
    assert words("en")["ended_refused"] in person.page(made)


def test_expired_request_signs_nothing(person: Person) -> None:
    """After 60 s the form is dead, and the page says so."""
    made = _made(person)
    token = re.search(r'name="form_token" value="([^"]+)"', person.page(made))
    assert token
    person.now.pass_by(60)
    answer = person.submit(made, "gz-li", form_token=token[1])
    assert (answer.status_code, "signer.expired" in answer.text) == (410, True)
    assert words("en")["ended_expired"] in person.page(made)


def test_signed_request_is_not_signed_twice(person: Person) -> None:
    """One request, one signature."""
    made = _made(person)
    token = re.search(r'name="form_token" value="([^"]+)"', person.page(made))
    assert token
    assert person.submit(made, "gz-li", form_token=token[1]).status_code == 303
    assert person.submit(made, "gz-li", form_token=token[1]).status_code == 409


def test_fault_of_a_token_gives_the_request_back(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault nobody foresaw is told in plain words, without its text, and the request still waits."""

    def break_down(*_args: object) -> None:
        raise RuntimeError("secret detail")

    made = _made(person)
    monkeypatch.setattr(type(person.wallet), "sign", break_down)
    with capture_logs() as logged:
        answer = person.submit(made, "gz-li")
    assert answer.status_code == 500
    assert "secret detail" not in answer.text
    assert any(line["event"] == "signer.fault" for line in logged)
    assert not any(text in str(logged) for text in ("secret detail", PIN, person.held("gz-li").id))
    monkeypatch.undo()
    assert person.submit(made, "gz-li").status_code == 303


def test_absent_token_is_told(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that was pulled out costs no try."""

    def pulled_out(*_args: object) -> None:
        raise SignerError("signer.token_absent", "gone")

    made = _made(person)
    monkeypatch.setattr(type(person.wallet), "sign", pulled_out)
    assert "signer.token_absent" in person.submit(made, "gz-li").text
    monkeypatch.undo()
    assert person.submit(made, "gz-li").status_code == 303


def test_page_without_any_token_says_what_to_do(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing plugged in: the page says so, and offers to look again or to refuse."""
    monkeypatch.setattr(type(person.wallet), "held", lambda _self: ())
    page = person.page(_made(person))
    assert words("en")["none_do"] in page
    assert 'type="password"' not in page
