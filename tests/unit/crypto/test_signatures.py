"""Which keys and algorithms are accepted, that they must fit, and hostile signatures of each kind."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ca_bridge.crypto import der, signatures, sm2
from ca_bridge.errors import CryptoError

ID = sm2.DEFAULT_ID
MSG = b"tbs certificate"
NULL = der.NULL_VALUE
HASH = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512(), "sha1": hashes.SHA1()}
OID_HASH = {
    "sha1": "06052b0e03021a",
    "sha256": "0609608648016503040201",
    "sha384": "0609608648016503040202",
    "sha512": "0609608648016503040203",
}
RSA_OID = {"sha256": "1.2.840.113549.1.1.11", "sha384": "1.2.840.113549.1.1.12", "sha512": "1.2.840.113549.1.1.13"}
EC_OID = {"sha256": "1.2.840.10045.4.3.2", "sha384": "1.2.840.10045.4.3.3", "sha512": "1.2.840.10045.4.3.4"}
P256_N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def spki_of(key: object) -> bytes:
    """SubjectPublicKeyInfo of a private key of the library."""
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined, no-any-return]


def refused(code: str, *arguments: object, sm2_id: str = ID) -> None:
    """Verification raises exactly `code`."""
    with pytest.raises(CryptoError) as caught:
        signatures.verify(*arguments, sm2_id=sm2_id)  # type: ignore[arg-type]
    assert caught.value.code == code


def pss_parameters(name: str, mgf: str | None = None, salt: int | None = None, trailer: bytes = b"") -> bytes:
    """RSASSA-PSS-params; hash and MGF hash by name."""

    def algorithm(hash_name: str) -> bytes:
        return der.element(0x30, bytes.fromhex(OID_HASH[hash_name]) + NULL)

    mask = der.element(0x30, bytes.fromhex("06092a864886f70d010108") + algorithm(mgf or name))
    size = HASH[name].digest_size if salt is None else salt
    number = der.element(0xA2, der.integer(size))
    return der.element(0x30, der.element(0xA0, algorithm(name)) + der.element(0xA1, mask) + number + trailer)


class TestAccepted:
    @pytest.mark.parametrize("name", ["sha256", "sha384", "sha512"])
    @pytest.mark.parametrize("parameters", [NULL, None, b""])
    def test_rsa_pkcs1(self, keys, name: str, parameters: bytes | None) -> None:  # type: ignore[no-untyped-def]
        """RSA PKCS#1 v1.5 with SHA-2; NULL or absent parameters (RFC 4055 §5)."""
        signature = keys.rsa.sign(MSG, padding.PKCS1v15(), HASH[name])
        signatures.verify(keys.spki("rsa"), RSA_OID[name], parameters, MSG, signature, sm2_id=ID)
        refused("crypto.signature", keys.spki("rsa"), RSA_OID[name], parameters, MSG + b"x", signature)

    @pytest.mark.parametrize("name", ["sha256", "sha384", "sha512"])
    @pytest.mark.parametrize("extra", [0, 10])
    def test_rsa_pss(self, keys, name: str, extra: int) -> None:  # type: ignore[no-untyped-def]
        """PSS with MGF1 over the same hash; the salt is as long as declared, and not shorter than the digest."""
        size = HASH[name].digest_size + extra
        signature = keys.rsa.sign(MSG, padding.PSS(padding.MGF1(HASH[name]), size), HASH[name])
        declared = pss_parameters(name, salt=size)
        signatures.verify(keys.spki("rsa"), signatures.RSA_PSS_OID, declared, MSG, signature, sm2_id=ID)
        other = pss_parameters(name, salt=size + 1)
        refused("crypto.signature", keys.spki("rsa"), signatures.RSA_PSS_OID, other, MSG, signature)

    @pytest.mark.parametrize("curve", ["p256", "p384", "p521"])
    @pytest.mark.parametrize("name", ["sha256", "sha384", "sha512"])
    def test_ecdsa(self, keys, curve: str, name: str) -> None:  # type: ignore[no-untyped-def]
        """ECDSA on the three curves with SHA-2; s → n - s is accepted, as the standard allows: never identity."""
        signature = getattr(keys, curve).sign(MSG, ec.ECDSA(HASH[name]))
        signatures.verify(keys.spki(curve), EC_OID[name], None, MSG, signature, sm2_id=ID)
        refused("crypto.signature", keys.spki(curve), EC_OID[name], None, MSG + b"x", signature)

    def test_ed25519(self, keys) -> None:  # type: ignore[no-untyped-def]
        """Ed25519 with absent parameters (RFC 8410 §3)."""
        signatures.verify(keys.spki("ed25519"), "1.3.101.112", None, MSG, keys.ed25519.sign(MSG), sm2_id=ID)

    @pytest.mark.parametrize("parameters", [None, NULL])
    def test_sm2(self, keys, parameters: bytes | None) -> None:  # type: ignore[no-untyped-def]
        """SM2 with SM3, parameters absent (GM/T 0015) or NULL, as nearly all real CAs write."""
        signature = sm2.sign(keys.sm2, MSG, ID)
        signatures.verify(keys.spki("sm2"), signatures.SM2_SM3_OID, parameters, MSG, signature, sm2_id=ID)
        refused(
            "crypto.signature", keys.spki("sm2"), signatures.SM2_SM3_OID, parameters, MSG, signature, sm2_id="other"
        )

    def test_kinds(self, keys) -> None:  # type: ignore[no-untyped-def]
        """Each kind is told by the key's own bytes."""
        names = {"rsa": "rsa", "p256": "ecdsa-p256", "p384": "ecdsa-p384", "p521": "ecdsa-p521"}
        for name, kind in (names | {"ed25519": "ed25519", "sm2": "sm2"}).items():
            assert signatures.key_kind(keys.spki(name)) == kind
        assert signatures.sm2_point(keys.spki("sm2")) == keys.sm2.point


