"""Tokens: PKCS#11 by a real SoftHSM, encrypted files, and the settings that name them."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ca_bridge.crypto import challenge as challenges
from ca_bridge.crypto.challenge import Asked
from ca_bridge.errors import ConfigError, SignerError
from demo import pki
from demo.personas import PIN, personas
from signer.file_token import FileTokens
from signer.pkcs11_token import Pkcs11Tokens, module_path
from signer.settings import FileSource, Pkcs11Source, SignerSettings, load_settings
from signer.tokens import Held
from signer.wallet import Wallet, open_wallet

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
ASKED = Asked("https://hall.example", "t" * 32, "n" * 32, NOW + timedelta(seconds=60))
SM2_ID = "1234567812345678"


def _held(found: tuple[Held, ...], label: str) -> Held:
    return next(held for held in found if held.token == label)


@pytest.fixture
def files(copied: Path) -> FileTokens:
    """The demo's file tokens, three tries each."""
    return FileTokens(FileSource(kind="file", folder=copied), tries=3, sm2_id=SM2_ID)


@pytest.fixture(scope="session")
def hsm(settings: SignerSettings, wallet: Wallet) -> Pkcs11Tokens:
    """SoftHSM knows one configuration a process: the session's."""
    source = next(source for source in settings.tokens if isinstance(source, Pkcs11Source))
    return Pkcs11Tokens(source)


def test_every_persona_is_on_a_token(wallet: Wallet) -> None:
    """All personas' certificates are found without a PIN, each with the key kind and storage that is described."""
    found = {held.token: (held.kind, held.storage) for held in wallet.held()}
    assert found == {
        p.token_label: (p.key_kind.replace("rsa-2048", "rsa"), "file" if p.storage == "file" else "token")
        for p in personas()
    }


def test_certificates_that_sign_come_first(wallet: Wallet) -> None:
    """The page lists what can be used before what cannot."""
    marks = [held.can_sign for held in wallet.held()]
    assert marks == sorted(marks, reverse=True)
    assert [held.token for held in wallet.held() if not held.can_sign] == ["gd-encryption"]


def test_hsm_refuses_a_wrong_pin_and_then_takes_the_right_one(hsm: Pkcs11Tokens) -> None:
    """A wrong PIN leaves no login behind that would let the next call through without one."""
    held = _held(hsm.held(), "gz-li")
    for pin in ("000000", "", "1234567"):
        with pytest.raises(SignerError, match=r"signer\.pin_wrong"):
            hsm.sign(held, pin, b"message", "ES256")
    assert hsm.sign(held, PIN, b"message", "ES256")[0] == 0x30
    with pytest.raises(SignerError, match=r"signer\.pin_wrong"):
        hsm.sign(held, "000000", b"message", "ES256")


def test_hsm_pin_is_of_its_own_token(hsm: Pkcs11Tokens) -> None:
    """A certificate that is on no token any more is absent, whoever's PIN is right."""
    held = dataclasses.replace(_held(hsm.held(), "gz-li"), token="gd-zhang")
    with pytest.raises(SignerError, match=r"signer\.token_absent"):
        hsm.sign(held, PIN, b"message", "ES256")


def test_hsm_refuses_algorithms_it_does_not_know(hsm: Pkcs11Tokens) -> None:
    """No fallback to another algorithm."""
    with pytest.raises(SignerError, match=r"signer\.algorithm"):
        hsm.sign(_held(hsm.held(), "gz-li"), PIN, b"message", "SM2")


def test_hsm_wrong_mechanism_is_a_tokens_failure(hsm: Pkcs11Tokens) -> None:
    """An RSA key asked for ECDSA: an error with a code, not a fault."""
    with pytest.raises(SignerError, match=r"signer\.token_failed"):
        hsm.sign(_held(hsm.held(), "gd-zhang"), PIN, b"message", "ES256")


@pytest.mark.parametrize("label", ["gd-zhang", "gd-zhang-file"])
def test_pss_when_settings_want_it(settings: SignerSettings, label: str) -> None:
    """PS256 by token and by file, accepted by the bridge's check."""
    wallet = open_wallet(settings.model_copy(update={"rsa": "PS256"}))
    held = _held(wallet.held(), label)
    signed = wallet.sign(held.id, PIN, ASKED, NOW)
    assert signed.algorithm == "PS256"
    key = challenges.key_hash(held.certificate.spki)
    challenge = challenges.Challenge(ASKED.origin, ASKED.transaction, ASKED.nonce, key, ASKED.expires)
    challenges.check(challenge, held.certificate.spki, signed.value, "PS256", "", now=NOW)


def test_wallet_signs_nothing_late(wallet: Wallet) -> None:
    """A challenge that ran out while the person looked for the PIN is not signed."""
    held = _held(wallet.held(), "gz-li")
    with pytest.raises(SignerError, match=r"signer\.expired"):
        wallet.sign(held.id, PIN, ASKED, ASKED.expires)


def test_wallet_has_no_other_way_to_a_signature() -> None:
    """No signing oracle: the wallet's public methods are two, and neither takes bytes to sign."""
    assert {name for name in vars(Wallet) if not name.startswith("_")} == {"held", "sign"}


def test_key_that_is_not_the_certificates_is_found_out(copied: Path, files: FileTokens) -> None:
    """A signature is checked before it leaves."""
    (copied / "ch-huang" / "key.pem").write_bytes((copied / "ch-wrong-id" / "key.pem").read_bytes())
    wallet = Wallet([files])
    with pytest.raises(SignerError, match=r"signer\.key_mismatch"):
        wallet.sign(_held(files.held(), "ch-huang").id, PIN, ASKED, NOW)


