"""The PKI that K=validation measures on: chains with policies, mappings and constraints, and meshes of CAs.

A chain is anchor → bridge → city → county → leaf. What the peers do not know (directory-name constraints in Go) is left
out, so that every peer accepts every leaf. Keys are new in each run; the shape of a mesh is the same in every run.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from asn1crypto import x509

from ca_bridge.asn1.certificate import parse_certificate
from ca_bridge.asn1.crl import parse_crl
from ca_bridge.identity.numbers import cn_id_check
from ca_bridge.trust.bundle import Bundle
from ca_bridge.trust.profile import Profile
from ca_bridge.trust.rules import Levels, TrustPolicy
from demo.pki import certificates, keys
from demo.pki.certificates import Extension, Template
from demo.pki.keys import Key

AT = datetime(2026, 11, 1, tzinfo=UTC)
_FROM, _TO = datetime(2025, 1, 1, tzinfo=UTC), datetime(2035, 1, 1, tzinfo=UTC)
POLICIES = tuple(f"2.16.156.112554.99.{number}" for number in range(3))
"""Of the federation, of the city, of the county; each is mapped to the next."""
REVOKED = 1000
"""Entries of the county's CRL."""
ID_CARD = "1.2.156.10260.4.1.1"
Edge = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Chain:
    """One algorithm's chain, all in DER: `pool` holds bridge, city, county; `crls` one of each issuer."""

    kind: str
    anchor: bytes
    pool: tuple[bytes, ...]
    leaves: tuple[bytes, ...]
    crls: tuple[bytes, ...]
    county_spki: bytes


@dataclass(frozen=True, slots=True)
class Mesh:
    """Cross-certificates with loops; of each leaf its issuing CA and that CA's distance to the anchor."""

    anchor: bytes
    cross: tuple[bytes, ...]
    leaves: tuple[bytes, ...]
    crls: tuple[bytes, ...]
    spkis: tuple[bytes, ...]
    issuers: tuple[int, ...]
    shortest: tuple[int, ...]


def make_chain(kind: str, leaves: int) -> Chain:
    """A chain of `rsa-2048`, `ecdsa-p256` or `sm2` keys; the leaves differ in everything but their key."""
    root, bridge, city, county, holder = (keys.generate(kind) for _ in range(5))
    cas = {"root": root, "bridge": bridge, "city": city, "county": county}
    rows = [
        ("bridge", "root", None, [*_policies(0), _permitted_mail("gd.example")]),
        ("city", "bridge", None, [*_policies(1)]),
        ("county", "city", 0, [certificates.policies([POLICIES[2]])]),
    ]
    return Chain(
        kind=kind,
        anchor=_authority("root", "root", root, root, None, []),
        pool=tuple(_authority(s, i, cas[s], cas[i], length, extra) for s, i, length, extra in rows),
        leaves=tuple(_leaf(number, "county", county, holder) for number in range(leaves)),
        crls=tuple(_crl(name, key, REVOKED if name == "county" else 3) for name, key in cas.items()),
        county_spki=county.spki,
    )


