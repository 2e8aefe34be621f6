"""Every persona is what its description says, by the word of the bridge's own engine."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import pytest

from ca_bridge.asn1.certificate import Certificate, load_certificate
from ca_bridge.errors import LANGUAGES, ConfigError, IdentityError
from ca_bridge.identity.extract import identify
from ca_bridge.trust.bundle import read_bundle
from ca_bridge.types import Capacity, IdentifierType, Way
from ca_bridge.verdict.snapshot import Snapshot, compile_bundle
from demo import pki
from demo.addresses import Addresses
from demo.personas import Persona, persona, personas

ALL = [person.id for person in personas()]
OF_IDENTITY = "identity."


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> tuple[pki.DemoRun, Snapshot]:
    """A run and its compiled bundle."""
    run = pki.materialise(tmp_path_factory.mktemp("run"), Addresses(9443), datetime.now(UTC))
    return run, compile_bundle(read_bundle(run.bundle))


def _leaf(run: pki.DemoRun, person: Persona) -> Certificate:
    return load_certificate(person.files(run.folder).certificate.read_bytes())


@pytest.mark.parametrize("persona_id", ALL)
def test_verdict_is_as_described(judged: tuple[pki.DemoRun, Snapshot], persona_id: str) -> None:
    """Accepted at the level, or refused with the code, that `demo/personas.toml` promises."""
    run, snapshot = judged
    person = persona(persona_id)
    verdict = snapshot.judge(_leaf(run, person).der, datetime.now(UTC))
    if person.expected.code.startswith(OF_IDENTITY):  # the certificate is good; who it names is what is refused
        assert verdict.code == "ok"
    else:
        assert (verdict.code, verdict.level) == (person.expected.code, person.expected.level), verdict.detail
    if verdict.accepted:
        assert (verdict.ca, verdict.certificate_type) == (person.ca, person.type)


@pytest.mark.parametrize("persona_id", [p.id for p in personas() if p.expected.accepted or p.expected.held])
def test_identity_is_as_described(judged: tuple[pki.DemoRun, Snapshot], persona_id: str) -> None:
    """Name, numbers, organisation and capacities come out of the certificate as described."""
    run, snapshot = judged
    person = persona(persona_id)
    found = identify(_leaf(run, person), snapshot.profile(person.ca), person.type)
    assert found.name == person.name
    assert tuple((str(i.type), i.state, i.value) for i in found.identifiers) == person.identifiers
    assert found.capacities == person.capacities
    organisation = (found.organisation.name, found.organisation.identifier.value) if found.organisation else None
    assert organisation == person.organisation


def test_wrong_check_digit_is_refused(judged: tuple[pki.DemoRun, Snapshot]) -> None:
    """The one persona whose certificate is good and whose number cannot be."""
    run, snapshot = judged
    person = persona("gd-bad-number")
    with pytest.raises(IdentityError) as caught:
        identify(_leaf(run, person), snapshot.profile(person.ca), person.type)
    assert caught.value.code == person.expected.code


def test_impostor_bears_another_persons_number() -> None:
    """One number, two accreditations that are not equal: what `identity.held` is about."""
    assert persona("gz-impostor").identifiers == persona("gd-zhang").identifiers
    assert persona("gz-impostor").ca != persona("gd-zhang").ca


def test_one_person_with_two_levels_and_one_with_two_equal_cas() -> None:
    """Step-up and equivalence need the same number in two certificates."""
    assert persona("gd-zhang-file").identifiers == persona("gd-zhang").identifiers
    assert persona("gd-zhang-file").expected.level < persona("gd-zhang").expected.level
    assert persona("ch-huang-gz").identifiers == persona("ch-huang").identifiers


def test_personas_cover_what_the_demo_must_show() -> None:
    """A citizen of each CA, an officer, an operator who is a citizen, and a dozen ways to be refused."""
    accepted = [person for person in personas() if person.expected.accepted]
    assert {p.ca for p in accepted} == {"gd-public", "gz-public", "ch-public", "hk-public", "mo-public"}
    assert {c for p in accepted for c in p.capacities} == set(Capacity)
    assert persona("gd-lin-operator").capacities == (Capacity.CITIZEN, Capacity.OPERATOR)
    refusals = [person.expected.code for person in personas() if not person.expected.accepted]
    assert len(refusals) == len(set(refusals)) >= 12


@pytest.mark.parametrize("persona_id", ALL)
def test_sm2_comes_by_token_only(persona_id: str) -> None:
    """No browser here presents an SM2 certificate in TLS; an encryption certificate is not offered by the signer."""
    person = persona(persona_id)
    assert person.ways
    assert (Way.TLS in person.ways) == (person.key_kind != "sm2")
    assert (Way.TOKEN in person.ways) == (person.expected.code != "path.encryption_certificate")


@pytest.mark.parametrize("persona_id", ALL)
def test_files_are_what_the_ways_need(judged: tuple[pki.DemoRun, Snapshot], persona_id: str) -> None:
    """A PKCS#12 and a plain key where a browser needs them; an encrypted file for file tokens; keys are private."""
    run, _ = judged
    person = persona(persona_id)
    files = person.files(run.folder)
    assert files.certificate.is_file()
    assert files.chain.read_text().startswith(files.certificate.read_text())
    for path in (files.key, files.pkcs12):
        assert path.is_file() == (Way.TLS in person.ways)
    assert files.encrypted_key.is_file() == (person.storage == "file")
    for path in (files.key, files.pkcs12, files.encrypted_key):
        assert not path.exists() or path.stat().st_mode & 0o077 == 0


def test_numbers_are_nobodys() -> None:
    """Area codes that stand for a province or a city, never for a person's district, but for 从化 (440184)."""
    for person in personas():
        for kind, _state, value in person.identifiers:
            if kind == IdentifierType.CN_ID:
                assert value[:6] in ("440000", "440100", "440184")


def test_records_do_not_print_who_it_is() -> None:
    """A failing test that prints a persona prints no name and no number."""
    person = persona("gd-lin-operator")
    assert person.name not in repr(person)
    assert person.identifiers[0][2] not in repr(person)


def test_descriptions_are_in_four_languages() -> None:
    """What `crosshall demo personas` shows."""
    for person in personas():
        assert set(person.description) == set(LANGUAGES)
        assert all(person.description.values())


def test_unknown_persona_is_told() -> None:
    """A wrong id is an error of ours, with a code."""
    with pytest.raises(ConfigError, match=r"config\.invalid"):
        persona("nobody")


def test_personas_cannot_be_changed() -> None:
    """Tests share them."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        persona("gd-zhang").id = "x"  # type: ignore[misc]
