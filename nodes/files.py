"""Brings the files that verified metadata lists: those that are missing, resumed where they broke off, or by a pack.

A pack is one compressed file of many objects for who has none yet. It is not signed and need not be: each object in it
counts only under the hash that metadata lists.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator

from tuf.api.metadata import TargetFile

from ca_bridge.errors import FederationError
from nodes import roles
from nodes.held import Folder
from nodes.metadata import check_bytes, digest
from nodes.transport import Source, fetch, read
from nodes.view import FileRef

PACK_WORTH = 64
"""Missing files from which a pack is asked for."""
PACK_INDEX_CAP = 4 * roles.KIB
PACK_CAP = 64 * roles.KIB * roles.KIB
_HEAD = 4


def target_path(path: str, sha256: str) -> str:
    """Where a file lies in a published folder with consistent snapshots (TUF §6.2)."""
    folder, _, name = path.rpartition("/")
    return f"targets/{folder}/{sha256}.{name}" if folder else f"targets/{sha256}.{name}"


class Files:
    """Files from one source into `objects/`."""

    def __init__(self, folder: Folder, source: Source, deadline: float) -> None:
        self._folder = folder
        self._source = source
        self._deadline = deadline

    def one(self, file: TargetFile) -> bytes:
        """One listed file, from here or from the source. Raises FederationError."""
        name = file.hashes["sha256"]
        known = self._folder.get(name)
        if known is not None:
            check_bytes(known, file)
            return known
        half = self._folder.pending / name
        data = fetch(self._source, target_path(file.path, name), file.length, half, self._deadline)
        check_bytes(data, file)
        self._folder.put(data)
        return data

    def bring(self, refs: Iterable[FileRef]) -> None:
        """Have all of `refs` at hand. Raises FederationError; what came stays for the next try."""
        wanted = tuple(refs)
        if sum(ref.length for ref in wanted) > roles.TOTAL_CAP:
            raise FederationError("federation.size", "the files together are larger than any bundle")
        missing = self._missing(wanted)
        if len(missing) >= PACK_WORTH:
            self._pack({ref.sha256 for ref in missing})
            missing = self._missing(wanted)
        for ref in missing:
            self.one(TargetFile(ref.length, {"sha256": ref.sha256}, ref.path))

    def _missing(self, refs: tuple[FileRef, ...]) -> list[FileRef]:
        # Read, not only looked at: what a crash or the disk has damaged comes again in the same round.
        return [ref for ref in refs if self._folder.get(ref.sha256) is None]

    def _pack(self, missing: set[str]) -> None:
        """Whatever of the missing a pack holds; no pack, or a bad one, is no fault: the files come one by one."""
        try:
            index = json.loads(read(self._source, "packs/index.json", PACK_INDEX_CAP, self._deadline))
            name, length = index["sha256"], index["length"]
            if type(length) is not int or not 0 < length <= PACK_CAP or len(name) != 64 or not name.isalnum():
                return
            data = fetch(self._source, f"packs/{name}.pack", length, self._folder.pending / name, self._deadline)
            if digest(data) != name:
                return
            for found in unpack(data):
                if digest(found) in missing:
                    self._folder.put(found)
        except FederationError as error:
            if error.code in ("federation.slow", "federation.source"):
                raise
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, zlib.error):
            return


def pack(objects: Iterable[bytes]) -> bytes:
    """Many files as one: each behind its length, compressed together, the same octets each time."""
    packer = zlib.compressobj(9)
    parts = [packer.compress(len(data).to_bytes(_HEAD, "big") + data) for data in objects]
    return b"".join([*parts, packer.flush()])


def unpack(data: bytes) -> Iterator[bytes]:
    """The files of a pack, one after the other, never more than one in memory. Raises ValueError or zlib.error."""
    reader = zlib.decompressobj()
    held, total = data, 0

    def take(size: int) -> bytes:
        nonlocal held, total
        out = b""
        while len(out) < size:
            found = reader.decompress(held, size - len(out))
            held = reader.unconsumed_tail
            if not found and not held:
                break
            out += found
        total += len(out)
        if total > roles.TOTAL_CAP:
            raise ValueError("a pack larger than any bundle")
        return out

    while head := take(_HEAD):
        size = int.from_bytes(head, "big")
        if len(head) < _HEAD or size > roles.CRL_CAP:
            raise ValueError("a pack that is cut or overlarge")
        body = take(size)
        if len(body) != size:
            raise ValueError("a pack that is cut")
        yield body
