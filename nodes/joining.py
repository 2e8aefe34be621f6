"""The node's own side of coming in: its folder and request; then joining, whole or not at all."""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import tomli_w

from ca_bridge.crypto.between import BOX_FILE, SIGN_FILE
from ca_bridge.errors import ConfigError, FederationError
from ca_bridge.files import write_atomically
from ca_bridge.settings import Settings
from ca_bridge.trust.roster import Roster, RosterNode
from nodes.admission import Admission, make_request, person_key, read_admission, same
from nodes.identity import make_node_keys, public, read_node_keys
from nodes.keys import new_key, public_text, read_public, save_key

ROLE_KEY = "role-1.pem"
REQUEST_FILE = "request.jws"


@dataclass(frozen=True, slots=True)
class NewNode:
    """What an operator says of the node to be."""

    name: str
    role: str
    hall: str
    """Origin of its hall."""
    sso: str
    """Origin of its Keycloak."""
    certificate_host: str
    """`*.cert.…`, with the port where it is not 443."""
    title: Mapping[str, str]
    listen: str = "0.0.0.0:443"
    keycloak_port: int = 8080
    management_port: int = 9000
    sources: tuple[str, ...] = ()


def settings_of(new: NewNode) -> dict[str, dict[str, Any]]:
    """The sections of `node.toml` for a node to be; an operator may change them afterwards."""
    realm = new.name.replace("/", "-")
    return {
        "node": {"name": new.name, "role": new.role, "parent": new.name.rpartition("/")[0]},
        "bridge": {"issuer": new.hall, "certificate_host": new.certificate_host},
        "keycloak": {
            "realm": realm,
            "issuer": f"{new.sso}/realms/{realm}",
            "internal": f"http://127.0.0.1:{new.keycloak_port}",
            "management_port": new.management_port,
        },
        "front": {"listen": new.listen, "published": "federation/public"},
        "sync": {"sources": list(new.sources)},
    }


def begin(folder: Path, new: NewNode, now: datetime, *, new_keys: bool = False) -> Path:
    """`node.toml`, the node's keys and its request in `folder`; what is there already is kept. Returns the request.

    `new_keys`: but for its keys, for a node that was removed: the province takes none of the old ones again.

    Raises FederationError `node.request`; ConfigError `config.node_keys`.
    """
    keys_folder = folder / "state" / "keys"
    keys_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if new_keys:
        for name in (SIGN_FILE, BOX_FILE, ROLE_KEY, f"{ROLE_KEY}.pub"):
            (keys_folder / name).unlink(missing_ok=True)
    keys = make_node_keys(keys_folder)
    role_key = keys_folder / ROLE_KEY
    if not role_key.exists():
        save_key(role_key, new_key("ed25519"), None)
    text = make_request(
        keys,
        name=new.name,
        role=new.role,
        hall=new.hall,
        title=new.title,
        role_keys=[_public_role_key(role_key)],
        now=now,
    )
    if not (folder / "node.toml").exists():
        write_atomically(folder / "node.toml", tomli_w.dumps(settings_of(new)).encode(), mode=0o600)
    path = folder / REQUEST_FILE
    write_atomically(path, text.encode())
    return path


def check_admission(text: str, fingerprint: str, settings: Settings) -> Admission:
    """The admission, when it is for this node and its root is the one read aloud.

    Raises FederationError `node.admission`, `node.signature`, `node.fingerprint`, `node.sealed`; ConfigError.
    """
    found = read_admission(text)
    if not same(found.root_fingerprint, fingerprint):
        raise FederationError("node.fingerprint", f"of the root: {found.root_fingerprint}")
    if found.node != settings.node.name:
        raise FederationError("node.admission", f"it is for {found.node}, this node is {settings.node.name}")
    person_key(found, read_node_keys(settings.bridge.keys))
    return found


def check_roster(roster: Roster, admission: Admission, settings: Settings) -> RosterNode:
    """This node's row in the signed roster. Raises FederationError `node.not_admitted`, `node.admission`.

    The row must hold this node's own keys and hall, and the province's row the key that signed the admission: only now
    is the admission believed.
    """
    keys = read_node_keys(settings.bridge.keys)
    row, province = roster.find(settings.node.name), roster.find(admission.province)
    if row is None:
        raise FederationError("node.not_admitted", f"the roster does not hold {settings.node.name}")
    if province is None or province.role != "province" or province.sign != admission.province_sign:
        raise FederationError("node.admission", "it was not signed by the province's key in the roster")
    if row.sign != public(keys.sign) or row.box != public(keys.box) or row.hall != settings.bridge.issuer:
        raise FederationError("node.admission", "the roster's row has other keys, or another hall")
    if row.epoch != admission.epoch:
        raise FederationError("node.admission", f"of epoch {admission.epoch}, the roster says {row.epoch}")
    return row


def take_person_key(admission: Admission, settings: Settings, *, replace: bool) -> bool:
    """K_node is in place (`state/keys/master`); returns whether it changed.

    Raises ConfigError `config.person_key` when another is there and `replace` is not given: with another key every
    person and subject of this node is another.
    """
    key = person_key(admission, read_node_keys(settings.bridge.keys))
    path = settings.bridge.keys / "master"
    if path.exists():
        if path.read_bytes() == key:
            return False
        if not replace:
            raise ConfigError("config.person_key", "state/keys/master is another key than the admission's")
    write_atomically(path, key, mode=0o600)
    return True


def remember_sources(file: Path, sources: Sequence[str]) -> None:
    """The addresses of the bundle in `node.toml`, where none were given before. Comments of the file are lost."""
    raw = tomllib.loads(file.read_text("utf-8"))
    section = raw.setdefault("sync", {})
    if not section.get("sources"):
        section["sources"] = list(sources)
        write_atomically(file, tomli_w.dumps(raw).encode(), mode=0o600)


def join(
    file: Path,
    settings: Settings,
    text: str,
    fingerprint: str,
    *,
    fetch: Callable[[Admission, tuple[str, ...]], Roster],
    replace: bool = False,
) -> RosterNode:
    """This node is in: root pinned, bundle fetched, its row found, its person key in place. Can be repeated.

    `fetch(admission, sources)` pins its root, brings the bundle here and returns its roster. Raises as the steps above.
    """
    admission = check_admission(text, fingerprint, settings)
    sources = settings.sync.sources or admission.sources
    row = check_roster(fetch(admission, tuple(sources)), admission, settings)
    take_person_key(admission, settings, replace=replace)
    remember_sources(file, sources)
    return row


def leave(settings: Settings) -> None:
    """This node takes no trust any more: what it fetched and pinned is gone, and its trusted time (rung: closed)."""
    state = settings.node.state
    (state / "trusted-time.json").unlink(missing_ok=True)
    shutil.rmtree(state / "federation", ignore_errors=True)


def _public_role_key(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(public_text(read_public(path.with_name(f"{path.name}.pub"))))
    return found
