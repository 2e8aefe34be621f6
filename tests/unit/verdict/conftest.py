"""A small federation on disk: anchor → national root → issuing CA, with profile, levels and CRLs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from cryptography import x509

from ca_bridge.trust.bundle import read_bundle, write_bundle_manifest
from ca_bridge.types import Verdict
from ca_bridge.verdict.snapshot import Snapshot, compile_bundle
from tests.pki import NOW, Authority, der, pem, usage

NAMES = dict.fromkeys(("zh-Hans", "zh-Hant", "en", "pt"), "CA")
POLICY = "1.3.6.1.4.1.99999.3.1"


@dataclass
class Federation:
    """Authorities and the folder that their bundle is written to."""

    folder: Path
    anchor: Authority = field(default_factory=lambda: Authority.create("Bridge"))
    version: int = 0

    def __post_init__(self) -> None:
        self.root = self.anchor.subordinate("Root")
        self.issuing = self.root.subordinate("Issuing")
        self.profile("gd", self.issuing)
        self.table("levels.toml", {"assigned": [{"ca": "gd", "type": "person", "level": 4}], "storage": {"token": 4}})
        self.write("anchors/bridge.pem", pem(self.anchor.certificate))
        self.write("cross/root.pem", pem(self.root.certificate))
        self.write("cross/issuing.pem", pem(self.issuing.certificate))
        self.crls()

    def profile(self, ca: str, authority: Authority, **changes: Any) -> None:
        """A profile whose only type has OU=Person."""
        table = {
            "id": ca,
            "version": 1,
            "domain": ca,
            "accreditation": f"{ca}-01",
            "name": NAMES,
            "keys": [hashlib.sha256(authority.spki).hexdigest()],
            "algorithms": ["ecdsa-p256"],
            "asserts": ["cn-id"],
            "max_level": 4,
            "types": [
                {
                    "id": "person",
                    "kind": "person",
                    "storage": "token",
                    "capacities": ["citizen"],
                    "match": {"subject_ou": "Person"},
                }
            ],
            **changes,
        }
        self.table(f"profiles/{ca}.toml", table)

    def crls(self, revoked: Iterable[int] = (), **wishes: Any) -> None:
        """CRLs of all three; `revoked` and wishes are the issuing CA's."""
        for authority, name in ((self.anchor, "anchor"), (self.root, "root")):
            self.write(f"crls/{name}.crl", der(authority.crl()))
        self.write("crls/issuing.crl", der(self.issuing.crl(revoked, **wishes)))

    def table(self, path: str, content: dict[str, Any]) -> None:
        """Write TOML."""
        self.write(path, tomli_w.dumps(content))

    def write(self, path: str, content: str | bytes) -> None:
        """Write a file and the manifest."""
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)
        self.publish()

    def publish(self) -> None:
        """Write the manifest."""
        self.version += 1
        write_bundle_manifest(self.folder, self.version, NOW)

    def leaf(self, issuer: Authority | None = None, **wishes: Any) -> x509.Certificate:
        """A person's certificate."""
        wanted = {"extensions": [usage("digital_signature")], **wishes}
        return (issuer or self.issuing).issue([("C", "CN"), ("OU", "Person"), ("CN", "x")], **wanted)

    def snapshot(self) -> Snapshot:
        """The bundle compiled."""
        return compile_bundle(read_bundle(self.folder))

    def judge(self, leaf: x509.Certificate | None = None, at: datetime = NOW) -> Verdict:
        """The verdict of a leaf, by default a good person's."""
        return self.snapshot().judge(der(self.leaf() if leaf is None else leaf), at)


@pytest.fixture
def federation(tmp_path: Path) -> Federation:
    """A fresh federation."""
    return Federation(tmp_path / "bundle")
