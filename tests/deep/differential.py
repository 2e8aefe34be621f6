"""Ours against pyhanko-certvalidator on generated chains, OpenSSL as tie-break: `report(seed, numbers)`."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.deep import oracles
from tests.deep.chains import FEATURES, Case, generate
from tests.deep.oracles import Answer

EXPLAINED = tomllib.loads((Path(__file__).parent / "disagreements.toml").read_text("utf-8"))["explained"]
BUILDING = "accepted when nothing but our path is in the pool"
_AT_ONCE = 500


@dataclass(slots=True)
class Report:
    """What came out: counts by verdict and feature, explained disagreements by name, the rest as text."""

    valid: int = 0
    refused: int = 0
    features: Counter[tuple[str, bool]] = field(default_factory=Counter)
    explained: Counter[str] = field(default_factory=Counter)
    unexplained: list[str] = field(default_factory=list)
    policies_compared: int = 0

    def rare(self, least: int) -> list[str]:
        """Features that fewer than `least` valid, or `least` refused, chains have."""
        return [f for f in FEATURES if min(self.features[f, True], self.features[f, False]) < least]

    def __str__(self) -> str:
        lines = [
            f"chains {self.valid + self.refused}, valid {self.valid}, policy sets compared {self.policies_compared}"
        ]
        lines += [f"  {f}: {self.features[f, True]} valid, {self.features[f, False]} refused" for f in FEATURES]
        lines += [f"explained: {name}: {count}" for name, count in sorted(self.explained.items())]
        return "\n".join([*lines, f"unexplained: {len(self.unexplained)}", *self.unexplained[:20]])


def report(seed: int, numbers: Iterable[int]) -> Report:
    """Put the chains `numbers` of a seed to everybody."""
    found = Report()
    for cases in _chunks(generate(seed, number) for number in numbers):
        for case, ours, theirs in zip(cases, oracles.ours(cases), oracles.all_pyhanko(cases), strict=True):
            found.valid += ours.valid
            found.refused += not ours.valid
            found.features.update((feature, ours.valid) for feature in case.features)
            _compare(found, case, ours, theirs)
    return found


def _compare(found: Report, case: Case, ours: Answer, theirs: Answer) -> None:
    if ours.valid != theirs.valid:
        name = _explanation(case, ours, theirs)
        if name is not None:
            found.explained[name] += 1
            return
        found.unexplained.append(f"{case.number} {case.features}: ours {ours.reason}, theirs {theirs}")
    elif ours.valid and theirs.policies is not None:
        found.policies_compared += 1
        if ours.policies != theirs.policies:
            found.unexplained.append(
                f"{case.number} {case.features}: policies {ours.policies}, theirs {theirs.policies}"
            )


def _explanation(case: Case, ours: Answer, theirs: Answer) -> str | None:
    """Why they differ, when it is known: a row of the file, or a path that they do not find but do accept."""
    if ours.valid:
        (again,) = oracles.all_pyhanko([oracles.narrowed(case, ours.path)])
        return BUILDING if again.valid and again.policies == ours.policies else None
    for row in EXPLAINED:
        fits = ours.reason.startswith(row["ours"]) and not set(row["features"]).isdisjoint(case.features)
        if fits and not theirs.reason:
            answer = oracles.openssl(case)
            if not answer.valid and re.search(row["openssl"], answer.reason):
                return str(row["name"])
    return None


def _chunks(cases: Iterator[Case]) -> Iterator[list[Case]]:
    chunk: list[Case] = []
    for case in cases:
        chunk.append(case)
        if len(chunk) == _AT_ONCE:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
