"""What a node in pilot has reached, as the province counts it, and what is still short of what was agreed.

Numbers alone: nobody's certificate is in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from ca_bridge.errors import StoreError
from ca_bridge.settings import Pilot


@dataclass(frozen=True, slots=True)
class Tally:
    """One node's numbers since its pilot began."""

    began: datetime
    batch: str = ""
    """SHA-256 of the batch that was taken last: counted once, and acknowledged."""
    sign_ins: int = 0
    """Ceremonies of the node's own that ended in a session."""
    compared: int = 0
    """Verdicts of sign-ins, refusals included, that the province has judged again."""
    equal: int = 0
    alone: int = 0
    """Accepted by the node, refused by the province."""
    refused_alone: int = 0
    """Refused by the node, accepted by the province."""
    unreadable: int = 0
    """Nothing that could be judged again: different, too."""
    first: str = ""
    last: str = ""
    """Times of the verdicts compared, RFC 3339."""
    corpus: int = 0
    """Different certificates of the province's corpus that the node has judged, at the last time."""
    corpus_equal: int = 0
    corpus_alone: int = 0
    corpus_at: str = ""

    @property
    def different(self) -> int:
        """Verdicts of sign-ins that were not equal."""
        return self.compared - self.equal

    def text(self) -> str:
        """JSON."""
        return json.dumps({**asdict(self), "began": self.began.isoformat()}, sort_keys=True)


def parse_tally(data: bytes) -> Tally:
    """The tally of a file. Raises StoreError `store.unavailable`: damaged numbers never count as good ones."""
    try:
        raw: dict[str, Any] = json.loads(data)
        kinds = {field.name: str if field.type == "str" else int for field in fields(Tally) if field.name != "began"}
        if set(raw) != {*kinds, "began"} or any(type(raw[name]) is not kind for name, kind in kinds.items()):
            raise TypeError("fields")
        began = datetime.fromisoformat(raw.pop("began"))
        if began.tzinfo is None or any(raw[name] < 0 for name, kind in kinds.items() if kind is int):
            raise ValueError("a time without a zone, or a negative number")
        return Tally(began=began, **raw)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise StoreError("store.unavailable", f"tally of a pilot: {type(error).__name__}") from error


def short(tally: Tally, wanted: Pilot, now: datetime) -> tuple[str, ...]:
    """Everything that is not reached yet, each with the number wanted and the number reached; empty: good for live."""
    return tuple(_short(tally, wanted, now))


def _short(tally: Tally, wanted: Pilot, now: datetime) -> Iterator[str]:
    for name, reached, least in (
        ("sign-ins", tally.sign_ins, wanted.sign_ins),
        ("verdicts compared", tally.compared, wanted.sign_ins),
        ("certificates of the corpus", tally.corpus, wanted.corpus),
    ):
        if reached < least:
            yield f"{name}: {reached} of {least}"
    passed = now - tally.began
    if passed < timedelta(days=wanted.days):
        yield f"days: {passed / timedelta(days=1):.2f} of {wanted.days:g}"
    total = tally.compared + tally.corpus
    equal = tally.equal + tally.corpus_equal
    if equal * 100 < Decimal(str(wanted.equal_percent)) * total:
        yield f"equal verdicts: {equal} of {total}, wanted {wanted.equal_percent} %"
    alone = tally.alone + tally.corpus_alone
    if alone > wanted.accepted_alone:
        yield f"accepted by the node alone: {alone}, at most {wanted.accepted_alone}"
