"""Object identifiers that the validator acts on."""

from __future__ import annotations

from typing import Final

ANY_POLICY: Final = "2.5.29.32.0"

SUBJECT_KEY_IDENTIFIER: Final = "2.5.29.14"
KEY_USAGE: Final = "2.5.29.15"
SUBJECT_ALT_NAME: Final = "2.5.29.17"
ISSUER_ALT_NAME: Final = "2.5.29.18"
BASIC_CONSTRAINTS: Final = "2.5.29.19"
CRL_NUMBER: Final = "2.5.29.20"
CRL_REASON: Final = "2.5.29.21"
INVALIDITY_DATE: Final = "2.5.29.24"
DELTA_CRL_INDICATOR: Final = "2.5.29.27"
ISSUING_DISTRIBUTION_POINT: Final = "2.5.29.28"
CERTIFICATE_ISSUER: Final = "2.5.29.29"
NAME_CONSTRAINTS: Final = "2.5.29.30"
CRL_DISTRIBUTION_POINTS: Final = "2.5.29.31"
CERTIFICATE_POLICIES: Final = "2.5.29.32"
POLICY_MAPPINGS: Final = "2.5.29.33"
AUTHORITY_KEY_IDENTIFIER: Final = "2.5.29.35"
POLICY_CONSTRAINTS: Final = "2.5.29.36"
EXTENDED_KEY_USAGE: Final = "2.5.29.37"
FRESHEST_CRL: Final = "2.5.29.46"
INHIBIT_ANY_POLICY: Final = "2.5.29.54"
NO_REV_AVAIL: Final = "2.5.29.56"
OCSP_NO_CHECK: Final = "1.3.6.1.5.5.7.48.1.5"
AUTHORITY_INFO_ACCESS: Final = "1.3.6.1.5.5.7.1.1"

EKU_ANY: Final = "2.5.29.37.0"
EKU_SERVER: Final = "1.3.6.1.5.5.7.3.1"
EKU_CLIENT: Final = "1.3.6.1.5.5.7.3.2"
EKU_CODE: Final = "1.3.6.1.5.5.7.3.3"
EKU_MAIL: Final = "1.3.6.1.5.5.7.3.4"
EKU_TIME: Final = "1.3.6.1.5.5.7.3.8"
EKU_OCSP: Final = "1.3.6.1.5.5.7.3.9"

OTHER_NAME_SMTP_UTF8: Final = "1.3.6.1.5.5.7.8.9"
"""SmtpUTF8Mailbox, RFC 9598."""

ATTRIBUTES: Final = {
    "CN": "2.5.4.3",
    "SN": "2.5.4.4",
    "serialNumber": "2.5.4.5",
    "C": "2.5.4.6",
    "L": "2.5.4.7",
    "ST": "2.5.4.8",
    "STREET": "2.5.4.9",
    "O": "2.5.4.10",
    "OU": "2.5.4.11",
    "title": "2.5.4.12",
    "description": "2.5.4.13",
    "GN": "2.5.4.42",
    "initials": "2.5.4.43",
    "generationQualifier": "2.5.4.44",
    "dnQualifier": "2.5.4.46",
    "pseudonym": "2.5.4.65",
    "organizationIdentifier": "2.5.4.97",
    "DC": "0.9.2342.19200300.100.1.25",
    "UID": "0.9.2342.19200300.100.1.1",
    "emailAddress": "1.2.840.113549.1.9.1",
}
"""Short names of attributes of a distinguished name (RFC 4519 and common use)."""
EMAIL_ADDRESS: Final = ATTRIBUTES["emailAddress"]
SHORT_NAMES: Final = {oid: name for name, oid in ATTRIBUTES.items()}

UNDERSTOOD: Final = frozenset(
    {
        KEY_USAGE,
        SUBJECT_ALT_NAME,
        ISSUER_ALT_NAME,
        BASIC_CONSTRAINTS,
        NAME_CONSTRAINTS,
        CRL_DISTRIBUTION_POINTS,
        CERTIFICATE_POLICIES,
        POLICY_MAPPINGS,
        POLICY_CONSTRAINTS,
        EXTENDED_KEY_USAGE,
        INHIBIT_ANY_POLICY,
        OCSP_NO_CHECK,
    }
)
"""Extensions that may be critical (RFC 5280 §6.1.4 (o), §6.1.5 (f)): every other critical one refuses the path.

Those that RFC 5280 says must not be critical (key identifiers, AIA, freshestCRL) are not in here: a certificate that
marks them so is refused."""
