"""The level of a sign-in (design §3): the least of certificate with its storage, ceremony, and offline rung."""

from __future__ import annotations

from ca_bridge.errors import PolicyDenied
from ca_bridge.policy.rungs import CEILINGS, Rung
from ca_bridge.trust.rules import Levels
from ca_bridge.types import LEVELS, Verdict, Way


def decide(verdict: Verdict, way: Way, wanted: int, levels: Levels, rung: Rung | str) -> int:
    """The level reached, at least `wanted`; never more than any ceiling.

    `verdict.level` is what certificate and storage allow; `levels` the province's ceilings by way; `rung` the node's,
    now. Raises PolicyDenied: `policy.level` (below `wanted`), `policy.offline` (only the rung is in the way),
    `policy.way` (no ceiling is set for this way: it is not allowed), `policy.no_level` (nothing gives this
    certificate a level). ValueError for a `wanted` that is no level and for an unknown rung.
    """
    if wanted not in LEVELS:
        raise ValueError(f"no such level: {wanted}")
    if not verdict.accepted or verdict.level not in LEVELS:
        raise PolicyDenied("policy.no_level", "the certificate was refused or has no level")
    ceiling = levels.ways.get(way)
    if ceiling is None:
        raise PolicyDenied("policy.way", f"no ceiling is set for {way}")
    if way is Way.ABROAD:  # what travels is a token sign-in: it proves no more elsewhere than at home
        ceiling = min(ceiling, levels.ways.get(Way.TOKEN, 0))
    online, offline = min(verdict.level, ceiling), CEILINGS[Rung(rung)]
    reached = min(online, offline)
    if reached >= wanted:
        return reached
    code = "policy.offline" if online >= wanted else "policy.level"
    detail = f"wanted {wanted}, certificate {verdict.level}, {way} {ceiling}, rung {rung} {offline}"
    raise PolicyDenied(code, detail, wanted=wanted, reached=reached)
