"""The real parts, started once for all live tests: Keycloak, nginx, bridge on PostgreSQL, windows, signer, SoftHSM."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Playwright, sync_playwright

from demo.addresses import Addresses, free_block
from demo.browser import Browser, Page
from demo.personas import PIN, Persona
from demo.selfcheck import new_browser
from demo.stack import Demo, Options
from tests.live import seen
from tests.live.people import Desk, desk_at
from tests.parts.chromium import home_for, person_at_browser
from tests.parts.postgres import Cluster, postgres

PersonAt = Callable[..., "contextmanager[BrowserContext]"]
SCREENSHOTS = Path(__file__).resolve().parents[2] / "screenshots"


@pytest.fixture(scope="session", name="cluster")
def _cluster() -> Iterator[Cluster]:
    """The PostgreSQL server behind the bridge, for tests that stop it."""
    with postgres() as cluster:
        yield cluster


@pytest.fixture(scope="session", name="demo")
def _demo(request: pytest.FixtureRequest) -> Iterator[Demo]:
    if running := os.environ.get("CROSSHALL_LIVE"):  # a copy that runs already, `…/<port>`: for who writes these tests
        yield Demo(Options(Path(running), Addresses(int(Path(running).name))))
        return
    cluster: Cluster = request.getfixturevalue("cluster")
    folder = Path(tempfile.mkdtemp(prefix="crosshall-live-"))
    with ExitStack() as stack:
        url = stack.enter_context(cluster.database("bridge"))
        options = Options(folder / "node", free_block(), database_url=url, rate_per_minute=6000)
        demo = Demo(options, lambda line: print(f"[stack] {line}"))  # noqa: T201
        try:
            demo.prepare()
            demo.start()
            yield demo
        finally:
            demo.stop()
            keep = SCREENSHOTS.parent / ".run" / "live-logs"
            shutil.rmtree(keep, ignore_errors=True)
            if demo.folder.logs.is_dir():
                shutil.copytree(demo.folder.logs, keep)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def _seen_by_browsers() -> Iterator[None]:
    """Every address that a browser without a screen asks for is kept, for the test of privacy."""
    once = Browser.once

    def kept(self: Browser, method: str, url: str, *rest: Any, **more: Any) -> Page:
        seen.URLS.add(url)
        return once(self, method, url, *rest, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Browser, "once", kept)
        yield


@pytest.fixture(scope="session", name="playwright")
def _playwright() -> Iterator[Playwright]:
    """The one Playwright of all live tests, which run in a process of their own (`make test`)."""
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="session", name="desk")
def _desk(demo: Demo, playwright: Playwright, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """One Chromium for everybody: `with desk.visit() as person`."""
    with desk_at(playwright, demo, tmp_path_factory.mktemp("desk")) as desk:
        yield desk


@pytest.fixture(name="person_at")
def _person_at(demo: Demo, playwright: Playwright, tmp_path: Path) -> PersonAt:
    """`with person_at(persona) as context`: a new Chromium that trusts the demo and has their certificate."""

    @contextmanager
    def person_at(persona: Persona | None = None, **options: object) -> Iterator[BrowserContext]:
        files = persona.files(demo.pki.folder) if persona else None
        pkcs12 = files.pkcs12 if files and files.pkcs12.exists() else None
        folder = Path(tempfile.mkdtemp(dir=tmp_path))
        home = home_for(folder, demo.pki.tls_ca, pkcs12, PIN)
        with person_at_browser(playwright, home, **options) as context:  # type: ignore[arg-type]
            context.on("request", lambda request: seen.URLS.add(request.url))
            yield context

    return person_at


@pytest.fixture(name="screenless")
def _screenless(demo: Demo) -> Callable[[Persona], object]:
    """A browser without a screen for a persona: `demo.browser.Browser`."""
    return lambda persona: new_browser(demo.pki, persona)
