"""The application's own accounts: linked once, by proof, opened from then on; the same in every table."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from relying_party_sdk import AccessError, AccountError, Person, Settings, SettingsError, StoreError
from relying_party_sdk.accounts import Accounts
from relying_party_sdk.sealing import Sealer
from relying_party_sdk.stores import MemoryStore
from relying_party_sdk.stores.links import open_links
from tests.contract.rp.conftest import STORES, Clock, empty
from tests.parts.redis import redis_server

TIME = datetime(2027, 1, 1, tzinfo=UTC)
ZHANG = Person("s1:zhang", "citizen", 3, "gd", TIME, TIME, TIME, "fresh")
LI = replace(ZHANG, subject="s1:li")


def yes() -> bool:
    """The old password was right."""
    return True


def settings(folder: Path, **changes: Any) -> Settings:
    """A window's."""
    values: dict[str, Any] = {"issuer": "https://sso.test", "client_id": "police", "base_url": "https://police.test"}
    return Settings(**{**values, "key_file": folder / "key.pem", "store": "memory:", **changes})


class Window:
    """Makes the accounts of one window, as often as it has processes."""

    def __init__(self, address: str, folder: Path, clock: Clock) -> None:
        self.address, self.folder, self.clock = address, folder, clock
        self.links = open_links(address)
        self.store = MemoryStore(clock)

    def __call__(self, **changes: Any) -> Accounts:
        """The accounts of a process with these settings."""
        sealer = Sealer(b"s" * 32)
        return Accounts(settings(self.folder, **changes), self.store, sealer, self.clock, self.links)


@pytest.fixture(name="window", params=STORES)
def _window(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Window]:
    window = Window(empty(request.param, request, tmp_path), tmp_path, clock)
    yield window
    window.links.close()


def refused(code: str, work: Any) -> AccountError:
    """The refusal of `work`, of that code."""
    with pytest.raises(AccountError) as caught:
        work()
    assert caught.value.code == code
    return caught.value


def test_linked_once_and_remembered(window: Window, clock: Clock) -> None:
    """Nobody has an account; after one proof the person opens it, in every process and for good."""
    accounts = window()
    assert accounts.map_account(ZHANG) is None
    made = accounts.link(ZHANG, "张三@old", yes, proof="password")
    assert (made.account, made.level, made.kind, made.proof, made.linked_at) == (
        "张三@old", 3, "citizen", "password", clock.now,
    )  # fmt: skip
    clock.pass_(100_000_000)
    assert window().map_account(ZHANG) == made
    assert window().map_account(LI) is None


def test_never_without_proof(window: Window) -> None:
    """What the application does not verify is not linked."""
    refused("rp.account_proof", lambda: window().link(ZHANG, "a", lambda: False))
    assert window().map_account(ZHANG) is None
    with pytest.raises(ZeroDivisionError):
        window().link(ZHANG, "a", lambda: bool(1 / 0))
    assert window().map_account(ZHANG) is None


def test_tries_are_counted(window: Window, clock: Clock) -> None:
    """After five failures of one person no more are heard for a quarter of an hour, whatever the account."""
    accounts = window()
    for number in range(5):
        refused("rp.account_proof", lambda n=number: accounts.link(ZHANG, f"a{n}", lambda: False))
    refused("rp.account_tries", lambda: accounts.link(ZHANG, "mine", yes))
    assert accounts.link(LI, "hers", yes).account == "hers"
    clock.pass_(900)
    assert accounts.link(ZHANG, "mine", yes).account == "mine"


def test_tries_at_one_account(window: Window) -> None:
    """Many persons cannot try one account together for ever; links that succeed do not count."""
    accounts = window()
    for number in range(20):
        person = replace(ZHANG, subject=f"s1:{number}")
        refused("rp.account_proof", lambda p=person: accounts.link(p, "chief", lambda: False))
    refused("rp.account_tries", lambda: accounts.link(LI, "chief", yes))
    for _ in range(12):
        accounts.link(LI, "hers", yes)


def test_opens_at_its_level(window: Window) -> None:
    """An account linked at a level opens at that level and above; below it is refused, not hidden."""
    accounts = window()
    accounts.link(ZHANG, "a", yes)
    assert accounts.map_account(replace(ZHANG, level=4)) is not None
    with pytest.raises(AccessError) as caught:
        accounts.map_account(replace(ZHANG, level=2))
    assert caught.value.code == "rp.account_level"


def test_linking_again_never_lowers(window: Window) -> None:
    """Linking the same account again keeps the higher level: a weak sign-in and an old password open nothing more."""
    accounts = window()
    accounts.link(ZHANG, "a", yes)
    accounts.link(replace(ZHANG, level=1), "a", yes)
    assert [link.level for link in accounts.list()] == [3]
    accounts.link(replace(ZHANG, level=4), "a", yes)
    assert [link.level for link in accounts.list()] == [4]


def test_relaxed_by_name_only(window: Window) -> None:
    """A lower level is set by `dangerously_open_at`, and by nothing else."""
    accounts = window()
    accounts.link(ZHANG, "a", yes, dangerously_open_at=1)
    assert accounts.map_account(replace(ZHANG, level=1)) is not None


