"""Points of the NIST curves are checked by our own arithmetic: it must agree with the library's, on every point."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from hypothesis import given, settings
from hypothesis import strategies as st

from ca_bridge.crypto import signatures
from ca_bridge.errors import CryptoError

_CURVES = {"ecdsa-p256": ec.SECP256R1(), "ecdsa-p384": ec.SECP384R1(), "ecdsa-p521": ec.SECP521R1()}


def _spki(curve: ec.EllipticCurve, private: int) -> bytes:
    public = ec.derive_private_key(private, curve).public_key()
    return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize("kind", _CURVES)
@settings(max_examples=60, deadline=None)
@given(private=st.integers(1, 2**250), place=st.integers(1, 64), change=st.integers(0, 255))
def test_our_check_agrees_with_the_library(kind: str, private: int, place: int, change: int) -> None:
    """A point is taken by both or by neither, as made and with any octet changed."""
    spki = bytearray(_spki(_CURVES[kind], private))
    spki[-place] ^= change
    try:
        load_der_public_key(bytes(spki))
        good = True
    except ValueError:
        good = False
    if good:
        assert signatures.key_kind(bytes(spki)) == kind
    else:
        with pytest.raises(CryptoError, match=r"crypto\.key"):
            signatures.key_kind(bytes(spki))


@pytest.mark.parametrize("kind", _CURVES)
def test_a_coordinate_beyond_the_field_is_refused(kind: str) -> None:
    """x + p names the same point in a second encoding; it is refused wherever it fits the octets at all."""
    p, _ = signatures._CURVES[kind]
    header, size = signatures._HEADERS[kind]
    half = size // 2
    for x, y in ((p, 0), (0, p), (2 ** (8 * half) - 1, 2 ** (8 * half) - 1)):
        with pytest.raises(CryptoError, match=r"crypto\.key"):
            signatures.key_kind(header + b"\x04" + x.to_bytes(half, "big") + y.to_bytes(half, "big"))
