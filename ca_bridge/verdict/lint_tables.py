"""Findings about certificates one by one – keys, algorithms, dates, names – and about the bundle's tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from ca_bridge.asn1.certificate import Certificate
from ca_bridge.asn1.names import Normalised
from ca_bridge.asn1.oids import ANY_POLICY
from ca_bridge.crypto import signatures
from ca_bridge.errors import CryptoError
from ca_bridge.trust.bundle import Bundle
from ca_bridge.trust.lists import ListEntry
from ca_bridge.trust.profile import Profile
from ca_bridge.trust.rules import Denial
from ca_bridge.verdict.lint_paths import Paths
from ca_bridge.verdict.lint_rules import Finding, named


def findings(paths: Paths, now: datetime, left: timedelta) -> Iterator[Finding]:
    """Everything wrong with single certificates and rows at `now`; `left`: how much time a certificate must have."""
    bundle = paths.snapshot.bundle
    yield from _strength(bundle)
    yield from _dates(bundle, now, left)
    yield from _names(bundle)
    yield from _profiles(paths)
    yield from _orphans(paths)
    yield from _lists(paths, now, left)
    for denial in bundle.denials:
        if not _hits(bundle, denial):
            what = denial.domain or denial.key or denial.certificate
            yield Finding("lint.denial", f"denial of {what}", "no profile, CA key or issuer in the bundle is meant")
    known = {profile.accreditation for profile in bundle.profiles.values()}
    for row in bundle.policy.equivalent:
        for accreditation in sorted(set(row.accreditations) - known):
            yield Finding("lint.accreditation", f"policy.toml: {accreditation}", f"named equal for {row.type.value}")
    if not bundle.levels.ways:
        yield Finding("lint.no_way", "levels.toml", "no way to sign in has a ceiling: every way is closed")


def _every(bundle: Bundle) -> list[Certificate]:
    listed = [c for entry in bundle.lists for c in (entry.signing, entry.root)]
    return list({c.sha256: c for c in (*bundle.anchors, *bundle.certificates, *listed)}.values())


def _strength(bundle: Bundle) -> Iterator[Finding]:
    trusted = {c.sha256 for c in (*bundle.anchors, *(entry.root for entry in bundle.lists))}
    for certificate in _every(bundle):
        try:
            signatures.key_kind(certificate.spki)
        except CryptoError as error:
            yield Finding("lint.weak_key", named(certificate), f"{error.code}: {error.detail}")
        # What a trust anchor signed itself with proves nothing and is not looked at (RFC 5280 §6.1).
        if certificate.sha256 not in trusted and certificate.signature_algorithm not in signatures.ALGORITHMS:
            yield Finding("lint.weak_algorithm", named(certificate), f"signed by {certificate.signature_algorithm}")
    for crl in bundle.crls:
        if crl.signature_algorithm not in signatures.ALGORITHMS:
            subject = f"CRL of {crl.issuer.text} ({crl.sha256[:16]})"
            yield Finding("lint.weak_algorithm", subject, f"signed by {crl.signature_algorithm}")


def _dates(bundle: Bundle, now: datetime, left: timedelta) -> Iterator[Finding]:
    """A certificate that another one for the same name and key has replaced may be as old as it likes."""
    every = _every(bundle)
    for certificate in every:
        if now < certificate.not_before:
            yield Finding("lint.ca_not_yet_valid", named(certificate), f"from {certificate.not_before.isoformat()}")
        if certificate.not_after >= now + left or _replaced(certificate, every, now, left):
            continue
        code = "lint.ca_expired" if certificate.not_after < now else "lint.ca_expiring"
        yield Finding(code, named(certificate), f"to {certificate.not_after.isoformat()}")


def _replaced(certificate: Certificate, every: Iterable[Certificate], now: datetime, left: timedelta) -> bool:
    return any(
        other.spki_sha256 == certificate.spki_sha256
        and other.subject.normalised == certificate.subject.normalised
        and other.issuer.normalised == certificate.issuer.normalised
        and other.not_before <= now
        and other.not_after >= now + left
        for other in every
    )


def _names(bundle: Bundle) -> Iterator[Finding]:
    """Two keys under one name: a change of key that a profile or a self-issued certificate tells of, or two CAs."""
    every = _every(bundle)
    keys: dict[Normalised, dict[str, Certificate]] = defaultdict(dict)
    for certificate in every:
        keys[certificate.subject.normalised].setdefault(certificate.spki_sha256, certificate)
    anchors = {c.sha256 for c in bundle.anchors}
    linked = {c.spki_sha256 for c in every if c.self_issued and c.sha256 not in anchors}
    for found in keys.values():
        together = any(set(found) <= set(profile.keys) for profile in bundle.profiles.values())
        if len(found) > 1 and not together and len(set(found) - linked) > 1:
            first, *others = found.values()
            detail = "another key under this name: " + ", ".join(c.sha256[:16] for c in others)
            yield Finding("lint.same_name_two_keys", named(first), detail)


def _profiles(paths: Paths) -> Iterator[Finding]:
    bundle = paths.snapshot.bundle
    listed = {e.entry.signing.spki_sha256 for es in paths.snapshot.compiled.lists.values() for e in es}
    for profile in sorted(bundle.profiles.values(), key=lambda p: p.id):
        reached = [key for key in profile.keys if key in paths.by_key or key in listed]
        if not reached:
            yield Finding("lint.profile_unreached", f"profile {profile.id}", "no path and no list leads to its keys")
            continue
        for key in sorted(set(profile.keys) - set(reached)):
            yield Finding("lint.profile_key_unreached", f"profile {profile.id}", f"no way leads to key {key[:16]}")
        yield from _types(paths, profile, reached)


def _types(paths: Paths, profile: Profile, reached: list[str]) -> Iterator[Finding]:
    """Types whose holders get no level whatever their certificate says (design §3)."""
    levels = paths.snapshot.bundle.levels
    brought = frozenset[str]().union(*(paths.reachable_policies(key) for key in reached))
    asserted = bool(brought & set(levels.policies)) or (ANY_POLICY in brought and bool(levels.policies))
    for kind in profile.types:
        subject = f"profile {profile.id}, type {kind.id}"
        if levels.assigned_level(profile.id, kind.id) is None and not asserted:
            yield Finding("lint.type_without_level", subject, "no row assigns a level and no policy can reach one")
        elif kind.storage not in levels.storage:
            yield Finding("lint.type_without_level", subject, f"storage {kind.storage} has no ceiling")


def _orphans(paths: Paths) -> Iterator[Finding]:
    """Keys at the end of a path, with nothing below them and no profile: they can only have issued leaves."""
    known = paths.snapshot.compiled.by_key
    for certificate in paths.snapshot.bundle.certificates:
        key = certificate.spki_sha256
        below = [c for c in paths.issued.get((certificate.subject.normalised, key), []) if not c.self_issued]
        if key in paths.by_key and key not in known and not below and certificate.is_ca:
            yield Finding("lint.no_profile", named(certificate), f"key {key[:16]} has no profile and no CA below it")


def _lists(paths: Paths, now: datetime, left: timedelta) -> Iterator[Finding]:
    good = {id(e.entry) for es in paths.snapshot.compiled.lists.values() for e in es}
    entries = paths.snapshot.bundle.lists
    for entry in entries:
        subject = f"list entry of {entry.ca}, {entry.type_name}"
        if id(entry) not in good:
            yield Finding("lint.list_entry", subject, "its root did not sign its signing CA, or one is no CA")
        if entry.valid_to >= now + left or _followed(entry, entries, now + left):
            continue
        code = "lint.list_entry_expired" if entry.valid_to < now else "lint.list_entry_expiring"
        yield Finding(code, subject, f"to {entry.valid_to.isoformat()}")


def _followed(entry: ListEntry, entries: Iterable[ListEntry], until: datetime) -> bool:
    """Past entries stay so that a past date can be judged; a later one for the same CA and type is what counts."""
    return any(
        (other.ca, other.type_name) == (entry.ca, entry.type_name) and other.valid_to >= until for other in entries
    )


def _hits(bundle: Bundle, denial: Denial) -> bool:
    if denial.domain is not None:
        domains = {profile.domain for profile in bundle.profiles.values()}
        return any(domain == denial.domain or domain.startswith(denial.domain + "/") for domain in domains)
    keys = {c.spki_sha256 for c in _every(bundle)}
    if denial.key is not None:
        return denial.key in keys
    return (denial.certificate or "").partition(":")[0] in keys
