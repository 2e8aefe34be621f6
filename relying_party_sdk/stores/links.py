"""Where links between persons and the application's accounts are kept: for good, apart from sessions, in clear.

They outlive the window's keys, and an application may join them with tables of its own.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from relying_party_sdk.stores import is_redis, load_extra, open_database
from relying_party_sdk.stores.database import Cursor, Database
from relying_party_sdk.stores.sqlite import SQLiteDatabase

TAKEN, SECOND = "taken", "second"
"""Why a link is not added: the account is another person's, the person has another account."""


@dataclass(frozen=True, slots=True)
class Link:
    """An account that a person opens. `linked_at` is seconds since 1970 (UTC)."""

    subject: str = field(repr=False)
    account: str = field(repr=False)
    level: int
    """The least level at which it opens."""
    kind: str
    """What the person was when it was linked: citizen, officer, operator; empty with other providers."""
    proof: str
    """How it was proved, in the application's word: `password`, `counter`, …"""
    linked_at: float


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose links: one client's of one provider."""

    client_id: str
    issuer: str

    def person(self, subject: str) -> str:
        """The key of a person."""
        return _hash(self.client_id, self.issuer, subject)

    def holder(self, account: str) -> str:
        """The key of an account: whatever the provider, it has one set of persons."""
        return _hash(self.client_id, account)


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


class Links(Protocol):
    """A durable table of links; each method is atomic across processes. Failures are StoreError `rp.store`."""

    def add(self, scope: Scope, link: Link, *, one_account: bool, one_person: bool) -> str:
        """Keep a link (again: with the new values); empty, or why not: `TAKEN`, `SECOND`."""

    def remove(self, scope: Scope, subject: str, account: str) -> bool:
        """Forget a link; True when there was one."""

    def of_person(self, scope: Scope, subject: str) -> Sequence[Link]:
        """The links of a person, oldest first."""

    def of_account(self, scope: Scope, account: str) -> Sequence[Link]:
        """The links to an account, oldest first."""

    def all(self, scope: Scope) -> Sequence[Link]:
        """Every link, oldest first."""

    def close(self) -> None:
        """Give back files and connections."""


