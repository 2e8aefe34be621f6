"""The certificates of K=equality: every demo person's, as they are and in forty ways wrong.

Each is made from a row of `demo/personas.toml`, so that all CAs, algorithms, the border and the trust list take part;
what its CA signs again is wrong in one thing only. Which row, which way and which time: by the seed. Keys are new.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from asn1crypto import core, x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from ca_bridge.crypto.sm2 import DEFAULT_ID
from ca_bridge.identity.numbers import cn_id_check
from demo.personas import Persona
from demo.pki import certificates, keys
from demo.pki.authorities import Authorities
from demo.pki.certificates import Extension
from demo.pki.holders import issue_holder
from demo.pki.keys import Key

KINDS = ("rsa-2048", "ecdsa-p256", "ecdsa-p384", "sm2")
_KEYS = 3
_POLICIES = ("2.16.156.99.1.3", "2.16.446.99.5.1", "2.16.446.99.5.2", "2.5.29.32.0", "2.16.344.99.2.2008.810.2.1.1.1")
_PLAIN = 0.3
_USAGES = ("key_encipherment", "non_repudiation", "key_cert_sign", "digital_signature")
_PURPOSES = ("server_auth", "client_auth", "code_signing", "ocsp_signing")
Tbs = x509.TbsCertificate


@dataclass(frozen=True, slots=True)
class Sample:
    """One certificate, and when it is judged."""

    way: str
    """How it was made: `plain`, or what is wrong with it."""
    ca: str
    authority: str
    """Whose key signed it."""
    serial: int
    at: datetime
    leaf: bytes


class Maker:
    """Makes certificates of the demo's authorities, valid around `now`."""

    def __init__(self, authorities: Authorities, now: datetime, seed: int) -> None:
        self._authorities = authorities
        self._now = now
        self._random = random.Random(seed)
        self._keys = {kind: [keys.generate(kind) for _ in range(_KEYS)] for kind in KINDS}
        self._odd = [
            _odd(key) for key in (rsa.generate_private_key(65537, 1024), ec.generate_private_key(ec.SECP521R1()))
        ]
        self._odd.append(_odd(ed25519.Ed25519PrivateKey.generate()))
        self._ways: Sequence[tuple[str, Callable[[Persona], tuple[Persona, bytes, int]]]] = [
            *((f"wish_{name}", self._wishing(change)) for name, change in _WISHES.items()),
            *((f"signed_{name}", self._resigning(change)) for name, change in _CHANGES.items()),
            *((f"octets_{name}", self._spoiling(change)) for name, change in _OCTETS.items()),
            ("other_issuer", self._other_issuer),
            ("odd_key", self._odd_key),
        ]

    def make(self, count: int) -> Iterator[Sample]:
        """`count` certificates, each different."""
        people = self._authorities.federation.personas
        for number in range(count):
            person = self._somebody(people[number % len(people)])
            way, how = ("plain", self._plain)
            if self._random.random() >= _PLAIN:
                way, how = self._ways[number // len(people) % len(self._ways)]
            person, leaf, serial = how(person)
            yield Sample(way, person.ca, person.issuer, serial, self._time(), leaf)

    def _somebody(self, person: Persona) -> Persona:
        """The same certificate for somebody else, where the number is one of the mainland's; some stay who they are."""
        rows = person.certificate.get("extensions", ())
        known = {value for kind, _, value in person.identifiers if kind == "cn-id"}
        if self._random.random() < 0.2 or not known:
            return person
        digits = f"44018419{self._random.randrange(40, 99)}{self._random.randrange(1, 13):02}"
        digits += f"{self._random.randrange(1, 29):02}{self._random.randrange(1000):03}"
        fresh = digits + cn_id_check(digits)
        changed = [{**row, "value": fresh if row["value"] in known else row["value"]} for row in rows]
        return _with(person, extensions=changed)

    def _time(self) -> datetime:
        """Mostly now; sometimes an edge of validity, or a time at which CRLs are stale or not yet made."""
        if self._random.random() < 0.85:
            return self._now
        days = self._random.choice((-500, -2, -1, 1, 4, 60, 730, 8000))
        return self._now + timedelta(days=days, seconds=self._random.choice((-1, 0, 1)))

    def _issue(self, person: Persona, key: Key | None = None) -> tuple[bytes, int]:
        serial = certificates.new_serial()
        chosen = key or self._random.choice(self._keys[person.key_kind])
        return issue_holder(self._authorities, person, chosen, serial, self._now), serial

    def _plain(self, person: Persona) -> tuple[Persona, bytes, int]:
        return person, *self._issue(person)

    def _wishing(self, change: Callable[[random.Random, Mapping[str, Any]], Mapping[str, Any]]) -> Any:
        def how(person: Persona) -> tuple[Persona, bytes, int]:
            return person, *self._issue(_with(person, **change(self._random, person.certificate)))

        return how

    def _resigning(self, change: Callable[[random.Random, Tbs], None]) -> Any:
        def how(person: Persona) -> tuple[Persona, bytes, int]:
            leaf, serial = self._issue(person)
            tbs = x509.Certificate.load(leaf)["tbs_certificate"].copy()
            change(self._random, tbs)
            issuer = self._authorities.key(person.issuer)
            signed = certificates._signed(tbs, issuer, person.certificate.get("sm2_id", DEFAULT_ID))
            return person, signed, serial

        return how

    def _spoiling(self, change: Callable[[random.Random, bytes], bytes]) -> Any:
        def how(person: Persona) -> tuple[Persona, bytes, int]:
            leaf, serial = self._issue(person)
            return person, change(self._random, leaf), serial

        return how

    def _other_issuer(self, person: Persona) -> tuple[Persona, bytes, int]:
        """Signed by any authority's key, the bridge's and those of roots too, under that authority's name."""
        other = replace(person, issuer=self._random.choice(sorted(self._authorities.keys)))
        return other, *self._issue(other)

    def _odd_key(self, person: Persona) -> tuple[Persona, bytes, int]:
        return person, *self._issue(person, self._random.choice([*self._odd, *(k[0] for k in self._keys.values())]))


def _odd(private: Any) -> Key:
    public = private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return Key("odd", public, private)


def _with(person: Persona, **fields: Any) -> Persona:
    return replace(person, certificate={**person.certificate, **fields})


def _other_subject(source: random.Random, old: Mapping[str, Any]) -> Mapping[str, Any]:
    pairs = [list(pair) for pair in old["subject"]]
    pair = source.choice(pairs)
    printable = pair[0] in {"C", "serialNumber"}
    pair[1] = source.choice(
        ("HK", "x", "A  b") if printable else ("广西", "个人证书", "市民证书", "\U00020bb7", "A  b")
    )
    return {"subject": pairs}


def _other_number(source: random.Random, old: Mapping[str, Any]) -> Mapping[str, Any]:
    rows = [dict(row) for row in old.get("extensions", ())]
    for row in rows:
        place = source.randrange(len(row["value"]))
        row["value"] = row["value"][:place] + source.choice("0123456789X ") + row["value"][place + 1 :]
    return {"extensions": rows}


_WISHES: Mapping[str, Callable[[random.Random, Mapping[str, Any]], Mapping[str, Any]]] = {
    "expired": lambda r, _: {"days": (-800, -r.randrange(1, 300))},
    "not_yet": lambda r, _: {"days": (r.randrange(1, 300), 800)},
    "ends_now": lambda *_: {"days": (-700, 0)},
    "begins_now": lambda *_: {"days": (0, 700)},
    "usage": lambda r, _: {
        "usage": {r.choice(("key_encipherment", "non_repudiation", "key_cert_sign", "digital_signature"))}
    },
    "extended": lambda r, _: {
        "extended_usage": [r.choice(("server_auth", "client_auth", "code_signing", "ocsp_signing"))]
    },
    "policies": lambda r, _: {"policies": r.sample(_POLICIES, r.randrange(1, 4))},
    "no_policies": lambda *_: {"policies": []},
    "hosts": lambda r, _: {"hosts": [f"n{r.randrange(99)}.example"]},
    "subject": _other_subject,
    "number": _other_number,
    "no_number": lambda *_: {"extensions": []},
    "sm2_id": lambda *_: {"sm2_id": "other"},
}


def _serial(value: int) -> Callable[[random.Random, Tbs], None]:
    def change(_: random.Random, tbs: Tbs) -> None:
        tbs["serial_number"] = value

    return change


def _adding(oid: str, critical: bool) -> Callable[[random.Random, Tbs], None]:
    def change(_: random.Random, tbs: Tbs) -> None:
        found = Extension(oid, critical, core.Null())
        value = core.ParsableOctetString(found.value.dump())
        tbs["extensions"].append({"extn_id": oid, "critical": critical, "extn_value": value})

    return change


def _without(*names: str) -> Callable[[random.Random, Tbs], None]:
    def change(_: random.Random, tbs: Tbs) -> None:
        tbs["extensions"] = [row for row in tbs["extensions"] if row["extn_id"].native not in names]

    return change


def _twice(source: random.Random, tbs: Tbs) -> None:
    tbs["extensions"].append(tbs["extensions"][source.randrange(len(tbs["extensions"]))].copy())


def _authority(_: random.Random, tbs: Tbs) -> None:
    for row in tbs["extensions"]:
        if row["extn_id"].native == "basic_constraints":
            row["extn_value"] = core.ParsableOctetString(x509.BasicConstraints({"ca": True}).dump())


def _empty_subject(_: random.Random, tbs: Tbs) -> None:
    tbs["subject"] = certificates.name([])


def _other_name(_: random.Random, tbs: Tbs) -> None:
    tbs["issuer"] = certificates.name([("C", "CN"), ("CN", "nobody")])


def _swapped_dates(_: random.Random, tbs: Tbs) -> None:
    dates = tbs["validity"]
    tbs["validity"] = {"not_before": dates["not_after"].copy(), "not_after": dates["not_before"].copy()}


def _version(_: random.Random, tbs: Tbs) -> None:
    tbs["version"] = "v1"


_CHANGES: Mapping[str, Callable[[random.Random, Tbs], None]] = {
    "serial_zero": _serial(0),
    "serial_negative": _serial(-5),
    "serial_long": _serial(1 << 200),
    "critical": _adding("1.3.6.1.4.1.99999.7", True),
    "extension": _adding("1.3.6.1.4.1.99999.7", False),
    "twice": _twice,
    "authority": _authority,
    "no_constraints": _without("basic_constraints"),
    "no_usage": _without("key_usage"),
    "no_identifiers": _without("key_identifier", "authority_key_identifier"),
    "no_points": _without("crl_distribution_points"),
    "bare": _without("basic_constraints", "key_usage", "crl_distribution_points", "authority_key_identifier"),
    "empty_subject": _empty_subject,
    "issuer_name": _other_name,
    "dates": _swapped_dates,
    "version": _version,
}


def _flip(source: random.Random, leaf: bytes) -> bytes:
    octets = bytearray(leaf)
    octets[source.randrange(len(octets))] ^= 1 << source.randrange(8)
    return bytes(octets)


def _spliced(source: random.Random, leaf: bytes) -> bytes:
    start, length = source.randrange(len(leaf)), source.randrange(1, 40)
    return leaf[:start] + source.randbytes(length) + leaf[start + source.randrange(40) :]


_OCTETS: Mapping[str, Callable[[random.Random, bytes], bytes]] = {
    "flip": _flip,
    "signature": lambda r, leaf: leaf[: -r.randrange(1, 60)] + r.randbytes(60)[: r.randrange(1, 60)],
    "truncated": lambda r, leaf: leaf[: r.randrange(len(leaf))],
    "trailing": lambda r, leaf: leaf + r.randbytes(r.randrange(1, 9)),
    "spliced": _spliced,
    "noise": lambda r, _: r.randbytes(r.randrange(2000)),
    "indefinite": lambda _, leaf: b"\x30\x80" + leaf[4:] + b"\0\0",
    "long": lambda _, leaf: leaf[:4] + leaf[4:] * 40,
}
