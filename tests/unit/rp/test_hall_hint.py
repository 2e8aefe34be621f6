"""`hall` in the authorization request: where the person may be signed in already (docs/abroad.md)."""

from __future__ import annotations

import pytest
import urllib3

from relying_party_sdk.testing import FakeProvider
from tests.unit.rp.conftest import Window


def asked(window: Window, provider: FakeProvider, **how: str) -> str | None:
    """The parameter that a sign-in begun so brings to the provider."""
    departure = window.party.begin("/", hall=how["hall"]) if how else window.party.begin("/")
    assert urllib3.request("GET", departure.url, redirect=False).status in (302, 303)
    return provider.authorizations[-1].get("hall")


def test_the_hint_is_sent(window: Window, provider: FakeProvider) -> None:
    """As the window gives it; nothing when it gives none."""
    assert asked(window, provider, hall="gd/guangzhou") == "gd/guangzhou"
    assert asked(window, provider) is None


@pytest.mark.parametrize("hall", ["GD", "gd/", "/gd", "gd//x", "gd guangzhou", "gd\n", "https://hall", "a" * 129])
def test_what_is_no_nodes_name_is_refused(window: Window, hall: str) -> None:
    """Before anybody is sent anywhere."""
    with pytest.raises(ValueError, match="hall is a node's name"):
        window.party.begin("/", hall=hall)
