"""The Flask example, as the two windows of the demo, in front of the fake provider."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.flask_window import ENVIRONMENT, HERE, POLICE, Department, create_app, texts
from relying_party_sdk import RelyingParty, SettingsError
from relying_party_sdk.testing import CITIZEN, Browser, FakeProvider, Fault, Persona
from relying_party_sdk.words import LANGUAGES

WINDOWS = [POLICE, ENVIRONMENT]


@pytest.fixture(name="provider")
def _provider() -> Iterator[FakeProvider]:
    with FakeProvider() as provider:
        provider.person = CITIZEN
        yield provider


def _open(provider: FakeProvider, department: Department, folder: Path) -> Browser:
    party = RelyingParty(provider.settings(folder, department.id))
    app, settings = create_app(party), party.settings
    provider.register(settings, party.jwks)
    return Browser(app.test_client(), provider, settings.base_url)


def _received(text: str) -> dict[str, str]:
    return dict(re.findall(r'data-received="([^"]+)" data-value="([^"]*)"', text))


@pytest.mark.parametrize("department", WINDOWS, ids=lambda d: d.id)
def test_first_page_is_public(provider: FakeProvider, department: Department, tmp_path: Path) -> None:
    """The landing page lists every matter without a sign-in, and offers one."""
    page = _open(provider, department, tmp_path).open("/")
    assert page.status == 200
    assert 'id="sign-in"' in page.text
    for matter in department.matters:
        assert f"/matters/{matter.id}" in page.text
    assert provider.calls["authorize"] == 0


@pytest.mark.parametrize("department", WINDOWS, ids=lambda d: d.id)
def test_each_matter_has_its_level(provider: FakeProvider, department: Department, tmp_path: Path) -> None:
    """Level 2 opens with the ordinary sign-in; 3 and 4 each send the person to step up once and back."""
    browser = _open(provider, department, tmp_path)
    for trips, matter in enumerate(department.matters, 1):
        page = browser.open(f"/matters/{matter.id}")
        assert page.status == 200
        assert _received(page.text)["level"] == str(matter.level)
        assert provider.calls["authorize"] == trips
        assert browser.open(f"/matters/{matter.id}").status == 200
        assert provider.calls["authorize"] == trips


def test_police_shows_name_and_number(provider: FakeProvider, tmp_path: Path) -> None:
    """The police window is registered for name and identifiers: it shows them, and the rest that it received."""
    provider.attribute_names = ("name", "identifiers")
    received = _received(_open(provider, POLICE, tmp_path).open("/me").text)
    assert received["name"] == "张三"
    assert received["identifier:cn-id"] == "11010519491231002X (CN)"
    assert received["kind"] == "citizen"
    assert received["subject"] == CITIZEN.subject("police")[:11] + "…"
    assert "organisation" not in received


def test_environment_asks_for_nothing(provider: FakeProvider, tmp_path: Path) -> None:
    """The environment window never calls the attribute endpoint, and shows no name."""
    page = _open(provider, ENVIRONMENT, tmp_path).open("/me")
    assert set(_received(page.text)) == {"kind", "level", "domain", "subject", "auth_time", "status_age", "rung"}
    assert "张三" not in page.text
    assert provider.calls["attributes"] == 0


def test_known_at_the_other_window(provider: FakeProvider, tmp_path: Path) -> None:
    """Signed in at one window, the other opens without another proof; what they received cannot be joined."""
    first = _open(provider, POLICE, tmp_path).open("/me")
    login = provider.login
    second = _open(provider, ENVIRONMENT, tmp_path).open("/me")
    assert provider.login is login
    assert _received(first.text)["subject"] != _received(second.text)["subject"]


def test_sign_out_button(provider: FakeProvider, tmp_path: Path) -> None:
    """The button ends the session here and at the provider, and comes back to the first page."""
    browser = _open(provider, POLICE, tmp_path)
    assert 'id="sign-out"' in browser.open("/me").text
    page = browser.open("/oidc/logout", method="POST")
    assert page.address == browser.base_url + "/"
    assert 'id="sign-in"' in page.text
    assert provider.login is None


def test_form_gives_a_receipt(provider: FakeProvider, tmp_path: Path) -> None:
    """A note that is sent is answered with a number; an empty one, or one from another site, is refused."""
    browser = _open(provider, POLICE, tmp_path)
    browser.open("/matters/residence-permit")
    path = "/matters/residence-permit"
    assert "data-receipt" in browser.open(path, method="POST", data={"note": "没有变化"}).text
    assert browser.open(path, method="POST", data={"note": " "}).status == 400
    assert browser.open(path, method="POST", data={"note": "x" * 2001}).status == 400
    foreign = {"Origin": "https://attacker.example"}
    assert browser.open(path, method="POST", data={"note": "x"}, headers=foreign).status == 403
    crossed = {"Sec-Fetch-Site": "cross-site"}
    assert browser.open(path, method="POST", data={"note": "x"}, headers=crossed).status == 403


def test_unmet_level_shows_an_error(provider: FakeProvider, tmp_path: Path) -> None:
    """A person who cannot reach the level sees why, and is not sent round again."""
    provider.person = Persona("low", highest=2)
    page = _open(provider, POLICE, tmp_path).open("/matters/no-record-certificate")
    assert (page.status, "rp.level_unmet" in page.text) == (403, True)
    assert provider.calls["authorize"] == 1


def test_public_page_while_the_provider_is_away(provider: FakeProvider, tmp_path: Path) -> None:
    """The landing page can be read while the provider is down; a matter says so with 503."""
    browser = _open(provider, POLICE, tmp_path)
    provider.faults.add(Fault.DOWN)
    assert browser.open("/").status == 200
    assert browser.open("/matters/residence-permit").status == 503


@pytest.mark.parametrize("language", LANGUAGES)
def test_pages_are_complete_in_each_language(provider: FakeProvider, language: str, tmp_path: Path) -> None:
    """No key shows through in any language, and the choice lasts."""
    browser = _open(provider, POLICE, tmp_path)
    assert f'<html lang="{language}">' in browser.open(f"/?lang={language}").text
    for path in ("/", "/me", "/matters/household-transfer", "/nothing-here"):
        page = browser.open(path)
        assert f'<html lang="{language}">' in page.text
        assert not re.search(r">\s*(received|matters|needs|kind|rung|me)\.[a-z_.-]+\s*<", page.text)


@pytest.mark.parametrize("file", sorted((HERE / "texts").glob("*.toml")), ids=lambda f: f.stem)
def test_texts_have_four_languages(file: Path) -> None:
    """Every text of a window is there in all four languages, and none is empty."""

    def leaves(node: dict[str, object], path: str) -> Iterator[tuple[str, dict[str, object]]]:
        if all(isinstance(value, str) for value in node.values()):
            yield path, node
            return
        for key, value in node.items():
            assert isinstance(value, dict), f"{path}.{key}"
            yield from leaves(value, f"{path}.{key}")

    for path, leaf in leaves(tomllib.loads(file.read_text("utf-8")), file.stem):
        assert set(leaf) == set(LANGUAGES), path
        assert all(leaf.values()), path


@pytest.mark.parametrize("department", WINDOWS, ids=lambda d: d.id)
def test_each_matter_has_texts(department: Department) -> None:
    """Title, description and question exist for every matter of a window, and no others."""
    assert set(texts(department.id)["matters"]) == {matter.id for matter in department.matters}
    assert all(set(rows) == {"title", "about", "ask"} for rows in texts(department.id)["matters"].values())


def test_policy_is_strict(provider: FakeProvider, tmp_path: Path) -> None:
    """No script, no inline style, nothing from elsewhere; a form may go to the provider (signing out) and here only."""
    page = _open(provider, POLICE, tmp_path).open("/")
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'self'")
    assert "unsafe" not in policy
    assert f"form-action 'self' {provider.issuer}" in policy
    assert "<script" not in page.text
    assert "style=" not in page.text


def test_app_is_made_from_the_environment(
    provider: FakeProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`create_app()` reads the TOML file that `crosshall window add` writes; without it, a clear error."""
    monkeypatch.delenv("CROSSHALL_RP_SETTINGS", raising=False)
    with pytest.raises(SettingsError):
        create_app()
    file = tmp_path / "env.toml"
    file.write_text(
        f'issuer = "{provider.issuer}"\nclient_id = "env"\nbase_url = "https://env.test"\n'
        'key_file = "keys/env.pem"\nstore = "sqlite:state/env.sqlite"\nattributes_url = ""\n',
        "utf-8",
    )
    monkeypatch.setenv("CROSSHALL_RP_SETTINGS", str(file))
    client = create_app().test_client()
    assert client.get("/oidc/jwks.json").get_json()["keys"][0]["alg"] == "ES256"
    assert (tmp_path / "keys" / "env.pem").stat().st_mode & 0o777 == 0o600
    assert "/matters/noise-complaint" in client.get("/").text
    assert client.get("/health").data == b"ok\n"
