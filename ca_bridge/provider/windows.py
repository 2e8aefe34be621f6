"""The registered windows as the running bridge sees them: files looked at once a second, the last good state kept."""

from __future__ import annotations

import logging
import threading
from datetime import datetime, timedelta
from pathlib import Path

from ca_bridge.errors import ConfigError
from ca_bridge.registry import Window, load_windows
from ca_bridge.types import Clock

_LOOK_AGAIN = timedelta(seconds=1)
_log = logging.getLogger(__name__)


class WindowFiles:
    """Callable: the registered windows. What does not load changes nothing and is logged. Thread safe."""

    def __init__(self, state: Path, clock: Clock) -> None:
        self._state = state
        self._clock = clock
        self._lock = threading.Lock()
        self._looked: datetime | None = None
        self._stamp: object = None
        self._windows: tuple[Window, ...] | None = None

    def __call__(self) -> tuple[Window, ...]:
        """The windows now. Raises ConfigError `config.window` while there has never been a good state."""
        with self._lock:
            now = self._clock()
            if self._windows is None or self._looked is None or abs(now - self._looked) >= _LOOK_AGAIN:
                self._look()
                self._looked = now
            return self._windows or ()

    def _look(self) -> None:
        try:
            files = sorted((self._state / "windows").glob("*.toml"))
            stamp = tuple((file.name, file.stat().st_mtime_ns, file.stat().st_ino) for file in files)
            if self._windows is None or stamp != self._stamp:
                self._windows = load_windows(self._state)
            self._stamp = stamp
        except FileNotFoundError:
            return  # a file went between listing and reading: look again next time
        except ConfigError as error:
            if self._windows is None:
                raise
            self._stamp = None
            _log.error("window registration refused", extra={"code": error.code, "detail": error.detail})
