"""Keys of the provider: unknown ones cause no storms, an outage signs nobody out, no lock is held over the network."""

from __future__ import annotations

import json
import threading

import pytest

from relying_party_sdk import ProviderError, TokenError
from relying_party_sdk.jwks import COOLDOWN, STALE, TTL, Key, KeyCache, process_jwks
from relying_party_sdk.shared import Shared
from relying_party_sdk.testing.minting import Mint
from relying_party_sdk.transport import HttpResponse
from tests.unit.rp.conftest import Clock


class Source:
    """A key endpoint that counts, and fails when told."""

    def __init__(self, mint: Mint) -> None:
        self.mint = mint
        self.fetches = 0
        self.down = False

    def __call__(self) -> tuple[Key, ...]:
        self.fetches += 1
        if self.down:
            raise ProviderError("rp.provider_unreachable", "down")
        raw = json.dumps(self.mint.jwks()).encode()
        return process_jwks(HttpResponse(200, {"content-type": "application/json"}, raw))


@pytest.fixture(name="source")
def _source(clock: Clock) -> Source:
    return Source(Mint("https://provider.example", clock))


@pytest.fixture(name="cache")
def _cache(source: Source, clock: Clock) -> KeyCache:
    cache = KeyCache(source, clock, wait=1)
    cache.find(source.mint.signing, "ES256")
    return cache


def test_thousand_bogus_kids_are_one_fetch(cache: KeyCache, source: Source) -> None:
    """A thousand tokens with invented key ids cause one more fetch, and each is refused."""
    before = source.fetches
    for number in range(1000):
        with pytest.raises(TokenError, match="token_key"):
            cache.find(f"bogus-{number}", "ES256")
    assert source.fetches == before + 1


def test_rotation_is_seen_after_the_cooldown(cache: KeyCache, source: Source, clock: Clock) -> None:
    """Bogus ids hold up a real rotation for the cooldown at most."""
    with pytest.raises(TokenError):
        cache.find("bogus", "ES256")
    source.mint.rotate()
    with pytest.raises(TokenError):
        cache.find(source.mint.signing, "ES256")
    clock.pass_(COOLDOWN)
    assert cache.find(source.mint.signing, "ES256").kid == source.mint.signing


def test_outage_serves_stale_keys_up_to_a_bound(cache: KeyCache, source: Source, clock: Clock) -> None:
    """Known keys verify through an outage for a day after their time, then no more."""
    source.down = True
    clock.pass_(TTL + STALE - 1)
    assert cache.find(source.mint.signing, "ES256")
    clock.pass_(10)
    with pytest.raises(ProviderError, match="provider_unreachable"):
        cache.find(source.mint.signing, "ES256")


def test_failing_endpoint_is_not_hammered(cache: KeyCache, source: Source, clock: Clock) -> None:
    """While the endpoint fails, it is asked once in five seconds, not once per token."""
    source.down = True
    clock.pass_(TTL + 1)
    before = source.fetches
    for _ in range(100):
        cache.find(source.mint.signing, "ES256")
    assert source.fetches == before + 1
    clock.pass_(6)
    cache.find(source.mint.signing, "ES256")
    assert source.fetches == before + 2


def test_withdrawn_key_is_gone_after_its_time(cache: KeyCache, source: Source, clock: Clock) -> None:
    """A key that the provider no longer publishes verifies nothing after the cache's time."""
    old = source.mint.signing
    source.mint.rotate()
    clock.pass_(TTL)
    with pytest.raises(TokenError, match="token_key"):
        cache.find(old, "ES256")


def test_two_keys_and_no_kid(cache: KeyCache, source: Source, clock: Clock) -> None:
    """Without `kid`, several fitting keys are no answer: none is tried by luck."""
    source.mint.rotate(keep=True)
    clock.pass_(TTL)
    with pytest.raises(TokenError, match="token_key"):
        cache.find(None, "ES256")


def test_no_lock_over_the_network(clock: Clock) -> None:
    """While one thread hangs in a fetch, the others are served the value in hand at once."""
    entered, release = threading.Event(), threading.Event()
    values = iter([1, 2])

    def fetch() -> int:
        value = next(values)
        if value == 2:
            entered.set()
            assert release.wait(10)
        return value

    shared = Shared(fetch, clock, ttl=10, stale=100, wait=5)
    assert shared.get() == 1
    clock.pass_(11)
    slow = threading.Thread(target=shared.get)
    slow.start()
    assert entered.wait(5)
    assert [shared.get() for _ in range(20)] == [1] * 20
    release.set()
    slow.join()
    assert shared.get() == 2


def test_first_fetch_is_shared(clock: Clock) -> None:
    """Threads that all need a first value wait for one fetch."""
    fetches: list[int] = []
    gate = threading.Event()

    def fetch() -> int:
        fetches.append(1)
        assert gate.wait(10)
        return 7

    shared = Shared(fetch, clock, ttl=10, stale=100, wait=10)
    seen: list[int] = []
    threads = [threading.Thread(target=lambda: seen.append(shared.get())) for _ in range(8)]
    for thread in threads:
        thread.start()
    gate.set()
    for thread in threads:
        thread.join()
    assert (len(fetches), seen) == (1, [7] * 8)


def test_fault_of_another_kind_frees_the_flight(clock: Clock) -> None:
    """A fetch that dies of something unforeseen does not block later ones."""
    outcomes = iter([RuntimeError("bug"), 3])

    def fetch() -> int:
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    shared = Shared(fetch, clock, ttl=10, stale=100, wait=1)
    with pytest.raises(RuntimeError):
        shared.get()
    assert shared.get() == 3


def test_rotation_under_load_is_one_fetch(source: Source, clock: Clock) -> None:
    """Requests that come while the new key is being fetched wait for it: none is refused, and nobody fetches twice."""
    entered, release = threading.Event(), threading.Event()

    def fetch() -> tuple[Key, ...]:
        if source.fetches:
            entered.set()
            assert release.wait(10)
        return source()

    cache = KeyCache(fetch, clock, wait=10)
    cache.find(source.mint.signing, "ES256")
    source.mint.rotate()
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(cache.find(source.mint.signing, "ES256").kid)) for _ in range(20)
    ]
    threads[0].start()
    assert entered.wait(5)
    for thread in threads[1:]:
        thread.start()
    release.set()
    for thread in threads:
        thread.join()
    assert (found, source.fetches) == ([source.mint.signing] * 20, 2)


def test_failed_look_for_a_new_key_is_tried_again(cache: KeyCache, source: Source, clock: Clock) -> None:
    """A provider that restarts while it rotates: the failed fetch does not use up the half minute."""
    source.mint.rotate()
    source.down = True
    with pytest.raises(TokenError, match="token_key"):
        cache.find(source.mint.signing, "ES256")
    source.down = False
    clock.pass_(6)
    assert cache.find(source.mint.signing, "ES256").kid == source.mint.signing


def test_clock_that_was_set_back(cache: KeyCache, source: Source, clock: Clock) -> None:
    """Keys that seem to come from the future are asked for again, not held until the clock catches up."""
    clock.pass_(-1_000_000)
    before = source.fetches
    cache.find(source.mint.signing, "ES256")
    assert source.fetches == before + 1
