"""The application's own accounts: linked to a person once, by proof, and opened by signing in from then on.

    person ─▶ map_account(person) ─▶ Link(account, level)      at the level it was linked at, or above
              link(person, account, proved)                    `proved` verifies the old credentials, once
              unlink · of_person · of_account · list

A link is keyed by `person.subject` (the hall's `crosshall_subject`, another provider's `sub`), this client and the
issuer. By default a person has one account and an account one person; both can be relaxed in the settings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from relying_party_sdk.errors import AccessError, AccountError, SettingsError
from relying_party_sdk.person import Person
from relying_party_sdk.sealing import Sealer
from relying_party_sdk.settings import Settings
from relying_party_sdk.stores.links import TAKEN, Link, Links, Scope, open_links
from relying_party_sdk.stores.protocol import Clock, Store

_TRIES = {"person": 5, "account": 20}
"""Failed proofs before no more are heard for a while: of one person, for one account."""
_WHILE = 900.0
"""How long a failed proof counts, seconds."""
_LONGEST = 255


class Accounts:
    """Links of one window. Raises StoreError `rp.store`; SettingsError when `accounts` is not set, at the first use."""

    def __init__(
        self, settings: Settings, store: Store, sealer: Sealer, clock: Clock, links: Links | None = None
    ) -> None:
        self._settings = settings
        self._store = store
        self._sealer = sealer
        self._clock = clock
        self._scope = Scope(settings.client_id, settings.issuer)
        self._table = links or (open_links(settings.accounts) if settings.accounts else None)

    def find(self, person: Person, account: str | None = None) -> Link | None:
        """The person's account, whatever its level; None for a person without any.

        Of several, the one named. Raises AccountError `rp.account_choice` when it is not, or not among them.
        """
        found = self.of_person(person.subject)
        chosen = [link for link in found if account in (None, link.account)]
        if len(chosen) == 1 or not found:
            return chosen[0] if chosen else None
        error = AccountError("rp.account_choice", f"{len(found)} accounts, and not one of them is named")
        error.accounts = tuple(link.account for link in found)
        raise error

    def map_account(self, person: Person, account: str | None = None) -> Link | None:
        """As `find`, for a person who has the level at which it opens. Raises AccessError `rp.account_level`."""
        link = self.find(person, account)
        if link is not None and person.level < link.level:
            raise AccessError("rp.account_level", f"level {person.level}, the account opens at {link.level}")
        return link

    def link(
        self,
        person: Person,
        account: str,
        proved: Callable[[], bool],
        *,
        proof: str = "password",
        dangerously_open_at: int | None = None,
    ) -> Link:
        """Link the person to an account of the application, for good, once `proved()` is True.

        `proved` verifies the account's old credentials; it is not asked after too many failures (`rp.account_tries`).
        `proof` names the way, for `list`. The account opens at the person's level of now and above, or above what an
        earlier link says; `dangerously_open_at` sets a level lower than that.
        Raises AccountError `rp.account_proof`, `rp.account_tries`, `rp.account_taken`, `rp.account_second`; ValueError.
        """
        _check(account, proof, dangerously_open_at)
        slots = self._slots(person.subject, account)
        if not proved():
            raise AccountError("rp.account_proof", "the application's own check failed")
        level = dangerously_open_at or person.level
        before = [known.level for known in self.of_person(person.subject) if known.account == account]
        if dangerously_open_at is None:
            level = max([level, *before])
        made = Link(person.subject, account, level, person.kind, proof, self._clock())
        settings = self._settings
        one_account, one_person = settings.accounts_per_person == "one", settings.persons_per_account == "one"
        refused = self._links.add(self._scope, made, one_account=one_account, one_person=one_person)
        if refused == TAKEN:
            raise AccountError("rp.account_taken", "the account is linked to another person")
        if refused:
            raise AccountError("rp.account_second", "the person is linked to another account")
        for slot in slots:
            self._store.delete("tried", slot)
        return made

    def unlink(self, subject: str, account: str) -> bool:
        """Forget a link; True when there was one. The account's old credentials are the application's again."""
        return self._links.remove(self._scope, subject, account)

    def of_person(self, subject: str) -> Sequence[Link]:
        """The links of a person, oldest first."""
        return self._links.of_person(self._scope, subject)

    def of_account(self, account: str) -> Sequence[Link]:
        """The links to an account, oldest first."""
        return self._links.of_account(self._scope, account)

    def list(self) -> Sequence[Link]:
        """Every link of this window, oldest first."""
        return self._links.all(self._scope)

    def close(self) -> None:
        """Give back files and connections."""
        if self._table is not None:
            self._table.close()

    @property
    def _links(self) -> Links:
        if self._table is None:
            raise SettingsError("rp.settings", "accounts is not set: where are links to accounts kept?")
        return self._table

    def _slots(self, subject: str, account: str) -> Sequence[str]:
        """A place among the tries of the person and of the account. Raises AccountError `rp.account_tries`."""
        until = self._clock() + _WHILE
        taken: list[str] = []
        for who, value in (("person", subject), ("account", account)):
            names = (self._sealer.name(f"tried-{who}", f"{value}\0{n}") for n in range(_TRIES[who]))
            slot = next((name for name in names if self._store.add_once("tried", name, until)), None)
            if slot is None:
                raise AccountError("rp.account_tries", f"too many failed proofs for this {who}")
            taken.append(slot)
        return taken


def _check(account: str, proof: str, level: int | None) -> None:
    for name, text in (("account", account), ("proof", proof)):
        if not isinstance(text, str) or not 0 < len(text) <= _LONGEST or text != text.strip() or not text.isprintable():
            raise ValueError(f"{name} is a text of at most {_LONGEST} printable characters")
    if level not in (None, 1, 2, 3, 4):
        raise ValueError("dangerously_open_at is 1, 2, 3 or 4")
