"""One contract for every adapter: whatever the framework, a window behaves the same. Stores: `tests/contract/rp`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from werkzeug.test import Client

from relying_party_sdk import RelyingParty, Settings
from relying_party_sdk.errors import SettingsError
from relying_party_sdk.testing import Browser, FakeProvider, Fault, Persona
from tests.unit.rp.applications import APPLICATIONS, as_json
from tests.unit.rp.conftest import Clock


@dataclass
class Site:
    """An application of one framework."""

    app: Any
    party: RelyingParty
    settings: Settings
    provider: FakeProvider

    def browser(self) -> Browser:
        """A browser of its own, without cookies."""
        return Browser(Client(self.app), self.provider, self.settings.base_url)  # type: ignore[arg-type]


@pytest.fixture(name="site", params=APPLICATIONS)
def _site(request: pytest.FixtureRequest, provider: FakeProvider, tmp_path: Path, clock: Clock) -> Iterator[Site]:
    changes = getattr(request.function, "settings", {})
    settings = provider.settings(tmp_path, store="memory:", **changes)
    party = RelyingParty(settings, clock=clock, sleep=lambda _: None)
    provider.register(settings, party.jwks)
    with APPLICATIONS[request.param](party) as app:
        yield Site(app, party, settings, provider)
    party.close()


@pytest.fixture(name="person")
def _person(site: Site) -> Browser:
    """A browser without a session at the site."""
    return site.browser()


def test_deep_link_is_kept(person: Browser, site: Site) -> None:
    """One trip to the provider and back to the same page, encoded path and query included."""
    assert person.open("/").text == "nobody"
    page = person.open("/matters/%E5%BC%A0%20a?q=%E5%BC%A0")
    assert (page.status, page.text) == (200, "张 a level 2 ")
    assert page.address.endswith("/matters/%E5%BC%A0%20a?q=%E5%BC%A0")
    assert person.open("/").text == "citizen"
    assert site.provider.refusals == []


def test_cookies_are_host_bound_and_sealed(person: Browser) -> None:
    """Every cookie is `__Host-`, Secure, HttpOnly, Lax; the tab's is gone after the sign-in."""
    person.open("/matters/7")
    cookies = list(person.client._cookies.values())
    assert [cookie.key for cookie in cookies] == ["__Host-window-session"]
    for cookie in cookies:
        assert (cookie.secure, cookie.http_only, cookie.same_site, cookie.path) == (True, True, "Lax", "/")


def test_pages_about_a_person_are_not_cached(person: Browser) -> None:
    """What depends on the session carries no-store and Vary: Cookie, for somebody and for nobody."""
    for path in ("/", "/matters/7", "/"):
        page = person.open(path)
        assert page.headers["cache-control"] == "no-store"
        assert "Cookie" in page.headers["vary"]


def test_step_up_goes_once(person: Browser, site: Site) -> None:
    """A page of a higher level sends to step up and opens; one that stays unmet is an error, not a loop."""
    person.open("/matters/7")
    assert person.open("/high").text == "high"
    site.provider.end_login()
    site.provider.person = Persona("low", highest=2)
    other = site.browser()
    page = other.open("/high")
    assert (page.status, "rp.level_unmet" in page.text) == (403, True)


def test_rung_is_an_error_without_a_trip(person: Browser, site: Site) -> None:
    """A matter that needs the line is refused at once when the hall is cut off."""
    site.provider.person = Persona("offline", rung="day")
    person.open("/matters/7")
    trips = site.provider.calls["authorize"]
    assert person.open("/line").status == 403
    assert site.provider.calls["authorize"] == trips


def test_form_is_not_lost_silently(person: Browser) -> None:
    """A form without a session is answered with a page that says so; after signing in it is carried out."""
    page = person.open("/matters/7", method="POST", data={"note": "long text"})
    assert (page.status, "rp.form_not_sent" in page.text, 'target="_blank"' in page.text) == (401, True, True)
    person.open("/matters/7")
    assert person.open("/matters/7", method="POST", data={"note": "long text"}).text == "7 level 2 long text"


