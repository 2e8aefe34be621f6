"""Building: what is made, once, and what a wrong description comes to."""

from __future__ import annotations

import hashlib
import shutil
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ca_bridge.asn1.certificate import Certificate, load_certificate
from ca_bridge.crypto import signatures
from ca_bridge.errors import ConfigError, CryptoError
from demo import pki
from demo.personas import persona
from demo.pki import cache
from demo.pki.description import read_federation

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SM2_ID = "1234567812345678"


def _load(path: Path) -> Certificate:
    return load_certificate(path.read_bytes())


def _verify(issuer: Certificate, subject: Certificate, sm2_id: str = SM2_ID) -> None:
    signatures.verify(
        issuer.spki,
        subject.signature_algorithm,
        subject.signature_parameters,
        subject.tbs,
        subject.signature,
        sm2_id=sm2_id,
    )


def test_every_ca_certificate_is_signed_by_its_issuer(built: Path) -> None:
    """Each certificate in `certificates/` parses strictly and verifies under the key of the issuer it names."""
    for row in read_federation().crossings:
        subject = _load(built / "certificates" / row.file)
        issuer = next(r for r in read_federation().crossings if r.subject == row.issuer)
        _verify(_load(built / "certificates" / issuer.file), subject)
        assert subject.is_ca


def test_rogue_has_the_name_but_not_the_key(built: Path) -> None:
    """Same DN, another key: trust goes by key."""
    rogue, real = (_load(built / "certificates" / name) for name in ("rogue.pem", "gd-public-by-gd-root.pem"))
    leaf = _load(persona("rogue-wu").files(built).certificate)
    assert rogue.subject.normalised == real.subject.normalised == leaf.issuer.normalised
    _verify(rogue, leaf)
    with pytest.raises(CryptoError):
        _verify(real, leaf)


def test_wrong_sm2_id_is_the_only_fault(built: Path) -> None:
    """Under the ID it was signed with, the signature is right."""
    issuer = _load(built / "certificates" / "ch-public-by-ch-root.pem")
    leaf = _load(persona("ch-wrong-id").files(built).certificate)
    _verify(issuer, leaf, "8765432187654321")
    with pytest.raises(CryptoError):
        _verify(issuer, leaf)


def test_cross_certificates_carry_the_bridges_rules(built: Path) -> None:
    """Policy mappings, name constraints, path lengths, inhibit counters, as the description says."""
    macao = _load(built / "certificates" / "mo-root-by-bridge.pem")
    assert macao.policy_mappings == (
        ("2.16.156.99.1.2", "2.16.446.99.5.1"),
        ("2.16.156.99.1.3", "2.16.446.99.5.2"),
    )
    assert macao.policy_constraints is not None
    assert (macao.policy_constraints.require_explicit, macao.policy_constraints.inhibit_mapping) == (0, 0)
    assert macao.inhibit_any_policy == 0
    lengths = {"gd": 1, "gz": 2, "mo": 1}
    for name, length in lengths.items():
        cross = _load(built / "certificates" / f"{name}-root-by-bridge.pem")
        assert cross.basic_constraints is not None
        assert cross.basic_constraints.path_length == length
        assert cross.name_constraints is not None


def test_one_ca_asserts_levels_and_the_others_do_not(built: Path) -> None:
    """Macao's certificates carry policies, the mainland's none, Hong Kong's the trust list's."""
    carried = {
        p: _load(persona(p).files(built).certificate).policies for p in ("mo-ho", "gd-zhang", "gz-li", "ch-huang")
    }
    assert carried == {"mo-ho": ("2.16.446.99.5.2",), "gd-zhang": None, "gz-li": None, "ch-huang": None}


def test_keys_of_authorities_are_private_and_never_published(built: Path) -> None:
    """CA keys stay in the cache, mode 0600; a bundle holds certificates only."""
    for path in (*(built / "authorities").iterdir(), built / "origins.pem", built / "tls" / "ca.key"):
        assert path.stat().st_mode & 0o077 == 0
    assert built.stat().st_mode & 0o077 == 0
    for path in (built / "bundle").rglob("*"):
        assert not path.is_file() or b"PRIVATE" not in path.read_bytes()


def test_second_build_makes_nothing(small: Path, tmp_path: Path) -> None:
    """The same description gives the same folder, untouched."""
    federation = read_federation(small)
    first = pki.build(tmp_path / "cache", now=NOW, federation=federation)
    before = (first / "manifest.json").stat().st_mtime_ns
    assert pki.build(tmp_path / "cache", now=NOW + timedelta(days=1), federation=federation) == first
    assert (first / "manifest.json").stat().st_mtime_ns == before


