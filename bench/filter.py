"""K=filter: a CRL as a filter beside the whole: octets, look-up and load time, and no false no over all entries.

Then the decision by numbers: 30 CAs with 10⁴ to 10⁶ certificates each, 0.5 to 3 % revoked (docs/adr/0009).
"""

from __future__ import annotations

import hashlib
import math
import random
import statistics
import time
import zlib
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bench.crl import build as crl_of
from ca_bridge.asn1.crl import Crl, parse_crl
from ca_bridge.revocation.crl import signed
from ca_bridge.trust.filter import build, parse_filter
from nodes.filters import worth

OTHERS = 100_000
ASKED = 10_000
ROUNDS = 5
CAS = 30


def run() -> None:
    """Print `bytes`, `rate` and `ratio` lines for CRLs of 3,000 and 30,000 entries (of 100,000 and 1,000,000)."""
    key = ec.generate_private_key(ec.SECP256R1())
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    for name, revoked in (("3k_of_100k", 3_000), ("30k_of_1m", 30_000)):
        _one(name, parse_crl(crl_of(revoked, key)), spki)
    _federation(key, hashlib.sha256(spki).hexdigest())


def sizes(count: int, chance: random.Random) -> list[int]:
    """Entries of `count` CRLs: certificates a CA and shares spread evenly by their logarithm."""

    def between(low: float, high: float) -> float:
        return math.exp(chance.uniform(math.log(low), math.log(high)))

    return [int(between(1e4, 1e6) * between(0.005, 0.03)) for _ in range(count)]


def _one(name: str, crl: Crl, spki: bytes) -> None:
    data = build(crl, hashlib.sha256(spki).hexdigest(), "")
    serials = list(crl.entries.serials())
    chance = random.Random(2)
    good = [chance.getrandbits(120) for _ in range(OTHERS)]
    found = parse_filter(data)
    missed = sum(not found.may_list(crl.issuer, serial) for serial in serials)
    needless = sum(found.may_list(crl.issuer, serial) for serial in good)
    print(f"bytes filter.{name} {len(data)}")
    print(f"bytes filter.{name}.whole {len(crl.der)}")
    print(f"ratio filter.{name}.whole_to_filter {len(crl.der) / len(data):.1f}")
    print(f"ratio filter.{name}.octets_an_entry {len(data) / crl.count:.3f}")
    print(f"ratio filter.{name}.false_no {missed}")
    print(f"ratio filter.{name}.needless_look_ups {needless / len(good):.6f}")
    loads: tuple[Callable[[], object], Callable[[], object]] = (
        lambda: (parse_filter.cache_clear(), parse_filter(data)),
        lambda: signed(parse_crl(crl.der), spki, ""),
    )
    some = good[:ASKED]
    asks: tuple[Callable[[], object], Callable[[], object]] = (
        lambda: [found.may_list(crl.issuer, serial) for serial in some],
        lambda: [crl.may_list(crl.issuer, serial) for serial in some],
    )
    for what, pair, count, unit in (("load", loads, crl.count, "entries/s"), ("look_up", asks, ASKED, "look-ups/s")):
        ours, whole = _medians(*pair)
        print(f"rate filter.{name}.{what} {count / ours:.0f} {unit}")
        print(f"ratio filter.{name}.{what}_to_whole {whole / ours:.3f}")


def _medians(*steps: Callable[[], object]) -> list[float]:
    """CPU seconds of each, medians of interleaved rounds."""
    spent: list[list[float]] = [[] for _ in steps]
    for _ in range(ROUNDS):
        for step, times in zip(steps, spent, strict=True):
            started = time.process_time()
            step()
            times.append(time.process_time() - started)
    return [statistics.median(times) for times in spent]


def _federation(key: ec.EllipticCurvePrivateKey, spki_sha256: str) -> None:
    entries = sizes(CAS, random.Random(1))
    wholes = [crl_of(count, key) for count in entries]
    filters = [build(parse_crl(whole), spki_sha256, "") for whole in wholes]
    sent = [made if worth(whole, made) else whole for whole, made in zip(wholes, filters, strict=True)]
    print(f"bytes filter.federation.entries {sum(entries)}")
    print(f"bytes filter.federation.whole {sum(map(len, wholes))}")
    print(f"bytes filter.federation.whole_deflated {sum(len(zlib.compress(whole, 9)) for whole in wholes)}")
    print(f"bytes filter.federation.filters {sum(map(len, sent))}")
