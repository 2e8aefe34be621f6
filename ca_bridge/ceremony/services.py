"""What every request of the bridge works with: one frozen value, in `app.extensions["crosshall"]`."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from flask import Flask, current_app

from ca_bridge.crypto.between import NodeKeys
from ca_bridge.policy.trusted_time import TrustedTime
from ca_bridge.registry import Window
from ca_bridge.settings import Settings
from ca_bridge.store import Store
from ca_bridge.store.links import Links
from ca_bridge.store.people import People
from ca_bridge.store.releases import Releases
from ca_bridge.store.sessions import Sessions
from ca_bridge.types import Capacity, Clock, Identifier, Identity, Verdict
from ca_bridge.verdict.cuts import Cuts
from ca_bridge.verdict.snapshot import Snapshot

EXTENSION = "crosshall"


class Snapshots(Protocol):
    """`verdict.snapshot.SnapshotSource`, or what stands in for it in a test."""

    @property
    def problem(self) -> str:
        """Why the bundle in the folder is not the one in force, for the operator; empty when it is."""

    def current(self) -> Snapshot:
        """The snapshot in force; a request asks once and keeps it. PathError `trust.bundle` when there is none."""


class Answered(Protocol):
    """`fetch.holders.HolderStatus`, or what stands in for it in a test."""

    def __call__(self, snapshot: Snapshot, leaf: bytes, *, ask: bool = True) -> Snapshot:
        """`snapshot` with an OCSP answer about `leaf` (DER) beside it, where its CA's profile wants one.

        `ask` False: only what was asked before. Raises StoreError.
        """


def _as_it_is(snapshot: Snapshot, leaf: bytes, *, ask: bool = True) -> Snapshot:  # noqa: ARG001 - the protocol's
    return snapshot


class PersonKeys(Protocol):
    """`identity.keys.PersonKeys`, or what stands in for it in a test."""

    def person(self, identifier: Identifier, capacity: Capacity, organisation: Identifier | None = None) -> str:
        """`p1:` … key of a human in a capacity, inside this node."""

    def of(self, identity: Identity, capacity: Capacity) -> str:
        """The person key of an identity in the capacity chosen. Raises IdentityError `identity.capacity`."""

    def human(self, identity: Identity, capacity: Capacity) -> str:
        """The key under which it is kept which CAs have proved this human: the same in every capacity."""

    def subject(self, sector: str, person: str) -> str:
        """`s1:` … as a sector's windows know that person."""


@dataclass(frozen=True, slots=True)
class Services:
    """Everything a request may use; `now` and `random` included, so that tests decide them."""

    settings: Settings
    clock: Clock
    store: Store
    sessions: Sessions
    people: People
    releases: Releases
    snapshots: Snapshots
    person_keys: PersonKeys
    windows: Callable[[], tuple[Window, ...]]
    """Registered windows; a change of the files is seen within a second."""
    deliver_logouts: Callable[[], int]
    """Tell Keycloak now of every logout that is due; returns how many it took. Never raises for Keycloak being down:
    the watcher tries again. Call it after `sessions.end` where the next step needs the end to have happened there."""
    trusted: Callable[[], TrustedTime]
    """The node's trusted time and rung, now: certificates are judged at it. Sessions and tokens run on `clock`."""
    node_keys: Callable[[], NodeKeys | None] = lambda: None
    """This node's own keys, by which it speaks to others; None: it stands alone. Raises ConfigError."""
    journal: Callable[[Mapping[str, Any]], None] | None = None
    """Keeps a sealed copy of each sign-in for the province (`ceremony.journal`); None: none. Raises StoreError."""
    random: Callable[[int], bytes] = secrets.token_bytes
    answered: Answered = _as_it_is
    """Lays what its CA's responder says of a certificate beside the snapshot it is judged under (`fetch.holders`)."""
    recorder: Callable[[Snapshot, bytes, Verdict], None] | None = None
    """Keeps each verdict of a sign-in (`verdict.evidence.Recorder`); None: none is kept. Raises StoreError."""
    cuts: Cuts | None = None
    """Keeps the sign-ins made while the line is cut, to be judged again; None: a node that is its own source."""

    @property
    def links(self) -> Links:
        """Links between sessions here and at other halls."""
        return Links(self.store)

    @property
    def root(self) -> str:
        """The federation's own trust domain: the first part of the node's name."""
        return self.settings.node.name.partition("/")[0]

    def install(self, app: Flask) -> None:
        """Make these the services of `app`."""
        app.extensions[EXTENSION] = self


def services() -> Services:
    """The services of the app that is answering now."""
    found: Services = current_app.extensions[EXTENSION]
    return found
