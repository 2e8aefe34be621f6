"""Applications that keep their own sessions, or accounts: told at sign-in and sign-out, in every framework."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flask
import pytest
from django.conf import settings as project
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpResponse
from django.test import override_settings
from django.urls import path
from flask import Flask
from werkzeug.test import Client

from relying_party_sdk import RelyingParty, SignedIn, SignedOut
from relying_party_sdk.adapters import asgi, wsgi
from relying_party_sdk.adapters.flask import CrosshallRP
from relying_party_sdk.hooks import Hooks
from relying_party_sdk.testing import CITIZEN, OFFICER, Browser, FakeProvider, Persona
from relying_party_sdk.testing.asgi import as_wsgi
from tests.unit.rp.applications import django_app
from tests.unit.rp.conftest import Clock


class Old:
    """An old application with a session of its own (Flask's signed cookie), and accounts with passwords."""

    def __init__(self, provider: FakeProvider, folder: Path, clock: Clock, **changes: Any) -> None:
        changes = {"accounts": "memory:", "store": "memory:", **changes}
        settings = provider.settings(folder, **changes)
        self.party = RelyingParty(settings, clock=clock, sleep=lambda _: None)
        provider.register(settings, self.party.jwks)
        self.events: list[SignedIn | SignedOut] = []
        self.next: str | None = None
        self.fault: Exception | None = None
        self.app = Flask("old")
        self.app.secret_key = "for tests"
        self.rp = CrosshallRP(self.app, party=self.party, hooks=Hooks(self._welcome, self._farewell))
        self.provider = provider
        self._pages()

    def _welcome(self, event: SignedIn) -> str | None:
        if self.fault:
            raise self.fault
        self.events.append(event)
        flask.session["user"] = event.person.kind
        return self.next

    def _farewell(self, event: SignedOut) -> None:
        self.events.append(event)
        if event.request is not None:
            flask.session.clear()

    def _pages(self) -> None:
        app, rp = self.app, self.rp
        app.add_url_rule("/old", view_func=lambda: flask.session.get("user", "nobody"), endpoint="old")

        @app.route("/account")
        def account() -> str:
            link = rp.account(flask.request.args.get("account"))
            return link.account if link else "please link"

        @app.post("/link")
        def link() -> str:
            form = flask.request.form
            return rp.link_account(form["account"], lambda: form["password"] == "right").account

    def browser(self) -> Browser:
        """A browser of its own."""
        return Browser(self.app.test_client(), self.provider, "https://window.test")


@pytest.fixture(name="old")
def _old(provider: FakeProvider, tmp_path: Path, clock: Clock) -> Iterator[Old]:
    old = Old(provider, tmp_path, clock)
    yield old
    old.party.close()


def test_own_session_begins_and_ends(old: Old) -> None:
    """Sign-in begins the application's own session, the sign-out button ends it; nothing else is needed."""
    browser = old.browser()
    assert browser.open("/oidc/login?return_to=/old").text == "citizen"
    browser.open("/oidc/logout", method="POST")
    assert browser.open("/old").text == "nobody"
    begun, ended = old.events[:2]
    assert isinstance(begun, SignedIn)
    assert isinstance(ended, SignedOut)
    assert (begun.person.subject, ended.sessions) == (CITIZEN.subject("window"), (begun.session,))


def test_ended_by_the_provider(old: Old) -> None:
    """The provider's call is told with the names of the sessions; the browser's next request ends its own."""
    browser = old.browser()
    browser.open("/oidc/login")
    assert old.party.back_channel(old.provider.logout_token("window")) == 1
    told = old.events[-1]
    assert isinstance(told, SignedOut)
    assert (told.sessions, told.request) == ((old.events[0].session,), None)  # type: ignore[union-attr]
    assert browser.open("/old").text == "nobody"


def test_call_that_was_missed(old: Old, clock: Clock) -> None:
    """Pages that never ask us are rechecked all the same: ended at the provider means ended within `recheck`."""
    browser = old.browser()
    browser.open("/oidc/login?return_to=/old")
    old.provider.end_login()
    assert browser.open("/old").text == "citizen"
    clock.pass_(60)
    assert browser.open("/old").text == "nobody"
    assert isinstance(old.events[-1], SignedOut)


def test_longest_life(old: Old, clock: Clock) -> None:
    """When our session is over, so is the application's."""
    browser = old.browser()
    browser.open("/oidc/login?return_to=/old")
    clock.pass_(28_800)
    assert browser.open("/old").text == "nobody"


def test_step_up_is_no_sign_out(old: Old) -> None:
    """A step-up tells of the new session and names the old one; a request still under way with it ends nothing."""
    browser = old.browser()
    browser.open("/oidc/login")
    before = browser.client.get_cookie("__Host-window-session", domain="window.test")
    assert before is not None
    browser.open("/oidc/login?level=3")
    first, second = old.events
    assert isinstance(first, SignedIn)
    assert isinstance(second, SignedIn)
    assert (second.previous, second.person.level) == (first.session, 3)
    late = old.app.test_client()
    late.set_cookie("__Host-window-session", before.value, domain="window.test", secure=True)
    late.get("/old", base_url="https://window.test")
    assert old.events == [first, second]


def test_level_that_was_not_reached(old: Old) -> None:
    """A sign-in below the level that was asked does not begin a session of the application."""
    old.provider.person = Persona("low", highest=2)
    assert old.browser().open("/oidc/login?level=3").status == 403
    assert old.events == []


def test_application_chooses_where_to_go(old: Old) -> None:
    """A path that the hook returns is where the browser goes; an address of another site is not."""
    old.next = "/old?first"
    assert old.browser().open("/oidc/login").address.endswith("/old?first")
    old.next = "https://attacker.example/"
    assert old.browser().open("/oidc/login?return_to=/old").address == "https://window.test/"


def test_hook_that_fails(old: Old) -> None:
    """When the application cannot begin its session, ours is not left behind."""
    old.fault = KeyError("invented")
    browser = old.browser()
    old.app.testing = False
    assert browser.open("/oidc/login").status == 500
    assert browser.client.get_cookie("__Host-window-session", domain="window.test") is None
    assert not old.party._store.find("session", old.party._sealer.name("sub", CITIZEN.subject("sub-window")))


def test_link_by_the_old_password(old: Old) -> None:
    """The whole migration: sign in, no account yet, the old password once, and from then on the account opens."""
    browser = old.browser()
    assert browser.open("/account").text == "please link"
    wrong = browser.open("/link", method="POST", data={"account": "zhang", "password": "wrong"})
    assert (wrong.status, "rp.account_proof" in wrong.text) == (403, True)
    assert browser.open("/account").text == "please link"
    assert browser.open("/link", method="POST", data={"account": "zhang", "password": "right"}).text == "zhang"
    assert old.browser().open("/account").text == "zhang"
    old.provider.end_login()
    other = old.browser()
    other.sign_in_as(OFFICER)
    assert other.open("/account").text == "please link"


def test_link_from_another_site(old: Old) -> None:
    """A form of another site links nothing, and neither does one without a session."""
    data = {"account": "attacker", "password": "right"}
    page = old.browser().open("/link", method="POST", data=data)
    assert (page.status, "rp.form_not_sent" in page.text) == (401, True)
    browser = old.browser()
    browser.open("/account")
    for headers in ({"Origin": "https://attacker.example"}, {"Sec-Fetch-Site": "same-site"}):
        page = browser.open("/link", method="POST", data=data, headers=headers)
        assert (page.status, "rp.cross_site" in page.text) == (403, True)
    assert not old.party.accounts.list()


def test_account_steps_up(old: Old) -> None:
    """Linked at level 3, the account sends a level-2 sign-in to step up; a person who cannot is refused."""
    browser = old.browser()
    browser.open("/oidc/login?level=3")
    browser.open("/link", method="POST", data={"account": "zhang", "password": "right"})
    old.provider.end_login()
    page = old.browser().open("/account")
    assert (page.text, sum("/authorize" in hop for hop in page.hops)) == ("zhang", 2)
    old.provider.end_login()
    old.provider.person = Persona("citizen", highest=2)
    page = old.browser().open("/account")
    assert (page.status, "rp.level_unmet" in page.text) == (403, True)
    script = old.browser()
    script.open("/oidc/login")
    assert script.open("/account", headers={"Accept": "application/json"}).status == 401


def test_person_of_several_accounts(provider: FakeProvider, tmp_path: Path, clock: Clock) -> None:
    """Which one must be said; the application asks, and passes it on."""
    old = Old(provider, tmp_path, clock, accounts_per_person="many")
    browser = old.browser()
    browser.open("/oidc/login")
    for name in ("a", "b"):
        browser.open("/link", method="POST", data={"account": name, "password": "right"})
    page = browser.open("/account")
    assert (page.status, "rp.account_choice" in page.text) == (409, True)
    assert browser.open("/account?account=b").text == "b"
    old.party.close()


def test_hooks_of_plain_frameworks(provider: FakeProvider, tmp_path: Path, clock: Clock) -> None:
    """WSGI and ASGI tell the same, with environ and scope; accounts work there too."""
    for number, adapter in enumerate((wsgi, asgi)):
        settings = provider.settings(tmp_path, f"w{number}", store="memory:", accounts="memory:")
        party = RelyingParty(settings, clock=clock, sleep=lambda _: None)
        provider.register(settings, party.jwks)
        told: list[Any] = []
        app = _plain_wsgi(party, told) if adapter is wsgi else _plain_asgi(party, told)
        browser = Browser(Client(app), provider, settings.base_url)  # type: ignore[arg-type]
        assert browser.open("/").text == "none"
        party.accounts.link(party.person(_session(party)), "a", lambda: True)
        assert browser.open("/").text == "a"
        browser.open("/oidc/logout", method="POST")
        assert [type(event) for event in told[:2]] == [SignedIn, SignedOut]
        assert all(isinstance(event.request, dict) for event in told)
        party.close()


def _session(party: RelyingParty) -> Any:
    (key,) = (key for kind, key in party._store._records if kind == "session")  # type: ignore[attr-defined]
    return party.sessions.get(key)


def _plain_wsgi(party: RelyingParty, told: list[Any]) -> Any:
    def app(environ: Any, start: Any) -> list[bytes]:
        link = wsgi.visit_of(environ).account()
        start("200 OK", [])
        return [link.account.encode() if link else b"none"]

    return wsgi.CrosshallRP(app, party=party, hooks=Hooks(told.append, told.append))


def _plain_asgi(party: RelyingParty, told: list[Any]) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        link = await asgi.visit_of(scope).account()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": link.account.encode() if link else b"none"})

    return as_wsgi(asgi.CrosshallRP(app, party=party, hooks=Hooks(told.append, told.append)))


def welcome(event: SignedIn) -> None:
    """Begin Django's session."""
    event.request.session["user"] = event.person.kind


def farewell(event: SignedOut) -> None:
    """End it."""
    if event.request is not None:
        event.request.session.flush()


HOOKS = Hooks(welcome, farewell)


def test_django_s_own_sessions(provider: FakeProvider, tmp_path: Path, clock: Clock) -> None:
    """Behind Django's session middleware the hooks begin and end Django's own session."""
    settings = provider.settings(tmp_path, store="memory:")
    party = RelyingParty(settings, clock=clock, sleep=lambda _: None)
    provider.register(settings, party.jwks)
    with django_app(party):
        urls = types.ModuleType("crosshall_rp_hook_urls")
        urls.urlpatterns = [  # type: ignore[attr-defined]
            path("", lambda request: HttpResponse(request.session.get("user", "nobody")))
        ]
        sys.modules[urls.__name__] = urls
        middleware = [
            "django.contrib.sessions.middleware.SessionMiddleware",
            "relying_party_sdk.adapters.django.CrosshallMiddleware",
        ]
        changes = {"SESSION_ENGINE": "django.contrib.sessions.backends.signed_cookies", "CROSSHALL_RP_HOOKS": HOOKS}
        with override_settings(ROOT_URLCONF=urls.__name__, MIDDLEWARE=middleware, **changes):
            assert project.CROSSHALL_RP is party
            browser = Browser(Client(WSGIHandler()), provider, settings.base_url)  # type: ignore[arg-type]
            assert browser.open("/").text == "nobody"
            assert browser.open("/oidc/login").text == "citizen"
            party.back_channel(provider.logout_token("window"))
            assert browser.open("/").text == "nobody"
        del sys.modules[urls.__name__]
    party.close()
