"""For every test: what one test configures for the whole process does not reach the next."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import structlog
from playwright.sync_api import Playwright, sync_playwright


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


@pytest.fixture(scope="module", name="playwright")
def _playwright() -> Iterator[Playwright]:
    """Playwright for a file of tests. While it lives an event loop runs in this thread: other tests must not see it."""
    with sync_playwright() as playwright:
        yield playwright
