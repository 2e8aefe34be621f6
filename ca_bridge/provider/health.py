"""`/health`: whether this node can sign people in, and if not why, in stable codes."""

from __future__ import annotations

from datetime import timedelta

from ca_bridge.ceremony.services import Services
from ca_bridge.errors import CrosshallError
from ca_bridge.provider.keys import SigningKeys
from ca_bridge.provider.watcher import EVERY

UNWATCHED = timedelta(seconds=60)
"""How late the watcher may be before the node is red, besides two rounds: a dead one's lease has to run out."""


def reasons(services: Services, keys: SigningKeys) -> list[str]:
    """Why the node is red; empty when it is well. Never raises for what it looks at."""
    found = []
    try:
        snapshot = services.snapshots.current()
        if not snapshot.bundle.anchors:
            found.append("trust.no_anchors")
        if services.snapshots.problem:
            # the snapshot before it stays in force, but what is new – refusals above all – is not
            found.append("trust.bundle")
    except CrosshallError as error:
        found.append(error.code)
    try:
        services.store.ping()
        rounds = 2 * timedelta(seconds=services.settings.bridge.rejudge_seconds)
        if services.sessions.unjudged(services.clock() - EVERY - rounds - UNWATCHED):
            found.append("run.watcher")
    except CrosshallError as error:
        found.append(error.code)
    try:
        keys.ring().signing(services.clock())
        services.windows()
    except CrosshallError as error:
        found.append(error.code)
    return found
