"""A hall, two CAs, and people with certificates."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Playwright

from tests.unit.web.chromium import NAMES, Served, serve
from tests.unit.web.hall import LI, WANG, Authority, Hall, Held, make_hall


@pytest.fixture(scope="session")
def province() -> Authority:
    """The province's CA."""
    return Authority("gd-public", "gd-ca-01")


@pytest.fixture(scope="session")
def city() -> Authority:
    """A city's CA."""
    return Authority("gz-public", "gz-ca-01", "gd/guangzhou")


@pytest.fixture(scope="session")
def li(province: Authority) -> Held:
    """A citizen, by the province's CA."""
    return province.issue("李示范", LI)


@pytest.fixture(scope="session")
def li_of_the_city(city: Authority) -> Held:
    """The same citizen, by the city's CA."""
    return city.issue("李示范", LI)


@pytest.fixture(scope="session")
def wang(province: Authority) -> Held:
    """Another citizen."""
    return province.issue("王样例", WANG)


@pytest.fixture(scope="session")
def operator(province: Authority) -> Held:
    """The first citizen again, with a company's certificate."""
    return province.issue("李示范", LI, "经办人证书", "样例有限公司")


@pytest.fixture
def hall(tmp_path: Path, province: Authority, city: Authority) -> Iterator[Hall]:
    """A hall with an empty store."""
    made = make_hall(tmp_path, [province, city])
    yield made
    made.services.store.close()


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The hall behind TLS, with a front that does what nginx does for the certificate host."""
    with serve(tmp_path_factory.mktemp("hall")) as running:
        yield running


@pytest.fixture(scope="module")
def chromium(playwright: Playwright) -> Iterator[Browser]:
    """One browser process for a file; each person gets a profile of their own."""
    browser = playwright.chromium.launch(
        executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"),
        args=["--no-sandbox", "--disable-gpu", NAMES],
    )
    yield browser
    browser.close()
