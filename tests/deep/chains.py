"""Generated chains for differential tests: chain `number` of a seed is always the same, octet for octet.

A case is a plain good chain to which one to three features are added. Each feature is drawn in a harmless or a harmful
form, so that about half of all cases are valid; what is right is for the validators to say.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from tests import pki
from tests.deep import revoking
from tests.deep.constrained import random_alternatives, random_constraints

AT = pki.NOW
ANY = "2.5.29.32.0"
POLICIES = tuple(f"1.3.6.1.4.1.99999.7.{n}" for n in range(1, 5))
FEATURES = (
    "policies",
    "mappings",
    "policy_constraints",
    "inhibit_any",
    "inputs",
    "name_constraints",
    "path_length",
    "self_issued",
    "rollover",
    "dates",
    "signatures",
    "usages",
    "critical",
    "crls",
)


@dataclass(frozen=True, slots=True)
class Case:
    """One question to every validator; all DER."""

    number: int
    features: tuple[str, ...]
    leaf: bytes
    anchor: bytes
    pool: tuple[bytes, ...]
    crls: tuple[bytes, ...] | None
    """None: status is not asked for."""
    initial_policies: tuple[str, ...] | None
    require_policy: bool
    inhibit_mapping: bool
    inhibit_any_policy: bool


@dataclass(slots=True)
class Link:
    """A certificate to be made: whose name and key, by whose name and key, with which extensions."""

    subject: x509.Name
    key: int
    issuer: x509.Name
    by: int
    is_ca: bool = True
    serial: int = 0
    path_length: int | None = None
    policies: tuple[str, ...] = ()
    mappings: tuple[tuple[str, str], ...] = ()
    explicit: int | None = None
    inhibit_mapping: int | None = None
    inhibit_any: int | None = None
    permitted: list[x509.GeneralName] = field(default_factory=list)
    excluded: list[x509.GeneralName] = field(default_factory=list)
    alternatives: list[x509.GeneralName] = field(default_factory=list)
    usage: tuple[str, ...] | None = None
    basic: bool = True
    critical: str = ""
    more: list[pki.Extension] = field(default_factory=list)
    start: timedelta = timedelta(days=-30)
    end: timedelta = timedelta(days=365)
    spoilt: bool = False
    identified: bool = True
    """Bears key identifiers."""


@cache
def key(number: int) -> ec.EllipticCurvePrivateKey:
    """One of the generator's few P-256 keys."""
    seed = hashlib.sha512(b"crosshall chains %d" % number).digest()
    return ec.derive_private_key(int.from_bytes(seed[:31], "big") + 1, ec.SECP256R1())


def generate(seed: int, number: int) -> Case:
    """The case of a seed and a number."""
    return _Maker(random.Random(f"{seed}:{number}"), number).case()


