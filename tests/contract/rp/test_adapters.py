"""Every adapter on every store: the main flow of a window, from the first visit to the last sign-out; store away."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import Client

from relying_party_sdk import RelyingParty, Settings, StoreError
from relying_party_sdk.testing import CITIZEN, Browser, FakeProvider
from tests.contract.rp.conftest import STORES, Clock, empty
from tests.unit.rp.applications import APPLICATIONS, as_json


@dataclass
class Site:
    """Two processes of one application that share a store."""

    apps: list[Any]
    parties: list[RelyingParty]
    settings: Settings
    provider: FakeProvider
    clock: Clock

    def browser(self) -> Browser:
        """A browser at the first process."""
        return Browser(Client(self.apps[0]), self.provider, self.settings.base_url)  # type: ignore[arg-type]


@pytest.fixture(name="provider")
def _provider(clock: Clock) -> Iterator[FakeProvider]:
    with FakeProvider(clock) as provider:
        provider.person = CITIZEN
        yield provider


def _site(adapter: str, address: str, provider: FakeProvider, folder: Path, clock: Clock) -> Site:
    settings = provider.settings(folder, store=address)
    party = RelyingParty(settings, clock=clock, sleep=lambda _: None)
    provider.register(settings, party.jwks)
    return Site([], [party], settings, provider, clock)


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("adapter", APPLICATIONS)
def test_main_flow(
    adapter: str, store: str, request: pytest.FixtureRequest, provider: FakeProvider, tmp_path: Path, clock: Clock
) -> None:
    """Deep link, page, script, form, step-up with a new identifier, refresh, another process, both sign-outs."""
    site = _site(adapter, empty(store, request, tmp_path), provider, tmp_path, clock)
    with APPLICATIONS[adapter](site.parties[0]) as app:
        site.apps.append(app)
        person = site.browser()
        assert person.open("/").text == "nobody"
        assert as_json(person.open("/high", headers={"Accept": "application/json"}).text)["error"].startswith("rp.")
        assert "rp.form_not_sent" in person.open("/matters/7", method="POST", data={"note": "x"}).text
        page = person.open("/matters/7?q=1")
        assert (page.text, page.address) == ("7 level 2 ", "https://window.test/matters/7?q=1")
        first = _cookie(person)
        assert person.open("/matters/7", method="POST", data={"note": "x"}).text == "7 level 2 x"
        assert person.open("/high").text == "high"
        second = _cookie(person)
        assert site.parties[0].current(first) is None
        clock.pass_(60)
        assert person.open("/").text == "citizen"
        assert provider.calls["refresh"] == 1
        other = site.parties[0] if store == "memory" else RelyingParty(site.settings, clock=clock)
        session = other.current(second)
        assert session is not None
        assert other.back_channel(provider.logout_token("window")) == 1
        assert person.open("/").text == "nobody"
        assert person.open("/matters/7").status == 200
        assert person.open("/oidc/logout", method="POST").text == "nobody"
        assert provider.refusals == []
        if other is not site.parties[0]:
            other.close()
    site.parties[0].close()


def _cookie(person: Browser) -> str:
    found = person.client.get_cookie("__Host-window-session", domain="window.test")
    assert found is not None
    return found.value


@pytest.mark.parametrize("adapter", APPLICATIONS)
def test_store_away(
    adapter: str, provider: FakeProvider, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the store fails every page is an error with its code, JSON for scripts; nobody is let in, nothing breaks.

    The provider's sign-out call is refused, so that it is not taken for done.
    """
    site = _site(adapter, "memory:", provider, tmp_path, clock)
    store = site.parties[0]._store
    with APPLICATIONS[adapter](site.parties[0]) as app:
        site.apps.append(app)
        person = site.browser()
        person.open("/matters/7")
        token = provider.logout_token("window")
        stop = site.browser().open("/matters/7", stop_before="/oidc/callback")

        def away(*_: object, **__: object) -> None:
            raise StoreError("rp.store", "invented")

        with monkeypatch.context() as patch:
            for name in ("put", "get", "take", "add_once", "delete", "find", "lock", "unlock", "put_fenced"):
                patch.setattr(store, name, away)
            for path in ("/", "/matters/7", "/high", stop.address.removeprefix("https://window.test")):
                page = person.open(path)
                assert (page.status, "rp.store" in page.text, "Traceback" in page.text) == (503, True, False), path
            page = person.open("/matters/7", headers={"Accept": "application/json"})
            assert (page.status, as_json(page.text)["error"]) == (503, "rp.store")
            assert person.open("/oidc/logout", method="POST").status == 503
            assert person.open("/oidc/login").status == 503
            assert _back_channel(site, token) == 400
        assert person.open("/").text == "citizen"
        assert _back_channel(site, token) == 200
        assert person.open("/").text == "nobody"
    site.parties[0].close()


def _back_channel(site: Site, token: str) -> int:
    answer = Client(site.apps[0]).post(
        "/oidc/backchannel-logout", base_url=site.settings.base_url, data={"logout_token": token}
    )
    return answer.status_code
