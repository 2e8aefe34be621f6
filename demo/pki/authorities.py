"""Keys and certificates of the federation's authorities, and the lists of what they revoked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from ca_bridge.files import write_atomically
from demo.pki import certificates, keys
from demo.pki.certificates import Extension, Template
from demo.pki.description import Authority, Crossing, Federation
from demo.pki.keys import Key

Revoked = Mapping[str, Sequence[tuple[int, datetime]]]
"""Authority → (serial number, time of revocation)."""


@dataclass(frozen=True, slots=True)
class Authorities:
    """Every authority's key."""

    federation: Federation
    keys: Mapping[str, Key]

    def key(self, authority: str) -> Key:
        """The authority's key."""
        return self.keys[authority]

    def row(self, authority: str) -> Authority:
        """The authority's description."""
        return self.federation.authorities[authority]


def generate_authorities(federation: Federation, folder: Path) -> Authorities:
    """New keys for every authority, saved in `folder` (mode 0600)."""
    made = {row.id: keys.generate(row.key_kind) for row in federation.authorities.values()}
    for name, key in made.items():
        keys.save(key, folder / f"{name}.pem")
    return Authorities(federation, made)


def load_authorities(federation: Federation, folder: Path) -> Authorities:
    """The keys that `generate_authorities` saved."""
    rows = federation.authorities.values()
    return Authorities(federation, {row.id: keys.load(folder / f"{row.id}.pem", row.key_kind) for row in rows})


def crl_url(authority: str) -> str:
    """Where the authority's certificates say that its list is; a name that nobody resolves: nodes read the bundle."""
    return f"http://crl.demo.invalid/{authority}.crl"


def write_certificates(authorities: Authorities, folder: Path, built: datetime) -> None:
    """Every row of `[[certificates]]` as a PEM file in `folder`."""
    for crossing in authorities.federation.crossings:
        der = issue_authority(authorities, crossing, built)
        write_atomically(folder / crossing.file, certificates.pem(der).encode())


def issue_authority(authorities: Authorities, crossing: Crossing, built: datetime) -> bytes:
    """One CA certificate in DER."""
    subject, issuer = authorities.key(crossing.subject), authorities.key(crossing.issuer)
    first, last = authorities.federation.authority_days
    template = Template(
        subject=authorities.row(crossing.subject).subject,
        issuer=authorities.row(crossing.issuer).subject,
        spki=subject.spki,
        not_before=built + timedelta(days=first),
        not_after=built + timedelta(days=last),
        extensions=certificates.authority_extensions(
            subject,
            issuer,
            path_length=crossing.path_length,
            extra=_constraints(crossing),
            crl_url=None if crossing.self_signed else crl_url(crossing.issuer),
        ),
    )
    return certificates.issue(template, issuer, certificates.new_serial())


def write_crls(authorities: Authorities, folder: Path, revoked: Revoked, now: datetime) -> dict[str, Path]:
    """A fresh CRL of every published authority in `folder`; returns the files by authority."""
    rows = [row.id for row in authorities.federation.authorities.values() if row.published]
    return {row: write_crl(authorities, row, folder, revoked.get(row, ()), now) for row in rows}


def write_crl(
    authorities: Authorities, authority: str, folder: Path, revoked: Sequence[tuple[int, datetime]], now: datetime
) -> Path:
    """The authority's CRL, replaced whole. Its number is the time in milliseconds: it never falls."""
    der = certificates.issue_crl(
        authorities.row(authority).subject,
        authorities.key(authority),
        revoked,
        number=int(now.timestamp() * 1000),
        this_update=now,
        next_update=now + timedelta(days=authorities.federation.crl_days),
    )
    path = folder / f"{authority}.crl"
    write_atomically(path, der)
    return path


def _constraints(crossing: Crossing) -> tuple[Extension, ...]:
    extra: list[Extension] = []
    if crossing.policies:
        extra.append(certificates.policies(crossing.policies))
    if crossing.mappings:
        extra.append(certificates.policy_mappings(crossing.mappings))
    if crossing.permitted:
        extra.append(certificates.permitted_names(directories=crossing.permitted))
    if crossing.require_explicit is not None or crossing.inhibit_mapping is not None:
        extra.append(certificates.policy_constraints(crossing.require_explicit, crossing.inhibit_mapping))
    if crossing.inhibit_any is not None:
        extra.append(certificates.inhibit_any_policy(crossing.inhibit_any))
    return tuple(extra)
