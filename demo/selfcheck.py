"""One real sign-in without a person: window → Keycloak → bridge → certificate → window, single sign-on, sign-out."""

from __future__ import annotations

import time
from urllib.parse import urlsplit

from ca_bridge.errors import ConfigError
from demo.addresses import Addresses
from demo.browser import Browser, Form, Page
from demo.personas import Persona
from demo.pki import DemoRun
from demo.windows import OLD_ACCOUNT, OLD_PASSWORD


def sign_in(browser: Browser, addresses: Addresses, path: str = "/me", window: str = "police") -> Page:
    """Open `path` of a window and sign in by TLS client certificate; the page that the person ends at."""
    page = browser.get(addresses.url(window) + path)
    host = addresses.host("hall")
    if urlsplit(page.url).hostname != host:
        return page
    return present_certificate(browser, addresses, page)


def present_certificate(browser: Browser, addresses: Addresses, page: Page) -> Page:
    """From the sign-in page: go to the certificate host, press its button; the page that follows."""
    suffix = addresses.certificate_host.removeprefix("*").rpartition(":")[0]
    ways = [url for url in page.links if (urlsplit(url).hostname or "").endswith(suffix)]
    forms = [form for form in page.forms if (urlsplit(form.action).hostname or "").endswith(suffix)]
    if not ways and not forms:
        raise ConfigError("run.selfcheck", f"no way to a certificate at {urlsplit(page.url).path} ({page.status})")
    there = browser.get(ways[0]) if ways else browser.submit(page, forms[0])
    button = next((form for form in there.forms if form.method == "POST" and "/c/" in form.action), None)
    ended = browser.submit(there, button) if button else there
    # A page that tells the person something first goes on by a click.
    onward = next((url for url in ended.links if urlsplit(url).path == "/authorize/continue"), "")
    return browser.get(onward) if onward else ended


def new_browser(pki: DemoRun, persona: Persona, *, language: str = "zh-CN") -> Browser:
    """A browser that trusts the demo and holds the persona's certificate."""
    files = persona.files(pki.folder)
    return Browser(pki.tls_ca, (files.certificate, files.key), language=language)


def selfcheck(addresses: Addresses, pki: DemoRun, persona: Persona) -> list[str]:
    """Sign in at one window, be known at the other, sign out; what happened. Raises ConfigError `run.selfcheck`."""
    browser = new_browser(pki, persona)
    started = time.monotonic()
    page = sign_in(browser, addresses)
    if page.status != 200 or urlsplit(page.url).hostname != addresses.host("police"):
        raise ConfigError(
            "run.selfcheck", f"ended at {urlsplit(page.url).netloc}{urlsplit(page.url).path}: {page.status}"
        )
    told = [f"signed in at the police window by certificate in {time.monotonic() - started:.1f} s: {persona.name}"]
    if persona.name not in page.text:
        raise ConfigError("run.selfcheck", "the police window does not show the name it is registered for")
    there = browser.get(f"{addresses.url('env')}/me")
    if there.status != 200 or urlsplit(there.url).hostname != addresses.host("env"):
        raise ConfigError("run.selfcheck", f"no single sign-on: {urlsplit(there.url).netloc} {there.status}")
    if persona.name in there.text:
        raise ConfigError("run.selfcheck", "the environment window shows a name it is not registered for")
    told.append("known at the environment window without a page, and there without a name")
    told += _others(browser, addresses)
    form = next((form for form in page.forms if form.method == "POST" and "logout" in form.action), None)
    if form is None:
        raise ConfigError("run.selfcheck", "the window shows no way to sign out")
    browser.submit(page, Form(form.action, form.method, form.fields))
    for name, path in (("env", "/me"), ("archive", "/"), ("old", "/cases")):
        if urlsplit(browser.get(addresses.url(name) + path).url).hostname == addresses.host(name):
            raise ConfigError("run.selfcheck", f"signed out at the police window, still signed in at {name}")
    told.append("signed out once, out at both windows, at the archive and at the old system")
    return told


def _others(browser: Browser, addresses: Addresses) -> list[str]:
    """The archive with its own accounts, the system that cannot be changed, the API."""
    archive = browser.get(f"{addresses.url('archive')}/")
    form = next((form for form in archive.forms if form.action.endswith("/link")), None)
    if form is not None:  # the first run of this copy
        archive = browser.submit(archive, form, username=OLD_ACCOUNT, password=OLD_PASSWORD)
    if archive.status != 200 or f'data-account="{OLD_ACCOUNT}"' not in archive.text:
        raise ConfigError("run.selfcheck", f"the archive's own account does not open: {archive.status}")
    old = browser.get(f"{addresses.url('old')}/cases")
    if old.status != 200 or not old.text.startswith("/cases for s1:"):
        raise ConfigError("run.selfcheck", f"the old system does not know the person: {old.status}")
    if browser.get(f"{addresses.url('api')}/api/cases").status != 401:
        raise ConfigError("run.selfcheck", "the API answers without a token")
    return [
        "the archive opened the account that it has had for years, linked once by its old password",
        "the old system behind the proxy knows the person; the API answers nobody without a token",
    ]
