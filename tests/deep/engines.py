"""The compiled engine against the slow path: random bundles, and leaves that both are asked about.

A bundle is a mesh of CAs with loops, every kind of constraint on its cross-certificates, CRLs and its own inputs. Both
engines see the same certificates and CRLs; what sign-in asks beside (profile, type, level) every leaf fulfils.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import tomli_w
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ca_bridge.asn1.certificate import parse_certificate
from ca_bridge.path.state import Inputs
from ca_bridge.trust.bundle import read_bundle, write_bundle_manifest
from ca_bridge.verdict.snapshot import Snapshot, compile_bundle
from ca_bridge.verdict.supplied import Supplied, validate
from tests import pki
from tests.deep.chains import ANY, AT, POLICIES, Link, build, key
from tests.deep.constrained import random_alternatives, random_constraints
from tests.deep.revoking import crl, idp

CAS = 9
NAMES = dict.fromkeys(("zh-Hans", "zh-Hant", "en", "pt"), "CA")
LEAF_KEY = 36


@dataclass(slots=True)
class Agreement:
    """What came out of both engines."""

    accepted: int = 0
    refused: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    stricter: int = 0
    """Refused by the compiled engine alone, because it holds a CRL's signer, too, to the bundle's inputs."""
    disagreements: list[str] = field(default_factory=list)


def compare(seed: int, worlds: Iterable[int], leaves: int, folder: Path) -> Agreement:
    """Ask both engines about `leaves` leaves of each world; `folder` is empty and may be filled."""
    found = Agreement()
    for number in worlds:
        world = _World(random.Random(f"{seed}:{number}"), folder / str(number))
        for leaf in world.leaves(leaves):
            _ask(found, world, leaf, f"{seed}:{number}")
    return found


def _ask(found: Agreement, world: _World, leaf: bytes, where: str) -> None:
    fast = world.snapshot.judge(leaf, AT)
    bundle = world.snapshot.bundle
    slow = validate(
        Supplied(
            leaf=parse_certificate(leaf),
            anchors=bundle.anchors,
            at=AT,
            pool=bundle.certificates,
            crls=bundle.crls,
            revocation="require",
            inputs=world.inputs,
        )
    )
    found.codes[fast.code] += 1
    found.accepted += fast.accepted
    found.refused += not fast.accepted
    if fast.accepted != (slow.found is not None):
        if slow.found is not None and world.rolled_over and world.inputs.require_policy and "unknown" in fast.code:
            found.stricter += 1
            return
        said = "ok" if slow.found is not None else slow.refusals[0].code
        serial = parse_certificate(leaf).serial
        found.disagreements.append(f"{where} serial {serial}: compiled {fast.code}, slow {said}")
    elif slow.found is not None:
        path = tuple(c.sha256 for c in slow.found.outcome.path)
        if fast.path[: len(path)] == path and fast.policies != slow.found.outcome.policies:
            found.disagreements.append(f"{where}: policies {fast.policies}, slow {slow.found.outcome.policies}")


class _World:
    def __init__(self, rnd: random.Random, folder: Path) -> None:
        self._rnd = rnd
        self._folder = folder
        self._serials = iter(range(1000, 1_000_000))
        self._names = [pki.name("Bridge"), *(pki.name(f"CA {n}") for n in range(1, CAS))]
        self._holders = list(range(CAS))  # place → name; key numbers are places, so a second key is a further place
        if rnd.random() < 0.5:
            self._holders.append(rnd.randrange(1, CAS))
        self._revoked = set(rnd.sample(range(1000, 1060), 4))
        self.inputs = self._some_inputs()
        self._write()
        self.snapshot: Snapshot = compile_bundle(read_bundle(folder))

    @property
    def rolled_over(self) -> bool:
        """Whether a CA has two keys."""
        return len(self._holders) > CAS

    def leaves(self, count: int) -> Iterator[bytes]:
        """Persons' certificates of any CA, most of them good by themselves."""
        rnd = self._rnd
        for _ in range(count):
            issuer = rnd.randrange(1, len(self._holders))
            alternatives, subject = random_alternatives(rnd)
            link = self._link(issuer, LEAF_KEY, subject)
            link.is_ca = False
            link.subject = x509.Name([*subject, x509.NameAttribute(x509.NameOID.ORGANIZATIONAL_UNIT_NAME, "Person")])
            link.alternatives = alternatives if rnd.random() < 0.4 else []
            link.policies = tuple(rnd.sample((*POLICIES, ANY), rnd.choice((0, 1, 2))))
            if rnd.random() < 0.05:
                link.end = timedelta(days=-1)
            link.spoilt = rnd.random() < 0.05
            link.serial = rnd.choice(sorted(self._revoked)) if rnd.random() < 0.1 else link.serial
            yield build(link)

    def _link(self, issuer: int, number: int, subject: x509.Name) -> Link:
        return Link(subject, number, self._names[self._holders[issuer]], issuer, serial=next(self._serials))

    def _some_inputs(self) -> Inputs:
        rnd = self._rnd
        return Inputs(
            initial_policies=None if rnd.random() < 0.6 else frozenset(rnd.sample(POLICIES, 2)),
            require_policy=rnd.random() < 0.3,
            inhibit_mapping=rnd.random() < 0.2,
            inhibit_any_policy=rnd.random() < 0.2,
            max_intermediates=rnd.choice((3, 6)),
        )

    def _cross(self) -> Iterator[Link]:
        """The bridge certifies some CAs, CAs certify each other, in loops; two keys of one CA each other."""
        rnd = self._rnd
        places = range(1, len(self._holders))
        pairs = [(0, place) for place in rnd.sample(places, 6)]
        pairs += [(rnd.choice(places), rnd.choice(places)) for _ in range(rnd.choice((8, 14)))]
        if len(self._holders) > CAS:
            pairs += [(self._holders[-1], CAS), (CAS, self._holders[-1])]
        for issuer, subject in pairs:
            if issuer != subject:
                link = self._link(issuer, subject, self._names[self._holders[subject]])
                self._restrict(link)
                yield link

    def _restrict(self, link: Link) -> None:
        rnd = self._rnd
        if rnd.random() < 0.7:
            link.policies = tuple(rnd.sample((*POLICIES, ANY), rnd.choice((1, 2, 4))))
        if link.policies and rnd.random() < 0.3:
            link.mappings = tuple(sorted({(rnd.choice(POLICIES), rnd.choice(POLICIES)) for _ in range(2)}))
        if rnd.random() < 0.15:
            link.path_length = rnd.choice((0, 1, 2))
        if rnd.random() < 0.1:
            link.explicit = rnd.choice((0, 1, 3))
        if rnd.random() < 0.1:
            link.inhibit_mapping = rnd.choice((0, 1))
        if rnd.random() < 0.1:
            link.inhibit_any = rnd.choice((0, 1))
        if rnd.random() < 0.15:
            link.permitted, link.excluded = random_constraints(rnd)
        if rnd.random() < 0.06:
            link.end = timedelta(days=-1)
        link.spoilt = rnd.random() < 0.04
        if rnd.random() < 0.04:
            link.serial = rnd.choice(sorted(self._revoked))

    def _write(self) -> None:
        rnd, inputs = self._rnd, self.inputs
        bridge = self._link(0, 0, self._names[0])
        self._file("anchors/bridge.pem", _pem(build(bridge)))
        for number, link in enumerate(self._cross()):
            self._file(f"cross/{number}.pem", _pem(build(link)))
        for place, holder in enumerate(self._holders):
            scopes = rnd.choice(([()], [()], [()], [(idp(user=True),), (idp(ca=True),)], [(idp(user=True),)], []))
            for number, scope in enumerate(scopes if place else [()]):
                made = crl(self._names[holder], place, sorted(self._revoked), extensions=scope)
                self._file(f"crls/{place}-{number}.crl", made)
        for ca in range(1, CAS):
            self._table(f"profiles/ca-{ca}.toml", self._profile(ca))
        assigned = [{"ca": f"ca-{ca}", "type": "person", "level": 4} for ca in range(1, CAS)]
        self._table("levels.toml", {"assigned": assigned, "storage": {"token": 4}})
        policy: dict[str, Any] = {
            "require_policy": inputs.require_policy,
            "inhibit_mapping": inputs.inhibit_mapping,
            "inhibit_any_policy": inputs.inhibit_any_policy,
            "max_intermediates": inputs.max_intermediates,
        }
        if inputs.initial_policies is not None:
            policy["initial_policies"] = sorted(inputs.initial_policies)
        self._table("policy.toml", policy)
        write_bundle_manifest(self._folder, 1, AT)

    def _profile(self, ca: int) -> dict[str, Any]:
        keys = [_key_hash(place) for place, holder in enumerate(self._holders) if holder == ca]
        match = {"subject_ou": "Person"}
        kind = {"id": "person", "kind": "person", "storage": "token", "capacities": ["citizen"], "match": match}
        return {
            "id": f"ca-{ca}",
            "version": 1,
            "domain": f"ca-{ca}",
            "accreditation": f"ca-{ca}-01",
            "name": NAMES,
            "keys": keys,
            "algorithms": ["ecdsa-p256"],
            "asserts": ["cn-id"],
            "max_level": 4,
            "types": [kind],
        }

    def _table(self, path: str, content: dict[str, Any]) -> None:
        self._file(path, tomli_w.dumps(content).encode())

    def _file(self, path: str, content: bytes) -> None:
        target = self._folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def _key_hash(number: int) -> str:
    spki = key(number).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(spki).hexdigest()


def _pem(data: bytes) -> bytes:
    return x509.load_der_x509_certificate(data).public_bytes(Encoding.PEM)
