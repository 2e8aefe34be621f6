"""The few DER forms that cryptography itself must read: strict, bounded, without recursion.

Certificates are read by `ca_bridge.asn1`; this reader exists so that signatures and key files do not depend on it.
"""

from __future__ import annotations

from ca_bridge.errors import CryptoError

INTEGER, BIT_STRING, NULL, OID, SEQUENCE = 0x02, 0x03, 0x05, 0x06, 0x30
NULL_VALUE = b"\x05\x00"


def read(data: bytes, offset: int, code: str) -> tuple[int, bytes, int]:
    """Tag, content and end of the element at `offset`; raises CryptoError `code` for all but definite, minimal DER.

    X.690 §10.1 (minimal length); tags above 30 and lengths above 65,535 bytes are not met here and are refused.
    """
    if offset + 2 > len(data):
        raise CryptoError(code, "DER: cut short")
    tag, first = data[offset], data[offset + 1]
    if tag & 0x1F == 0x1F:
        raise CryptoError(code, "DER: long tag")
    start = offset + 2
    if first < 0x80:
        length = first
    else:
        count = first & 0x7F
        length = int.from_bytes(data[start : start + count], "big")
        start += count
        if not 1 <= count <= 2 or start > len(data) or length < 0x80 or (count == 2 and length < 0x100):
            raise CryptoError(code, "DER: length is indefinite, not minimal or too large")
    end = start + length
    if end > len(data):
        raise CryptoError(code, "DER: cut short")
    return tag, data[start:end], end


def children(data: bytes, tag: int, code: str) -> list[tuple[int, bytes]]:
    """The elements inside the one constructed element that `data` is; nothing may follow it."""
    found, content, end = read(data, 0, code)
    if found != tag or end != len(data):
        raise CryptoError(code, "DER: another element than expected, or bytes after it")
    inside: list[tuple[int, bytes]] = []
    offset = 0
    while offset < len(content):
        element_tag, element, offset = read(content, offset, code)
        inside.append((element_tag, element))
    return inside


def unsigned(content: bytes, code: str) -> int:
    """The non-negative value of an INTEGER's content; minimal form only (X.690 §8.3.2)."""
    if not content or content[0] & 0x80:
        raise CryptoError(code, "DER: integer is empty or negative")
    if len(content) > 1 and content[0] == 0 and not content[1] & 0x80:
        raise CryptoError(code, "DER: integer is padded")
    return int.from_bytes(content, "big")


def integer_pair(signature: bytes, code: str) -> tuple[int, int]:
    """r and s of `SEQUENCE { r INTEGER, s INTEGER }`, the form of ECDSA (RFC 3279 §2.2.3) and SM2 (GM/T 0009 §7.3)."""
    size = len(signature)
    if 8 <= size < 0x80 and signature[0] == SEQUENCE and signature[1] == size - 2:
        # Below 128 octets each length is one octet, and the second number must end where the signature does.
        middle = 4 + signature[3]
        if (
            middle + 2 < size
            and signature[2] == signature[middle] == INTEGER
            and signature[middle + 1] == size - middle - 2
        ):
            return unsigned(signature[4:middle], code), unsigned(signature[middle + 2 :], code)
    inside = children(signature, SEQUENCE, code)
    if [tag for tag, _ in inside] != [INTEGER, INTEGER]:
        raise CryptoError(code, "DER: not two integers")
    return unsigned(inside[0][1], code), unsigned(inside[1][1], code)


def element(tag: int, content: bytes) -> bytes:
    """One DER element."""
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def integer(value: int) -> bytes:
    """A non-negative INTEGER."""
    return element(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def pair(r: int, s: int) -> bytes:
    """`SEQUENCE { r INTEGER, s INTEGER }`."""
    return element(SEQUENCE, integer(r) + integer(s))