class TestAlgorithms:
    @pytest.mark.parametrize(
        "oid",
        [
            "1.2.840.113549.1.1.5",  # sha1WithRSA
            "1.2.840.113549.1.1.4",  # md5WithRSA
            "1.2.840.113549.1.1.2",  # md2WithRSA
            "1.2.840.113549.1.1.14",  # sha224WithRSA
            "1.2.840.113549.1.1.1",  # rsaEncryption is no signature algorithm
            "1.2.840.10045.4.1",  # ecdsa-with-SHA1
            "1.2.840.10045.4.3.1",  # ecdsa-with-SHA224
            "1.2.840.10040.4.3",  # dsa-with-sha1
            "2.16.840.1.101.3.4.3.2",  # dsa-with-sha256
            "2.16.840.1.101.3.4.3.10",  # ecdsa-with-SHA3-256
            "1.3.101.113",  # Ed448
            "1.2.156.10197.1.504",  # rsa with SM3
            "1.2.156.10197.1.301",  # the curve
            "1.3.36.3.3.1.2",  # rsa with RIPEMD-160
            "2.5.8.1.1",
            "",
            "sha256WithRSAEncryption",
        ],
    )
    def test_refused(self, keys, oid: str) -> None:  # type: ignore[no-untyped-def]
        """Whatever is not on the list is refused, even where the signature would verify."""
        refused(
            "crypto.algorithm", keys.spki("rsa"), oid, NULL, MSG, keys.rsa.sign(MSG, padding.PKCS1v15(), HASH["sha1"])
        )

    def test_key_and_algorithm_must_fit(self, keys) -> None:  # type: ignore[no-untyped-def]
        """Every pair of different families is refused, an SM2 key with an ECDSA OID and the reverse too."""
        oids = {
            "rsa": RSA_OID["sha256"],
            "ecdsa": EC_OID["sha256"],
            "ed25519": "1.3.101.112",
            "sm2": signatures.SM2_SM3_OID,
        }
        signature = {
            "rsa": keys.rsa.sign(MSG, padding.PKCS1v15(), HASH["sha256"]),
            "ecdsa": keys.p256.sign(MSG, ec.ECDSA(HASH["sha256"])),
            "ed25519": keys.ed25519.sign(MSG),
            "sm2": sm2.sign(keys.sm2, MSG, ID),
        }
        names = {"rsa": "rsa", "p256": "ecdsa", "p384": "ecdsa", "ed25519": "ed25519", "sm2": "sm2"}
        for name, family in names.items():
            for other, oid in oids.items():
                if other != family:
                    refused("crypto.algorithm_key", keys.spki(name), oid, None, MSG, signature[family])
                    refused("crypto.algorithm_key", keys.spki(name), oid, None, MSG, signature[other])

    @pytest.mark.parametrize(
        ("name", "oid", "parameters"),
        [
            ("rsa", RSA_OID["sha256"], b"\x05\x01\x00"),
            ("rsa", RSA_OID["sha256"], b"\x05\x00\x00"),
            ("rsa", RSA_OID["sha256"], b"\x30\x00"),
            ("p256", EC_OID["sha256"], NULL),
            ("p256", EC_OID["sha256"], bytes.fromhex("06082a8648ce3d030107")),
            ("ed25519", "1.3.101.112", NULL),
            ("sm2", signatures.SM2_SM3_OID, bytes.fromhex("06082a811ccf5501822d")),
            ("sm2", signatures.SM2_SM3_OID, b"\x04\x10" + ID.encode()),
        ],
    )
    def test_parameters(self, keys, name: str, oid: str, parameters: bytes) -> None:  # type: ignore[no-untyped-def]
        """Parameters beside an algorithm that takes none are refused, whatever they say."""
        refused("crypto.parameters", keys.spki(name), oid, parameters, MSG, b"")

    @pytest.mark.parametrize(
        "parameters",
        [
            None,
            NULL,
            b"\x30\x00",  # all defaults: SHA-1
            pss_parameters("sha1"),
            pss_parameters("sha256", mgf="sha1"),
            pss_parameters("sha256", mgf="sha512"),
            pss_parameters("sha256", salt=20),
            pss_parameters("sha256", salt=0),
            pss_parameters("sha256", salt=1025),
            pss_parameters("sha256", trailer=der.element(0xA3, der.integer(2))),
            pss_parameters("sha256", trailer=der.element(0xA2, der.integer(32))),
            pss_parameters("sha256", trailer=der.element(0xA4, b"")),
            pss_parameters("sha256") + b"\0",
            pss_parameters("sha256")[:-1],
            der.element(0x30, der.element(0xA2, b"\x02\x01\xff")),
        ],
    )
    def test_pss_parameters(self, keys, parameters: bytes | None) -> None:  # type: ignore[no-untyped-def]
        """PSS over SHA-1, with another hash in its mask, a short or absurd salt, or loose DER is refused."""
        refused("crypto.parameters", keys.spki("rsa"), signatures.RSA_PSS_OID, parameters, MSG, b"")

    def test_pss_trailer_given(self, keys) -> None:  # type: ignore[no-untyped-def]
        """The one trailer there is may be written out, as some CAs do."""
        signature = keys.rsa.sign(MSG, padding.PSS(padding.MGF1(HASH["sha256"]), 32), HASH["sha256"])
        declared = pss_parameters("sha256", trailer=der.element(0xA3, der.integer(1)))
        signatures.verify(keys.spki("rsa"), signatures.RSA_PSS_OID, declared, MSG, signature, sm2_id=ID)


