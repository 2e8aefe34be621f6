"""What a leaf must be for signing in (design §4), and for the purposes of the checking tool."""

from __future__ import annotations

from ca_bridge.asn1 import oids
from ca_bridge.asn1.certificate import Certificate
from ca_bridge.asn1.extensions import KeyUsage
from ca_bridge.crypto import signatures
from ca_bridge.path.validate import refusal
from ca_bridge.trust.profile import CertificateType, Profile

_MACHINE_USAGES = frozenset({oids.EKU_SERVER, oids.EKU_CODE, oids.EKU_TIME, oids.EKU_OCSP})
_SIGNING = frozenset({KeyUsage.DIGITAL_SIGNATURE})
_ENCRYPTION = frozenset(
    {KeyUsage.KEY_ENCIPHERMENT, KeyUsage.DATA_ENCIPHERMENT, KeyUsage.KEY_AGREEMENT, KeyUsage.ENCIPHER_ONLY}
)


def check_sign_in(leaf: Certificate, profile: Profile) -> CertificateType:
    """The certificate's type by its CA's profile; raises PathError when it may not sign in at all."""
    if leaf.is_ca:
        raise refusal("path.ca_certificate", "a CA certificate", "ours: a CA's key signs nobody in")
    usage = leaf.key_usage
    if usage is None or not usage & _SIGNING:
        if usage is not None and usage & _ENCRYPTION:
            raise refusal("path.encryption_certificate", "keyUsage is for encryption", "GM/T 0034: issued in pairs")
        raise refusal("path.key_usage", "keyUsage has no digitalSignature", "RFC 5280 §4.2.1.3")
    extended = leaf.extended_key_usage
    if extended is not None and set(extended) <= _MACHINE_USAGES:
        raise refusal("path.extended_key_usage", "extended key usage is for machines", "RFC 5280 §4.2.1.12")
    kind = signatures.key_kind(leaf.spki)
    if kind not in profile.algorithms:
        raise refusal("path.key_algorithm", f"{kind} is not in the CA's profile", "ours: profile, algorithms")
    found = profile.type_of(leaf)
    if found is None:
        raise refusal("path.certificate_type", "no type of the CA's profile fits", "ours: profile, types")
    return found


def check_purpose(leaf: Certificate, purpose: str, usages: frozenset[str] | None) -> None:
    """`client`, `server`, `ca`, `any`; `usages` is what the CAs above allow (None: any). Raises PathError."""
    if purpose == "any":
        return
    if purpose == "ca":
        if not leaf.is_ca:
            raise refusal("path.not_a_ca", "basicConstraints does not say cA", "RFC 5280 §4.2.1.9")
        if leaf.key_usage is not None and KeyUsage.KEY_CERT_SIGN not in leaf.key_usage:
            raise refusal("path.key_usage", "keyUsage has no keyCertSign", "RFC 5280 §4.2.1.3")
        return
    wanted = oids.EKU_CLIENT if purpose == "client" else oids.EKU_SERVER
    own = leaf.extended_key_usage
    for allowed in (usages, own):
        if allowed is not None and wanted not in allowed and oids.EKU_ANY not in allowed:
            raise refusal("path.extended_key_usage", f"not for {purpose}s", "RFC 5280 §4.2.1.12")
    fitting = {KeyUsage.DIGITAL_SIGNATURE}
    if purpose == "server":
        fitting |= {KeyUsage.KEY_ENCIPHERMENT, KeyUsage.KEY_AGREEMENT}
    if leaf.key_usage is not None and not leaf.key_usage & fitting:
        raise refusal("path.key_usage", f"keyUsage does not fit {purpose}s", "RFC 5280 §4.2.1.3")