def make_mesh(authorities: int, edges: int, leaves: int) -> Mesh:
    """A random graph in which the anchor reaches every CA; leaves hang under the farther half of the CAs."""
    source = random.Random(7)
    pairs = _edges(source, authorities, edges)
    held = [keys.generate("ecdsa-p256") for _ in range(authorities)]
    holder = keys.generate("ecdsa-p256")
    issuers = tuple(source.randrange(authorities // 2, authorities) for _ in range(leaves))
    far = _distances(authorities, pairs)
    name = "CA {}".format
    return Mesh(
        anchor=_authority(name(0), name(0), held[0], held[0], None, []),
        cross=tuple(_authority(name(b), name(a), held[b], held[a], None, []) for a, b in pairs),
        leaves=tuple(_leaf(number, name(ca), held[ca], holder) for number, ca in enumerate(issuers)),
        crls=tuple(_crl(name(number), key, 1) for number, key in enumerate(held)),
        spkis=tuple(key.spki for key in held),
        issuers=issuers,
        shortest=tuple(far[ca] for ca in issuers),
    )


def bundle(
    anchor: bytes,
    pool: Iterable[bytes],
    crls: Iterable[bytes],
    issuing: Sequence[bytes],
    levels: Levels | None = None,
) -> Bundle:
    """A trust bundle in memory: each issuing key gets a profile that takes name and identity number out of leaves."""
    profiles = {p.id: p for p in (_profile(number, spki) for number, spki in enumerate(issuing))}
    return Bundle(
        version=1,
        issued=AT,
        hash="0" * 64,
        anchors=(parse_certificate(anchor),),
        certificates=tuple(parse_certificate(der) for der in pool),
        profiles=profiles,
        levels=levels or Levels(policies={POLICIES[0]: 3}, storage={"token": 4}),
        policy=TrustPolicy(max_intermediates=16),
        crls=tuple(parse_crl(der) for der in crls),
    )


def assigned(issuing: Sequence[bytes]) -> Levels:
    """Levels by table, for leaves whose path carries no policy."""
    rows = [{"ca": f"ca-{number}", "type": "person", "level": 3} for number in range(len(issuing))]
    return Levels.model_validate({"assigned": rows, "storage": {"token": 4}})


def _profile(number: int, spki: bytes) -> Profile:
    table: Mapping[str, Any] = {
        "id": f"ca-{number}",
        "version": 1,
        "domain": "gd",
        "accreditation": f"gd-ca-{number}",
        "name": {"zh-Hans": "县", "zh-Hant": "縣", "en": "County", "pt": "Concelho"},
        "keys": [hashlib.sha256(spki).hexdigest()],
        "algorithms": ["rsa", "ecdsa-p256", "sm2"],
        "asserts": ["cn-id"],
        "max_level": 4,
        "types": [
            {
                "id": "staff",
                "kind": "person",
                "storage": "token",
                "capacities": ["citizen"],
                "match": {"subject_ou": "机关工作人员证书"},
            },
            {
                "id": "person",
                "kind": "person",
                "storage": "token",
                "capacities": ["citizen"],
                "match": {"subject_ou": "个人证书"},
                "name": {"from": "subject.CN"},
                "identifiers": [{"type": "cn-id", "state": "CN", "from": f"extension:{ID_CARD}"}],
            },
        ],
    }
    return Profile.model_validate(table)


def _policies(place: int) -> list[Extension]:
    return [
        certificates.policies([POLICIES[place]]),
        certificates.policy_mappings([(POLICIES[place], POLICIES[place + 1])]),
    ]


def _permitted_mail(host: str) -> Extension:
    base = x509.GeneralName(name="rfc822_name", value=x509.EmailAddress(host))
    value = x509.NameConstraints({"permitted_subtrees": [{"base": base, "minimum": 0}]})
    return Extension("name_constraints", True, value)


def _name(common: str, *units: str) -> list[tuple[str, str]]:
    return [("C", "CN"), ("O", "CN-GOV"), *(("OU", unit) for unit in units), ("CN", common)]


def _authority(  # noqa: PLR0917 - a certificate's own fields
    subject: str, issuer: str, key: Key, by: Key, path_length: int | None, extra: Sequence[Extension]
) -> bytes:
    url = None if key is by else f"http://crl.example/{issuer.replace(' ', '-')}.crl"
    extensions = certificates.authority_extensions(key, by, path_length=path_length, extra=extra, crl_url=url)
    template = Template(_name(subject), _name(issuer), key.spki, _FROM, _TO, extensions)
    return certificates.issue(template, by, certificates.new_serial())


def _leaf(number: int, issuer: str, by: Key, key: Key) -> bytes:
    mail = x509.GeneralName(name="rfc822_name", value=x509.EmailAddress(f"p{number}@gd.example"))
    digits = f"440106{1950 + number % 50}0{1 + number % 9}1{number % 10}{number % 1000:03}"
    extra = [
        certificates.policies([POLICIES[2]]),
        certificates.extended_usage(["client_auth"]),
        Extension("subject_alt_name", False, x509.GeneralNames([mail])),
        certificates.private_extension(ID_CARD, digits + cn_id_check(digits)),
    ]
    url = f"http://crl.example/{issuer.replace(' ', '-')}.crl"
    extensions = certificates.holder_extensions(
        key, by, usage={"digital_signature", "non_repudiation"}, extra=extra, crl_url=url
    )
    template = Template(_name(f"王小明{number}", "个人证书"), _name(issuer), key.spki, _FROM, _TO, extensions)
    return certificates.issue(template, by, certificates.new_serial())


def _crl(issuer: str, key: Key, revoked: int) -> bytes:
    entries = [(certificates.new_serial(), _FROM + timedelta(hours=number)) for number in range(revoked)]
    first, last = AT - timedelta(days=1), AT + timedelta(days=6)
    return certificates.issue_crl(_name(issuer), key, entries, number=1, this_update=first, next_update=last)


def _edges(source: random.Random, authorities: int, edges: int) -> list[Edge]:
    """A tree from the anchor, so that everybody is reachable, then random edges; in no telling order."""
    found = {(source.randrange(max(0, i // 3 - 2), max(1, i // 3 + 1)), i) for i in range(1, authorities)}
    while len(found) < edges:
        pair = (source.randrange(authorities), source.randrange(authorities))
        if pair[0] != pair[1]:
            found.add(pair)
    ordered = sorted(found)
    source.shuffle(ordered)
    return ordered


def _distances(authorities: int, edges: Sequence[Edge]) -> list[int]:
    """Certificates on the shortest way from the anchor to each CA, breadth first."""
    below: dict[int, list[int]] = {}
    for above, under in edges:
        below.setdefault(above, []).append(under)
    distance = {0: 0}
    queue = [0]
    for ca in queue:
        for under in below.get(ca, ()):
            if under not in distance:
                distance[under] = distance[ca] + 1
                queue.append(under)
    return [distance[ca] for ca in range(authorities)]
