"""The province-signed list of halls that may ask for a signature (`origins.json`)."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from ca_bridge.errors import LANGUAGES, SignerError

_MAX_BYTES = 1 << 20
_ORIGIN = re.compile(r"https://[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?(:[1-9][0-9]{0,4})?")


@dataclass(frozen=True, slots=True)
class Hall:
    """One page that may ask: its origin, and its name as the person reads it."""

    origin: str
    name: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class OriginList:
    """A list whose signature is right; whether it still counts is a matter of time."""

    halls: Mapping[str, Hall]
    issued: datetime
    expires: datetime


def read_origins(data: bytes, key: ec.EllipticCurvePublicKey) -> OriginList:
    """The list in `data`, signed by `key` (ES256, r‖s). Raises SignerError `signer.origins`."""
    try:
        outer = json.loads(data)
        payload, signature = _base64url(outer["payload"]), _base64url(outer["signature"])
        if len(signature) != 64:
            raise ValueError("the signature has another length than 64")
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        key.verify(encode_dss_signature(r, s), payload, ec.ECDSA(hashes.SHA256()))
        return _list(json.loads(payload))
    except InvalidSignature as error:
        raise SignerError("signer.origins", "the list's signature is wrong") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SignerError("signer.origins", f"the list cannot be read: {type(error).__name__}") from error


class Origins:
    """The list in force: read again when its file changes; a new list that is bad or older is not taken."""

    def __init__(self, file: Path, key_file: Path) -> None:
        self._file = file
        self._key = load_key(key_file)
        self._lock = threading.Lock()
        self._stamp: tuple[int, int] | None = None
        self._list: OriginList | None = None

    def hall(self, origin: str | None, now: datetime) -> Hall:
        """The hall of that origin, exactly as written.

        Raises SignerError `signer.origin` (none, or not listed), `signer.origins` (no list), `signer.origins_expired`.
        """
        current = self._current()
        if not current.issued <= now < current.expires:
            raise SignerError("signer.origins_expired", "the list of halls is not in force at this machine's time")
        hall = current.halls.get(origin or "")
        if hall is None:
            raise SignerError("signer.origin", "the page's origin is not on the list of halls")
        return hall

    def _current(self) -> OriginList:
        with self._lock:
            try:
                status = self._file.stat()
                stamp = (status.st_mtime_ns, status.st_ino)
                if stamp != self._stamp:
                    self._take(self._file.open("rb"), stamp)
            except (OSError, SignerError) as error:
                if self._list is None:
                    raise SignerError("signer.origins", f"no usable list: {error}") from error
            assert self._list is not None
            return self._list

    def _take(self, file: Any, stamp: tuple[int, int]) -> None:
        with file:
            data = file.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            raise SignerError("signer.origins", "the list is too large")
        found = read_origins(data, self._key)
        self._stamp = stamp
        # ours: a list that was withdrawn must not come back by copying an old file over the new one.
        if self._list is None or found.issued >= self._list.issued:
            self._list = found


def load_key(path: Path) -> ec.EllipticCurvePublicKey:
    """The province's public key. Raises SignerError `signer.origins`."""
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except (OSError, ValueError) as error:
        raise SignerError("signer.origins", f"{path.name}: {type(error).__name__}") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise SignerError("signer.origins", f"{path.name} is not a P-256 key")
    return key


def _list(payload: Mapping[str, Any]) -> OriginList:
    halls = {}
    for row in payload["origins"]:
        origin, names = row["origin"], row["name"]
        if _ORIGIN.fullmatch(origin) is None:
            raise ValueError("an origin is malformed")
        halls[origin] = Hall(origin, {language: str(names[language])[:200] for language in LANGUAGES})
    issued, expires = (datetime.fromisoformat(payload[name]) for name in ("issued", "expires"))
    if issued.utcoffset() is None or expires.utcoffset() is None:
        raise ValueError("a time has no zone")
    return OriginList(halls, issued, expires)


def _base64url(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
