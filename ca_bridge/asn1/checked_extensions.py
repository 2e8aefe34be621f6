"""The extensions of one certificate: each read by two strict readers, each known one decoded.

`cryptography` decodes all extensions of a certificate at once, which costs more than the rest of reading it. So it is
not asked again for encodings that it has read before, octet by octet (`_SHARED`), nor for types that it does not know
or that our reader takes in no wider form.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from cryptography import x509

from ca_bridge.asn1 import der, oids
from ca_bridge.asn1 import extensions as ext
from ca_bridge.asn1.extensions import Extension, read_extension
from ca_bridge.asn1.general_names import DNS, MAIL, URI, name_constraints
from ca_bridge.errors import InputError

MAX_EXTENSIONS = 256
Known = tuple[str, Extension, str, Any]
"""Dotted type, extension, the certificate's field that it fills (empty: none), that field's value."""

_SHARED = frozenset(
    {
        oids.KEY_USAGE,
        oids.BASIC_CONSTRAINTS,
        oids.EXTENDED_KEY_USAGE,
        oids.CERTIFICATE_POLICIES,
        oids.AUTHORITY_KEY_IDENTIFIER,
        oids.CRL_DISTRIBUTION_POINTS,
        oids.AUTHORITY_INFO_ACCESS,
    }
)
"""The same in all leaves of one CA, and they say nothing of a person."""
_KEPT = 4096
_accepted: dict[bytes, Known] = {}
"""Encodings of `_SHARED` extensions that both readers have taken without fault."""
_PLAIN_NAMES = frozenset({MAIL, DNS, URI})
_NATIONAL = ("1.2.156.", "1.2.86.")

_once = functools.lru_cache(maxsize=4096)
_DECODERS: Mapping[str, tuple[str, Callable[[bytes], Any]]] = {
    oids.BASIC_CONSTRAINTS: ("basic_constraints", _once(ext.basic_constraints)),
    oids.KEY_USAGE: ("key_usage", _once(ext.key_usage)),
    oids.EXTENDED_KEY_USAGE: ("extended_key_usage", _once(ext.oid_list)),
    oids.CERTIFICATE_POLICIES: ("policies", _once(ext.policies)),
    oids.POLICY_MAPPINGS: ("policy_mappings", ext.policy_mappings),
    oids.POLICY_CONSTRAINTS: ("policy_constraints", ext.policy_constraints),
    oids.INHIBIT_ANY_POLICY: ("inhibit_any_policy", ext.skip_certs),
    oids.NAME_CONSTRAINTS: ("name_constraints", name_constraints),
    oids.SUBJECT_ALT_NAME: ("alt_names", ext.alt_names),
    oids.SUBJECT_KEY_IDENTIFIER: ("subject_key_identifier", ext.octet_string),
    oids.AUTHORITY_KEY_IDENTIFIER: ("authority_key_identifier", _once(ext.authority_key_identifier)),
    oids.CRL_DISTRIBUTION_POINTS: ("distribution_points", _once(ext.distribution_points)),
    oids.FRESHEST_CRL: ("freshest_crl", ext.distribution_points),
}


def checked_extensions(
    tbs: bytes, at: int, end: int, second: Callable[[], object]
) -> tuple[dict[str, Extension], dict[str, Any]]:
    """The extensions between two positions, by dotted type in order, and the certificate's fields that they fill.

    `second` has `cryptography` read all of them; it is called when an encoding here is not yet known good. Raises
    InputError `asn1.*`, and whatever that library raises.
    """
    found: dict[str, Extension] = {}
    values: dict[str, Any] = {}
    fresh: list[tuple[bytes, str]] = []
    while at < end:
        stop = at + 2 + tbs[at + 1] if at + 1 < end else end + 1
        if stop > end or tbs[at + 1] >= 0x80:  # the long form, or an error
            stop = der.read(tbs, at, end)[3]
        encoded = tbs[at:stop]
        at = stop
        known = _accepted.get(encoded)
        if known is None:
            oid, extension = read_extension(encoded)
            fresh.append((encoded, oid))
        else:
            oid, extension, name, value = known
            if name:
                values[name] = value
        if oid in found:
            raise InputError("asn1.duplicate_extension", oid)
        found[oid] = extension
        if len(found) > MAX_EXTENSIONS:
            raise der.bad("too many values")
    if fresh:
        _read_fresh(found, fresh, values, second)
    return found, values


def _read_fresh(
    found: Mapping[str, Extension],
    fresh: list[tuple[bytes, str]],
    values: dict[str, Any],
    second: Callable[[], object],
) -> None:
    """Decode what was not known, have it read a second time where that can tell more, keep what others will share."""
    fault: InputError | None = None
    for _, oid in fresh:
        if oid in _DECODERS:
            name, decode = _DECODERS[oid]
            try:
                values[name] = decode(found[oid].value)
            except InputError as error:
                fault = fault or InputError("asn1.extension", f"{oid}: {error.code} {error.detail}")
    whole = True
    if not all(_needs_no_second_reader(oid, values) for _, oid in fresh):
        try:
            second()
        except x509.UnsupportedGeneralNameType:
            whole = False  # ours keeps x400Address and ediPartyName as octets; constraints on them refuse
    if fault is not None:
        raise fault
    for encoded, oid in fresh if whole else ():
        if oid in _SHARED:
            if len(_accepted) >= _KEPT:
                _accepted.clear()
            name = _DECODERS[oid][0] if oid in _DECODERS else ""
            _accepted[encoded] = (oid, found[oid], name, values.get(name))


def _needs_no_second_reader(oid: str, values: Mapping[str, Any]) -> bool:
    """Types that `cryptography` does not know (national arcs) or that our reader takes in no wider form than it."""
    if oid == oids.SUBJECT_ALT_NAME:
        return "alt_names" in values and all(name.kind in _PLAIN_NAMES for name in values["alt_names"])
    return oid == oids.SUBJECT_KEY_IDENTIFIER or oid.startswith(_NATIONAL)