class TestKeys:
    @pytest.mark.parametrize(("bits", "exponent"), [(1024, 65537), (2040, 65537), (2048, 3)])
    def test_rsa_size(self, bits: int, exponent: int) -> None:
        """RSA below 2048 bits or with another exponent than 65537 is refused."""
        key = rsa.generate_private_key(exponent, bits)
        with pytest.raises(CryptoError, match=r"crypto\.key_size"):
            signatures.key_kind(spki_of(key))
        signature = key.sign(MSG, padding.PKCS1v15(), HASH["sha256"])
        refused("crypto.key_size", spki_of(key), RSA_OID["sha256"], NULL, MSG, signature)

    def test_huge_rsa(self) -> None:
        """An RSA key above 8192 bits is refused by its length, before anything is computed."""
        spki = spki_of_numbers((1 << 16383) | 1, 65537)
        refused("crypto.key", spki, RSA_OID["sha256"], NULL, MSG, bytes(2048))
        with pytest.raises(CryptoError, match=r"crypto\.key"):
            signatures.key_kind(spki_of_numbers((1 << 2047) | 1, (1 << 4000) | 1))

    def test_other_kinds(self) -> None:
        """DSA, secp256k1, P-224, Ed448 and PSS-only keys are no accepted kinds."""
        others = [spki_of(dsa.generate_private_key(1024)), spki_of(ed448.Ed448PrivateKey.generate())]
        others += [spki_of(ec.generate_private_key(curve)) for curve in (ec.SECP256K1(), ec.SECP224R1())]
        pss_only = bytes.fromhex("300b06092a864886f70d01010a")
        others.append(der.element(0x30, pss_only + rsa_bits((1 << 2047) | 1, 65537)))
        for spki in others:
            with pytest.raises(CryptoError, match=r"crypto\.key:"):
                signatures.key_kind(spki)

    def test_encodings(self, keys) -> None:  # type: ignore[no-untyped-def]
        """Compressed points, bytes left over, BER, RSA without NULL and points off the curve are refused."""
        p256, sm, modulus = keys.spki("p256"), keys.spki("sm2"), keys.spki("rsa")
        compressed = keys.p256.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
        header = bytes.fromhex("301306072a8648ce3d020106082a8648ce3d030107")
        bad = [
            der.element(0x30, header + der.element(3, b"\0" + compressed)),
            p256 + b"\0",
            sm + b"\0",
            modulus + b"\0",
            p256[:-1],
            sm[:-1],
            modulus[:-1],
            p256[:-1] + bytes([p256[-1] ^ 1]),
            sm[:-1] + bytes([sm[-1] ^ 1]),
            sm[:27] + p256[27:],
            p256[:27] + sm[27:],
            b"\x30\x80" + p256[2:] + b"\0\0",
            der.element(0x30, bytes.fromhex("300b06092a864886f70d010101") + rsa_bits((1 << 2047) | 1, 65537)),
            keys.spki("p521")[:-1] + b"\xff",
            b"",
            b"\x30\x00",
            bytes(91),
        ]
        for spki in bad:
            with pytest.raises(CryptoError, match=r"crypto\.key:"):
                signatures.key_kind(spki)
        with pytest.raises(CryptoError, match=r"crypto\.key:"):
            signatures.sm2_point(p256)


