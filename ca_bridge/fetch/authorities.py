"""Whose signature a fetched answer must bear: the keys of a CA's profile, as certificates of the bundle carry them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ca_bridge.asn1.certificate import Certificate
from ca_bridge.asn1.extensions import KeyUsage
from ca_bridge.crypto import signatures
from ca_bridge.errors import CrosshallError
from ca_bridge.trust.bundle import Bundle
from ca_bridge.trust.profile import Profile


@dataclass(frozen=True, slots=True)
class Authority:
    """One CA: its profile and every certificate of the bundle for its keys."""

    profile: Profile
    certificates: tuple[Certificate, ...]
    crl_issuers: tuple[Certificate, ...] = ()
    """Certificates of the other keys that the profile lists for CRLs (`status.crl_issuers`)."""

    def signers(self) -> Iterator[Certificate]:
        """Those whose keys may sign CRLs (RFC 5280 §6.3.3 (f))."""
        for certificate in (*self.certificates, *self.crl_issuers):
            if certificate.key_usage is None or KeyUsage.CRL_SIGN in certificate.key_usage:
                yield certificate


def authorities(bundle: Bundle) -> tuple[Authority, ...]:
    """Every CA that has a profile, those without a certificate in the bundle left out."""
    known = [*bundle.anchors, *bundle.certificates]
    known += [certificate for entry in bundle.lists for certificate in (entry.signing, entry.root)]
    unique = {certificate.sha256: certificate for certificate in known}.values()
    found = []
    for profile in bundle.profiles.values():
        own = tuple(certificate for certificate in unique if certificate.spki_sha256 in profile.keys)
        if own:
            others = tuple(c for c in unique if c.spki_sha256 in profile.status.crl_issuers)
            found.append(Authority(profile, own, others))
    return tuple(found)


def issued(bundle: Bundle, authority: Authority) -> Iterator[tuple[Certificate, Certificate]]:
    """CA certificates of the bundle that this CA issued to others, each with a certificate of the issuing key."""
    listed = [entry.signing for entry in bundle.lists]
    for certificate in {c.sha256: c for c in [*bundle.certificates, *listed]}.values():
        for issuer in authority.certificates:
            if certificate.spki_sha256 != issuer.spki_sha256 and signed_by(certificate, issuer, authority.profile):
                yield certificate, issuer
                break


def signed_by(certificate: Certificate, issuer: Certificate, profile: Profile) -> bool:
    """Whether the key of `issuer` signed a certificate in its name."""
    if certificate.issuer.normalised != issuer.subject.normalised:
        return False
    try:
        signatures.verify(
            issuer.spki,
            certificate.signature_algorithm,
            certificate.signature_parameters,
            certificate.tbs,
            certificate.signature,
            sm2_id=profile.sm2_id,
        )
    except CrosshallError:
        return False
    return True
