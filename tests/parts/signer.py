"""A hall's page and the person before it, as a browser would send them; and a clock that the test moves."""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from demo.addresses import Addresses
from demo.personas import PIN, persona
from signer.tokens import Held
from signer.wallet import Wallet

HALL = Addresses(8443).url("hall")


@dataclass
class Now:
    """A clock that the test moves."""

    at: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))

    def __call__(self) -> datetime:
        return self.at

    def pass_by(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@dataclass
class Person:
    """A hall's page and the person before it, as a browser would send them."""

    client: FlaskClient
    now: Now
    wallet: Wallet
    own: str

    def challenge(self, **changes: str) -> dict[str, str]:
        good = {
            "origin": HALL,
            "transaction": secrets.token_urlsafe(24),
            "nonce": secrets.token_urlsafe(24),
            "expires": (self.now() + timedelta(seconds=60)).isoformat(),
        }
        return {**good, **changes}

    def ask(self, body: Any = None, **headers: str) -> TestResponse:
        """POST /v1/requests; a header given as "" is left out."""
        body = {"challenge": self.challenge(), "level": 3, "languages": ["en"]} if body is None else body
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        wanted = {"Origin": HALL, "Content-Type": "application/json", "Host": self.own.removeprefix("http://")}
        wanted |= {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.post("/v1/requests", data=data, headers={k: v for k, v in wanted.items() if v})

    def get(self, path: str, **headers: str) -> TestResponse:
        wanted = {"Host": self.own.removeprefix("http://")}
        wanted |= {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.get(path, headers=wanted)

    def collect(self, made: dict[str, str], secret: str | None = None, origin: str = HALL) -> TestResponse:
        return self.get(f"/v1/requests/{made['id']}", Origin=origin, Authorization=f"Bearer {secret or made['secret']}")

    def page(self, made: dict[str, str], query: str = "") -> str:
        return self.get(f"/requests/{made['id']}{query}").text

    def held(self, persona_id: str) -> Held:
        return next(held for held in self.wallet.held() if held.token == persona(persona_id).token_label)

    def submit(
        self, made: dict[str, str], persona_id: str, pin: str = PIN, *, to: str = "", **changes: str | None
    ) -> TestResponse:
        """The form of the signer's page, filled in; `changes` replace headers or fields, None leaves one out."""
        token = re.search(r'name="form_token" value="([^"]+)"', self.page(made))
        fields: dict[str, str | None] = {
            "form_token": token[1] if token else "",
            "certificate": self.held(persona_id).id,
            "pin": pin,
            "lang": "en",
        }
        headers: dict[str, str | None] = {"Origin": self.own, "Host": self.own.removeprefix("http://")}
        for name, value in changes.items():
            (fields if name in fields else headers)[name if name in fields else name.replace("_", "-")] = value
        return self.client.post(
            f"/requests/{made['id']}{to}",
            data={name: value for name, value in fields.items() if value is not None},
            headers={name: value for name, value in headers.items() if value is not None},
        )