def rsa_bits(modulus: int, exponent: int) -> bytes:
    """The BIT STRING of an RSA public key."""
    return der.element(3, b"\0" + der.element(0x30, der.integer(modulus) + der.integer(exponent)))


def spki_of_numbers(modulus: int, exponent: int) -> bytes:
    """SubjectPublicKeyInfo of an RSA key that the library would not make."""
    return der.element(0x30, bytes.fromhex("300d06092a864886f70d0101010500") + rsa_bits(modulus, exponent))


class TestHostileSignatures:
    def test_ecdsa_values(self, keys) -> None:  # type: ignore[no-untyped-def]
        """Zero, n and numbers beyond, in r or s, never verify."""
        r, s = decode_dss_signature(keys.p256.sign(MSG, ec.ECDSA(HASH["sha256"])))
        n = P256_N
        for pair in [
            (0, 0),
            (0, s),
            (r, 0),
            (n, s),
            (r, n),
            (r + n, s),
            (r, s + n),
            (1, 0),
            (1, 1),
            (n - 1, n - 1),
            (s, r),
        ]:
            refused("crypto.signature", keys.spki("p256"), EC_OID["sha256"], None, MSG, der.pair(*pair))

    def test_ecdsa_forms(self, keys) -> None:  # type: ignore[no-untyped-def]
        """Loose DER of a right signature is refused."""
        good = keys.p256.sign(MSG, ec.ECDSA(HASH["sha256"]))
        r, s = decode_dss_signature(good)
        padded = der.element(0x30, der.element(2, b"\0\0" + r.to_bytes(32, "big")) + der.integer(s))
        negative = der.element(0x30, b"\x02\x01\xff" + der.integer(s))
        raw = r.to_bytes(32, "big") + s.to_bytes(32, "big")
        for bad in (
            good + b"\0",
            b"\x30\x81" + good[1:],
            padded,
            negative,
            raw,
            b"",
            good[:-1],
            b"\x30\x80" + good[2:] + b"\0\0",
        ):
            refused("crypto.signature_form", keys.spki("p256"), EC_OID["sha256"], None, MSG, bad)

    def test_wrong_hash(self, keys) -> None:  # type: ignore[no-untyped-def]
        """A signature over another hash than the OID says is refused."""
        refused(
            "crypto.signature",
            keys.spki("p256"),
            EC_OID["sha384"],
            None,
            MSG,
            keys.p256.sign(MSG, ec.ECDSA(HASH["sha256"])),
        )
        signature = keys.rsa.sign(MSG, padding.PKCS1v15(), HASH["sha512"])
        refused("crypto.signature", keys.spki("rsa"), RSA_OID["sha256"], NULL, MSG, signature)

    def test_pkcs1_and_pss_are_not_mixed(self, keys) -> None:  # type: ignore[no-untyped-def]
        """A PKCS#1 v1.5 signature is none under PSS, and the reverse."""
        pss = keys.rsa.sign(MSG, padding.PSS(padding.MGF1(HASH["sha256"]), 32), HASH["sha256"])
        plain = keys.rsa.sign(MSG, padding.PKCS1v15(), HASH["sha256"])
        refused("crypto.signature", keys.spki("rsa"), RSA_OID["sha256"], NULL, MSG, pss)
        refused("crypto.signature", keys.spki("rsa"), signatures.RSA_PSS_OID, pss_parameters("sha256"), MSG, plain)

    @pytest.mark.parametrize(
        "fault", ["short padding", "garbage after", "no null", "block type 2", "hash cut", "long digest info"]
    )
    def test_rsa_padding(self, keys, fault: str) -> None:  # type: ignore[no-untyped-def]
        """PKCS#1 v1.5 blocks that lax verifiers take (Bleichenbacher 2006 and its kin) are refused."""
        digest = hashlib.sha256(MSG).digest()
        info = bytes.fromhex("3031300d060960864801650304020105000420") + digest
        size = 256
        blocks = {
            "short padding": b"\0\x01" + b"\xff" * 8 + b"\0" + info,
            "garbage after": b"\0\x01" + b"\xff" * (size - 3 - len(info) - 16) + b"\0" + info + bytes(16),
            "no null": pad(bytes.fromhex("302f300b0609608648016503040201") + b"\x04\x20" + digest, size),
            "block type 2": b"\0\x02" + b"\xff" * (size - 3 - len(info)) + b"\0" + info,
            "hash cut": pad(bytes.fromhex("3030300d06096086480165030402010500041f") + digest[:31], size),
            "long digest info": pad(b"\x30\x81\x31" + info[2:], size),
        }
        block = blocks[fault].ljust(size, b"\0")
        numbers = keys.rsa.private_numbers()
        forged = pow(int.from_bytes(block, "big"), numbers.d, numbers.public_numbers.n).to_bytes(size, "big")
        refused("crypto.signature", keys.spki("rsa"), RSA_OID["sha256"], NULL, MSG, forged)

    def test_rsa_numbers(self, keys) -> None:  # type: ignore[no-untyped-def]
        """0, 1, n - 1, s + n, a cut and a lengthened signature are refused."""
        n = keys.rsa.public_key().public_numbers().n
        good = keys.rsa.sign(MSG, padding.PKCS1v15(), HASH["sha256"])
        more = (int.from_bytes(good, "big") + n).to_bytes(257, "big")
        for bad in (
            bytes(256),
            (1).to_bytes(256, "big"),
            (n - 1).to_bytes(256, "big"),
            more,
            good[1:],
            b"\0" + good,
            b"",
        ):
            refused("crypto.signature", keys.spki("rsa"), RSA_OID["sha256"], NULL, MSG, bad)

    def test_ed25519_small_order(self) -> None:
        """Under the eight points of small order R = A, S = 0 can verify for any message: such keys are refused."""
        header, p = bytes.fromhex("302a300506032b6570032100"), 2**255 - 19
        eighth = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")
        low = [y.to_bytes(32, "little") for y in (0, 1, p - 1, p, p + 1, 2**255 - 1)] + [eighth]
        low.append((p - int.from_bytes(eighth, "little")).to_bytes(32, "little"))
        for point in low + [point[:31] + bytes([point[31] | 0x80]) for point in low]:
            refused("crypto.key", header + point, "1.3.101.112", None, MSG, point + bytes(32))

    def test_ed25519(self, keys) -> None:  # type: ignore[no-untyped-def]
        """S beyond the group's order, a cut signature, and the zero signature are refused (RFC 8032 §5.1.7)."""
        order = 2**252 + 27742317777372353535851937790883648493
        good = keys.ed25519.sign(MSG)
        more = good[:32] + (int.from_bytes(good[32:], "little") + order).to_bytes(32, "little")
        for bad in (more, good[:-1], good + b"\0", bytes(64), b"", good[32:] + good[:32]):
            refused("crypto.signature", keys.spki("ed25519"), "1.3.101.112", None, MSG, bad)


def pad(info: bytes, size: int) -> bytes:
    """A PKCS#1 v1.5 block around `info`."""
    return b"\0\x01" + b"\xff" * (size - 3 - len(info)) + b"\0" + info
