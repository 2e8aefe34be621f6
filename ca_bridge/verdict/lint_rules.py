"""What `lint` can find in a bundle: stable codes, how grave each is, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from ca_bridge.asn1.certificate import Certificate

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Rule:
    """`error`: somebody who should sign in cannot. `warning`: it will come to that, or a row has no effect."""

    severity: Severity
    remedy: str


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "lint.unreadable": Rule("error", "Repair or republish the bundle; nodes keep the last good one until then."),
        "lint.no_anchor": Rule("error", "Put the federation's anchor into anchors/."),
        "lint.unreachable": Rule(
            "error", "Add the missing certificate between the anchor and this CA, or take this one out."
        ),
        "lint.name_constraints": Rule(
            "error", "Widen the permitted subtrees of the cross-certificate above, or have the CA renamed."
        ),
        "lint.path_length": Rule("error", "Raise pathLenConstraint above it, or max_intermediates in policy.toml."),
        "lint.explicit_policy": Rule(
            "error", "Have the CA assert or map a policy that is expected here, or ease requireExplicitPolicy."
        ),
        "lint.unusable": Rule("error", "Have the certificate issued anew without the fault that is named."),
        "lint.weak_key": Rule("error", "Have the CA change to an accepted key, and cross-certify that."),
        "lint.weak_algorithm": Rule("error", "Have it signed again with SHA-256 or better, or SM2 with SM3."),
        "lint.ca_expired": Rule("error", "Get the CA's new certificate; keep the old one to judge past dates."),
        "lint.ca_expiring": Rule("warning", "Get the CA's next certificate before this one ends."),
        "lint.ca_not_yet_valid": Rule("warning", "Nothing, if it is a certificate prepared for later."),
        "lint.same_name_two_keys": Rule(
            "warning", "Make sure both keys are the same CA's; then list both in one profile, or take one out."
        ),
        "lint.mapping": Rule("warning", "Take the mapping out, or assert its policies on both sides."),
        "lint.level_policy": Rule("warning", "Take the row out of levels.toml, or let a CA assert the policy."),
        "lint.profile_unreached": Rule("error", "Put a certificate of the CA's key into cross/ or a list, or drop it."),
        "lint.profile_key_unreached": Rule("warning", "Drop the key from the profile, or add the CA's certificate."),
        "lint.no_profile": Rule("error", "Write a profile for this CA: without one none of its holders can sign in."),
        "lint.type_without_level": Rule("error", "Assign a level in levels.toml, or give the storage a ceiling there."),
        "lint.no_way": Rule("error", "Give at least one way a ceiling under [ways] of levels.toml."),
        "lint.accreditation": Rule("warning", "Correct the accreditation in policy.toml: no profile has it."),
        "lint.list_entry": Rule("error", "Get the list's certificates from its publisher again."),
        "lint.list_entry_expired": Rule("warning", "Get the new list; without it this CA's holders cannot sign in."),
        "lint.list_entry_expiring": Rule("warning", "Get the new list before this entry ends."),
        "lint.crl_missing": Rule("error", "Add the CA's CRL: an unknown status never passes."),
        "lint.crl_expired": Rule("error", "Fetch a new CRL from the CA: a stale status does not pass."),
        "lint.crl_expiring": Rule("warning", "Fetch a new CRL from the CA now."),
        "lint.crl_future": Rule("error", "Check this machine's clock and the CA's: the CRL is not in force yet."),
        "lint.crl_stray": Rule("warning", "Take the CRL out, or find out who signed it."),
        "lint.crl_unusable": Rule("error", "Ask the CA for a CRL that can be read and used whole."),
        "lint.ca_revoked": Rule("error", "Take the certificate out when the revocation is meant."),
        "lint.denial": Rule("warning", "Correct the denial, or take it out when what it named is gone for good."),
    }
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: stable code, of what, and in what way; no holder of a certificate is ever in it."""

    code: str
    subject: str
    """A CA's name with the start of its certificate's hash, a file, or a row of a table."""
    detail: str

    @property
    def severity(self) -> Severity:
        """`error` or `warning`."""
        return RULES[self.code].severity

    @property
    def remedy(self) -> str:
        """What to do."""
        return RULES[self.code].remedy

    def as_dict(self) -> dict[str, str]:
        """For `--json`."""
        return {
            "code": self.code,
            "severity": self.severity,
            "subject": self.subject,
            "detail": self.detail,
            "remedy": self.remedy,
        }


def named(certificate: Certificate) -> str:
    """How a finding calls a CA certificate."""
    return f"{certificate.subject.text} ({certificate.sha256[:16]})"
