"""A store in Redis or Valkey (`crosshall-rp[redis]`), shared by all machines; what must be atomic is a script there.

Every key has one hash tag, so that a cluster's proxy keeps them together, and a time to live.
The clock that decides is the caller's; the server's only tidies up, `_MARGIN` seconds later.
"""

# ruff: noqa: D102 - the methods speak in the protocol, `stores/protocol.py`

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from relying_party_sdk.errors import SettingsError, StoreError
from relying_party_sdk.stores.protocol import Clock

PREFIX = "{crosshall-rp}:"
"""Of every key: one hash tag, one node of a cluster."""
_MARGIN = 60
_FOREVER = 31_536_000
"""Life of the fencing counter after its last use, seconds: far longer than any lock."""
_TIMEOUT = 5.0

_UNTAG = """
local function untag(key, name)
  for tag in string.gmatch(redis.call('HGET', key, 'tags') or '', '[^ ]+') do
    redis.call('ZREM', ARGV[1] .. tag, name)
  end
end
"""
_PUT = (
    _UNTAG
    + """
untag(KEYS[1], ARGV[2])
redis.call('HSET', KEYS[1], 'value', ARGV[3], 'expires', ARGV[4], 'tags', ARGV[5])
redis.call('PEXPIRE', KEYS[1], ARGV[6])
for tag in string.gmatch(ARGV[5], '[^ ]+') do
  local set = ARGV[1] .. tag
  redis.call('ZREMRANGEBYSCORE', set, '-inf', ARGV[7])
  redis.call('ZADD', set, ARGV[4], ARGV[2])
  if redis.call('PTTL', set) < tonumber(ARGV[6]) then redis.call('PEXPIRE', set, ARGV[6]) end
end
"""
)
_TAKE = (
    _UNTAG
    + """
local found = redis.call('HMGET', KEYS[1], 'value', 'expires')
untag(KEYS[1], ARGV[2])
redis.call('DEL', KEYS[1])
if found[1] and tonumber(found[2]) > tonumber(ARGV[3]) then return found[1] end
return false
"""
)
_ADD_ONCE = """
local expires = redis.call('HGET', KEYS[1], 'expires')
if expires and tonumber(expires) > tonumber(ARGV[1]) then return 0 end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'value', '', 'expires', ARGV[2], 'tags', '')
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
"""
_LOCK = """
local expires = redis.call('HGET', KEYS[1], 'expires')
if expires and tonumber(expires) > tonumber(ARGV[1]) then return false end
local token = redis.call('INCR', KEYS[2])
redis.call('EXPIRE', KEYS[2], ARGV[4])
redis.call('HSET', KEYS[1], 'token', token, 'expires', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return token
"""
_UNLOCK = """
if redis.call('HGET', KEYS[1], 'token') == ARGV[1] then redis.call('DEL', KEYS[1]) end
"""
_FENCED = """
local expires = redis.call('HGET', KEYS[1], 'expires')
if not expires or tonumber(expires) <= tonumber(ARGV[1]) then return 0 end
if redis.call('HGET', KEYS[2], 'token') ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'value', ARGV[3])
return 1
"""


class RedisStore:
    """Keeps the store protocol for every process that names the same server. Connects at the first use.

    Raises SettingsError `rp.settings` for an address that cannot be one.
    """

    def __init__(self, address: str, clock: Clock) -> None:
        self._clock = clock
        self._redis: Any = connect(address)  # its methods are typed for text too
        scripts = {"put": _PUT, "take": _TAKE, "once": _ADD_ONCE, "lock": _LOCK, "unlock": _UNLOCK, "fenced": _FENCED}
        self._scripts = {name: self._redis.register_script(text) for name, text in scripts.items()}

    def put(self, kind: str, key: str, value: bytes, expires: float, tags: Sequence[str] = ()) -> None:
        now = self._clock()
        names = " ".join(dict.fromkeys(tags))
        self._run("put", [_record(kind, key)], _tags(kind), key, value, expires, names, _life(expires - now), now)

    def get(self, kind: str, key: str) -> bytes | None:
        try:
            value, expires = self._redis.hmget(_record(kind, key), "value", "expires")
        except redis.RedisError as error:
            raise _fault(error) from error
        found: bytes | None = value if expires is not None and float(expires) > self._clock() else None
        return found

    def take(self, kind: str, key: str) -> bytes | None:
        value: bytes | None = self._run("take", [_record(kind, key)], _tags(kind), key, self._clock())
        return value

    def add_once(self, kind: str, key: str, expires: float) -> bool:
        now = self._clock()
        return bool(self._run("once", [_record(kind, key)], now, expires, _life(expires - now)))

    def delete(self, kind: str, key: str) -> bool:
        return self.take(kind, key) is not None

    def find(self, kind: str, tag: str) -> Sequence[str]:
        try:
            names = self._redis.zrangebyscore(_tags(kind) + tag, f"({self._clock()!r}", "+inf")
        except redis.RedisError as error:
            raise _fault(error) from error
        return [name.decode() for name in names]

    def lock(self, name: str, seconds: float) -> int | None:
        now = self._clock()
        token = self._run("lock", [_lock(name), PREFIX + "fence"], now, now + seconds, _life(seconds), _FOREVER)
        return int(token) if token is not None else None

    def unlock(self, name: str, token: int) -> None:
        self._run("unlock", [_lock(name)], token)

    def put_fenced(self, kind: str, key: str, value: bytes, *, lock: str, token: int) -> bool:
        return bool(self._run("fenced", [_record(kind, key), _lock(lock)], self._clock(), token, value))

    def purge(self) -> int:
        """Nothing to do: the server removes what has expired."""
        return 0

    def close(self) -> None:
        self._redis.close()

    def _run(self, name: str, keys: list[str], *values: str | bytes | float) -> Any:
        exact = [repr(value) if isinstance(value, float) else value for value in values]
        try:
            return self._scripts[name](keys, exact)
        except redis.RedisError as error:
            raise _fault(error) from error


def connect(address: str) -> redis.Redis:
    """A client with time limits that never sends a command twice. Raises SettingsError `rp.settings`."""
    scheme, rest = address.split(":", 1)
    name = {"valkey": "redis", "valkeys": "rediss"}.get(scheme, scheme)
    never = Retry(NoBackoff(), 0)  # a dead connection is seen before it is used; a command may have been carried out
    try:
        return redis.Redis.from_url(
            f"{name}:{rest}", socket_timeout=_TIMEOUT, socket_connect_timeout=_TIMEOUT, retry=never
        )
    except (ValueError, TypeError, redis.RedisError) as error:
        raise SettingsError("rp.settings", f"store: {type(error).__name__}") from error


def _fault(error: redis.RedisError) -> StoreError:
    """What the operator reads; a cluster is not followed: all keys would lie on one of its nodes."""
    if isinstance(error, (redis.exceptions.MovedError, redis.exceptions.AskError, redis.exceptions.ClusterDownError)):
        return StoreError("rp.store", "a node of a cluster: name a server of its own, or the primary behind Sentinel")
    return StoreError("rp.store", type(error).__name__)


def _record(kind: str, key: str) -> str:
    return f"{PREFIX}{kind}:{key}"


def _tags(kind: str) -> str:
    return f"{PREFIX}tag:{kind}:"


def _lock(name: str) -> str:
    return f"{PREFIX}lock:{name}"


def _life(seconds: float) -> int:
    """Milliseconds that the server keeps something which lives `seconds`."""
    return max(1, int((seconds + _MARGIN) * 1000))
