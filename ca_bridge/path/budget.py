"""Counted budgets: what one validation may cost. A verdict never depends on the machine's load (design §4)."""

from __future__ import annotations

from dataclasses import dataclass

from ca_bridge.errors import PathError


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of each kind of work one validation may do."""

    signatures: int = 64
    candidates: int = 32
    """Complete paths that are tried."""
    intermediates: int = 8
    """CA certificates in a path, self-issued ones too."""
    expansions: int = 4096
    """Certificates looked at while searching."""
    comparisons: int = 2500
    """Names held against constraints, along one path."""
    policies: int = 4096
    """Policies carried from one certificate to the next, mapped ones too."""
    octets: int = 32 << 20
    """Of all certificates that a caller supplies."""


_DEFAULT = Limits()


class Budget:
    """Counters of one validation, spent as work is done."""

    __slots__ = ("_left", "limits")

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or _DEFAULT
        self._left: dict[str, int] = {}

    def spend(self, kind: str, count: int = 1) -> None:
        """Take `count` of a budget. Raises PathError `path.budget`, naming it, when less is left."""
        left = self._left.get(kind, getattr(self.limits, kind)) - count
        if left < 0:
            limit = getattr(self.limits, kind)
            raise PathError(
                "path.budget",
                f"more than {limit} {kind}",
                budget=kind,
                clause="ours: counted work, so no input can be slow",
            )
        self._left[kind] = left

    def renew(self, kind: str) -> None:
        """Fill one budget again: it counts per path, not per search."""
        self._left.pop(kind, None)
