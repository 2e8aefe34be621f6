"""The real parts, started once for all live tests: Keycloak, nginx, bridge on PostgreSQL, windows, signer, SoftHSM."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Playwright, sync_playwright

from demo.addresses import free_block
from demo.personas import PIN, Persona
from demo.selfcheck import new_browser
from demo.stack import Demo, Options
from tests.parts.chromium import home_for, person_at_browser
from tests.parts.postgres import postgres

PersonAt = Callable[..., "contextmanager[BrowserContext]"]
SCREENSHOTS = Path(__file__).resolve().parents[2] / "screenshots"


@pytest.fixture(scope="session", name="demo")
def _demo() -> Iterator[Demo]:
    folder = Path(tempfile.mkdtemp(prefix="crosshall-live-"))
    with ExitStack() as stack:
        cluster = stack.enter_context(postgres())
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


@pytest.fixture(scope="session", name="playwright")
def _playwright() -> Iterator[Playwright]:
    with sync_playwright() as playwright:
        yield playwright


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
            yield context

    return person_at


@pytest.fixture(name="screenless")
def _screenless(demo: Demo) -> Callable[[Persona], object]:
    """A browser without a screen for a persona: `demo.browser.Browser`."""
    return lambda persona: new_browser(demo.pki, persona)
