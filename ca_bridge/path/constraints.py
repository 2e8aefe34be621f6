"""Name constraints (RFC 5280 §4.2.1.10, §6.1.3 (b)–(c), §6.1.4 (g)): directory names, DNS, mail, URI, IP addresses.

Permitted subtrees are kept as one generation per certificate that restricts: a name must lie in every generation that
speaks of its kind, which is the intersection without ever computing one.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass

from ca_bridge.asn1.certificate import Certificate
from ca_bridge.asn1.general_names import DIRECTORY, DNS, IP, KINDS, MAIL, OTHER, URI, GeneralName, NameConstraints
from ca_bridge.asn1.names import Name
from ca_bridge.asn1.oids import EMAIL_ADDRESS, OTHER_NAME_SMTP_UTF8
from ca_bridge.errors import PathError
from ca_bridge.path.budget import Budget

_LABEL = re.compile(r"^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$")
_URI_HOST = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#@]*@)?([^/?#:@\[\]]+)(?::[0-9]*)?(?:[/?#].*)?$", re.DOTALL)
_DIRECTORY = (DIRECTORY, "")
_IP_HOST = re.compile(r"^[0-9.]+$")


Kind = tuple[int, str]
"""A general name's kind; for otherName with its dotted type."""
Bounds = tuple[tuple[GeneralName, ...], tuple[tuple[GeneralName, ...], ...]]
"""Of one kind: what is excluded, and the generations of what is permitted."""


@dataclass(frozen=True)
class Constraints:
    """What a path has permitted and excluded so far."""

    permitted: frozenset[tuple[GeneralName, ...]] = frozenset()
    """Generations; each holds the subtrees of one kind that one certificate permitted."""
    excluded: frozenset[GeneralName] = frozenset()

    @property
    def none(self) -> bool:
        """Whether nothing is constrained."""
        return not self.permitted and not self.excluded

    @functools.cached_property
    def bounds(self) -> Mapping[Kind, Bounds]:
        """What binds names of each kind; kinds that nothing is said of are not in it."""
        kinds = {_kind(generation[0]) for generation in self.permitted} | {_kind(name) for name in self.excluded}
        return {
            kind: (
                tuple(name for name in self.excluded if _kind(name) == kind),
                tuple(generation for generation in self.permitted if _kind(generation[0]) == kind),
            )
            for kind in kinds
        }


def narrow(constraints: Constraints, added: NameConstraints) -> Constraints:
    """§6.1.4 (g): the constraints after a CA certificate's nameConstraints."""
    by_kind: dict[tuple[int, str], list[GeneralName]] = {}
    for subtree in added.permitted:
        by_kind.setdefault(_kind(subtree), []).append(subtree)
    return Constraints(
        constraints.permitted | {tuple(subtrees) for subtrees in by_kind.values()},
        constraints.excluded | frozenset(added.excluded),
    )


def check(constraints: Constraints, certificate: Certificate, budget: Budget) -> None:
    """§6.1.3 (b)–(c). Raises PathError `path.name_constraints`, or `path.budget` after too many comparisons."""
    if constraints.none:
        return
    bounds = constraints.bounds
    for name in names_of(certificate, directory=_DIRECTORY in bounds):
        bound = bounds.get(_kind(name))
        if bound is not None:
            _check_name(bound, name, budget)


def names_of(certificate: Certificate, *, directory: bool = True) -> list[GeneralName]:
    """Every name that constraints bind: alternative names, the subject if wanted, its mail where there are none."""
    names = list(certificate.alt_names or ())
    if directory and not certificate.subject.empty:
        names.append(GeneralName(DIRECTORY, name=certificate.subject))
    if certificate.alt_names is None:
        names += [GeneralName(MAIL, text=mail) for mail in certificate.subject.all(EMAIL_ADDRESS)]
    return names


def _kind(name: GeneralName) -> Kind:
    """Names of one kind are bound by one kind's constraints; mailboxes in UTF-8 count as mail (RFC 9598 §6)."""
    if name.kind == OTHER:
        return (MAIL, "") if name.text == OTHER_NAME_SMTP_UTF8 else (OTHER, name.text)
    return (name.kind, "")


def _check_name(bound: Bounds, name: GeneralName, budget: Budget) -> None:
    excluded, permitted = bound
    for subtree in excluded:
        budget.spend("comparisons")
        if _within(name, subtree, excluding=True):
            raise _outside(name, "excluded", "RFC 5280 §6.1.3 (c)")
    for generation in permitted:
        for subtree in generation:
            budget.spend("comparisons")
            if _within(name, subtree, excluding=False):
                break
        else:
            raise _outside(name, "not permitted", "RFC 5280 §6.1.3 (b)")