class _Maker:
    def __init__(self, rnd: random.Random, number: int) -> None:
        self._rnd = rnd
        self._number = number
        self._features = tuple(sorted(rnd.sample(FEATURES, rnd.choice((1, 2, 2, 3)))))
        self._identified = rnd.random() < 0.8
        self._keys = iter(range(1, 38))
        self._serials = iter(range(100, 200))
        self._anchor = self._link(pki.name("Anchor"), 0, pki.name("Anchor"), 0)
        self._extra: list[Link] = []
        self._cas: list[Link] = []
        above = self._anchor
        for depth in range(rnd.choice((1, 2, 2, 3, 4))):
            above = self._link(pki.name(f"CA {depth}"), next(self._keys), above.subject, above.key)
            self._cas.append(above)
        self._leaf = self._link(pki.name("Somebody"), next(self._keys), above.subject, above.key)
        self._leaf.is_ca, self._leaf.usage = False, ("digital_signature",)
        self._inputs: dict[str, Any] = {}
        self._crls: list[bytes] | None = None

    def case(self) -> Case:
        """Add the features, then build."""
        for feature in FEATURES:  # their order matters: policies come before what maps them, CRLs last
            if feature in self._features:
                getattr(self, "add_" + feature)()
        leaf, *pool = [build(link) for link in (self._leaf, *self._cas, *self._extra)]
        self._rnd.shuffle(pool)
        inputs = {"initial_policies": None, "require_policy": False} | self._inputs
        return Case(
            number=self._number,
            features=self._features,
            leaf=leaf,
            anchor=build(self._anchor),
            pool=tuple(pool),
            crls=None if self._crls is None else tuple(self._crls),
            initial_policies=inputs["initial_policies"],
            require_policy=inputs["require_policy"],
            inhibit_mapping=inputs.get("inhibit_mapping", False),
            inhibit_any_policy=inputs.get("inhibit_any_policy", False),
        )

    def _link(self, subject: x509.Name, number: int, issuer: x509.Name, by: int) -> Link:
        return Link(subject, number, issuer, by, serial=next(self._serials), identified=self._identified)

    def _chance(self, share: float) -> bool:
        return self._rnd.random() < share

    def _everyone(self) -> list[Link]:
        return [*self._cas, self._leaf]

    def _some_policies(self) -> None:
        """Every certificate asserts something, mostly with one policy in common."""
        rnd = self._rnd
        if any(link.policies for link in self._everyone()):
            return
        common = rnd.choice(POLICIES)
        for link in self._everyone():
            chosen = set(rnd.sample(POLICIES, rnd.choice((0, 1, 1, 2))))
            if self._chance(0.85):
                chosen.add(common)
            if self._chance(0.15):
                chosen.add(ANY)
            link.policies = tuple(rnd.sample(sorted(chosen), len(chosen)))

    def add_policies(self) -> None:
        self._some_policies()
        rnd = self._rnd
        self._inputs["require_policy"] = self._chance(0.6)
        if self._chance(0.7):
            self._inputs["initial_policies"] = tuple(sorted(rnd.sample(POLICIES, rnd.choice((1, 2, 3)))))

    def add_mappings(self) -> None:
        """A CA renames policies; what lies below it uses the new names, mostly."""
        self._some_policies()
        rnd = self._rnd
        place = rnd.randrange(len(self._cas))
        mapper = self._cas[place]
        if self._chance(0.7):
            mapper.policies = tuple(dict.fromkeys((*mapper.policies, rnd.choice(POLICIES))))
        sources = [p for p in mapper.policies if p != ANY] or list(POLICIES)
        pairs = {(rnd.choice(sources), rnd.choice(POLICIES)) for _ in range(rnd.choice((1, 1, 2, 3)))}
        if self._chance(0.06):
            pairs.add((rnd.choice(POLICIES), ANY) if self._chance(0.5) else (ANY, rnd.choice(POLICIES)))
        mapper.mappings = tuple(sorted(pairs))
        for link in self._everyone()[place + 1 :]:
            if self._chance(0.8):
                link.policies = tuple(dict.fromkeys((*link.policies, rnd.choice(sorted(pairs))[1])))
        self._inputs.setdefault("require_policy", self._chance(0.6))

    def add_policy_constraints(self) -> None:
        if self._chance(0.8):
            self._some_policies()
        link = self._rnd.choice([*self._cas, *self._cas, self._leaf])
        if self._chance(0.75):
            link.explicit = self._rnd.choice((0, 0, 1, 2, 5))
        if link.explicit is None or self._chance(0.5):
            link.inhibit_mapping = self._rnd.choice((0, 0, 1, 2))

    def add_inhibit_any(self) -> None:
        self._some_policies()
        link = self._rnd.choice(self._cas)
        link.inhibit_any = self._rnd.choice((0, 0, 1, 1, 2))
        for below in self._everyone():
            if self._chance(0.3):
                below.policies = tuple(dict.fromkeys((ANY, *(p for p in below.policies if self._chance(0.5)))))
        self._inputs.setdefault("require_policy", self._chance(0.8))

    def add_inputs(self) -> None:
        """What the caller asks for beyond the certificates (RFC 5280 §6.1.1)."""
        self._some_policies()
        self._inputs["require_policy"] = self._chance(0.5)
        self._inputs["inhibit_mapping"] = self._chance(0.5)
        self._inputs["inhibit_any_policy"] = self._chance(0.5)
        if self._chance(0.5):
            self._inputs["initial_policies"] = self._rnd.choice(((), (ANY,), POLICIES[:2], POLICIES))

    def add_name_constraints(self) -> None:
        rnd = self._rnd
        self._leaf.alternatives, more = random_alternatives(rnd)
        if more:
            self._leaf.subject = more
        for link in rnd.sample(self._cas, rnd.choice((1, 1, min(2, len(self._cas))))):
            link.permitted, link.excluded = random_constraints(rnd)

    def add_path_length(self) -> None:
        count = len(self._cas)
        for place in self._rnd.sample(range(count), self._rnd.choice((1, min(2, count)))):
            need = count - 1 - place
            self._cas[place].path_length = max(0, need + self._rnd.choice((-1, -1, 0, 0, 1, 3)))

    def add_self_issued(self) -> None:
        """A CA certifies its own next key; what it issued is issued by that key from then on."""
        place = self._rnd.randrange(len(self._cas))
        first = self._cas[place]
        second = self._link(first.subject, next(self._keys), first.subject, first.key)
        second.policies = first.policies if self._chance(0.8) else ()
        below = self._everyone()[place + 1]
        below.by = second.key
        self._cas.insert(place + 1, second)
        if self._chance(0.2):
            second.path_length = self._rnd.choice((0, 1, 3))
        if self._chance(0.12):
            second.usage = ("digital_signature",)
        if self._chance(0.12):
            self._leaf.issuer, self._leaf.by = first.subject, self._rnd.choice((first.key, second.key))

    def add_rollover(self) -> None:
        """Two keys of one CA certified by each other, and loop bait; sometimes the superior knows both."""
        rnd = self._rnd
        old = rnd.choice(self._cas)
        new = next(self._keys)
        cross = [self._link(old.subject, new, old.subject, old.key), self._link(old.subject, old.key, old.subject, new)]
        for link in cross:
            link.policies = old.policies
        self._extra += cross if self._chance(0.75) else cross[1:]
        if self._chance(0.3):
            direct = self._link(old.subject, new, old.issuer, old.by)
            direct.policies, direct.path_length = old.policies, rnd.choice((None, None, 0))
            self._extra.append(direct)
        for link in self._everyone():
            if link.issuer == old.subject and link.by == old.key and link is not old:
                link.by = new

    def add_crls(self) -> None:
        self._crls = revoking.crls(self._rnd, [*self._extra, *self._everyone()])

    def add_dates(self) -> None:
        link = self._rnd.choice(self._everyone())
        day = timedelta(days=1)
        link.start, link.end = self._rnd.choice(
            (
                (-30 * day, timedelta(0)),
                (timedelta(0), 30 * day),
                (-30 * day, timedelta(minutes=1)),
                (-70 * 365 * day, 6000 * 365 * day),
                (-30 * day, -timedelta(minutes=1)),
                (timedelta(minutes=1), day),
                (-60 * day, -30 * day),
            )
        )

    def add_signatures(self) -> None:
        """A spoilt signature, a wrong key, or another certificate of the same name that leads nowhere."""
        link = self._rnd.choice(self._everyone())
        way = self._rnd.choice(("spoilt", "key", "bait", "bait", "name", "bait"))
        if way == "spoilt":
            link.spoilt = True
        elif way == "key":
            link.by = next(self._keys)
        elif way == "name":
            link.issuer = pki.name("Nobody")
        else:
            bait = self._link(link.issuer, next(self._keys), self._anchor.subject, 39)
            self._extra += [bait, self._link(link.issuer, next(self._keys), link.issuer, bait.key)]

    def add_usages(self) -> None:
        link = self._rnd.choice(self._cas)
        way = self._rnd.randrange(6)
        if way == 0:
            link.usage = ("crl_sign",)
        elif way == 1:
            link.basic = False
        elif way == 2:
            link.is_ca, link.usage = False, ("key_cert_sign", "crl_sign")
        elif way == 3:
            link.usage = ("key_cert_sign",)
        else:
            link.usage = ("key_cert_sign", "crl_sign", "digital_signature")

    def add_critical(self) -> None:
        self._rnd.choice(self._everyone()).critical = self._rnd.choice(("critical", "known"))