@pytest.mark.parametrize("headers", [{"X-Requested-With": "XMLHttpRequest"}, {"Accept": "application/json"}])
def test_script_is_challenged(person: Browser, headers: dict[str, str]) -> None:
    """A script gets 401, JSON and RFC 9470's challenge instead of a redirect."""
    page = person.open("/high", headers=headers)
    assert (page.status, as_json(page.text)["error"], len(page.hops)) == (401, "rp.sign_in_required", 1)
    assert page.headers["www-authenticate"] == 'Bearer acr_values="urn:crosshall:loa:3", max_age="600"'


def test_error_in_a_page(person: Browser) -> None:
    """An error of ours that a page raises becomes the SDK's page, which loads nothing and is not kept."""
    page = person.open("/fault")
    assert (page.status, "rp.provider_busy" in page.text) == (503, True)
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert page.headers["cache-control"] == "no-store"


def test_provider_down_before_the_trip(person: Browser, site: Site) -> None:
    """A provider that is down gives an error page, 503; nothing is set in the browser."""
    site.provider.faults.add(Fault.DOWN)
    page = person.open("/matters/7")
    assert (page.status, "rp.provider_unreachable" in page.text) == (503, True)
    assert not person.client._cookies


@pytest.mark.parametrize("query", ["", "state=x", "state=x&code=a&code=b", "state=x&code=a&code=", "state=a&code=b"])
def test_wrong_way_back(person: Browser, query: str) -> None:
    """A callback that is malformed or of nobody is 400."""
    assert person.open(f"/oidc/callback?{query}").status == 400


def test_callback_twice_and_elsewhere(person: Browser, site: Site) -> None:
    """A callback works in its own browser only, and once."""
    stop = person.open("/matters/7", stop_before="/oidc/callback")
    address = stop.address.removeprefix(person.base_url)
    assert "rp.other_browser" in site.browser().open(address).text
    assert person.open(address).status == 200
    assert "rp.callback_replayed" in person.open(address).text


def test_post_to_the_callback_is_refused(person: Browser) -> None:
    """An answer is posted only to a window that asked for `form_post`."""
    page = person.open("/oidc/callback", method="POST", data={"state": "x", "code": "y"})
    assert (page.status, "rp.callback" in page.text) == (400, True)


@pytest.mark.parametrize("name", ["login", "callback", "jwks.json", "logout", "backchannel-logout"])
def test_other_methods(person: Browser, name: str) -> None:
    """The SDK's addresses answer their methods only: a link scanner's HEAD uses nothing up."""
    for method in ("HEAD", "PUT", "DELETE"):
        assert person.open(f"/oidc/{name}", method=method).status == 405


def test_keys_are_served(person: Browser, site: Site) -> None:
    """The provider reads this window's public key."""
    page = person.open("/oidc/jwks.json")
    assert as_json(page.text) == site.party.jwks
    assert page.headers["cache-control"] == "public, max-age=300"


def test_sign_out(person: Browser, site: Site) -> None:
    """The button ends the session here and at the provider; another site's button does not."""
    person.open("/matters/7")
    page = person.open("/oidc/logout", method="POST", headers={"Origin": "https://attacker.example"})
    assert (page.status, "rp.cross_site" in page.text) == (403, True)
    page = person.open("/oidc/logout", method="POST")
    assert (page.text, page.address) == ("nobody", "https://window.test/")
    assert not person.client._cookies
    assert site.provider.login is None


def test_back_channel(person: Browser, site: Site) -> None:
    """The provider's call ends the session, without cookie or CSRF token; a wrong or repeated one is 400."""
    person.open("/matters/7")
    token = site.provider.logout_token("window")
    for wrong in (site.provider.logout_token("window", nonce="n"), "x", "x" * 70_000):
        assert _call(site, {"logout_token": wrong}) == 400
    assert person.open("/").text == "citizen"
    assert _call(site, {"logout_token": token}) == 200
    assert person.open("/").text == "nobody"
    assert _call(site, {"logout_token": token}) == 400
    assert _call(site, {}) == 400


