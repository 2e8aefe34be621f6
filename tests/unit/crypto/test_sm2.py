"""SM2: the standard's example, hostile signatures, keys and distinguishing IDs, key files, the engine's place."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ca_bridge.crypto import der, libcrypto, sm2, sm2_libcrypto
from ca_bridge.errors import CryptoError

POINT = bytes.fromhex(
    "0409f9df311e5421a150dd7d161e4bc5c672179fad1833fc076bb08ff356f35020"
    "ccea490ce26775a52dc6ea718cc1aa600aed05fbf35e084a6632f6072da9ad13"
)
MESSAGE = b"message digest"
R = 0xF5A03B0648D2C4630EEAC513E1BB81A15944DA3827D5B74143AC7EACEEE720B3
S = 0xB1B6AA29DF212FD8763182BC0D421CA1BB9038FD1F7F42D4840B69C485BBC1AA
N, ID = sm2.N, sm2.DEFAULT_ID
GOOD = der.pair(R, S)


def signed(value: int) -> bytes:
    """A DER INTEGER that may be negative."""
    return der.element(2, value.to_bytes((value + (value < 0)).bit_length() // 8 + 1, "big", signed=True))


def seq(*parts: bytes) -> bytes:
    """A SEQUENCE of what is given."""
    return der.element(0x30, b"".join(parts))


FORMS = {
    "r = s = 0": der.pair(0, 0),
    "r = 0": der.pair(0, S),
    "s = 0": der.pair(R, 0),
    "r = n": der.pair(N, S),
    "s = n": der.pair(R, N),
    "r + s = n": der.pair(R, N - R),
    "r + n": der.pair(R + N, S),
    "s + n": der.pair(R, S + N),
    "r = 1, s = n - 1": der.pair(1, N - 1),
    "r = -1": seq(signed(-1), signed(S)),
    "r - n": seq(signed(R - N), signed(S)),
    "s - n": seq(signed(R), signed(S - N)),
    "-s": seq(signed(R), signed(-S)),
    "huge r": der.pair(1 << 4096, S),
    "byte after": GOOD + b"\0",
    "third integer": seq(signed(R), signed(S), signed(1)),
    "one integer": seq(signed(R)),
    "no integer": seq(),
    "empty": b"",
    "long form of a short length": b"\x30\x81" + GOOD[1:],
    "two length bytes where one serves": b"\x30\x82\x00" + GOOD[1:],
    "padded integer": seq(b"\x02\x22\x00\x00" + R.to_bytes(32, "big"), signed(S)),
    "leading zero forgotten": seq(b"\x02\x20" + R.to_bytes(32, "big"), signed(S)),
    "indefinite length": b"\x30\x80" + signed(R) + signed(S) + b"\0\0",
    "empty integer": seq(b"\x02\x00", signed(S)),
    "SET instead of SEQUENCE": b"\x31" + GOOD[1:],
    "OCTET STRING instead of INTEGER": seq(b"\x04" + signed(R)[1:], signed(S)),
    "cut short": GOOD[:-1],
    "length beyond the end": b"\x30\x7f" + GOOD[2:],
    "raw r‖s": R.to_bytes(32, "big") + S.to_bytes(32, "big"),
}


def refused(code: str, point: bytes, message: bytes, signature: bytes, sm2_id: str = ID) -> None:
    """Verification raises exactly `code`."""
    with pytest.raises(CryptoError) as caught:
        sm2.verify(point, message, signature, sm2_id)
    assert caught.value.code == code


def test_example_of_the_standard() -> None:
    """GB/T 32918.5 §A.2 verifies under the default ID."""
    sm2.verify(POINT, MESSAGE, GOOD, ID)


@pytest.mark.parametrize("name", FORMS)
def test_hostile_forms_are_refused(name: str) -> None:
    """r and s lie in 1 … n - 1, r + s ≠ n, and the DER is the one right form (GB/T 32918.2 §7.1, X.690 §10)."""
    refused("crypto.signature_form", POINT, MESSAGE, FORMS[name])


@pytest.mark.parametrize(
    ("r", "s"), [(R ^ 1, S), (R, S ^ 1), (S, R), (R, N - S), (N - R, S), (1, 1), (N - 1, N - 2), ((R + S) % N, S)]
)
def test_other_values_are_refused(r: int, s: int) -> None:
    """Numbers in range that are not the signature are refused; s → n - s is no second signature, unlike in ECDSA."""
    refused("crypto.signature", POINT, MESSAGE, der.pair(r, s))


def test_every_flipped_bit_is_refused() -> None:
    """No single changed bit of the signature passes."""
    for bit in range(len(GOOD) * 8):
        changed = bytearray(GOOD)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CryptoError):
            sm2.verify(POINT, MESSAGE, bytes(changed), ID)


@pytest.mark.parametrize("sm2_id", ["1234567812345679", "123456781234567", " 1234567812345678", "ALICE123@YAHOO.COM"])
def test_wrong_distinguishing_id(sm2_id: str) -> None:
    """A signature under one ID is none under another: the ID is pinned, never guessed."""
    refused("crypto.signature", POINT, MESSAGE, GOOD, sm2_id)


@pytest.mark.parametrize("sm2_id", ["", "x" * 8192])
def test_unusable_distinguishing_id(sm2_id: str) -> None:
    """The empty ID (OpenSSL 3's silent default) and one whose length does not fit 16 bits are refused."""
    refused("crypto.sm2_id", POINT, MESSAGE, GOOD, sm2_id)


@pytest.mark.parametrize(
    "point",
    [
        POINT[:64] + bytes([POINT[64] ^ 1]),
        b"\x04" + (sm2.P + 1).to_bytes(32, "big") + POINT[33:],
        b"\x04" + bytes(64),
        b"\x04" + b"\xff" * 64,
        b"\x00",
        b"",
        POINT[1:],
        POINT + b"\0",
        b"\x02" + POINT[1:33],
        b"\x06" + POINT[1:],
        b"\x04" + (N - 1).to_bytes(32, "big") * 2,
    ],
)
def test_bad_points(point: bytes) -> None:
    """Points off the curve, at infinity, out of the field, compressed or hybrid are refused."""
    refused("crypto.key", point, MESSAGE, GOOD)


def test_p256_point_is_not_an_sm2_point(keys) -> None:  # type: ignore[no-untyped-def]
    """A point of another curve with coordinates of the same size is refused."""
    refused("crypto.key", keys.spki("p256")[-65:], MESSAGE, GOOD)


def test_agrees_with_the_reference(reference, keys) -> None:  # type: ignore[no-untyped-def]
    """Fresh keys, messages and IDs: a verifier written from the standard takes our signatures, not changed ones."""
    for number in range(12):
        private = keys.sm2 if number % 2 else sm2.generate()
        message, sm2_id = bytes([number]) * (number * 31), f"id-{number}@例"
        r, s = sm2.check_signature(signature := sm2.sign(private, message, sm2_id))
        sm2.verify(private.point, message, signature, sm2_id)
        assert reference(private.point, message, r, s, sm2_id.encode())
        assert not reference(private.point, message + b"\0", r, s, sm2_id.encode())
        refused("crypto.signature", private.point, message + b"\0", signature, sm2_id)


def test_key_with_leading_zero_or_04(keys) -> None:  # type: ignore[no-untyped-def]
    """Coordinates that begin with 0 or 4 keep all their bytes (a known fault of a common package)."""
    found = 0
    for _ in range(400):
        private = sm2.generate()
        if private.point[1] >> 4 in {0, 4}:
            found += 1
            sm2.verify(private.point, MESSAGE, sm2.sign(private, MESSAGE, ID), ID)
    assert found


def test_raw_signatures() -> None:
    """r‖s turns into strict DER and back; out-of-range numbers and other lengths do not."""
    raw = R.to_bytes(32, "big") + S.to_bytes(32, "big")
    assert sm2.from_raw(raw) == GOOD
    assert sm2.to_raw(GOOD) == raw
    for bad in (raw[:-1], raw + b"\0", bytes(64), N.to_bytes(32, "big") + raw[32:], b""):
        with pytest.raises(CryptoError, match=r"crypto\.signature_form"):
            sm2.from_raw(bad)


def test_many_threads(keys) -> None:  # type: ignore[no-untyped-def]
    """Signing and verifying with one key in several threads gives right answers, good and bad ones mixed."""
    wrong: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            for number in range(40):
                message = bytes([seed, number])
                signature = sm2.sign(keys.sm2, message, ID)
                sm2.verify(keys.sm2.point, message, signature, ID)
                refused("crypto.signature", keys.sm2.point, message + b"!", signature)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_prepared_keys_keep_apart(keys, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    """Ours: what is prepared belongs to one key and one ID, answers the same each time, and may be dropped in use."""
    monkeypatch.setattr(sm2_libcrypto, "_KEPT", 2)
    engine = sm2_libcrypto.LibcryptoEngine()
    owners = [(private, sm2_id) for private in (keys.sm2, sm2.generate()) for sm2_id in (b"one", b"two")]
    signed_by = [(private, sm2_id, sm2.sign(private, MESSAGE, sm2_id.decode())) for private, sm2_id in owners]
    wrong: list[object] = []

    def work() -> None:
        for owner, (signer, other_id, signature) in itertools.product(owners * 3, signed_by):
            right = engine.verify(owner[0].point, MESSAGE, signature, owner[1])
            if right is not (owner == (signer, other_id)) or engine.verify(owner[0].point, b"", signature, owner[1]):
                wrong.append((owner, other_id))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


class TestKeyFiles:
    def test_round_trip(self, tmp_path: Path) -> None:
        """An encrypted file gives the same key back, is 0600, and does not hold the key in clear."""
        private = sm2.generate()
        sm2_libcrypto.save_file(path := tmp_path / "key.pem", private, b"\x00pin \xff")
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.read_bytes().startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
        loaded = sm2_libcrypto.load_file(path, b"\x00pin \xff")
        assert loaded == private
        sm2.verify(private.point, MESSAGE, sm2.sign(loaded, MESSAGE, ID), ID)

    @pytest.mark.parametrize("passphrase", [b"1235", b"1234 ", b"123", None, b""])
    def test_wrong_passphrase(self, passphrase: bytes | None) -> None:
        """Another passphrase, or none, is told as such and never asked for at a terminal."""
        pem = sm2_libcrypto.dump(sm2.generate(), b"1234", iterations=1000)
        with pytest.raises(CryptoError, match=r"crypto\.passphrase"):
            sm2_libcrypto.load(pem, passphrase)

    def test_passphrase_for_a_plain_file(self) -> None:
        """A passphrase that protects nothing is an error: the person believes the file is sealed."""
        with pytest.raises(CryptoError, match=r"crypto\.passphrase"):
            sm2_libcrypto.load(sm2_libcrypto.dump(sm2.generate(), None), b"1234")

    def test_other_kinds_of_key(self, keys) -> None:  # type: ignore[no-untyped-def]
        """RSA, P-256 and Ed25519 keys in PKCS#8 are not SM2 keys."""
        for name in ("rsa", "p256", "ed25519"):
            pem = getattr(keys, name).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            with pytest.raises(CryptoError, match=r"crypto\.private_key"):
                sm2_libcrypto.load(pem)

    def test_other_files(self, tmp_path: Path) -> None:
        """SEC 1 keys, two keys in one file, text around the key, cut or huge files and absent ones are refused."""
        plain = sm2_libcrypto.dump(sm2.generate(), None)
        sec1 = ec.generate_private_key(ec.SECP256R1()).private_bytes(
            Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
        )
        body = plain.splitlines()
        short = b"\n".join([body[0], body[1], body[-1]])
        for bad in (b"", sec1, plain + plain, b"hello\n" + plain, short, plain[:-20], plain + b" " * 20_000):
            with pytest.raises(CryptoError, match=r"crypto\.private_key"):
                sm2_libcrypto.load(bad)
        with pytest.raises(CryptoError, match=r"crypto\.private_key"):
            sm2_libcrypto.load_file(tmp_path / "absent.pem")

    def test_halves_that_do_not_fit(self) -> None:
        """A key file whose public half belongs to another key is refused."""
        one, other = sm2.generate(), sm2.generate()
        lib = sm2_libcrypto.library()
        info = lib.call("EVP_PKEY2PKCS8", one.handle.pointer)  # type: ignore[attr-defined]
        data = lib.encode("i2d_PKCS8_PRIV_KEY_INFO", info)
        lib.call("PKCS8_PRIV_KEY_INFO_free", info)
        assert one.point in data
        with pytest.raises(CryptoError, match=r"crypto\.private_key"):
            sm2_libcrypto.load(sm2_libcrypto._pem(b"PRIVATE KEY", data.replace(one.point, other.point)))

    def test_nothing_of_the_key_is_shown(self) -> None:
        """The representation of a private key shows its public point only."""
        assert "handle" not in repr(sm2.generate())


class Yes:
    """An engine that accepts everything."""

    def verify(self, point: bytes, message: bytes, signature: bytes, sm2_id: bytes) -> bool:
        return True

    def sign(self, private: sm2.PrivateKey, message: bytes, sm2_id: bytes) -> bytes:
        return b""

    def generate(self) -> sm2.PrivateKey:
        return sm2.PrivateKey(b"\x04" + bytes(64), None)


class No(Yes):
    """An engine that accepts nothing."""

    def verify(self, point: bytes, message: bytes, signature: bytes, sm2_id: bytes) -> bool:
        return False


class DeafToId(Yes):
    """An engine that forgets the distinguishing ID."""

    def verify(self, point: bytes, message: bytes, signature: bytes, sm2_id: bytes) -> bool:
        return sm2.engine().verify(point, message, signature, ID.encode())


class TestEngine:
    @pytest.mark.parametrize("engine", [Yes(), No(), DeafToId()])
    def test_wrong_engines_are_not_used(self, engine: sm2.Engine) -> None:
        """An engine that fails the standard's example never takes the place of the one in use."""
        before = sm2.engine()
        with pytest.raises(CryptoError, match=r"crypto\.sm2_unavailable"):
            sm2.use(engine)
        assert sm2.engine() is before

    def test_a_right_engine_takes_over(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """An HSM's engine serves all calls, and its answers are still checked: an off-curve key from it is refused."""
        inner = sm2.engine()
        monkeypatch.setattr(sm2, "_engine", inner)

        class Hsm(Yes):
            def verify(self, point: bytes, message: bytes, signature: bytes, sm2_id: bytes) -> bool:
                return inner.verify(point, message, signature, sm2_id)

        sm2.use(Hsm())
        sm2.verify(POINT, MESSAGE, GOOD, ID)
        with pytest.raises(CryptoError, match=r"crypto\.key"):
            sm2.generate()
        with pytest.raises(CryptoError, match=r"crypto\.signature_form"):
            sm2.sign(sm2.PrivateKey(POINT, "slot 1"), MESSAGE, ID)

    def test_foreign_handle(self) -> None:
        """A key of another engine is refused by libcrypto's, neither signed with nor written to a file."""
        foreign = sm2.PrivateKey(POINT, object())
        with pytest.raises(CryptoError, match=r"crypto\.key"):
            sm2.sign(foreign, MESSAGE, ID)
        with pytest.raises(CryptoError, match=r"crypto\.private_key"):
            sm2_libcrypto.dump(foreign, b"x")

    @pytest.mark.parametrize("name", ["/nonexistent/libcrypto.so", "libm.so.6"])
    def test_no_libcrypto(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """An absent library, or one without the functions, is told as one clear error."""
        monkeypatch.setenv("CROSSHALL_LIBCRYPTO", name)
        with pytest.raises(CryptoError, match=r"crypto\.sm2_unavailable"):
            libcrypto.LibCrypto()

    def test_old_libcrypto(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A libcrypto before 3.0 is refused."""
        monkeypatch.setattr(libcrypto, "_OLDEST", 0xF0000000)
        with pytest.raises(CryptoError, match=r"crypto\.sm2_unavailable"):
            libcrypto.LibCrypto()
