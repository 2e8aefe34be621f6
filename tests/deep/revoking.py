"""CRLs for generated chains: one for each key that issues, harmless or harmful in one of many ways."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from tests import pki

if TYPE_CHECKING:
    from tests.deep.chains import Link

HOUR = timedelta(hours=1)
POINT = "http://crl.example.cn/1"
GOOD = ("plain", "other_serial", "scoped_right", "reasons_whole", "delta_good", "point_right", "old_and_new", "known")
BAD = (
    "revoked",
    "stale",
    "future",
    "missing",
    "spoilt",
    "wrong_key",
    "critical",
    "scoped_wrong",
    "reasons_part",
    "delta_revokes",
    "point_wrong",
    "attribute",
    "entry_critical",
)
Extensions = list[pki.Extension]


def crls(rnd: random.Random, links: Sequence[Link]) -> list[bytes]:
    """CRLs of every issuer of `links` (leaf last), all good but one, which is drawn."""
    issuers: dict[tuple[bytes, int], list[Link]] = {}
    for link in links:
        issuers.setdefault((link.issuer.public_bytes(), link.by), []).append(link)
    special = rnd.choice(list(issuers))
    way = rnd.choice(GOOD if rnd.random() < 0.6 else BAD)
    made: list[bytes] = []
    for place, issued in issuers.items():
        made += _way(rnd, way if place == special else "plain", issued)
    rnd.shuffle(made)
    return made


def _way(rnd: random.Random, way: str, issued: list[Link]) -> list[bytes]:
    target = issued[-1]
    issuer, by, serial = target.issuer, target.by, target.serial
    if way == "missing":
        return []
    if way in ("scoped_right", "scoped_wrong"):
        right = way == "scoped_right"
        kinds = {link.is_ca for link in issued}
        flags = [idp(user=not ca if right else ca, ca=ca if right else not ca) for ca in sorted(kinds)]
        return [crl(issuer, by, extensions=[flag]) for flag in (flags if right else flags[:1])]
    if way in ("reasons_whole", "reasons_part"):
        every = [flag for flag in x509.ReasonFlags if flag.value not in ("unspecified", "removeFromCRL")]
        cut = rnd.randrange(1, len(every) - 1)
        parts = [every[:cut], every[cut:]]
        return [crl(issuer, by, extensions=[idp(reasons=p)]) for p in (parts if way == "reasons_whole" else parts[:1])]
    if way in ("delta_good", "delta_revokes"):
        for link in issued:
            link.more.append((x509.FreshestCRL([_point(POINT)]), False))
        base = crl(issuer, by, number=5, extensions=[(x509.FreshestCRL([_point(POINT)]), False)])
        revoked = (serial,) if way == "delta_revokes" else (7,)
        return [base, crl(issuer, by, revoked, number=6, issued=-HOUR, extensions=[(x509.DeltaCRLIndicator(5), True)])]
    if way in ("point_right", "point_wrong"):
        for link in issued:
            link.more.append((x509.CRLDistributionPoints([_point(POINT)]), False))
        return [crl(issuer, by, extensions=[idp(point=POINT if way == "point_right" else POINT + "2")])]
    if way == "old_and_new":
        return [crl(issuer, by, number=1, issued=-9 * HOUR, until=-HOUR), crl(issuer, by, number=2)]
    return [_single(way, issuer, by, serial)]


def _single(way: str, issuer: x509.Name, by: int, serial: int) -> bytes:
    if way == "revoked":
        return crl(issuer, by, (3, serial, 4))
    if way == "other_serial":
        return crl(issuer, by, (3, 4, 5000))
    if way == "stale":
        return crl(issuer, by, issued=-9 * HOUR, until=-HOUR)
    if way == "future":
        return crl(issuer, by, issued=HOUR, until=9 * HOUR)
    if way == "spoilt":
        made = crl(issuer, by)
        return made[:-1] + bytes([made[-1] ^ 1])
    if way == "wrong_key":
        return crl(issuer, 38)
    if way in ("critical", "known"):
        return crl(issuer, by, extensions=[pki.unknown(critical=way == "critical")])
    if way == "attribute":
        return crl(issuer, by, extensions=[idp(attribute=True)])
    if way == "entry_critical":
        return crl(issuer, by, (7,), entry=pki.unknown(critical=True))
    return crl(issuer, by)


def idp(
    *,
    user: bool = False,
    ca: bool = False,
    attribute: bool = False,
    reasons: Sequence[x509.ReasonFlags] | None = None,
    point: str | None = None,
) -> pki.Extension:
    """A critical issuingDistributionPoint."""
    names = None if point is None else [x509.UniformResourceIdentifier(point)]
    some = None if reasons is None else frozenset(reasons)
    return x509.IssuingDistributionPoint(names, None, user, ca, some, False, attribute), True


def _point(address: str) -> x509.DistributionPoint:
    return x509.DistributionPoint([x509.UniformResourceIdentifier(address)], None, None, None)


def crl(
    issuer: x509.Name,
    by: int,
    revoked: Sequence[int] = (),
    *,
    number: int = 5,
    issued: timedelta = -2 * HOUR,
    until: timedelta = 20 * HOUR,
    extensions: Sequence[pki.Extension] = (),
    entry: pki.Extension | None = None,
) -> bytes:
    """The DER of a CRL."""
    from tests.deep.chains import key  # noqa: PLC0415 - the two modules need each other

    builder = x509.CertificateRevocationListBuilder().issuer_name(issuer)
    builder = builder.last_update(pki.NOW + issued).next_update(pki.NOW + until)
    builder = builder.add_extension(x509.CRLNumber(number), critical=False)
    for value, critical in extensions:
        builder = builder.add_extension(value, critical)
    for serial in revoked:
        one = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(pki.NOW - 3 * HOUR)
        if entry is not None:
            one = one.add_extension(*entry)
        builder = builder.add_revoked_certificate(one.build())
    return pki.der(builder.sign(key(by), hashes.SHA256(), ecdsa_deterministic=True))
