"""Where PKCS#11 libraries lie on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_SOFTHSM = "libsofthsm2.so"
_ROOTS = (
    "/usr/lib/softhsm",
    "/usr/local/lib/softhsm",
    "/usr/lib64/softhsm",
    "/usr/lib64/pkcs11",
    "/opt/homebrew/lib/softhsm",
)


def find_softhsm() -> Path | None:
    """SoftHSM's library: `SOFTHSM2_MODULE` when set, else the first of the usual places; None when there is none."""
    return next((path for path in _candidates() if path.is_file()), None)


def _candidates() -> Iterator[Path]:
    named = os.environ.get("SOFTHSM2_MODULE")
    if named:
        yield Path(named)
    for root in _ROOTS:
        yield Path(root) / _SOFTHSM
    yield from sorted(Path("/usr/lib").glob(f"*/softhsm/{_SOFTHSM}"))  # Debian's multiarch folders
