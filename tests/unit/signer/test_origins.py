"""The province-signed list of halls: what is believed and what is not."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from ca_bridge.errors import LANGUAGES, SignerError
from demo.pki import keys
from demo.pki.bundle import public_pem, write_origins
from demo.pki.keys import Key
from signer.origins import Origins, load_key, read_origins

HALL = "https://hall.example:8443"
NAMES = dict.fromkeys(LANGUAGES, "hall")
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def key() -> Key:
    """The province's."""
    return keys.generate("ecdsa-p256")


@pytest.fixture
def folder(tmp_path: Path, key: Key) -> Path:
    """A list and its public key."""
    (tmp_path / "key.pem").write_bytes(public_pem(key))
    write_origins(tmp_path, key, {HALL: NAMES}, NOW, 30)
    return tmp_path


def _open(folder: Path) -> Origins:
    return Origins(folder / "origins.json", folder / "key.pem")


def test_listed_hall_is_found_with_its_name(folder: Path) -> None:
    """The name shown to the person is the province's, not the page's."""
    assert _open(folder).hall(HALL, NOW).name["pt"] == "hall"


@pytest.mark.parametrize("origin", [None, "", "null", "https://hall.example", HALL + "/", HALL.upper()])
def test_other_origins_are_not(folder: Path, origin: str | None) -> None:
    """Exact comparison; nothing is normalised in an attacker's favour."""
    with pytest.raises(SignerError, match=r"signer\.origin:"):
        _open(folder).hall(origin, NOW)


@pytest.mark.parametrize("when", [NOW - timedelta(seconds=1), NOW + timedelta(days=30)])
def test_list_counts_in_its_time_only(folder: Path, when: datetime) -> None:
    """From `issued` until before `expires`."""
    with pytest.raises(SignerError, match=r"signer\.origins_expired"):
        _open(folder).hall(HALL, when)


def test_list_by_another_key_is_refused(folder: Path) -> None:
    """Only the province's key signs the list."""
    (folder / "key.pem").write_bytes(public_pem(keys.generate("ecdsa-p256")))
    with pytest.raises(SignerError, match=r"signer\.origins:"):
        _open(folder).hall(HALL, NOW)


def test_changed_payload_is_refused(folder: Path, key: Key) -> None:
    """One origin more, without a signature for it."""
    outer = json.loads((folder / "origins.json").read_text())
    inner = json.loads(base64.urlsafe_b64decode(outer["payload"] + "=="))
    inner["origins"].append({"origin": "https://evil.example", "name": NAMES})
    outer["payload"] = base64.urlsafe_b64encode(json.dumps(inner).encode()).decode().rstrip("=")
    with pytest.raises(SignerError, match=r"signer\.origins:"):
        read_origins(json.dumps(outer).encode(), load_key(folder / "key.pem"))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'{"payload": 1, "signature": 2}',
        b'{"payload": "e30", "signature": "AAAA"}',
        b"[" * 9999,
    ],
)
def test_broken_lists_are_refused(data: bytes) -> None:
    """Whatever the bytes: a refusal, never a fault."""
    with pytest.raises(SignerError, match=r"signer\.origins"):
        read_origins(data, ec.generate_private_key(ec.SECP256R1()).public_key())


def _sign(payload: Any, key: Key, folder: Path) -> bytes:
    body = json.dumps(payload).encode()
    r, s = decode_dss_signature(key.sign(body).value)
    raw = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    texts = [base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (body, raw)]
    return json.dumps(dict(zip(("payload", "signature"), texts, strict=True))).encode()


@pytest.mark.parametrize(
    "change",
    [
        {"origins": [{"origin": "http://plain.example", "name": NAMES}]},
        {"origins": [{"origin": "https://*.example", "name": NAMES}]},
        {"origins": [{"origin": HALL, "name": {"en": "only English"}}]},
        {"origins": HALL},
        {"expires": "2030-01-01T00:00:00"},
        {"issued": None},
    ],
)
def test_signed_but_senseless_lists_are_refused(folder: Path, key: Key, change: dict[str, Any]) -> None:
    """A right signature does not excuse a wrong form: no wildcards, no plain HTTP, no missing names."""
    good = {
        "origins": [{"origin": HALL, "name": NAMES}],
        "issued": "2026-01-01T00:00:00Z",
        "expires": "2030-01-01T00:00:00Z",
    }
    assert read_origins(_sign(good, key, folder), load_key(folder / "key.pem")).halls
    with pytest.raises(SignerError, match=r"signer\.origins"):
        read_origins(_sign({**good, **change}, key, folder), load_key(folder / "key.pem"))


def test_new_list_is_taken_and_an_old_one_is_not(folder: Path, key: Key) -> None:
    """A hall that was withdrawn does not come back with an old file."""
    old = (folder / "origins.json").read_bytes()
    origins = _open(folder)
    origins.hall(HALL, NOW)
    write_origins(folder, key, {"https://new.example": NAMES}, NOW + timedelta(hours=1), 30)
    later = NOW + timedelta(hours=2)
    assert origins.hall("https://new.example", later)
    for step in (old, b"broken"):
        (folder / "origins.json").unlink()
        (folder / "origins.json").write_bytes(step)
        assert origins.hall("https://new.example", later)
        with pytest.raises(SignerError, match=r"signer\.origin:"):
            origins.hall(HALL, later)


def test_absent_list_refuses_everybody(folder: Path) -> None:
    """Fail closed."""
    (folder / "origins.json").unlink()
    with pytest.raises(SignerError, match=r"signer\.origins:"):
        _open(folder).hall(HALL, NOW)


def test_key_must_be_p256(tmp_path: Path) -> None:
    """No key, a text, or another curve: the signer does not start."""
    (tmp_path / "text").write_bytes(b"no key")
    (tmp_path / "p384").write_bytes(public_pem(keys.generate("ecdsa-p384")))
    (tmp_path / "rsa").write_bytes(public_pem(keys.generate("rsa-2048")))
    for name in ("text", "p384", "rsa", "absent"):
        with pytest.raises(SignerError, match=r"signer\.origins"):
            load_key(tmp_path / name)
