"""A signer with the demo's tokens: real SoftHSM, real files, a clock that stands still."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from demo import pki
from demo.addresses import Addresses
from signer.settings import SignerSettings, load_settings
from signer.wallet import Wallet, open_wallet
from signer.web import create_app
from tests.parts.signer import Now, Person


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> pki.DemoRun:
    """A run of the demo federation."""
    return pki.materialise(tmp_path_factory.mktemp("run"), Addresses(8443), datetime.now(UTC))


@pytest.fixture(scope="session")
def settings(run: pki.DemoRun) -> SignerSettings:
    """Settings as a run writes them."""
    return load_settings(run.signer_settings)


@pytest.fixture(scope="session")
def wallet(settings: SignerSettings) -> Wallet:
    """Every token of the run."""
    return open_wallet(settings)


@pytest.fixture
def now() -> Now:
    """The test's clock."""
    return Now()


@pytest.fixture
def client(settings: SignerSettings, wallet: Wallet, now: Now) -> FlaskClient:
    """The signer's application."""
    app = create_app(settings, wallet, clock=now)
    app.testing = False  # faults must become answers, as for a person
    return app.test_client()


@pytest.fixture
def person(client: FlaskClient, now: Now, wallet: Wallet, settings: SignerSettings) -> Person:
    """A person at the hall's page."""
    return Person(client, now, wallet, settings.origin)


@pytest.fixture
def copied(run: pki.DemoRun, tmp_path: Path) -> Path:
    """A folder of file tokens of the test's own."""
    shutil.copytree(run.tokens / "files", tmp_path / "files")
    return tmp_path / "files"
