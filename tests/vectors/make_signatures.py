"""Writes `signatures.json`: signature vectors in the manner of Wycheproof, made by this project.

Each group is a key, an algorithm and a message; each of its tests a signature, with what a verifier must say and why.
`python -m tests.vectors.make_signatures` makes them anew; signatures differ each time, the cases do not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ca_bridge.crypto import der, sm2
from tests.conformance.resign import sm2_key

MESSAGE = b"crosshall vector"
P256_N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
P384_N = int("f" * 48 + "c7634d81f4372ddf581a0db248b0a77aecec196accc52973", 16)
_PSS = "3034a00f300d06096086480165030402010500a11c301a06092a864886f70d010108300d06096086480165030402010500a203020120"
Case = tuple[str, bytes, bool]


def pairs(good: bytes, order: int, *, malleable: bool) -> Iterator[Case]:
    """What can be wrong with `SEQUENCE { r, s }`; `malleable`: (r, n - s) is right as well."""
    r, s = decode_dss_signature(good)
    size = (order.bit_length() + 7) // 8
    integers = der.integer(r), der.integer(s)
    yield "good", good, True
    yield "s becomes n - s", der.pair(r, order - s), malleable
    for name, value in (("0", 0), ("1", 1), ("n", order), ("n - 1", order - 1)):
        yield f"r = {name}", der.pair(value, s), False
        yield f"s = {name}", der.pair(r, value), False
    yield "r = s = 0", der.pair(0, 0), False
    yield "r = s = n", der.pair(order, order), False
    yield "r + s = n", der.pair(r, order - r), False
    yield "r + n", der.pair(r + order, s), False
    yield "s + n", der.pair(r, s + order), False
    yield "swapped", der.pair(s, r), False
    for name, wrong in (("-1", b"\x02\x01\xff"), ("no octet", b"\x02\x00"), ("a BOOLEAN", b"\x01\x01\xff")):
        yield f"r is {name}", der.element(0x30, wrong + integers[1]), False
        yield f"s is {name}", der.element(0x30, integers[0] + wrong), False
    yield "r without its leading zero", der.element(0x30, _negative(r, size) + integers[1]), False
    yield "r padded", der.element(0x30, _padded(integers[0]) + integers[1]), False
    yield "s padded", der.element(0x30, integers[0] + _padded(integers[1])), False
    yield "a third integer", der.element(0x30, integers[0] + integers[1] + der.integer(1)), False
    yield "one integer", der.element(0x30, integers[0]), False
    yield "an octet after it", good + b"\x00", False
    yield "cut short", good[:-1], False
    yield "a SET", b"\x31" + good[1:], False
    yield "indefinite length", b"\x30\x80" + good[2:] + b"\x00\x00", False
    yield "length in long form", b"\x30\x82\x00" + bytes([len(good) - 2]) + good[2:], False
    yield "r and s as plain octets", r.to_bytes(size, "big") + s.to_bytes(size, "big"), False
    yield "nothing", b"", False


def _negative(value: int, size: int) -> bytes:
    return der.element(2, (value | 1 << (8 * size - 1)).to_bytes(size, "big"))


def _padded(integer: bytes) -> bytes:
    return der.element(2, b"\x00" + integer[2:])


def rsa_cases(key: rsa.RSAPrivateKey) -> Iterator[Case]:
    """What can be wrong with PKCS #1 v1.5."""
    numbers = key.private_numbers()
    n, size = numbers.public_numbers.n, key.key_size // 8
    digest = hashes.Hash(hashes.SHA256())
    digest.update(MESSAGE)
    info = bytes.fromhex("3031300d060960864801650304020105000420") + digest.finalize()

    def raw(block: bytes) -> bytes:
        return pow(int.from_bytes(block, "big"), numbers.d, n).to_bytes(size, "big")

    def padded(info: bytes, filler: bytes = b"\xff", tail: bytes = b"") -> bytes:
        return b"\x00\x01" + filler * (size - 3 - len(info) - len(tail)) + b"\x00" + info + tail

    good = raw(padded(info))
    yield "good", good, True
    yield "no NULL in DigestInfo", raw(padded(bytes.fromhex("302f300b0609608648016503040201") + info[17:])), False
    yield "short padding, garbage after it", raw(b"\x00\x01" + b"\xff" * 8 + b"\x00" + info + b"x" * (size - 62)), False
    yield "garbage of one octet", raw(padded(info, tail=b"x")), False
    yield "padding of zeros", raw(padded(info, b"\x00")), False
    yield "block type 2", raw(b"\x00\x02" + padded(info)[2:]), False
    yield "another digest's name", raw(padded(bytes.fromhex("3021300906052b0e03021a05000414") + info[19:39])), False
    yield "no DigestInfo", raw(padded(info[19:])), False
    yield "signature + n", (int.from_bytes(good, "big") + n).to_bytes(size + 1, "big"), False
    yield "n - signature", (n - int.from_bytes(good, "big")).to_bytes(size, "big"), False
    yield "an octet before it", b"\x00" + good, False
    yield "an octet after it", good + b"\x00", False
    yield "cut short", good[:-1], False
    for name, value in (("0", 0), ("1", 1), ("n - 1", n - 1), ("n", n)):
        yield name, value.to_bytes(size, "big"), False
    yield "nothing", b"", False