def _outside(name: GeneralName, how: str, clause: str) -> PathError:
    return PathError("path.name_constraints", f"a {KINDS[name.kind]} is {how}", clause=clause)


def _within(name: GeneralName, subtree: GeneralName, *, excluding: bool) -> bool:
    if name.kind == DIRECTORY:
        assert name.name is not None
        assert subtree.name is not None
        return _directory(name.name, subtree.name)
    if name.kind == DNS:
        return _dns(name.text, subtree.text, excluding=excluding)
    if name.kind == MAIL or _kind(name)[0] == MAIL:
        return _mail(_mailbox(name), _constraint_text(subtree), excluding=excluding)
    if name.kind == URI:
        return _host(_uri_host(name.text), subtree.text, excluding=excluding)
    if name.kind == IP:
        return _ip(name.octets, subtree.octets)
    raise PathError(
        "path.name_constraints",
        f"constraints on {KINDS[name.kind]} cannot be checked",
        clause="RFC 5280 §4.2.1.10: process the constraint or reject",
    )


def _directory(name: Name, subtree: Name) -> bool:
    wanted = subtree.normalised
    return name.normalised[: len(wanted)] == wanted


def _dns(name: str, subtree: str, *, excluding: bool) -> bool:
    host = name.lower()
    wildcard = host.startswith("*.")
    host = host.removeprefix("*.")
    if not _is_host(host):
        raise PathError("path.name_constraints", "a dNSName is malformed", clause="RFC 5280 §4.2.1.6")
    wanted = subtree.lower()
    if wanted.startswith("."):  # not in RFC 5280, yet in use: below the name only; when excluding, the name as well
        wanted, exact = wanted[1:], excluding
    else:
        exact = True
    if not wanted or (exact and host == wanted) or host.endswith("." + wanted):
        return True
    if wildcard and host == wanted:
        return True
    return wildcard and excluding and wanted.partition(".")[2] == host


def _host(host: str, subtree: str, *, excluding: bool) -> bool:
    wanted = subtree.lower()
    if not wanted:
        return excluding
    return host.endswith(wanted) and host != wanted if wanted.startswith(".") else host == wanted


def _uri_host(uri: str) -> str:
    found = _URI_HOST.match(uri)
    if found is None or _IP_HOST.match(found[1]) or not _is_host(found[1].lower()):
        raise PathError("path.name_constraints", "a URI has no host name", clause="RFC 5280 §4.2.1.10")
    return found[1].lower()


def _mailbox(name: GeneralName) -> str:
    """The mailbox as text, its host in A-labels (RFC 9598 §6)."""
    if name.kind == MAIL:
        return name.text
    try:
        local, _, host = name.octets[2:].decode("utf-8").rpartition("@")
        return f"{local}@{host.encode('idna').decode('ascii')}" if not host.isascii() else f"{local}@{host}"
    except UnicodeError as error:
        raise PathError("path.name_constraints", "a mailbox is malformed", clause="RFC 9598 §6") from error


def _constraint_text(subtree: GeneralName) -> str:
    if subtree.kind != MAIL:
        raise PathError("path.name_constraints", "a constraint on SmtpUTF8Mailbox", clause="RFC 9598 §6")
    return subtree.text


def _mail(mailbox: str, subtree: str, *, excluding: bool) -> bool:
    local, at, host = mailbox.rpartition("@")
    host = host.lower()
    if not at or not local or not _is_host(host) or ("@" in local and not local.startswith('"')):
        raise PathError("path.name_constraints", "a mail address is malformed", clause="RFC 5280 §4.2.1.6")
    wanted_local, at, wanted_host = subtree.rpartition("@")
    if at:
        return local == wanted_local and host == wanted_host.lower()
    return _host(host, subtree, excluding=excluding)


def _ip(address: bytes, subtree: bytes) -> bool:
    if len(address) not in (4, 16):
        raise PathError("path.name_constraints", "an iPAddress is malformed", clause="RFC 5280 §4.2.1.6")
    if len(subtree) != 2 * len(address):
        return False
    half = len(address)
    return all(a & m == c & m for a, c, m in zip(address, subtree[:half], subtree[half:], strict=True))


@functools.lru_cache(maxsize=4096)  # many people's mail lies at few hosts
def _is_host(host: str) -> bool:
    return len(host) <= 253 and all(_LABEL.match(label) for label in host.split("."))
