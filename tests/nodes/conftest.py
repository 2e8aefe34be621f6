"""The country of all tests here: made once, by the operators' commands, each node on a machine of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.nodes.country import PLACES, Country
from tests.nodes.standing import standing


@pytest.fixture(scope="session", name="country")
def _country() -> Iterator[Country]:
    with standing(*PLACES[1:]) as country:
        yield country