class MemoryLinks:
    """Links in this process's memory: for tests."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._links: dict[tuple[Scope, str, str], Link] = {}

    def add(self, scope: Scope, link: Link, *, one_account: bool, one_person: bool) -> str:
        """See Links."""
        with self._guard:
            key = (scope, link.subject, link.account)
            if key not in self._links:
                others = [k for k in self._links if k[0].client_id == scope.client_id]
                if one_person and any(k[2] == link.account for k in others):
                    return TAKEN
                if one_account and any(k[:2] == key[:2] for k in others):
                    return SECOND
            self._links[key] = link
            return ""

    def remove(self, scope: Scope, subject: str, account: str) -> bool:
        """See Links."""
        with self._guard:
            return self._links.pop((scope, subject, account), None) is not None

    def of_person(self, scope: Scope, subject: str) -> Sequence[Link]:
        """See Links."""
        return self._which(lambda s, link: s == scope and link.subject == subject)

    def of_account(self, scope: Scope, account: str) -> Sequence[Link]:
        """See Links."""
        return self._which(lambda s, link: s == scope and link.account == account)

    def all(self, scope: Scope) -> Sequence[Link]:
        """See Links."""
        return self._which(lambda s, _: s == scope)

    def close(self) -> None:
        """See Links."""

    def _which(self, wanted: Callable[[Scope, Link], bool]) -> Sequence[Link]:
        with self._guard:
            found = [link for (scope, _, _), link in self._links.items() if wanted(scope, link)]
        return sorted(found, key=lambda link: link.linked_at)


TABLES = (
    """CREATE TABLE crosshall_rp_accounts (
    person CHAR(64) NOT NULL, holder CHAR(64) NOT NULL, client_id {name} NOT NULL, issuer {name} NOT NULL,
    subject {name} NOT NULL, account {name} NOT NULL, level INTEGER NOT NULL, kind VARCHAR(32) NOT NULL,
    proof {name} NOT NULL, linked_at DOUBLE PRECISION NOT NULL, one_account CHAR(64) UNIQUE, one_person CHAR(64) UNIQUE,
    PRIMARY KEY (person, holder))""",
    "CREATE INDEX crosshall_rp_accounts_holder ON crosshall_rp_accounts (holder)",
)
"""`person` and `holder` are SHA-256 keys; `one_account` and `one_person` let the database refuse a second one."""

_COLUMNS = "SELECT subject, account, level, kind, proof, linked_at FROM crosshall_rp_accounts WHERE "
_SCOPED = "client_id = :client_id AND issuer = :issuer"
_INSERT = (
    "INSERT INTO crosshall_rp_accounts (person, holder, client_id, issuer, subject, account, level, kind, proof, "
    "linked_at, one_account, one_person) VALUES (:person, :holder, :client_id, :issuer, :subject, :account, :level, "
    ":kind, :proof, :linked_at, :one_account, :one_person)"
)
_UPDATE = (
    "UPDATE crosshall_rp_accounts SET level = :level, kind = :kind, proof = :proof, linked_at = :linked_at "
    "WHERE person = :person AND holder = :holder"
)
_DELETE = "DELETE FROM crosshall_rp_accounts WHERE person = :person AND holder = :holder"


class SQLLinks:
    """Links in a table of an SQL database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._prepared = False

    def add(self, scope: Scope, link: Link, *, one_account: bool, one_person: bool) -> str:
        """See Links. Two that race for one account meet in the database's own unique columns."""
        person, holder = scope.person(link.subject), scope.holder(link.account)
        kept = {"level": link.level, "kind": link.kind, "proof": link.proof, "linked_at": link.linked_at}

        def work(cursor: Cursor) -> str:
            if cursor.run(_UPDATE, person=person, holder=holder, **kept):
                return ""
            if one_person and cursor.rows(_COLUMNS + "holder = :holder", holder=holder):
                return TAKEN
            if one_account and cursor.rows(_COLUMNS + "person = :person", person=person):
                return SECOND
            named = {"client_id": scope.client_id, "issuer": scope.issuer}
            sole = {"one_account": person if one_account else None, "one_person": holder if one_person else None}
            both = {"person": person, "holder": holder, "subject": link.subject, "account": link.account}
            cursor.run(_INSERT, **both, **named, **kept, **sole)
            return ""

        return self._ready.together(work)

    def remove(self, scope: Scope, subject: str, account: str) -> bool:
        """See Links."""
        return self._ready.run(_DELETE, person=scope.person(subject), holder=scope.holder(account)) > 0

    def of_person(self, scope: Scope, subject: str) -> Sequence[Link]:
        """See Links."""
        return self._select("person = :person", person=scope.person(subject))

    def of_account(self, scope: Scope, account: str) -> Sequence[Link]:
        """See Links."""
        return self._select(f"holder = :holder AND {_SCOPED}", holder=scope.holder(account), **_named(scope))

    def all(self, scope: Scope) -> Sequence[Link]:
        """See Links."""
        return self._select(_SCOPED, **_named(scope))

    def close(self) -> None:
        """See Links."""
        self._database.close()

    def prepare(self) -> None:
        """Make the table now, and not at the first use. Raises StoreError `rp.store`."""
        self._database.prepare(TABLES)
        self._prepared = True

    def _select(self, where: str, **values: object) -> Sequence[Link]:
        rows = self._ready.rows(f"{_COLUMNS}{where} ORDER BY linked_at, account", **values)
        return [Link(str(s), str(a), int(level), str(k), str(p), float(at)) for s, a, level, k, p, at in rows]

    @property
    def _ready(self) -> Database:
        if not self._prepared:
            self.prepare()
        return self._database


def _named(scope: Scope) -> dict[str, object]:
    return {"client_id": scope.client_id, "issuer": scope.issuer}


def open_links(address: str) -> Links:
    """The table that an address names, as with stores. Raises SettingsError `rp.settings`, StoreError `rp.store`."""
    if address == "memory:":
        return MemoryLinks()
    if is_redis(address):
        return load_extra("redis_links").RedisLinks(address)  # type: ignore[no-any-return]
    links = SQLLinks(open_database(address))
    if isinstance(links._database, SQLiteDatabase):
        links.prepare()
    return links
