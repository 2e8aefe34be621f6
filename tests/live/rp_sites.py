"""Every adapter's application, on every store, as a window on loopback, at a provider: the real realm or the fake one.

Browsers speak to the applications as the front would: the window's name in `Host`, TLS ended before the application.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import urlencode, urlsplit

import urllib3
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from ca_bridge.registry import Window, write_window
from demo.browser import Browser, Page
from demo.personas import persona
from demo.selfcheck import new_browser, present_certificate
from demo.stack import Demo
from relying_party_sdk import Person, RelyingParty, Settings
from relying_party_sdk.testing import CITIZEN, FakeProvider
from tests.unit.rp.applications import APPLICATIONS

ZHANG = persona("gd-zhang")
SITES = {
    "flask": ("flask", "memory"),
    "flask-sqlite": ("flask", "sqlite"),
    "flask-redis": ("flask", "redis"),
    "flask-postgresql": ("flask", "postgresql"),
    "wsgi": ("wsgi", "redis"),
    "asgi": ("asgi", "postgresql"),
    "starlette": ("starlette", "redis"),
    "fastapi": ("fastapi", "sqlite"),
    "django": ("django", "postgresql"),
}
"""Name → adapter and kind of store: one adapter on all stores, every adapter on one that processes share."""
Addresses = Mapping[str, str]
"""Kind of store → its address; a store on files is made beside its window's keys."""


@dataclass
class SiteBrowser(Browser):
    """A browser that reaches the hosts of `inside` (host → port) on loopback, without TLS."""

    inside: dict[str, int] = field(default_factory=dict)

    def _pool(self, host: str, port: int) -> urllib3.HTTPConnectionPool:
        if host not in self.inside:
            return super()._pool(host, port)
        key = (host, self.inside[host], False)
        if key not in self._pools:
            self._pools[key] = urllib3.HTTPConnectionPool("127.0.0.1", self.inside[host], timeout=30.0)
        return self._pools[key]


@dataclass(frozen=True, slots=True)
class Site:
    """One adapter's application on one store, listening on `port` of 127.0.0.1."""

    name: str
    party: RelyingParty
    port: int

    @property
    def host(self) -> str:
        """Its name, without port."""
        return urlsplit(self.party.settings.base_url).hostname or ""

    def url(self, path: str) -> str:
        """The address of a page."""
        return self.party.settings.base_url + path

    def cookie(self, browser: Browser) -> str:
        """The session's cookie in a browser; empty without one."""
        return browser.cookies.get(self.host, {}).get(self.party.settings.cookie("session"), "")

    def sees(self, browser: Browser) -> Person | None:
        """Whom the application knows by the browser's cookie."""
        session = self.party.current(self.cookie(browser))
        return Person.read(session.claims) if session else None

    def told(self, token: str) -> int:
        """The status that the application answers a logout token with."""
        address = f"http://127.0.0.1:{self.port}/oidc/backchannel-logout"
        form = urlencode({"logout_token": token})
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return urllib3.request("POST", address, body=form, headers=headers, retries=False).status


class Side(Protocol):
    """A provider with every adapter registered at it."""

    level: int
    """Of an ordinary sign-in of the person at the browser."""
    sites: dict[str, Site]

    def browser(self) -> SiteBrowser:
        """A new browser of a person who is signed in nowhere."""

    def enter(self, browser: SiteBrowser, url: str) -> Page:
        """Open an address as somebody who is signed in nowhere, and prove who one is."""

    def sign_out(self, browser: SiteBrowser, site: Site) -> Page:
        """Ask `site` for a sign-out; returns when the provider has told all windows."""


def _ask_to_sign_out(browser: SiteBrowser, site: Site) -> Page:
    origin = "{0.scheme}://{0.netloc}".format(urlsplit(site.url("/")))
    return browser.post(site.url("/oidc/logout"), {}, {"Origin": origin, "Sec-Fetch-Site": "same-origin"})


class RealSide:
    """Keycloak, the bridge and a certificate."""

    level = 4

    def __init__(self, demo: Demo, sites: dict[str, Site]) -> None:
        self._demo = demo
        self.sites = sites

    def browser(self) -> SiteBrowser:
        """Zhang's, with their certificate."""
        plain = new_browser(self._demo.pki, ZHANG)
        return SiteBrowser(plain.ca_file, plain.certificate, inside={s.host: s.port for s in self.sites.values()})

    def enter(self, browser: SiteBrowser, url: str) -> Page:
        """By the certificate at the bridge."""
        page = browser.get(url)
        assert page.url.startswith(self._demo.addresses.url("hall") + "/sign-in/")
        return present_certificate(browser, self._demo.addresses, page)

    def sign_out(self, browser: SiteBrowser, site: Site) -> Page:
        """Keycloak calls every window before it sends the browser back."""
        return _ask_to_sign_out(browser, site)


