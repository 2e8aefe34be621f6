"""Keys of the demo federation: made, kept as PKCS#8, and signing with the algorithm that fits them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from asn1crypto import keys as asn1_keys
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from ca_bridge.crypto import sm2, sm2_libcrypto
from ca_bridge.errors import ConfigError
from ca_bridge.files import write_atomically

_CURVES: dict[str, tuple[ec.EllipticCurve, str, hashes.HashAlgorithm]] = {
    "ecdsa-p256": (ec.SECP256R1(), "1.2.840.10045.4.3.2", hashes.SHA256()),
    "ecdsa-p384": (ec.SECP384R1(), "1.2.840.10045.4.3.3", hashes.SHA384()),
}
_SHA256_RSA = "1.2.840.113549.1.1.11"
_SM2_SM3 = "1.2.156.10197.1.501"
Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | sm2.PrivateKey


@dataclass(frozen=True, slots=True)
class Signed:
    """A signature with the algorithm's OID; `null` says whether its parameters are NULL (else absent)."""

    algorithm: str
    null: bool
    value: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Key:
    """A private key with its SubjectPublicKeyInfo (DER)."""

    kind: str
    spki: bytes
    private: Private = field(repr=False)

    def algorithm(self) -> tuple[str, bool]:
        """OID of the key's signature algorithm, and whether its parameters are NULL (RFC 4055 §5; SM2 CAs do too)."""
        if self.kind.startswith("rsa"):
            return _SHA256_RSA, True
        return (_SM2_SM3, True) if self.kind == "sm2" else (_CURVES[self.kind][1], False)

    def sign(self, message: bytes, *, sm2_id: str = sm2.DEFAULT_ID) -> Signed:
        """The signature over `message`; `sm2_id` counts for SM2 keys only."""
        oid, null = self.algorithm()
        private = self.private
        if isinstance(private, rsa.RSAPrivateKey):
            return Signed(oid, null, private.sign(message, padding.PKCS1v15(), hashes.SHA256()))
        if isinstance(private, sm2.PrivateKey):
            return Signed(oid, null, sm2.sign(private, message, sm2_id))
        return Signed(oid, null, private.sign(message, ec.ECDSA(_CURVES[self.kind][2])))

    @property
    def spki_sha1(self) -> bytes:
        """Key identifier by RFC 5280 §4.2.1.2 (1): SHA-1 of the public key's bits."""
        return bytes(asn1_keys.PublicKeyInfo.load(self.spki).sha1)

    def pem(self, passphrase: str | None = None) -> bytes:
        """PKCS#8 PEM, encrypted under the passphrase when one is given."""
        if isinstance(self.private, sm2.PrivateKey):
            return sm2_libcrypto.dump(self.private, passphrase.encode() if passphrase else None)
        seal = (
            serialization.BestAvailableEncryption(passphrase.encode()) if passphrase else serialization.NoEncryption()
        )
        return self.private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, seal)


def generate(kind: str) -> Key:
    """A new key of `rsa-2048`, `rsa-3072`, `ecdsa-p256`, `ecdsa-p384` or `sm2`. Raises ConfigError `config.invalid`."""
    if kind in ("rsa-2048", "rsa-3072"):
        return _with_spki(kind, rsa.generate_private_key(65537, int(kind.removeprefix("rsa-"))))
    if kind in _CURVES:
        return _with_spki(kind, ec.generate_private_key(_CURVES[kind][0]))
    if kind == "sm2":
        private = sm2.generate()
        return Key(kind, private.spki, private)
    raise ConfigError("config.invalid", f"no such kind of key: {kind!r}")


def save(key: Key, path: Path) -> None:
    """Write the key to `path` in clear, mode 0600."""
    write_atomically(path, key.pem(), mode=0o600)


def load(path: Path, kind: str) -> Key:
    """The key that `save` wrote."""
    data = path.read_bytes()
    if kind == "sm2":
        private = sm2_libcrypto.load(data)
        return Key(kind, private.spki, private)
    found = serialization.load_pem_private_key(data, None)
    if not isinstance(found, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise ConfigError("config.invalid", f"{path.name}: not an RSA or EC key")
    return _with_spki(kind, found)


def _with_spki(kind: str, private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> Key:
    spki = private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return Key(kind, spki, private)
