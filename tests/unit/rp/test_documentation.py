"""The guide's own code runs: the application in it, and the test in it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from relying_party_sdk import RelyingParty
from relying_party_sdk.adapters.flask import CrosshallRP
from relying_party_sdk.testing import CITIZEN, Browser, FakeProvider
from relying_party_sdk.testing.provider import Login

ROOT = Path(__file__).parents[3]


def _blocks(file: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / file).read_text("utf-8"), re.DOTALL)


@pytest.mark.parametrize("file", ["docs/windows.md", "relying_party_sdk/README.md"])
def test_application_of_the_guide(
    file: str, provider: FakeProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The application in the guide is at most ten lines and signs a person in, deep link kept."""
    source = _blocks(file)[0]
    assert len([line for line in source.splitlines() if line.strip()]) <= 10
    settings = tmp_path / "police.toml"
    settings.write_text(
        f'issuer = "{provider.issuer}"\nclient_id = "police"\nbase_url = "https://police.test"\n'
        'key_file = "police.pem"\nstore = "police.sqlite"\n'
    )
    monkeypatch.setenv("CROSSHALL_RP_SETTINGS", str(settings))
    provider.clock = provider.mint.clock = __import__("time").time
    names: dict[str, Any] = {"__name__": "guide"}
    exec(source, names)
    party = names["rp"].party
    provider.register(party.settings, party.jwks)
    page = Browser(names["app"].test_client(), provider, "https://police.test").open("/matters/7")
    assert (page.status, page.text) == (200, "citizen, level 2")
    party.close()


def test_test_of_the_guide(tmp_path: Path) -> None:
    """The test in the guide passes with an application that is made as it says."""

    def create_app(party: RelyingParty) -> Flask:
        app = Flask("guide")
        rp = CrosshallRP(app, party=party)
        app.add_url_rule("/matters/<id>", view_func=rp.require(level=2)(lambda id: id))  # noqa: A006
        return app

    names: dict[str, Any] = {"create_app": create_app}
    exec(_blocks("docs/windows.md")[1], names)
    names["test_a_citizen_reaches_the_matter"](tmp_path)


def test_api_of_the_guide(provider: FakeProvider, tmp_path: Path) -> None:
    """The API in the guide takes a token, and its calls of other systems get theirs."""
    apis, login = provider.apis, Login(CITIZEN, 2, provider.clock())
    parties = {
        name: RelyingParty(provider.settings(tmp_path, name), clock=provider.clock) for name in ("a", "registry")
    }
    for party in parties.values():
        provider.register(party.settings, party.jwks)
    app = Flask("guide")
    client = provider._clients["a"]
    token = apis.give(client, login, "", scope="openid cases")
    names: dict[str, Any] = {"app": app, "rp": CrosshallRP(app, party=parties["a"]), "received": token}
    api, calls = _blocks("docs/windows-apis.md")
    exec(api, names)
    answer = app.test_client().get("/api/cases", headers={"Authorization": f"Bearer {token}"})
    assert answer.get_json() == {"for": CITIZEN.subject("a"), "asked by": "a"}
    exec(calls, names)
    assert apis.given[names["narrow"].access_token].claims["aud"] == ["registry"]
    assert apis.given[names["about"].access_token].claims["sub"] == "batch-17"
    for party in parties.values():
        party.close()