class FakeSide:
    """The fake provider of the SDK; it tells nobody of a sign-out, which is done here."""

    level = CITIZEN.level

    def __init__(self, provider: FakeProvider, sites: dict[str, Site]) -> None:
        self._provider = provider
        self.sites = sites

    def browser(self) -> SiteBrowser:
        """One browser at a time: the provider keeps its session itself."""
        self._provider.end_login()
        self._provider.person = CITIZEN
        parts = urlsplit(self._provider.issuer)
        inside = {s.host: s.port for s in self.sites.values()} | {str(parts.hostname): parts.port or 0}
        return SiteBrowser(Path("/nonexistent"), inside=inside)

    def enter(self, browser: SiteBrowser, url: str) -> Page:
        """The fake provider shows no page."""
        return browser.get(url)

    def sign_out(self, browser: SiteBrowser, site: Site) -> Page:
        """The tokens are made while the session lives, and sent when it has ended."""
        tokens = {each: self._provider.logout_token(each.party.settings.client_id) for each in self.sites.values()}
        page = _ask_to_sign_out(browser, site)
        assert self._provider.login is None
        assert {each.told(token) for each, token in tokens.items()} == {200}
        return page


@contextmanager
def fake_side(folder: Path, stores: Addresses) -> Iterator[FakeSide]:
    """Every adapter at the fake provider."""
    with FakeProvider() as provider, ExitStack() as stack:
        sites = {}
        for name in SITES:
            settings = provider.settings(folder, f"rp-{name}", store=_store(name, folder, stores))
            sites[name] = stack.enter_context(_listening(name, settings))
            provider.register(settings, sites[name].party.jwks)
        yield FakeSide(provider, sites)
        assert provider.refusals == []


@contextmanager
def real_side(demo: Demo, folder: Path, stores: Addresses) -> Iterator[RealSide]:
    """Every adapter registered at the demo's realm; removed from it afterwards."""
    with ExitStack() as stack:
        sites = {
            name: stack.enter_context(
                _listening(name, window_settings(demo, name, folder, _store(name, folder, stores)))
            )
            for name in SITES
        }
        windows = [window_at(site.party.settings, site.port) for site in sites.values()]
        with registered(demo, windows):
            yield RealSide(demo, sites)


@contextmanager
def registered(demo: Demo, windows: Sequence[Window]) -> Iterator[None]:
    """The windows are clients of the demo's realm, and are removed from it afterwards."""
    files = [write_window(demo.folder.state, window) for window in windows]
    try:
        demo.apply()
        yield
    finally:
        for file in files:
            file.unlink()
        demo.apply()


def _store(name: str, folder: Path, stores: Addresses) -> str:
    kind = SITES[name][1]
    return {"memory": "memory:", "sqlite": f"sqlite:{folder / name}.sqlite", **stores}[kind]


def window_settings(demo: Demo, site: str, folder: Path, store: str) -> Settings:
    """Settings of a window of the demo's realm."""
    name = f"rp-{site}"
    return Settings(
        issuer=demo.settings.keycloak.issuer,
        client_id=name,
        base_url=demo.addresses.url(name),
        key_file=folder / f"{name}.pem",
        store=store,
        ca_file=demo.pki.tls_ca,
    )


def window_at(settings: Settings, port: int, attributes: tuple[str, ...] = ()) -> Window:
    """The registration of a window that listens on `port` of 127.0.0.1."""
    inside = f"http://127.0.0.1:{port}/oidc"
    return Window(
        id=settings.client_id,
        sector=settings.client_id,
        name=dict.fromkeys(("zh-Hans", "zh-Hant", "en", "pt"), settings.client_id),
        base_url=settings.base_url,
        redirect_uris=(settings.redirect_uri,),
        post_logout_redirect_uris=(settings.signed_out_uri,),
        backchannel_logout_url=f"{inside}/backchannel-logout",
        jwks_url=f"{inside}/jwks.json",
        attributes=attributes,
    )


@contextmanager
def _listening(name: str, settings: Settings) -> Iterator[Site]:
    party = RelyingParty(settings)
    with APPLICATIONS[SITES[name][0]](party) as app:
        server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Quiet)
        thread = threading.Thread(target=_serve, args=(server,), daemon=True)
        thread.start()
        try:
            yield Site(name, party, server.port)
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
            party.close()


def _serve(server: BaseWSGIServer) -> None:
    server.serve_forever(poll_interval=0.02)


class _Quiet(WSGIRequestHandler):
    """Says nothing: addresses hold codes and states."""

    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Drop it."""
