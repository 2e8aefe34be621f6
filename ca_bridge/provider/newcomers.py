"""A new person's first tokens are handed out one after the other.

Keycloak makes a user of a person whom it does not know: it looks, then inserts. Of two sign-ins of one new person at
the same moment both look, and the second insert fails: that browser would end at an error page. So while a person is
new here, the hall leaves `SPACING` between two answers for them. Everybody else never waits.

Known limit: after a realm was dropped its people are new to Keycloak, not to the hall.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

from ca_bridge.store import Store
from ca_bridge.store.people import People

NEW = timedelta(seconds=60)
SPACING = timedelta(seconds=1)
"""Many times what Keycloak needs from our answer to its commit (some 50 ms)."""
LONGEST = 3.0
"""Seconds that an answer waits at most: Keycloak waits five."""
_STEP = 0.05
_KIND = "newcomer"


def wait_turn(
    store: Store,
    people: People,
    person: str,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Return when no tokens were handed out for a new `person` within `SPACING`; at once for everybody else.

    Holds in all processes. Gives up waiting after `LONGEST`. Raises StoreError.
    """
    seen = people.first_seen(person)
    if seen is None or store.clock() - seen > NEW:
        return
    for _ in range(round(LONGEST / _STEP)):
        if store.add_once(_KIND, person, store.clock() + SPACING):
            return
        sleep(_STEP)