def build(link: Link) -> bytes:
    """The DER of a link."""
    builder = x509.CertificateBuilder().subject_name(link.subject).issuer_name(link.issuer)
    builder = builder.public_key(key(link.key).public_key()).serial_number(link.serial)
    builder = builder.not_valid_before(AT + link.start).not_valid_after(AT + link.end)
    identifiers = [
        (x509.SubjectKeyIdentifier.from_public_key(key(link.key).public_key()), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(key(link.by).public_key()), False),
    ]
    for value, critical in [*(identifiers if link.identified else ()), *extensions(link)]:
        builder = builder.add_extension(value, critical)
    made = pki.der(builder.sign(key(link.by), hashes.SHA256(), ecdsa_deterministic=True))
    return made[:-1] + bytes([made[-1] ^ 1]) if link.spoilt else made


def extensions(link: Link) -> Iterable[pki.Extension]:
    """A link's extensions."""
    usage = link.usage or (("key_cert_sign", "crl_sign") if link.is_ca else ("digital_signature",))
    if link.basic and link.is_ca:
        yield x509.BasicConstraints(ca=True, path_length=link.path_length), True
    yield pki.usage(*usage)
    if link.policies:
        yield pki.policies(*link.policies)
    if link.mappings:
        yield pki.mappings(link.mappings)
    if link.explicit is not None or link.inhibit_mapping is not None:
        yield x509.PolicyConstraints(link.explicit, link.inhibit_mapping), True
    if link.inhibit_any is not None:
        yield x509.InhibitAnyPolicy(link.inhibit_any), True
    if link.permitted or link.excluded:
        yield x509.NameConstraints(link.permitted or None, link.excluded or None), True
    if link.alternatives:
        yield x509.SubjectAlternativeName(link.alternatives), False
    if link.critical:
        yield pki.unknown(critical=link.critical == "critical")
    yield from link.more
