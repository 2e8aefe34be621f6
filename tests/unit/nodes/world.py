"""A small federation for tests: a province with its key holders, a city, a county, Macao, and nodes that fetch."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import tomli_w
from securesystemslib.signer import Signer

from ca_bridge.errors import FederationError
from ca_bridge.trust.bundle import write_bundle_manifest
from nodes.client import Client, Update
from nodes.drafts import sign_draft
from nodes.keys import new_key
from nodes.own_role import OwnRole
from nodes.publish import Publisher
from nodes.transport import FileSource, Source
from tests import pki

NOW = pki.NOW
LABELS = ("zh-Hans", "zh-Hant", "en", "pt")


class Clock:
    """A clock that only tests move."""

    def __init__(self, now: datetime = NOW) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def pass_(self, **passed: float) -> datetime:
        """Let time pass."""
        self.now += timedelta(**passed)
        return self.now


@dataclass
class Trust:
    """The CAs of the source bundle."""

    root: pki.Authority = field(default_factory=lambda: pki.Authority.create("Test root"))
    authorities: dict[str, pki.Authority] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("gd-public", "gz-public", "mo-public"):
            self.authorities[name] = self.root.subordinate(name)

    def key(self, name: str) -> str:
        """SHA-256 of a CA's key."""
        return hashlib.sha256(self.authorities[name].spki).hexdigest()

    def write(self, folder: Path, **changes: bytes) -> None:
        """The source bundle of the province in `folder`."""
        until = NOW + timedelta(days=300)
        files: dict[str, bytes] = {"anchors/root.pem": pki.pem(self.root.certificate).encode()}
        files["crls/root.crl"] = pki.der(self.root.crl(until=until))
        for name, domain in (("gd-public", "gd"), ("gz-public", "gd/guangzhou"), ("mo-public", "mo")):
            authority = self.authorities[name]
            files[f"cross/{name}.pem"] = pki.pem(authority.certificate).encode()
            files[f"profiles/{name}.toml"] = self.profile(name, domain)
            files[f"crls/{name}.crl"] = pki.der(authority.crl(until=until))
        rows = [{"ca": name, "type": "person", "level": 3} for name in self.authorities]
        files["levels.toml"] = tomli_w.dumps({"assigned": rows, "ways": {"token": 4}, "storage": {"file": 3}}).encode()
        files["policy.toml"] = b"max_intermediates = 6\n"
        files.update({path.replace("__", "/").replace("_DOT_", "."): data for path, data in changes.items()})
        shutil.rmtree(folder, ignore_errors=True)
        for path, data in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
        write_bundle_manifest(folder, 1, NOW)

    def profile(self, name: str, domain: str) -> bytes:
        """A CA's profile."""
        return tomli_w.dumps(
            {
                "id": name,
                "version": 1,
                "domain": domain,
                "accreditation": f"{name}-01",
                "name": dict.fromkeys(LABELS, name),
                "keys": [self.key(name)],
                "algorithms": ["ecdsa-p256"],
                "asserts": ["cn-id"],
                "max_level": 3,
                "status": {"source": "crl", "grace_seconds": 0},
                "types": [
                    {
                        "id": "person",
                        "kind": "person",
                        "storage": "file",
                        "capacities": ["citizen"],
                        "match": {"subject_o": "Test"},
                        "name": {"from": "subject.CN"},
                        "identifiers": [{"type": "cn-id", "state": "CN", "from": "subject.serialNumber"}],
                    }
                ],
            }
        ).encode()


class World:
    """The province's home, everybody's keys, and nodes below `folder`."""

    def __init__(self, folder: Path, kinds: tuple[str, str, str] = ("ed25519", "ecdsa", "sm2")) -> None:
        self.folder = folder
        self.clock = Clock()
        self.trust = Trust()
        self.source = folder / "source"
        self.publisher = Publisher(folder / "home", self.clock)
        self.root_keys: list[Signer] = [new_key(kind) for kind in kinds]
        self.targets_keys: list[Signer] = [new_key(kind) for kind in kinds]
        self.border_keys: list[Signer] = [new_key("ed25519")]
        self.city_keys: list[Signer] = [new_key("ed25519")]
        self.county_keys: list[Signer] = [new_key("ecdsa")]
        self.publisher.init(
            "gd",
            root=[key.public_key for key in self.root_keys],
            root_threshold=2,
            targets=[key.public_key for key in self.targets_keys],
            targets_threshold=2,
            border=[key.public_key for key in self.border_keys],
            border_threshold=1,
        )
        self.publisher.delegate("gd/guangzhou", [key.public_key for key in self.city_keys])
        self.publish()

    def move(self, folder: Path) -> None:
        """Live in a copy of the folder, with a clock of its own."""
        self.folder, self.source, self.clock = folder, folder / "source", Clock()
        self.publisher = Publisher(folder / "home", self.clock)

    @property
    def public(self) -> Path:
        """The published folder."""
        return self.publisher.home / "public"

    @property
    def root(self) -> bytes:
        """The first root, as the ceremony hands it over."""
        return (self.public / "metadata" / "1.root.json").read_bytes()

    def publish(self, **changes: bytes) -> None:
        """Publish the source bundle, with changes, signed by enough holders."""
        self.trust.write(self.source, **changes)
        self.publisher.publish(self.source)
        self.sign()

    def sign(self) -> None:
        """Every waiting draft, signed by two holders of each, put together."""
        for path in sorted((self.publisher.home / "drafts").glob("*.json")):
            role = path.name.partition(".")[2].removesuffix(".json")
            holders = {"root": self.root_keys, "targets": self.targets_keys, "border": self.border_keys}[role]
            for key in holders[:2]:
                sign_draft(path, key)
        done = self.publisher.assemble()
        assert not done.waiting

    def node(self, name: str) -> Node:
        """A node that has joined and fetched nothing."""
        return Node(self, self.folder / name)

    def city(self, public: Path) -> OwnRole:
        """The city's own role, published in `public`."""
        return OwnRole(public, "gd/guangzhou", self.city_keys, self.clock)


class Node:
    """A node's client."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        self.folder = folder
        self.client = Client(folder / "federation")
        self.client.folder.start(world.root)

    def update(self, source: Path | Source | None = None, now: datetime | None = None) -> Update:
        """One update, at the world's time unless another is given."""
        if source is None or isinstance(source, Path):
            source = FileSource(source or self.world.public)
        return self.client.update(source, now or self.world.clock.now)

    def state(self) -> bytes:
        """What is in force, as its file says it."""
        return (self.folder / "federation" / "metadata" / "trusted.json").read_bytes()


class Tampered:
    """A source that changes what another gives."""

    name = "tampered"

    def __init__(self, source: Source, change: Callable[[str, bytes], bytes | None]) -> None:
        self._source = source
        self._change = change

    @contextmanager
    def open(self, path: str, offset: int, deadline: float) -> Iterator[tuple[int, Iterator[bytes]]]:
        """As Source; None from the change: the file is not there."""
        data = b""
        try:
            with self._source.open(path, 0, deadline) as (_, chunks):
                data = b"".join(chunks)
        except FederationError as error:
            if error.code != "federation.absent":
                raise
        changed = self._change(path, data)
        if changed is None or (not changed and not data):
            raise FederationError("federation.absent", path)
        yield 0, iter([changed])


def deny(*rows: Mapping[str, str]) -> bytes:
    """A table of denials."""
    return tomli_w.dumps({"deny": [{"why": "test", **row} for row in rows]}).encode()
