"""A browser for tests: follows redirects between a Flask test client and the fake provider, and remembers the way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import urllib3

from relying_party_sdk.testing.personas import Persona
from relying_party_sdk.testing.provider import FakeProvider

if TYPE_CHECKING:
    from flask.testing import FlaskClient

_MOST = 12


class TooManyHops(AssertionError):  # noqa: N818 - reads as what happened
    """The browser was sent round in a loop."""


@dataclass(frozen=True, slots=True)
class Page:
    """Where the browser ended: status, text, headers, and every address on the way."""

    status: int
    text: str
    headers: dict[str, str]
    hops: tuple[str, ...]

    @property
    def address(self) -> str:
        """Where the browser is now."""
        return self.hops[-1]


class Browser:
    """One browser with its cookies (those of the Flask test client `client`), in front of one provider."""

    def __init__(self, client: FlaskClient, provider: FakeProvider, base_url: str) -> None:
        self.client = client
        self.provider = provider
        self.base_url = base_url
        self._pool = urllib3.PoolManager(retries=False)

    def sign_in_as(self, person: Persona, path: str = "/oidc/login") -> Page:
        """Sit `person` at the browser and open `path`."""
        self.provider.person = person
        return self.open(path)

    def open(self, path: str, *, stop_before: str = "", **request: Any) -> Page:
        """Open `path` as a person does, following every redirect; stops before an address that contains `stop_before`.

        Raises TooManyHops for a loop. `request` goes to the Flask test client (method, data, headers) for the first.
        """
        address, hops = self.base_url + path, []
        for _ in range(_MOST):
            hops.append(address)
            status, headers, text = self._fetch(address, request)
            location = headers.get("location")
            if not 300 <= status < 400 or location is None:
                return Page(status, text, headers, tuple(hops))
            request = {}
            address = location if urlsplit(location).netloc else self.base_url + location
            if stop_before and stop_before in address:
                return Page(status, text, headers, (*hops, address))
        raise TooManyHops("\n".join(hops))

    def _fetch(self, address: str, request: dict[str, Any]) -> tuple[int, dict[str, str], str]:
        if address.startswith(self.base_url + "/"):
            target = address.removeprefix(self.base_url)
            headers = {"Accept": "text/html", **request.pop("headers", {})}
            answer = self.client.open(target, base_url=self.base_url, headers=headers, **request)
            found = {name.lower(): value for name, value in answer.headers.items()}
            return answer.status_code, found, answer.get_data(as_text=True)
        remote = self._pool.request("GET", address, redirect=False)
        return remote.status, {k.lower(): v for k, v in remote.headers.items()}, remote.data.decode()
