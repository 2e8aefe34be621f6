"""The hall's line to its province, now: a token tells the rung of its sign-in, the hall's public `/status` today's."""

from __future__ import annotations

from dataclasses import replace

from relying_party_sdk.errors import AccessError, ProviderError, RPError
from relying_party_sdk.person import RUNGS, Person, Requirement
from relying_party_sdk.settings import Settings
from relying_party_sdk.shared import Shared
from relying_party_sdk.stores.protocol import Clock
from relying_party_sdk.strict import answer
from relying_party_sdk.transport import Transport, get


class Line:
    """Judges requirements by the worse of token and hall. For all threads; no lock is held over the network."""

    def __init__(self, settings: Settings, transport: Transport, clock: Clock) -> None:
        self._url = settings.status_url
        self._transport = transport
        self._clock = clock
        # never beyond `recheck`: what is not known is not good
        self._rung = Shared(self._fetch, clock, ttl=settings.recheck, stale=0, wait=settings.total_timeout)

    def unmet(self, person: Person, wanted: Requirement) -> RPError | None:
        """As `Requirement.unmet`, now; the hall is asked at most once in `recheck`, and only for a rung.

        AccessError `rp.rung_unknown` when it does not tell.
        """
        now = self._clock()
        unmet = wanted.unmet(person, now)
        if unmet is not None or wanted.rung is None or not self._url:
            return unmet
        try:
            rung = self._rung.get()
        except ProviderError as error:
            return AccessError("rp.rung_unknown", f"the hall does not tell its rung: {error.code}")
        return wanted.unmet(replace(person, rung=rung), now)

    @property
    def rung(self) -> str:
        """The hall's rung, not older than `recheck`. Raises ProviderError when it does not tell."""
        return self._rung.get()

    def _fetch(self) -> str:
        rung = answer(self._transport.send(get(self._url)), "status").get("rung")
        if not isinstance(rung, str) or rung not in RUNGS:
            raise ProviderError("rp.provider_answer", "status: no rung")
        return rung
