"""PostgreSQL stopped and started again: clear errors meanwhile, everything as before afterwards."""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest

from ca_bridge.errors import StoreError
from ca_bridge.store import Box, migrate, open_store
from ca_bridge.store.database import fault_code
from tests.contract.conftest import Hand
from tests.parts.postgres import Cluster

_numbers = itertools.count()


def test_a_database_that_restarts(cluster: Cluster, clock: Hand, box: Box):
    """While it is down `store.unavailable`; after its return the next call works and nothing committed is lost."""
    with cluster.database(f"outage_{next(_numbers)}") as url:
        migrate(url)
        store = open_store(url, box, clock)
        store.put("tx", "one", {"a": 1}, clock() + timedelta(minutes=1))
        cluster.control("-m", "fast", "stop")
        try:
            for call in (lambda: store.get("tx", "one"), store.ping, lambda: migrate(url)):
                with pytest.raises(StoreError) as refused:
                    call()
                assert refused.value.code == "store.unavailable"
        finally:
            cluster.start()
        assert store.get("tx", "one") == {"a": 1}
        store.close()


@pytest.mark.parametrize(
    ("state", "code"),
    [
        ("53100", "store.full"),
        ("53300", "store.unavailable"),
        ("57P01", "store.unavailable"),
        ("25006", "store.unavailable"),
        ("40P01", "store.locked"),
        ("40001", "store.locked"),
        ("55P03", "store.locked"),
        ("42P01", "store.version"),
        ("23505", "store.fault"),
        ("XX000", "store.fault"),
    ],
)
def test_faults_of_postgresql_have_codes(state: str, code: str):
    """By SQLSTATE (PostgreSQL, appendix A)."""
    fault = type("Fault", (Exception,), {"sqlstate": state})()
    assert fault_code(fault) == code


@pytest.mark.parametrize("url", ["mysql://x/y", "sqlite://", "sqlite:///:memory:", "rubbish", "", "oracle://x"])
def test_other_databases_are_refused(url: str, box: Box):
    """SQLite in a file, or PostgreSQL; the message does not repeat the URL (it may hold a password)."""
    with pytest.raises(StoreError) as refused:
        open_store(url, box)
    assert refused.value.code == "store.unavailable"
    assert not url or url not in refused.value.detail


def test_a_database_that_cannot_be_reached(box: Box, clock: Hand):
    """No server at the address: an error in seconds, not a wait."""
    store = open_store("postgresql+psycopg://nobody@127.0.0.1:1/none", box, clock)
    with pytest.raises(StoreError) as refused:
        store.ping()
    assert refused.value.code == "store.unavailable"