@pytest.mark.parametrize("days", [-1, 5])
def test_build_out_of_its_time_is_made_anew(small: Path, tmp_path: Path, days: int) -> None:
    """An old cache, or one from the future, has certificates that do not fit the day."""
    federation = read_federation(small)
    first = pki.build(tmp_path / "cache", now=NOW, federation=federation)
    root = hashlib.sha256((first / "certificates" / "root.pem").read_bytes()).digest()
    again = pki.build(tmp_path / "cache", now=NOW + timedelta(days=days), federation=federation)
    assert again == first
    assert hashlib.sha256((again / "certificates" / "root.pem").read_bytes()).digest() != root


def test_changed_description_goes_to_another_folder(small: Path, tmp_path: Path) -> None:
    """A cache never answers for another description; old ones are kept, a few."""
    folders = []
    for number in range(5):
        text = (small / "federation.toml").read_text()
        (small / "federation.toml").write_text(text + f"# {number}\n")
        folders.append(pki.build(tmp_path / "cache", now=NOW, federation=read_federation(small)))
    assert len(set(folders)) == 5
    assert len(list((tmp_path / "cache").glob("demo-*/"))) == 3
    assert folders[-1].is_dir()


def test_interrupted_build_leaves_nothing(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a federation is never taken for a whole one."""

    def interrupt(*_args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cache, "write_static", interrupt)
    with pytest.raises(KeyboardInterrupt):
        pki.build(tmp_path / "cache", now=NOW, federation=read_federation(small))
    assert [path.name for path in (tmp_path / "cache").iterdir() if path.is_dir()] == []
    monkeypatch.undo()
    assert pki.build(tmp_path / "cache", now=NOW, federation=read_federation(small)).is_dir()


def test_spoilt_cache_is_made_anew(small: Path, tmp_path: Path) -> None:
    """A manifest that cannot be read counts as absent."""
    federation = read_federation(small)
    folder = pki.build(tmp_path / "cache", now=NOW, federation=federation)
    (folder / "manifest.json").write_text("{")
    shutil.rmtree(folder / "authorities")
    assert (pki.build(tmp_path / "cache", now=NOW, federation=federation) / "authorities").is_dir()


def test_two_builders_make_one_federation(small: Path, tmp_path: Path) -> None:
    """The second waits for the first and takes what it made."""
    federation, made = read_federation(small), list[Path]()
    threads = [
        threading.Thread(target=lambda: made.append(pki.build(tmp_path / "cache", now=NOW, federation=federation)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(made) == 3
    assert len(set(made)) == 1


WRONG = {
    "unknown issuer": ('subject = "root"\nfolder', 'subject = "root"\nissuer = "nobody"\nfolder'),
    "unknown folder": ('folder = "anchors"', 'folder = "../out"'),
    "unknown format": ("format = 1", "format = 2"),
    "days backwards": ("leaf_days = [-1, 10]", "leaf_days = [10, -1]"),
    "missing language": ('pt = "d"', ""),
    "missing days": ("crl_days = 1", ""),
    "not TOML": ("format = 1", "format ="),
    "doubled authority": (
        "[[certificates]]",
        '[[authorities]]\nid = "root"\nkey = "sm2"\nsubject = []\n[[certificates]]',
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_federations_are_refused(small: Path, case: str) -> None:
    """A slip in the description is told with a code before any key is made."""
    text = (small / "federation.toml").read_text()
    before, after = WRONG[case]
    assert before in text
    (small / "federation.toml").write_text(text.replace(before, after))
    with pytest.raises(ConfigError, match=r"config\.invalid"):
        read_federation(small)


WRONG_PERSONAS = {
    "unknown authority": ('ca = "root"', 'ca = "nobody"'),
    "unknown way": ('ways = ["token"]', 'ways = ["phone"]'),
    "missing language": ('zh-Hant = "b", ', ""),
    "no expectation": ('expected = { code = "ok", level = 1 }', ""),
}


@pytest.mark.parametrize("case", WRONG_PERSONAS)
def test_wrong_personas_are_refused(small: Path, case: str) -> None:
    """The same for people."""
    text = (small / "personas.toml").read_text()
    before, after = WRONG_PERSONAS[case]
    assert before in text
    (small / "personas.toml").write_text(text.replace(before, after))
    with pytest.raises(ConfigError, match=r"config\.invalid"):
        read_federation(small)


def test_doubled_persona_is_refused(small: Path) -> None:
    """An id names one person."""
    (small / "personas.toml").write_text((small / "personas.toml").read_text() * 2)
    with pytest.raises(ConfigError, match=r"config\.invalid"):
        read_federation(small)


def test_unknown_kind_of_key_is_refused(small: Path, tmp_path: Path) -> None:
    """No key of a kind that nobody described."""
    text = (small / "federation.toml").read_text()
    (small / "federation.toml").write_text(text.replace("ecdsa-p256", "dsa-1024"))
    with pytest.raises(ConfigError, match=r"config\.invalid"):
        pki.build(tmp_path / "cache", now=NOW, federation=read_federation(small))
