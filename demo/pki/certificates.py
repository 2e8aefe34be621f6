"""Certificates and CRLs, written field by field so that every kind of key, SM2 too, can sign them (RFC 5280 §4, §5)."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from asn1crypto import algos, core, crl, keys, x509

from ca_bridge.crypto.sm2 import DEFAULT_ID
from demo.pki.keys import Key

Names = Sequence[Sequence[str]]
"""A distinguished name as pairs of short attribute name and value, in order."""

_ATTRIBUTES = {
    "C": "country_name",
    "ST": "state_or_province_name",
    "L": "locality_name",
    "O": "organization_name",
    "OU": "organizational_unit_name",
    "CN": "common_name",
    "title": "title",
    "serialNumber": "serial_number",
}
_PRINTABLE = {"C", "serialNumber"}  # RFC 5280 appendix A asks for PrintableString here


@dataclass(frozen=True, slots=True)
class Extension:
    """One extension: OID or asn1crypto's name, critical or not, value."""

    id: str
    critical: bool
    value: core.Asn1Value


@dataclass(frozen=True, slots=True)
class Template:
    """What a certificate shall say; the issuer's key signs it."""

    subject: Names
    issuer: Names
    spki: bytes = field(repr=False)
    not_before: datetime
    not_after: datetime
    extensions: tuple[Extension, ...]


def new_serial() -> int:
    """A random positive serial number of 16 octets (RFC 5280 §4.1.2.2)."""
    return int.from_bytes(secrets.token_bytes(16), "big") >> 1 | 1 << 120


def issue(template: Template, issuer: Key, serial: int, *, sm2_id: str = DEFAULT_ID) -> bytes:
    """The certificate in DER, signed by `issuer`."""
    tbs = x509.TbsCertificate(
        {
            "version": "v3",
            "serial_number": serial,
            "signature": _algorithm(issuer),
            "issuer": name(template.issuer),
            "validity": {"not_before": _time(template.not_before), "not_after": _time(template.not_after)},
            "subject": name(template.subject),
            "subject_public_key_info": keys.PublicKeyInfo.load(template.spki),
            "extensions": [_extension(extension) for extension in template.extensions],
        }
    )
    return _signed(tbs, issuer, sm2_id)


def issue_crl(
    issuer_name: Names,
    issuer: Key,
    revoked: Sequence[tuple[int, datetime]],
    *,
    number: int,
    this_update: datetime,
    next_update: datetime,
    sm2_id: str = DEFAULT_ID,
) -> bytes:
    """A complete CRL in DER: (serial number, time of revocation) of every revoked certificate."""
    fields: dict[str, Any] = {
        "version": "v2",
        "signature": _algorithm(issuer),
        "issuer": name(issuer_name),
        "this_update": _time(this_update),
        "next_update": _time(next_update),
        "crl_extensions": [
            {"extn_id": "authority_key_identifier", "critical": False, "extn_value": _authority_key(issuer)},
            {"extn_id": "crl_number", "critical": False, "extn_value": core.Integer(number)},
        ],
    }
    if revoked:  # RFC 5280 §5.1.2.6: absent when there are none
        fields["revoked_certificates"] = [
            {"user_certificate": serial, "revocation_date": _time(at)} for serial, at in revoked
        ]
    return _signed(crl.TbsCertList(fields), issuer, sm2_id)


def name(pairs: Names) -> x509.Name:
    """A distinguished name with one attribute a RDN, in the order given."""
    sequence = [[{"type": _ATTRIBUTES[key], "value": x509.DirectoryString(_form(key), value)}] for key, value in pairs]
    return x509.Name(name="", value=x509.RDNSequence([x509.RelativeDistinguishedName(rdn) for rdn in sequence]))


def pem(der: bytes) -> str:
    """A certificate as PEM text."""
    text = base64.b64encode(der).decode()
    lines = "\n".join(text[start : start + 64] for start in range(0, len(text), 64))
    return f"-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n"


def authority_extensions(
    key: Key, issuer: Key, *, path_length: int | None, extra: Sequence[Extension], crl_url: str | None
) -> tuple[Extension, ...]:
    """What every CA certificate carries; `crl_url` names the issuer's list (None for a self-signed one)."""
    constraints = x509.BasicConstraints({"ca": True, "path_len_constraint": path_length})
    usage = x509.KeyUsage({"key_cert_sign", "crl_sign"})
    return (
        Extension("basic_constraints", True, constraints),
        Extension("key_usage", True, usage),
        Extension("key_identifier", False, core.OctetString(key.spki_sha1)),
        Extension("authority_key_identifier", False, _authority_key(issuer)),
        *_distribution(crl_url),
        *extra,
    )


def holder_extensions(
    key: Key, issuer: Key, *, usage: set[str], extra: Sequence[Extension], crl_url: str | None
) -> tuple[Extension, ...]:
    """What every holder's certificate carries."""
    return (
        Extension("basic_constraints", True, x509.BasicConstraints({"ca": False})),
        Extension("key_usage", True, x509.KeyUsage(usage)),
        Extension("key_identifier", False, core.OctetString(key.spki_sha1)),
        Extension("authority_key_identifier", False, _authority_key(issuer)),
        *_distribution(crl_url),
        *extra,
    )


