"""The provider's signing keys (ES256) and their rotation without an interruption.

`state/keys/signing/keys.json` says of each key from when it is published, from when it signs, and when it is dropped.
All of it is time: a rotation needs one command and no restart, and every worker changes over at the same moment.

    published ──── lead ────▶ signs ─────────── … ─────────▶ next one signs ──── keep ────▶ dropped

`lead` lets Keycloak see a key before it meets it; `keep` lets it check what the key signed, and lets `id_token_hint` at
sign-out be checked as long as the session it names may live.
"""

from __future__ import annotations

import json
import threading
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from filelock import FileLock
from joserfc.jwk import ECKey

from ca_bridge.errors import ConfigError
from ca_bridge.files import write_atomically
from ca_bridge.types import Clock

LEAD = timedelta(minutes=15)
ALGORITHM = "ES256"
_LOOK_AGAIN = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class KeyTimes:
    """When a key is published, signs, and is dropped; aware UTC. `until` None: no successor yet."""

    kid: str
    published: datetime
    signs: datetime
    until: datetime | None = None

    def state(self, now: datetime) -> str:
        """`next`, `published` (signs now or did), or `dropped`."""
        if self.until is not None and now >= self.until:
            return "dropped"
        return "next" if now < self.signs else "published"


@dataclass(frozen=True, slots=True)
class KeyRing:
    """Every key with its times, oldest first; one consistent state."""

    times: tuple[KeyTimes, ...]
    keys: dict[str, ECKey] = field(repr=False)

    def signing(self, now: datetime) -> ECKey:
        """The key that signs at `now`: the newest whose time has come. Raises ConfigError `config.signing_keys`."""
        now = self._at(now)
        ready = [row for row in self.times if row.state(now) == "published"]
        if not ready:
            raise ConfigError("config.signing_keys", "no key signs now")
        return self.keys[max(ready, key=lambda row: row.signs).kid]

    def published(self, now: datetime) -> list[dict[str, Any]]:
        """The public keys of the JWKS at `now`: to come, signing, and those whose tokens may still live."""
        now = self._at(now)
        rows = [row for row in self.times if row.published <= now and row.state(now) != "dropped"]
        return [
            {**self.keys[row.kid].as_dict(private=False), "use": "sig", "alg": ALGORITHM, "kid": row.kid}
            for row in rows
        ]

    def find(self, kid: str, now: datetime) -> ECKey | None:
        """A key that is published at `now`."""
        now = self._at(now)
        row = next((row for row in self.times if row.kid == kid), None)
        return self.keys[kid] if row and row.published <= now and row.state(now) != "dropped" else None

    def _at(self, now: datetime) -> datetime:
        """`now`, but never before the first key signs: a clock that was set back must not leave us without keys."""
        return max([now, *(row.signs for row in self.times[:1])])


class SigningKeys:
    """The ring in `folder`, read again (at most once a second) when `keys.json` changes. Thread safe."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock
        self._lock = threading.Lock()
        self._ring: KeyRing | None = None
        self._stamp: tuple[int, int] = (0, 0)
        self._looked: datetime | None = None

    def ring(self) -> KeyRing:
        """The keys as they are now. Raises ConfigError `config.signing_keys`: none, or they do not load."""
        with self._lock:
            now = self._clock()
            if self._ring is None or self._looked is None or abs(now - self._looked) >= _LOOK_AGAIN:
                stamp = _stamp(self._folder)
                if self._ring is None or stamp != self._stamp:
                    self._ring, self._stamp = read_ring(self._folder), stamp
                self._looked = now
            return self._ring


def read_ring(folder: Path) -> KeyRing:
    """The ring in `folder`. Raises ConfigError `config.signing_keys`."""
    try:
        raw = json.loads((folder / "keys.json").read_text("utf-8"))
        times = tuple(_row(row) for row in raw["keys"])
        keys = {row.kid: ECKey.import_key((folder / f"{row.kid}.pem").read_text("ascii")) for row in times}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError("config.signing_keys", f"{folder}: {type(error).__name__}") from error
    if not times or any(key.curve_name != "P-256" or not key.is_private for key in keys.values()):
        raise ConfigError("config.signing_keys", f"{folder}: every key must be a private P-256 key")
    return KeyRing(times, keys)


def create_ring(folder: Path, now: datetime) -> KeyRing:
    """The ring in `folder`, made with one key that signs at once where there was none."""
    with _writing(folder):
        if not (folder / "keys.json").exists():
            kid = _new_key(folder)
            _write(folder, (KeyTimes(kid, now, now),))
    return read_ring(folder)


def rotate(folder: Path, now: datetime, *, keep: timedelta, lead: timedelta = LEAD) -> KeyRing:
    """Publish a new key now, let it sign after `lead`, drop the present one `keep` after that; returns the new ring.

    A stolen key: `lead` and `keep` of zero, then the old key is dropped at once and what it signed is worth nothing.
    Raises ConfigError `config.rotation` while the key of an earlier rotation does not sign yet (unless `lead` is zero).
    """
    with _writing(folder):
        ring = read_ring(folder)
        if lead and any(row.state(now) == "next" for row in ring.times):
            raise ConfigError("config.rotation", "the key of the last rotation does not sign yet")
        kid = _new_key(folder)
        ends = now + lead + keep
        old = [replace(row, until=min(row.until or ends, ends)) for row in ring.times if row.state(now) != "dropped"]
        _write(folder, (*old, KeyTimes(kid, now, now + lead)))
        for row in ring.times:
            if row.state(now) == "dropped":
                (folder / f"{row.kid}.pem").unlink(missing_ok=True)
    return read_ring(folder)


def drop_old(folder: Path, now: datetime) -> int:
    """Remove keys whose time is over; returns how many. The watcher does this."""
    if all(row.state(now) != "dropped" for row in read_ring(folder).times):
        return 0
    with _writing(folder):
        ring = read_ring(folder)
        gone = [row for row in ring.times if row.state(now) == "dropped"]
        _write(folder, tuple(row for row in ring.times if row not in gone))
        for row in gone:
            (folder / f"{row.kid}.pem").unlink(missing_ok=True)
    return len(gone)


def _writing(folder: Path) -> FileLock:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return FileLock(folder / ".lock", timeout=10)


def _new_key(folder: Path) -> str:
    key = ECKey.generate_key("P-256", private=True)
    kid = key.thumbprint()
    write_atomically(folder / f"{kid}.pem", key.as_pem(private=True), mode=0o600)
    return kid


def _write(folder: Path, times: tuple[KeyTimes, ...]) -> None:
    rows = [
        {name: value.isoformat() if isinstance(value, datetime) else value for name, value in asdict(row).items()}
        for row in times
    ]
    write_atomically(folder / "keys.json", json.dumps({"keys": rows}, indent=1).encode(), mode=0o600)


def _row(raw: dict[str, Any]) -> KeyTimes:
    until = raw.get("until")
    return KeyTimes(
        kid=str(raw["kid"]),
        published=_time(raw["published"]),
        signs=_time(raw["signs"]),
        until=None if until is None else _time(until),
    )


def _time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError("a time without a zone")
    return time


def _stamp(folder: Path) -> tuple[int, int]:
    try:
        status = (folder / "keys.json").stat()
    except OSError as error:
        raise ConfigError("config.signing_keys", f"{folder}: {error.strerror}") from error
    return status.st_mtime_ns, status.st_ino
