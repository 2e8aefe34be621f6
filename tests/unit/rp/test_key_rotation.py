"""The client's key: made, rotated and published so that no assertion is ever by a key that the provider cannot know."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jwt
import pytest

from relying_party_sdk import RelyingParty, SettingsError
from relying_party_sdk.cli import main
from relying_party_sdk.clientauth import AHEAD, ClientKey
from relying_party_sdk.testing import CITIZEN, FakeProvider
from tests.unit.rp.conftest import Clock, Window, make_window

DAY = 86_400


def kids(key: ClientKey) -> list[str]:
    """What is published."""
    return [each["kid"] for each in key.jwks["keys"]]


def signs(key: ClientKey) -> str:
    """Whose name an assertion carries."""
    return str(jwt.get_unverified_header(key.assertion("c", "a", 1.0)["client_assertion"])["kid"])


@pytest.fixture(name="make")
def _make(tmp_path: Path, clock: Clock):  # type: ignore[no-untyped-def]
    return lambda: ClientKey(tmp_path / "key.pem", os.urandom, rotation=DAY, clock=clock)


def test_published_before_and_after(make, clock: Clock) -> None:  # type: ignore[no-untyped-def]
    """A new key is published an hour before it signs, the old one an hour after; then it is gone."""
    key = make()
    (old,) = kids(key)
    clock.pass_(DAY)
    assert (signs(key), len(kids(key))) == (old, 2)
    new = kids(key)[1]
    clock.pass_(AHEAD - 1)
    assert signs(key) == old
    clock.pass_(1)
    assert (signs(key), kids(key)) == (new, [old, new])
    clock.pass_(AHEAD)
    assert (signs(key), kids(key)) == (new, [new])


def test_processes_agree(make, clock: Clock) -> None:  # type: ignore[no-untyped-def]
    """Processes that find the key old at once make one successor, and all use it, after a restart too."""
    keys = [make() for _ in range(6)]
    clock.pass_(DAY)
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(kids, keys))
    published = {tuple(kids(key)) for key in (*keys, make())}
    assert len(published) == 1
    assert len(published.pop()) == 2
    clock.pass_(AHEAD)
    assert len({signs(key) for key in keys}) == 1


def test_file_is_its_owner_s(make, tmp_path: Path, clock: Clock) -> None:  # type: ignore[no-untyped-def]
    """The file stays readable by its owner only, and nothing is left beside it."""
    key = make()
    clock.pass_(DAY)
    kids(key)
    assert [(file.name, file.stat().st_mode & 0o077) for file in tmp_path.iterdir()] == [("key.pem", 0)]


def test_process_that_died_while_rotating(make, tmp_path: Path, clock: Clock) -> None:  # type: ignore[no-untyped-def]
    """A lock that was left behind holds the rotation up for a minute, no longer, and never stops signing."""
    key, lock = make(), tmp_path / "key.pem.rotating"
    lock.touch()
    clock.pass_(DAY)
    assert len(kids(key)) == 1
    assert signs(key)
    os.utime(lock, (0, 0))
    assert len(kids(key)) == 2


def test_without_rotation(tmp_path: Path, clock: Clock) -> None:
    """By default the key stays what it is; a file of one key without text before it is read as ever."""
    key = ClientKey(tmp_path / "key.pem", os.urandom, clock=clock)
    text = (tmp_path / "key.pem").read_text()
    (tmp_path / "key.pem").write_text(text[text.index("-----BEGIN") :])
    clock.pass_(100 * DAY)
    assert kids(ClientKey(tmp_path / "key.pem", os.urandom, clock=clock)) == kids(key)


def test_file_broken_later(make, tmp_path: Path, clock: Clock) -> None:  # type: ignore[no-untyped-def]
    """A file that breaks under a running process is not taken up; at start it is refused."""
    key = make()
    before = kids(key)
    (tmp_path / "key.pem").write_text("nothing")
    clock.pass_(1)
    assert kids(key) == before
    with pytest.raises(SettingsError):
        make()


def test_provider_follows(provider: FakeProvider, tmp_path: Path, clock: Clock) -> None:
    """Sessions are refreshed through a rotation in two processes; the provider refuses nothing."""
    settings = provider.settings(tmp_path, key_rotation=DAY, session=7 * DAY, accounts="memory:")
    window: Window = make_window(provider, settings, clock)
    provider._clients[settings.client_id].jwks = lambda: window.party.jwks  # type: ignore[assignment]
    other = RelyingParty(settings, clock=clock)
    browser = window.browser()
    browser.sign_in_as(CITIZEN, "/matters/7")
    for step in (DAY - 100, 200, AHEAD, AHEAD, DAY):
        clock.pass_(step)
        assert browser.open("/matters/7").status == 200
        assert other.current(window.cookie(browser)) is not None
    assert provider.refusals == []
    other.close()
    window.party.close()


def test_rotated_by_hand(tmp_path: Path, clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """`crosshall-rp rotate`: a running process publishes the new key at once, and uses it later; twice is refused."""
    file = tmp_path / "w.toml"
    text = 'issuer = "https://op.test"\nclient_id = "w"\nbase_url = "https://w.test"\nstore = "memory:"\n'
    file.write_text(f'{text}key_file = "w.pem"\n')
    assert main(["rotate", str(file)]) == 2  # nothing to rotate yet
    running = ClientKey(tmp_path / "w.pem", os.urandom)
    first = running.kid
    assert main(["rotate", str(file)]) == 0
    assert kids(running)[0] == first
    assert len(kids(running)) == 2
    assert signs(running) == first
    assert kids(running)[1][:8] in capsys.readouterr().out
    assert main(["rotate", str(file)]) == 2
    assert len(kids(running)) == 2
    file.write_text(f'{text}key_file = "w.pem"\nclient_secret = "shared"\nclient_auth = "client_secret_basic"\n')
    assert main(["rotate", str(file)]) == 2