def policies(oids: Sequence[str]) -> Extension:
    """certificatePolicies without qualifiers (RFC 5280 §4.2.1.4)."""
    value = x509.CertificatePolicies([{"policy_identifier": oid} for oid in oids])
    return Extension("certificate_policies", False, value)


def policy_mappings(pairs: Sequence[Sequence[str]]) -> Extension:
    """policyMappings: (issuer's policy, subject's policy) (RFC 5280 §4.2.1.5)."""
    rows = [{"issuer_domain_policy": ours, "subject_domain_policy": theirs} for ours, theirs in pairs]
    return Extension("policy_mappings", True, x509.PolicyMappings(rows))


def policy_constraints(require_explicit: int | None, inhibit_mapping: int | None) -> Extension:
    """policyConstraints: skip counts, None leaves the field out (RFC 5280 §4.2.1.11)."""
    value = x509.PolicyConstraints(
        {"require_explicit_policy": require_explicit, "inhibit_policy_mapping": inhibit_mapping}
    )
    return Extension("policy_constraints", True, value)


def inhibit_any_policy(skip: int) -> Extension:
    """inhibitAnyPolicy (RFC 5280 §4.2.1.14)."""
    return Extension("inhibit_any_policy", True, core.Integer(skip))


def permitted_names(
    *, directories: Sequence[Names] = (), hosts: Sequence[str] = (), networks: Sequence[str] = ()
) -> Extension:
    """nameConstraints with permitted subtrees only (RFC 5280 §4.2.1.10)."""
    bases = [x509.GeneralName(name="directory_name", value=name(subtree)) for subtree in directories]
    bases += [x509.GeneralName(name="dns_name", value=host) for host in hosts]
    bases += [x509.GeneralName(name="ip_address", value=network) for network in networks]
    value = x509.NameConstraints({"permitted_subtrees": [{"base": base, "minimum": 0} for base in bases]})
    return Extension("name_constraints", True, value)


def alternative_names(hosts: Sequence[str], addresses: Sequence[str] = ()) -> Extension:
    """subjectAltName with DNS names and addresses."""
    names = [x509.GeneralName(name="dns_name", value=host) for host in hosts]
    names += [x509.GeneralName(name="ip_address", value=address) for address in addresses]
    return Extension("subject_alt_name", False, x509.GeneralNames(names))


def extended_usage(purposes: Sequence[str]) -> Extension:
    """extKeyUsage, not critical."""
    return Extension("extended_key_usage", False, x509.ExtKeyUsageSyntax(list(purposes)))


def private_extension(oid: str, value: str, form: str = "printable") -> Extension:
    """An identity extension of a Chinese profile: one string, `printable`, `utf8` or `ia5`."""
    forms: dict[str, Callable[[str], core.Asn1Value]] = {
        "printable": core.PrintableString,
        "utf8": core.UTF8String,
        "ia5": core.IA5String,
    }
    return Extension(oid, False, forms[form](value))


def _algorithm(key: Key) -> algos.SignedDigestAlgorithm:
    oid, null = key.algorithm()
    fields: dict[str, Any] = {"algorithm": oid}
    if null:
        fields["parameters"] = core.Null()
    return algos.SignedDigestAlgorithm(fields)


def _signed(tbs: core.Sequence, issuer: Key, sm2_id: str) -> bytes:
    body = tbs.dump(force=True)
    signature = issuer.sign(body, sm2_id=sm2_id)
    # The three parts are joined as bytes: what was signed is what is sent.
    whole = body + _algorithm(issuer).dump() + core.OctetBitString(signature.value).dump()
    return bytes(core.Sequence(contents=whole).dump())


def _extension(extension: Extension) -> dict[str, Any]:
    if extension.id[0].isdigit() and extension.id not in x509.ExtensionId._map:  # asn1crypto has no other way
        return {
            "extn_id": extension.id,
            "critical": extension.critical,
            "extn_value": core.ParsableOctetString(extension.value.dump()),
        }
    return {"extn_id": extension.id, "critical": extension.critical, "extn_value": extension.value}


def _authority_key(issuer: Key) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier({"key_identifier": issuer.spki_sha1})


def _distribution(url: str | None) -> tuple[Extension, ...]:
    if url is None:
        return ()
    point = {"distribution_point": x509.DistributionPointName(name="full_name", value=[_uri(url)])}
    return (Extension("crl_distribution_points", False, x509.CRLDistributionPoints([point])),)


def _uri(url: str) -> x509.GeneralName:
    return x509.GeneralName(name="uniform_resource_identifier", value=url)


def _time(moment: datetime) -> x509.Time:
    kind = "utc_time" if moment.year < 2050 else "general_time"  # RFC 5280 §4.1.2.5
    return x509.Time(name=kind, value=moment.replace(microsecond=0))


def _form(key: str) -> str:
    return "printable_string" if key in _PRINTABLE else "utf8_string"