@pytest.mark.parametrize("label", ["ch-huang", "gd-zhang-file"])
def test_file_locks_after_wrong_pins(files: FileTokens, label: str) -> None:
    """Tries are counted, told, and kept; after the last the right PIN opens nothing."""
    held = _held(files.held(), label)
    algorithm = "SM2" if held.kind == "sm2" else "RS256"
    for left in (2, 1, 0):
        with pytest.raises(SignerError, match=r"signer\.pin_wrong") as caught:
            files.sign(held, "000000", b"message", algorithm)
        assert caught.value.facts["left"] == left
    with pytest.raises(SignerError, match=r"signer\.pin_locked"):
        files.sign(held, PIN, b"message", algorithm)


def test_right_pin_resets_the_count(files: FileTokens) -> None:
    """Wrong PINs in a row count, not wrong PINs in a lifetime."""
    held = _held(files.held(), "gd-zhang-file")
    for _ in range(2):
        for _ in range(2):
            with pytest.raises(SignerError, match=r"signer\.pin_wrong"):
                files.sign(held, "000000", b"message", "RS256")
        assert files.sign(held, PIN, b"message", "RS256")


def test_spoilt_count_locks(copied: Path, files: FileTokens) -> None:
    """A count that cannot be read is not a way to more tries."""
    (copied / "gd-zhang-file" / "tries").write_text("many")
    with pytest.raises(SignerError, match=r"signer\.pin_locked"):
        files.sign(_held(files.held(), "gd-zhang-file"), PIN, b"message", "RS256")


def test_key_file_in_clear_is_refused(run: pki.DemoRun, copied: Path, files: FileTokens) -> None:
    """A key without a PIN signs nothing, whatever PIN is typed."""
    person = next(p for p in personas() if p.id == "gd-zhang-file")
    (copied / "gd-zhang-file" / "key.pem").write_bytes(person.files(run.folder).key.read_bytes())
    with pytest.raises(SignerError, match=r"signer\.token_failed"):
        files.sign(_held(files.held(), "gd-zhang-file"), PIN, b"message", "RS256")


@pytest.mark.parametrize(
    "content", [b"", b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"]
)
def test_broken_key_file(copied: Path, files: FileTokens, content: bytes) -> None:
    """A spoilt key file is told with a code."""
    held = _held(files.held(), "ch-huang")
    (copied / "ch-huang" / "key.pem").write_bytes(content)
    with pytest.raises(SignerError, match=r"signer\.(token_failed|pin_wrong)"):
        files.sign(held, PIN, b"message", "SM2")


def test_unreadable_certificates_are_left_out(copied: Path, files: FileTokens) -> None:
    """One bad folder does not hide the others."""
    before = {held.token for held in files.held()}
    (copied / "ch-huang" / "certificate.pem").write_bytes(b"broken")
    (copied / "gd-zhang-file" / "key.pem").unlink()
    assert {held.token for held in files.held()} == before - {"ch-huang", "gd-zhang-file"}


def test_sm2_key_signs_by_sm2_only(files: FileTokens) -> None:
    """No ECDSA with an SM2 key."""
    with pytest.raises(SignerError, match=r"signer\.algorithm"):
        files.sign(_held(files.held(), "ch-huang"), PIN, b"message", "ES256")


def test_absent_folder_is_an_empty_list(tmp_path: Path) -> None:
    """A person without file tokens has none."""
    assert FileTokens(FileSource(kind="file", folder=tmp_path / "x"), tries=3, sm2_id=SM2_ID).held() == ()


def test_named_module_must_exist(tmp_path: Path) -> None:
    """A driver that is not installed is told at start."""
    with pytest.raises(SignerError, match=r"signer\.module"):
        module_path(str(tmp_path / "libnone.so"))
    (tmp_path / "text.so").write_text("not a library")
    with pytest.raises(SignerError, match=r"signer\.module"):
        Pkcs11Tokens(Pkcs11Source(kind="pkcs11", module=str(tmp_path / "text.so")))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "port = 0\norigins_file = 'a'\norigins_key_file = 'b'",
        "origins_file = 'a'\norigins_key_file = 'b'\nhost = '0.0.0.0'",
        "origins_file = 'a'\norigins_key_file = 'b'\npin = '123456'",
        "origins_file = 'a'\norigins_key_file = 'b'\n[[tokens]]\nkind = 'other'",
        "origins_file = 'a'\norigins_key_file = 'b'\nrsa = 'RS1'",
        "not toml",
    ],
)
def test_settings_that_do_not_fit_are_refused(tmp_path: Path, text: str) -> None:
    """Unknown fields too: no PIN, no other address to listen at."""
    (tmp_path / "signer.toml").write_text(text)
    with pytest.raises(ConfigError, match=r"config\.invalid"):
        load_settings(tmp_path / "signer.toml")
    with pytest.raises(ConfigError, match=r"config\.missing"):
        load_settings(tmp_path / "absent.toml")


def test_relative_paths_are_relative_to_the_settings(tmp_path: Path) -> None:
    """The signer may be started from anywhere."""
    (tmp_path / "signer.toml").write_text(
        "origins_file = 'o.json'\norigins_key_file = 'k.pem'\n[[tokens]]\nkind = 'file'\nfolder = 'mine'\n"
    )
    settings = load_settings(tmp_path / "signer.toml")
    assert settings.origins_file == tmp_path / "o.json"
    assert isinstance(settings.tokens[0], FileSource)
    assert settings.tokens[0].folder == tmp_path / "mine"
