"""A run's folder: a bundle that the bridge reads, TLS for its names, and revocation while it goes on."""

from __future__ import annotations

import json
import ssl
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from ca_bridge.asn1.certificate import load_certificate
from ca_bridge.errors import ConfigError
from ca_bridge.trust.bundle import read_bundle
from ca_bridge.verdict.snapshot import compile_bundle
from demo import pki
from demo.addresses import Addresses
from demo.personas import persona
from signer.origins import Origins
from signer.settings import load_settings


def _verdict(run: pki.DemoRun, persona_id: str) -> str:
    der = load_certificate(persona(persona_id).files(run.folder).certificate.read_bytes()).der
    return compile_bundle(read_bundle(run.bundle)).judge(der, datetime.now(UTC)).code


def test_revoked_persona_is_refused_and_the_others_are_not(run: pki.DemoRun) -> None:
    """The CA's CRL changes, the manifest with it, and nothing else."""
    assert _verdict(run, "gz-li") == "ok"
    version = read_bundle(run.bundle).version
    before = {path: path.read_bytes() for path in run.bundle.rglob("*") if path.is_file()}
    pki.revoke(run.folder, "gz-li", datetime.now(UTC))
    assert _verdict(run, "gz-li") == "revocation.revoked"
    assert _verdict(run, "ch-huang-gz") == "ok"
    assert read_bundle(run.bundle).version > version
    changed = {path.name for path, data in before.items() if path.read_bytes() != data}
    assert changed == {"gz-public.crl", "bundle.json"}


def test_revocation_survives_renewal(run: pki.DemoRun) -> None:
    """New CRLs still name who was revoked, and those that were from the start."""
    pki.revoke(run.folder, "gz-li", datetime.now(UTC))
    pki.revoke(run.folder, "gz-li", datetime.now(UTC))
    pki.renew(run.folder, datetime.now(UTC) + timedelta(seconds=1))
    assert _verdict(run, "gz-li") == "revocation.revoked"
    assert _verdict(run, "gd-revoked") == "revocation.revoked"
    crl = x509.load_der_x509_crl((run.bundle / "crls" / "gz-public.crl").read_bytes())
    assert len(list(crl)) == 1


def test_new_start_forgets_revocations_and_keeps_denials(run: pki.DemoRun) -> None:
    """The demo can be repeated; a domain that an operator switched off stays off."""
    pki.revoke(run.folder, "gz-li", datetime.now(UTC))
    denial = run.bundle / "denials" / "domain-mo.toml"
    denial.write_text('[[deny]]\ndomain = "mo"\nwhy = "test"\n')
    pki.materialise(run.folder, Addresses(9443), datetime.now(UTC))
    assert _verdict(run, "gz-li") == "ok"
    assert _verdict(run, "mo-ho") != "ok"


def test_numbers_never_fall(run: pki.DemoRun) -> None:
    """CRL numbers and the bundle's version rise with every renewal (RFC 5280 §5.2.3), also within one instant."""

    def numbers() -> tuple[int, int]:
        crl = x509.load_der_x509_crl((run.bundle / "crls" / "gd-public.crl").read_bytes())
        number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        return number, json.loads((run.bundle / "bundle.json").read_text())["version"]

    now = datetime.now(UTC) + timedelta(seconds=1)
    seen = [numbers()]
    for _ in range(2):
        pki.renew(run.folder, now)
        seen.append(numbers())
    assert [number for number, _ in seen] == sorted(number for number, _ in seen)
    assert len({version for _, version in seen}) == 3


@pytest.mark.parametrize("persona_id", ["nobody", "", "../gz-li", "rogue-wu"])
def test_who_cannot_be_revoked_is_told(run: pki.DemoRun, persona_id: str) -> None:
    """Unknown people, and one whose CA has no list, are errors that change nothing."""
    before = (run.bundle / "bundle.json").read_bytes()
    with pytest.raises(ConfigError, match=r"config\.invalid"):
        pki.revoke(run.folder, persona_id, datetime.now(UTC))
    assert (run.bundle / "bundle.json").read_bytes() == before


def test_no_run_is_told(tmp_path: Path) -> None:
    """`crosshall demo revoke` where nothing was started."""
    for command in (
        lambda: pki.renew(tmp_path, datetime.now(UTC)),
        lambda: pki.revoke(tmp_path, "gz-li", datetime.now(UTC)),
    ):
        with pytest.raises(ConfigError, match=r"run\.not_running"):
            command()


def test_deleted_cache_is_told(run: pki.DemoRun) -> None:
    """A run without its CA keys cannot revoke; it says so."""
    state = json.loads(run.state.read_text())
    run.state.write_text(json.dumps({**state, "cache": "/nowhere"}))
    with pytest.raises(ConfigError, match=r"run\.not_running"):
        pki.renew(run.folder, datetime.now(UTC))


def test_server_certificate_is_good_for_the_copys_names_alone(run: pki.DemoRun) -> None:
    """By cryptography's own verifier: every host of the copy, wildcard certificate hosts included, and no other."""
    store = Store([x509.load_pem_x509_certificate(run.tls_ca.read_bytes())])
    leaf = x509.load_pem_x509_certificate(run.tls_certificate.read_bytes())
    addresses = Addresses(9443)

    def verify(host: str) -> None:
        PolicyBuilder().store(store).build_server_verifier(x509.DNSName(host)).verify(leaf, [])

    for name in ("hall", "sso", "police", "env", "abc123.cert"):
        verify(addresses.host(name))
    for host in ("hall.gd.localhost", "a.b.cert.gd-9443.localhost", "example.com"):
        with pytest.raises(VerificationError):
            verify(host)
    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(run.tls_certificate, run.tls_key)


def test_tls_ca_cannot_vouch_for_the_world(run: pki.DemoRun) -> None:
    """Name constraints: who trusts the demo's CA in a browser risks no other site."""
    constraints = x509.load_pem_x509_certificate(run.tls_ca.read_bytes()).extensions.get_extension_for_class(
        x509.NameConstraints
    )
    assert constraints.critical
    assert [str(base.value) for base in constraints.value.permitted_subtrees or ()] == ["localhost", "127.0.0.0/8"]
    assert not list(run.folder.rglob("ca.key"))


def test_signer_of_the_run_knows_its_hall(run: pki.DemoRun) -> None:
    """The list of halls is signed by the key that the signer's settings name, for this copy's hall only."""
    settings = load_settings(run.signer_settings)
    hall = Origins(settings.origins_file, settings.origins_key_file).hall(
        Addresses(9443).url("hall"), datetime.now(UTC)
    )
    assert "广东" in hall.name["zh-Hans"]
    assert settings.port == Addresses(9443).signer_port
    assert "pin" not in json.dumps(tomllib.loads(run.signer_settings.read_text())).lower()


def test_private_files_stay_private(run: pki.DemoRun) -> None:
    """Keys in a run are for their owner alone."""
    assert run.tls_key.stat().st_mode & 0o077 == 0
    for path in run.tokens.rglob("key.pem"):
        assert path.stat().st_mode & 0o077 == 0
