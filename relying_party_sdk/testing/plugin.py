"""Fixtures for pytest, there as soon as crosshall-rp is installed; nothing is imported until one is used.

def test_matter(crosshall_window, crosshall_sign_in_as):
    client = create_app(crosshall_window("police")).test_client()
    crosshall_sign_in_as(client, CITIZEN)
    assert client.get("/matters/7").status_code == 200
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from relying_party_sdk.client import RelyingParty
    from relying_party_sdk.testing.provider import FakeProvider


@pytest.fixture
def crosshall_provider() -> Iterator[FakeProvider]:
    """A fake provider, running; a citizen sits at the browser."""
    from relying_party_sdk.testing import CITIZEN, FakeProvider  # noqa: PLC0415

    with FakeProvider() as provider:
        provider.person = CITIZEN
        yield provider


@pytest.fixture
def crosshall_window(crosshall_provider: FakeProvider, tmp_path: Path) -> Iterator[Callable[..., RelyingParty]]:
    """Makes the relying party of a window, registered: `crosshall_window("police", scope="openid")`."""
    from relying_party_sdk.client import RelyingParty  # noqa: PLC0415

    made: list[RelyingParty] = []

    def window(client_id: str = "window", **changes: Any) -> RelyingParty:
        party = RelyingParty(crosshall_provider.settings(tmp_path, client_id, **changes))
        crosshall_provider.register(party.settings, party.jwks)
        made.append(party)
        return party

    yield window
    for party in made:
        party.close()


@pytest.fixture
def crosshall_sign_in_as(crosshall_provider: FakeProvider) -> Callable[..., None]:
    """`crosshall_sign_in_as(client, persona, level=3)`: as `relying_party_sdk.testing.sign_in_as`."""
    from relying_party_sdk.testing import sign_in_as  # noqa: PLC0415

    def sign_in(client: Any, persona: Any, *, level: int | None = None, window: str = "") -> None:
        sign_in_as(client, persona, crosshall_provider, level=level, window=window)

    return sign_in
