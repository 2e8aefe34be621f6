"""Links to accounts in Redis or Valkey: only on a server that keeps its data for good (persists, never evicts)."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import redis

from relying_party_sdk.errors import StoreError
from relying_party_sdk.stores.links import Link, Scope
from relying_party_sdk.stores.redis import PREFIX, connect

log = logging.getLogger("relying_party_sdk")

_ADD = """
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then
  if ARGV[3] == '1' and redis.call('SCARD', KEYS[2]) > 0 then return 'taken' end
  if ARGV[4] == '1' and redis.call('HLEN', KEYS[1]) > 0 then return 'second' end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('SADD', KEYS[2], KEYS[1])
redis.call('SADD', KEYS[3], KEYS[1])
return ''
"""
_REMOVE = """
local gone = redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('SREM', KEYS[2], KEYS[1])
if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('SREM', KEYS[3], KEYS[1]) end
return gone
"""


class RedisLinks:
    """Keeps the protocol of links; what must be atomic is a script there."""

    def __init__(self, address: str) -> None:
        self._redis: Any = connect(address)
        self._add = self._redis.register_script(_ADD)
        self._remove = self._redis.register_script(_REMOVE)
        log.warning("links to accounts are in Redis: it must persist and never evict, or people lose their accounts")

    def add(self, scope: Scope, link: Link, *, one_account: bool, one_person: bool) -> str:
        """See Links."""
        values: list[str | int] = [
            _holder(scope, link.account),
            json.dumps(asdict(link)),
            int(one_person),
            int(one_account),
        ]
        try:
            answer: bytes = self._add(_keys(scope, link.subject, link.account), values)
        except redis.RedisError as error:
            raise StoreError("rp.store", type(error).__name__) from error
        return answer.decode()

    def remove(self, scope: Scope, subject: str, account: str) -> bool:
        """See Links."""
        try:
            return bool(self._remove(_keys(scope, subject, account), [_holder(scope, account)]))
        except redis.RedisError as error:
            raise StoreError("rp.store", type(error).__name__) from error

    def of_person(self, scope: Scope, subject: str) -> Sequence[Link]:
        """See Links."""
        return self._read([_person(scope, subject)])

    def of_account(self, scope: Scope, account: str) -> Sequence[Link]:
        """See Links."""
        found = self._read(self._members(_holder(scope, account)), _all(scope))
        return [link for link in found if link.account == account]

    def all(self, scope: Scope) -> Sequence[Link]:
        """See Links."""
        return self._read(self._members(_all(scope)))

    def close(self) -> None:
        """See Links."""
        self._redis.close()

    def _members(self, key: str) -> list[str]:
        try:
            return [name.decode() for name in self._redis.smembers(key)]
        except redis.RedisError as error:
            raise StoreError("rp.store", type(error).__name__) from error

    def _read(self, persons: Sequence[str], within: str = "") -> list[Link]:
        """The links of those persons; `within`: only of those in that set."""
        try:
            chosen = [name for name in persons if not within or self._redis.sismember(within, name)]
            values = [value for name in chosen for value in self._redis.hvals(name)]
        except redis.RedisError as error:
            raise StoreError("rp.store", type(error).__name__) from error
        return sorted((Link(**json.loads(value)) for value in values), key=lambda link: (link.linked_at, link.account))


def _person(scope: Scope, subject: str) -> str:
    return f"{PREFIX}account:person:{scope.person(subject)}"


def _holder(scope: Scope, account: str) -> str:
    return f"{PREFIX}account:holder:{scope.holder(account)}"


def _all(scope: Scope) -> str:
    return f"{PREFIX}account:all:{scope.person('')}"


def _keys(scope: Scope, subject: str, account: str) -> list[str]:
    return [_person(scope, subject), _holder(scope, account), _all(scope)]
