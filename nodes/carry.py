"""A carried disk: the published repository copied whole, and checked as a node would check it."""

from __future__ import annotations

import tempfile
from datetime import datetime
from pathlib import Path

from nodes.bundle import Composed, compose
from nodes.client import Client
from nodes.mirror import publish_mirror
from nodes.transport import open_source
from nodes.view import Trusted


def verify(source: str, root: bytes, now: datetime | None, own: str) -> tuple[Trusted, Composed]:
    """What the repository at the address `source` would bring to the node `own` that pins `root`.

    `now`: trusted time (aware); None: the repository's own signed time. Raises FederationError.
    """
    with tempfile.TemporaryDirectory() as folder:
        client = Client(Path(folder))
        client.folder.start(root)
        update = client.update(open_source(source), now)
        trusted = client.trusted(now or update.issued)
        client.bring_whole(open_source(source), now or update.issued)
        return trusted, compose(trusted, client.folder, own)


def export(public: Path, root: bytes, into: Path, own: str) -> Trusted:
    """Write what is published, verified, to the folder `into`; `timestamp.json` last. Raises FederationError."""
    with tempfile.TemporaryDirectory() as folder:
        client = Client(Path(folder))
        client.folder.start(root)
        source = open_source(f"file:{public.resolve()}")
        update = client.update(source, None)
        trusted = client.trusted(update.issued)
        client.bring_whole(source, update.issued)  # who reads the disk may have no line to fetch one by
        compose(trusted, client.folder, own)
        publish_mirror(client.folder, into)
        return trusted
