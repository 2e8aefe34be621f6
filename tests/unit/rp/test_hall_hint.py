"""`hall` in the authorization request: where the person may be signed in already (docs/abroad.md)."""

from __future__ import annotations

import pytest
import urllib3

from relying_party_sdk.testing import FakeProvider
from relying_party_sdk.web import Call, Web
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


def test_the_login_address_takes_the_hint(window: Window, provider: FakeProvider) -> None:
    """`sign_in_address(hall=…)` begins a sign-in that carries the hint; what is no node's name is an error page."""
    web = Web(window.party)
    path, _, query = web.sign_in_address("/matters/7", hall="gd/guangzhou").partition("?")
    departed = web.serve(Call("GET", path, query))
    assert departed.status == 303
    assert urllib3.request("GET", dict(departed.headers)["Location"], redirect=False).status in (302, 303)
    assert provider.authorizations[-1].get("hall") == "gd/guangzhou"
    for wrong in ("hall=GD", "hall=https%3A%2F%2Fhall", "hall=gd%0A"):
        assert web.serve(Call("GET", path, wrong)).status == 400