def _call(site: Site, form: dict[str, str]) -> int:
    answer = Client(site.app).post("/oidc/backchannel-logout", base_url=site.settings.base_url, data=form)
    assert answer.headers["Cache-Control"] == "no-store"
    return answer.status_code


def test_cookie_that_is_forged(person: Browser, site: Site) -> None:
    """A cookie that we did not seal is nobody."""
    person.client.set_cookie("__Host-window-session", "A" * 120, domain="window.test", secure=True)
    assert person.open("/").text == "nobody"


def test_outage_keeps_the_session(person: Browser, site: Site, clock: Clock) -> None:
    """Without the provider a session is served through the grace, then 503; afterwards it goes on."""
    person.open("/matters/7")
    site.provider.faults.add(Fault.DOWN)
    clock.pass_(100)
    assert person.open("/").text == "citizen"
    clock.pass_(400)
    assert person.open("/").status == 503
    site.provider.faults.clear()
    clock.pass_(6)
    assert person.open("/").text == "citizen"


def test_form_post(person: Browser, site: Site) -> None:
    """With `form_post` the answer is posted without cookies, and the sign-in goes on with them; once, here only."""
    target, form = _posted(person)
    assert parse_qs(urlsplit(target).query) == {}
    answer = Client(site.app).post("/oidc/callback", base_url=site.settings.base_url, data=form)
    assert answer.status_code == 303
    step = answer.headers["Location"]
    assert form["code"] not in step
    assert form["state"] not in step
    page = person.open(step)
    assert (page.status, page.address) == (200, "https://window.test/matters/7")
    assert "rp.state" in person.open(step).text
    again = Client(site.app).post("/oidc/callback", base_url=site.settings.base_url, data=form)
    assert (again.status_code, "rp.callback_replayed" in again.text) == (400, True)


def _posted(person: Browser) -> tuple[str, dict[str, str]]:
    """What the provider's page would post, and where."""
    page = person.open("/matters/7", stop_before="/oidc/callback")
    parts = urlsplit(page.address)
    assert person.provider.authorizations[-1]["response_mode"] == "form_post"
    return parts._replace(query="").geturl(), {name: each[0] for name, each in parse_qs(parts.query).items()}


test_form_post.settings = {"response_mode": "form_post"}  # type: ignore[attr-defined]


def test_sign_out_with_state(person: Browser, site: Site) -> None:
    """With `sign_out_return` the way back from a sign-out is recognised; a foreign or missing state is an error."""
    person.open("/matters/7")
    assert person.open("/oidc/signed-out?state=invented").status == 400
    page = person.open("/oidc/logout", method="POST", stop_before="/oidc/signed-out")
    state = parse_qs(urlsplit(page.address).query)["state"][0]
    for query in ("", "?state=", "?state=invented", f"?state={state}&state={state}"):
        wrong = person.open(f"/oidc/signed-out{query}")
        assert (wrong.status, "rp.logout_state" in wrong.text) == (400, True)
    assert site.browser().open(f"/oidc/signed-out?state={state}").status == 400
    assert person.open("/").text == "nobody"
    assert person.open(f"/oidc/signed-out?state={state}").address == "https://window.test/"
    assert person.open(f"/oidc/signed-out?state={state}").status == 400


test_sign_out_with_state.settings = {"sign_out_return": "signed-out"}  # type: ignore[attr-defined]


def test_visit_outside_the_middleware() -> None:
    """An application that is not inside the middleware is told so, not served as for nobody."""
    from relying_party_sdk.adapters import asgi, django, wsgi  # noqa: PLC0415

    for adapter, request in ((wsgi, {}), (asgi, {"type": "http"}), (django, object())):
        with pytest.raises(SettingsError):
            adapter.visit_of(request)  # type: ignore[attr-defined]


def test_nobody_reads_no_store(site: Site) -> None:
    """A visitor without a cookie costs neither the store nor the provider anything."""
    site.party.current = None  # type: ignore[assignment,method-assign]
    assert site.browser().open("/").text == "nobody"
