"""Evidence that a county in an attacker's hands can make, and the code under which every other hall refuses it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from datetime import timedelta

from ca_bridge.ceremony import abroad
from tests.live.citizen import Citizen
from tests.nodes.country import PLACES
from tests.nodes.taken import Asked, Claims, Taken

GD, GZ, FS, CH = PLACES
HELPER = "ch-huang-gz"
"""A real person of the county who does as the attacker says."""
Forge = Callable[[Taken, Asked, Citizen], str]


def replayed(taken: Taken, asked: Asked, victim: Citizen) -> str:
    """What the victim proved here, answered by the attacker's browser."""
    return taken.sealed(taken.evidence(asked, taken.stolen(victim)), asked.here)


def with_our_key(taken: Taken, asked: Asked, victim: Citizen) -> str:
    """The same, with the attacker's browser key put in."""
    found = taken.stolen(victim)
    found["signed"] |= {"browser": asked.person.jwk}
    return taken.sealed(taken.evidence(asked, found), asked.here)


def own(taken: Taken, asked: Asked) -> Claims:
    """An honest answer about the helper, who is in league."""
    return taken.evidence(asked, taken.signs(HELPER, asked.person))


def others_certificate(taken: Taken, asked: Asked, victim: Citizen) -> str:
    """The victim's certificate over the helper's signature."""
    return taken.sealed({**own(taken, asked), "leaf": taken.stolen(victim)["leaf"]}, asked.here)


def phished_elsewhere(taken: Taken, asked: Asked, _victim: Citizen) -> str:
    """A challenge that the helper signed for another hall."""
    origin = (GZ if asked.here is GD else GD).url("hall")
    return taken.sealed(taken.evidence(asked, taken.signs(HELPER, asked.person, origin=origin)), asked.here)


def of_yesterday(taken: Taken, asked: Asked, _victim: Citizen) -> str:
    """A signature of nine hours ago."""
    return taken.sealed(taken.evidence(asked, taken.signs(HELPER, asked.person, ago=timedelta(hours=9))), asked.here)


def said_to_be_fresh(taken: Taken, asked: Asked, _victim: Citizen) -> str:
    """The same, said to be of now."""
    old = taken.signs(HELPER, asked.person, ago=timedelta(hours=9))
    return taken.sealed(taken.evidence(asked, {**old, "auth_time": int(time.time())}), asked.here)


def sealed_to_another(taken: Taken, asked: Asked, _victim: Citizen) -> str:
    """Sealed to another hall than it is handed to."""
    return taken.sealed(own(taken, asked), GZ if asked.here is GD else GD)


def meant_for_another(taken: Taken, asked: Asked, _victim: Citizen) -> str:
    """For another hall, sealed to this one."""
    return taken.sealed({**own(taken, asked), "aud": (GZ if asked.here is GD else GD).domain}, asked.here)


def in_the_citys_name(taken: Taken, asked: Asked, _victim: Citizen) -> str:
    """As if the city said it, signed by the county."""
    return taken.sealed({**own(taken, asked), "iss": GZ.domain}, asked.here)


def under_the_provinces_key(taken: Taken, asked: Asked, _victim: Citizen) -> str:
    """Under the name of another node's key."""
    other = FS if asked.here is GD else GD
    return taken.sealed({**own(taken, asked), "iss": other.domain}, asked.here, taken.kid(other))


def unasked(taken: Taken, asked: Asked, _victim: Citizen) -> str:
    """An answer to a question that nobody asked."""
    return taken.sealed({**own(taken, asked), "nonce": secrets.token_urlsafe(32)}, asked.here)


def with_a_level(taken: Taken, asked: Asked, _victim: Citizen) -> str:
    """With a level in it."""
    return taken.sealed({**own(taken, asked), "level": 4}, asked.here)


def endless(taken: Taken, asked: Asked, _victim: Citizen) -> str:
    """Larger than any evidence."""
    return taken.sealed({**own(taken, asked), "handle": "x" * (abroad.MAX_SEALED * 9 // 16)}, asked.here)


FORGED: tuple[tuple[Forge, str], ...] = (
    (replayed, "abroad.browser"),
    (with_our_key, "crypto.signature"),
    (others_certificate, "crypto.challenge_algorithm"),
    (phished_elsewhere, "abroad.origin"),
    (of_yesterday, "abroad.age"),
    (said_to_be_fresh, "abroad.time"),
    (sealed_to_another, "crypto.jwe"),
    (meant_for_another, "abroad.audience"),
    (in_the_citys_name, "abroad.audience"),
    (under_the_provinces_key, "crypto.jws"),
    (unasked, "abroad.nonce"),
    (with_a_level, "abroad.form"),
    (endless, "crypto.size"),
)
