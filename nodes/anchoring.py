"""A node takes a new first root: after a federation lost so many root holders that it had to begin anew.

The root comes by an operator's hand, its fingerprint read aloud, as on the first day. Keys, person key and windows
stay. Everything is fetched and checked aside before anything here changes; what was pinned lies in `federation-before`.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from ca_bridge.errors import CrosshallError, FederationError
from ca_bridge.settings import Settings
from ca_bridge.trust.bundle import read_bundle
from ca_bridge.trust.roster import Roster
from nodes import clock, roles
from nodes.admission import groups, same
from nodes.bundle import compose
from nodes.client import Client
from nodes.identity import public, read_node_keys
from nodes.repository import Repository
from nodes.transport import open_source
from nodes.view import Trusted

HELD, COMING, BEFORE = "federation", "federation-coming", "federation-before"


def reanchor(settings: Settings, root: bytes, fingerprint: str, sources: tuple[str, ...]) -> Trusted:
    """This node trusts `root` and what follows from it, in place of what it was pinned to; it can be repeated.

    Raises FederationError `node.fingerprint`; `node.not_admitted`, `node.admission`: the new roster does not hold this
    node as it is; as `Client.update` when no source has a federation of that root, or only one of before our time.
    """
    if not same(groups(root), fingerprint):
        raise FederationError("node.fingerprint", f"of the root: {groups(root)}")
    state = settings.node.state
    shutil.rmtree(state / COMING, ignore_errors=True)
    client = Client(state / COMING)
    record = clock.load(state / clock.FILE)
    client.folder.start(root, None if record is None else record.issued)
    trusted = _fetched(client, settings, sources)
    _check(compose(trusted, client.folder, settings.node.name).bundle.roster, settings)
    if (state / HELD).exists():
        shutil.rmtree(state / BEFORE, ignore_errors=True)
        (state / HELD).rename(state / BEFORE)
    (state / COMING).rename(state / HELD)
    if settings.front.published is not None:
        _begin_mirror(settings.front.published, settings.node.name)
    return trusted


def _fetched(client: Client, settings: Settings, sources: tuple[str, ...]) -> Trusted:
    """From the first source that has it. Raises FederationError: what the last one said."""
    failed = FederationError("federation.source", "no source is known")
    for address in sources:
        try:
            source = open_source(address, ca_file=str(settings.sync.ca_file or ""))
            update = client.update(source, None)
            return client.trusted(update.issued)
        except FederationError as error:
            failed = error
    raise failed


def _check(roster: Roster, settings: Settings) -> None:
    """The new roster holds this node with its keys, its hall and the epoch of its person key."""
    row, keys = roster.find(settings.node.name), read_node_keys(settings.bridge.keys)
    if row is None:
        raise FederationError("node.not_admitted", f"the new roster does not hold {settings.node.name}")
    try:
        before = read_bundle(settings.node.bundle).roster.find(settings.node.name)
    except CrosshallError as error:
        raise FederationError("node.admission", f"the bundle here cannot be read: {error.code}") from error
    if before is None or row.epoch != before.epoch:
        raise FederationError("node.admission", "of another epoch than this node's person key: join by a new admission")
    if row.sign != public(keys.sign) or row.box != public(keys.box) or row.hall != settings.bridge.issuer:
        raise FederationError("node.admission", "the new roster has other keys for this node, or another hall")


def _begin_mirror(folder: Path, name: str) -> None:
    """The old federation's metadata goes; this node's own word, and its counties', stands in the lane again."""
    repository, own = Repository(folder), roles.domain_role(name)
    for role, version in repository.published().items():
        mine = role == own or role.startswith(f"{own}.")
        if mine and version > repository.newest(role, lane=True):
            repository.put_metadata(role, version, repository.octets(role, version), lane=True)
    for part in ("metadata", "deltas", "packs"):
        shutil.rmtree(folder / part, ignore_errors=True)
    repository.put_lane_index()