def test_one_account_one_person(window: Window) -> None:
    """By default another person's account, and a second account, are refused; unlinked, it can be linked anew."""
    accounts = window()
    accounts.link(ZHANG, "a", yes)
    refused("rp.account_taken", lambda: accounts.link(LI, "a", yes))
    refused("rp.account_second", lambda: accounts.link(ZHANG, "b", yes))
    assert accounts.unlink(ZHANG.subject, "a") is True
    assert accounts.unlink(ZHANG.subject, "a") is False
    accounts.link(LI, "a", yes)
    accounts.link(ZHANG, "b", yes)
    assert sorted(link.account for link in accounts.list()) == ["a", "b"]


def test_several_accounts_are_chosen_from(window: Window, clock: Clock) -> None:
    """Where a person may have several, one is named; one that is not theirs is not opened."""
    accounts = window(accounts_per_person="many")
    for name in ("a", "b"):
        accounts.link(ZHANG, name, yes)
        clock.pass_(1)
    accounts.link(LI, "c", yes)
    assert refused("rp.account_choice", lambda: accounts.map_account(ZHANG)).accounts == ("a", "b")
    refused("rp.account_choice", lambda: accounts.map_account(ZHANG, "c"))
    found = accounts.map_account(ZHANG, "b")
    assert found is not None
    assert found.account == "b"
    assert [link.account for link in accounts.of_person(ZHANG.subject)] == ["a", "b"]


def test_an_office_s_account(window: Window, clock: Clock) -> None:
    """Where an account may have several persons, each is linked by a proof of their own, and unlinked alone."""
    accounts = window(persons_per_account="many")
    accounts.link(ZHANG, "office", yes)
    clock.pass_(1)
    accounts.link(LI, "office", yes)
    assert [link.subject for link in accounts.of_account("office")] == [ZHANG.subject, LI.subject]
    accounts.unlink(ZHANG.subject, "office")
    assert accounts.map_account(ZHANG) is None
    assert accounts.map_account(LI) is not None
    refused("rp.account_taken", lambda: window().link(ZHANG, "office", yes))


@pytest.mark.parametrize("racing", ["account", "person"])
def test_two_at_once(window: Window, racing: str) -> None:
    """Of many that link one account, or of one person's many, at once, exactly one is linked."""
    gate = threading.Barrier(6)

    def link(number: int) -> bool:
        gate.wait(10)
        person = replace(ZHANG, subject=f"s1:{number}") if racing == "account" else ZHANG
        try:
            window().link(person, "a" if racing == "account" else f"a{number}", yes)
        except AccountError:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(link, range(6))).count(True) == 1
    assert len(window().list()) == 1


def test_other_windows_and_providers_are_apart(window: Window) -> None:
    """The same subject at another client or issuer is another person's; links of one are not listed by the other."""
    window().link(ZHANG, "a", yes)
    other = window(client_id="environment")
    assert other.map_account(ZHANG) is None
    other.link(LI, "a", yes)
    assert window(issuer="https://other.test").map_account(ZHANG) is None
    assert (len(window().list()), len(other.list())) == (1, 1)


def test_names_are_exact(window: Window) -> None:
    """Case and accents tell accounts apart."""
    accounts = window(accounts_per_person="many")
    for name in ("abc", "ABC", "äbc"):
        accounts.link(ZHANG, name, yes)
    assert len(accounts.of_person(ZHANG.subject)) == 3
    assert not accounts.of_account("Abc")


@pytest.mark.parametrize("name", ["", " a", "a ", "a\n", "x" * 256, "a\0", 7])
def test_names_that_are_none(tmp_path: Path, clock: Clock, name: Any) -> None:
    """What is no plain name is refused before anything is asked or kept."""
    accounts = Window("memory:", tmp_path, clock)()
    with pytest.raises(ValueError, match="account"):
        accounts.link(ZHANG, name, yes)
    with pytest.raises(ValueError, match="dangerously_open_at"):
        accounts.link(ZHANG, "a", yes, dangerously_open_at=5)


def test_not_set_up(tmp_path: Path, clock: Clock) -> None:
    """Without `accounts` in the settings there are none, and that is said; a wrong address fails at start."""
    accounts = Accounts(settings(tmp_path), MemoryStore(clock), Sealer(b"s" * 32), clock)
    for work in (lambda: accounts.map_account(ZHANG), lambda: accounts.link(ZHANG, "a", yes), accounts.list):
        with pytest.raises(SettingsError, match="accounts"):
            work()
    with pytest.raises(SettingsError):
        Accounts(settings(tmp_path, accounts="nowhere://x"), MemoryStore(clock), Sealer(b"s" * 32), clock)


def test_table_away(tmp_path: Path, clock: Clock) -> None:
    """While the table's server is away nobody opens or links anything: StoreError, not «no account»."""
    with redis_server() as server:
        window = Window(server.url, tmp_path, clock)
        window().link(ZHANG, "a", yes)
        server.stop()
        for work in (lambda: window().map_account(ZHANG), lambda: window().link(LI, "b", yes), window().list):
            with pytest.raises(StoreError):
                work()
        window.links.close()
