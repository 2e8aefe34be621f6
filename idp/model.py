"""What a realm must be, as frozen values: made by `desired`, judged by `linter`, compared by `plan`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
"""A representation in Keycloak's own names."""

ALIAS_PREFIX = "crosshall-"
"""Our flows' aliases begin so; the rest is purpose and number: `crosshall-browser-1`."""
MANAGED = "crosshall.managed"
"""Attribute of what this package made: a client with it that is no longer registered is removed."""
SCOPE = "crosshall"
"""Client scope that carries the claims every window receives."""


@dataclass(frozen=True, slots=True)
class Step:
    """One execution of a flow, or a subflow (`steps`, named)."""

    requirement: str
    authenticator: str = ""
    name: str = ""
    config: tuple[tuple[str, str], ...] = ()
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class Flow:
    """An authentication flow. Flows are never edited: a changed one is built anew, bound, and the old one removed."""

    purpose: str
    """`browser`, `first` (first sign-in by the bridge) or `after` (each sign-in by the bridge)."""
    description: str
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Client:
    """A window's client: its own fields, the scopes it always gets (never optional ones), its mappers by name."""

    body: Json
    scopes: tuple[str, ...]
    mappers: tuple[Json, ...]

    @property
    def id(self) -> str:
        """The client_id."""
        return str(self.body["clientId"])


@dataclass(frozen=True, slots=True)
class Desired:
    """All of a realm that Crosshall manages."""

    realm: str
    settings: Json
    keys: tuple[Json, ...]
    profile: Json
    scope_mappers: tuple[Json, ...]
    flows: tuple[Flow, ...]
    provider: Json
    provider_mappers: tuple[Json, ...]
    clients: tuple[Client, ...]
    disabled_clients: tuple[str, ...] = field(default=())

    def flow(self, purpose: str) -> Flow:
        """The flow of that purpose."""
        return next(flow for flow in self.flows if flow.purpose == purpose)
