"""What changed between two versions of the same metadata, so that one refusal does not cost all that the role lists.

    deltas/<version>.<role>.<first 16 digits of the older one's SHA-256>.json

{"format": 1, "parts": [[first entry, number of entries] of the older, or "text", …]}. Not signed and need not be: what
a delta makes counts only under the length and the hash that the snapshot or timestamp lists for the whole.
"""

from __future__ import annotations

import difflib
import json
import re

FORMAT = 1
WORTH = 4096
"""Octets of metadata from which a delta is made and asked for."""
MAX_PARTS = 50_000
_END = re.compile(rb"(?<=[0-9]\})")


def delta_path(role: str, version: int, old: str) -> str:
    """Where the delta to this version lies; `old`: SHA-256 of the version that the reader has."""
    return f"deltas/{version}.{role}.{old[:16]}.json"


def make(old: bytes, new: bytes) -> bytes | None:
    """The delta, or None when it is not much smaller than the whole."""
    texts, wanted = _pieces(old), _pieces(new)
    parts: list[object] = []
    for what, i, j, k, m in difflib.SequenceMatcher(None, texts, wanted, autojunk=False).get_opcodes():
        if what == "equal":
            parts.append([i, j - i])
        elif k < m:
            parts.append(b"".join(wanted[k:m]).decode())
    data = json.dumps({"format": FORMAT, "parts": parts}, separators=(",", ":")).encode()
    return data if len(data) < len(new) // 2 and len(parts) <= MAX_PARTS else None


def apply(old: bytes, delta: bytes, length: int) -> bytes | None:
    """What the delta makes of `old`, None when it is no delta or makes more than `length` octets."""
    pieces = _pieces(old)
    made, size = [], 0
    try:
        table = json.loads(delta)
        if table["format"] != FORMAT or len(table["parts"]) > MAX_PARTS:
            return None
        for part in table["parts"]:
            piece = part.encode() if isinstance(part, str) else _copied(pieces, part)
            size += len(piece)
            if size > length:
                return None
            made.append(piece)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return b"".join(made)


def _copied(pieces: list[bytes], part: list[int]) -> bytes:
    start, count = part
    if type(start) is not int or type(count) is not int or not 0 <= start < start + count <= len(pieces):
        raise ValueError("not a part of the older one")
    return b"".join(pieces[start : start + count])


def _pieces(data: bytes) -> list[bytes]:
    """Whole entries, each ending behind its last number: smaller pieces repeat, which makes comparing quadratic."""
    return _END.split(data)