def pss_cases(key: rsa.RSAPrivateKey) -> Iterator[Case]:
    """PSS: salts and hashes other than the parameters say."""
    for salt, good in ((32, True), (0, False), (31, False), (64, False)):
        scheme = padding.PSS(padding.MGF1(hashes.SHA256()), salt)
        yield f"salt of {salt}", key.sign(MESSAGE, scheme, hashes.SHA256()), good
    mixed = padding.PSS(padding.MGF1(hashes.SHA1()), 32)
    yield "MGF1 with SHA-1", key.sign(MESSAGE, mixed, hashes.SHA256()), False
    plain = key.sign(MESSAGE, padding.PKCS1v15(), hashes.SHA256())
    yield "PKCS #1 v1.5 instead", plain, False


def edwards_cases(key: ed25519.Ed25519PrivateKey) -> Iterator[Case]:
    """Ed25519: S out of range, cut, moved."""
    good = key.sign(MESSAGE)
    order = 2**252 + 27742317777372353535851937790883648493
    scalar = int.from_bytes(good[32:], "little")
    yield "good", good, True
    yield "S + order", good[:32] + (scalar + order).to_bytes(32, "little"), False
    yield "S = 0", good[:32] + bytes(32), False
    yield "R = 0", bytes(32) + good[32:], False
    yield "all 0", bytes(64), False
    yield "cut short", good[:-1], False
    yield "an octet after it", good + b"\x00", False
    yield "halves swapped", good[32:] + good[:32], False
    yield "nothing", b"", False


def group(name: str, spki: bytes, oid: str, cases: Iterator[Case], parameters: str = "", sm2_id: str = "") -> Any:
    """One group as written."""
    tests = [{"comment": c, "signature": s.hex(), "valid": valid} for c, s, valid in cases]
    head = {"name": name, "spki": spki.hex(), "algorithm": oid, "parameters": parameters, "sm2_id": sm2_id}
    return {**head, "message": MESSAGE.hex(), "tests": tests}


def groups() -> list[Any]:
    """Every group."""

    def spki(key: Any) -> bytes:
        found: bytes = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return found

    p256, p384 = ec.derive_private_key(7**80, ec.SECP256R1()), ec.derive_private_key(7**120, ec.SECP384R1())
    rsa_key, edwards = rsa.generate_private_key(65537, 2048), ed25519.Ed25519PrivateKey.from_private_bytes(b"k" * 32)
    chinese = sm2_key(b"vectors")
    ecdsa = "1.2.840.10045.4.3."
    other = [
        ("another message", sm2_key(b"vectors").sign(MESSAGE + b"."), False),
        ("another key", sm2_key(b"other").sign(MESSAGE), False),
    ]
    signed = p256.sign(MESSAGE, ec.ECDSA(hashes.SHA256()))
    return [
        group("ecdsa-p256", spki(p256), ecdsa + "2", pairs(signed, P256_N, malleable=True)),
        group("ecdsa-p256 under SHA-384", spki(p256), ecdsa + "3", iter([("SHA-256's", signed, False)])),
        group(
            "ecdsa-p384",
            spki(p384),
            ecdsa + "3",
            pairs(p384.sign(MESSAGE, ec.ECDSA(hashes.SHA384())), P384_N, malleable=True),
        ),
        group("rsa", spki(rsa_key), "1.2.840.113549.1.1.11", rsa_cases(rsa_key), "0500"),
        group("rsa-pss", spki(rsa_key), "1.2.840.113549.1.1.10", pss_cases(rsa_key), _PSS),
        group("ed25519", spki(edwards), "1.3.101.112", edwards_cases(edwards)),
        group(
            "sm2",
            chinese.spki,
            "1.2.156.10197.1.501",
            iter([*pairs(chinese.sign(MESSAGE), sm2.N, malleable=False), *other]),
            sm2_id=sm2.DEFAULT_ID,
        ),
        group(
            "sm2 under another distinguishing ID",
            chinese.spki,
            "1.2.156.10197.1.501",
            iter([("the default's", chinese.sign(MESSAGE), False)]),
            sm2_id="8765432187654321",
        ),
        group("sm2 under ECDSA's name", chinese.spki, ecdsa + "2", iter([("good", chinese.sign(MESSAGE), False)])),
        group("ecdsa under SM2's name", spki(p256), "1.2.156.10197.1.501", iter([("good", signed, False)]), sm2_id="1"),
    ]


if __name__ == "__main__":
    target = Path(__file__).with_name("signatures.json")
    target.write_text(json.dumps(groups(), indent=0) + "\n", "utf-8")
