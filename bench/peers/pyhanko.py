"""pyhanko-certvalidator on one chain, in the protocol of the other peers: `python -m bench.peers.pyhanko FOLDER`.

For each line on standard input it builds and validates the path of every leaf once, all certificates parsed afresh,
and answers "LEAVES CPU-SECONDS". No CRLs are given.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from asn1crypto import pem, x509
from pyhanko_certvalidator import ValidationContext
from pyhanko_certvalidator.validate import async_validate_path

_AT = datetime(2026, 11, 1, tzinfo=UTC)


def main() -> None:
    """Answer rounds until standard input ends."""
    folder = Path(sys.argv[1])
    anchor, pool, leaves = (_blocks(folder / name) for name in ("anchor.pem", "pool.pem", "leaves.pem"))
    loop = asyncio.new_event_loop()
    for _ in sys.stdin:
        started = time.process_time()
        for leaf in leaves:
            loop.run_until_complete(_validate(anchor[0], pool, leaf))
        print(len(leaves), time.process_time() - started, flush=True)


def _blocks(path: Path) -> list[bytes]:
    return [der for _, _, der in pem.unarmor(path.read_bytes(), multiple=True)]


async def _validate(anchor: bytes, pool: Sequence[bytes], leaf: bytes) -> None:
    context = ValidationContext(
        trust_roots=[x509.Certificate.load(anchor)],
        other_certs=[x509.Certificate.load(der) for der in pool],
        allow_fetching=False,
        revocation_mode="soft-fail",
        moment=_AT,
    )
    async for path in context.path_builder.async_build_paths_lazy(x509.Certificate.load(leaf)):
        await async_validate_path(context, path)
        return
    raise SystemExit("pyhanko found no path")


if __name__ == "__main__":
    main()
