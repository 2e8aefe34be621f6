"""A change recompiles what it touches, and the result is the one of a compilation from nothing."""

from __future__ import annotations

import functools
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ca_bridge.asn1.certificate import Certificate, parse_certificate
from ca_bridge.asn1.crl import parse_crl
from ca_bridge.path.state import Inputs
from ca_bridge.path.validate import DEFAULT_SM2_ID
from ca_bridge.trust.bundle import Bundle, read_bundle
from ca_bridge.trust.rules import Denial, Levels, TrustPolicy
from ca_bridge.types import Verdict
from ca_bridge.verdict.graph import compile_graph
from ca_bridge.verdict.snapshot import Snapshot, SnapshotSource, compile_bundle
from tests.pki import NOW, Authority, build, ca, der, pem, policies, usage
from tests.unit.verdict.conftest import POLICY, Federation

OTHER = "1.3.6.1.4.1.99999.3.2"
ROWS = [{"ca": f"ca-{number}", "type": "person", "level": 3} for number in range(5)]
LEVELS = Levels.model_validate({"policies": {POLICY: 3, OTHER: 2}, "assigned": ROWS, "storage": {"token": 4}})


@functools.cache
def mesh() -> tuple[Certificate, tuple[Certificate, ...], tuple[bytes, ...], tuple[Any, ...]]:
    """Anchor, cross-certificates with loops and namesakes among seven CAs, a leaf of each, and everybody's CRL."""
    source = random.Random(3)
    anchor = Authority.create("A")
    held = [anchor, *(anchor.subordinate(text) for text in ("B", "C", "D", "E", "F", "F"))]
    wishes = [ca(), [*ca(), policies(POLICY)], [*ca(), policies(POLICY, OTHER)], ca(1), ca(0)]
    cross = [held[0].certify(held[1]), held[0].certify(held[2]), held[1].certify(held[5])]
    for _ in range(27):
        above, below = source.sample(held, 2)
        cross.append(build(below.subject, below.key.public_key(), above.subject, above.key, source.choice(wishes)))
    extensions = [usage("digital_signature"), policies(POLICY)]
    person = [("C", "CN"), ("OU", "Person"), ("CN", "x")]
    leaves = tuple(der(authority.issue(person, extensions=extensions)) for authority in held)
    crls = tuple(parse_crl(der(authority.crl())) for authority in held)
    return parse_certificate(der(anchor.certificate)), tuple(parse_certificate(der(c)) for c in cross), leaves, crls


def bundle_of(chosen: Sequence[int], **changes: Any) -> Bundle:
    """A bundle of those cross-certificates, in that order, with profiles for every CA."""
    anchor, cross, _, crls = mesh()
    keys = {anchor.spki_sha256, *(certificate.spki_sha256 for certificate in cross)}
    fields = {
        "version": 1,
        "issued": NOW,
        "hash": "0" * 64,
        "anchors": (anchor,),
        "certificates": tuple(cross[number] for number in chosen),
        "profiles": profiles(frozenset(keys)),
        "levels": LEVELS,
        "policy": TrustPolicy(max_intermediates=6),
        "crls": crls,
    }
    return Bundle(**{**fields, **changes})


@functools.cache
def profiles(keys: frozenset[str]) -> dict[str, Any]:
    """One profile a key; the domain is the key's place among the sorted ones."""
    from ca_bridge.trust.profile import Profile  # noqa: PLC0415 - beside its only use

    kind = {"id": "person", "kind": "person", "storage": "token", "capacities": ["citizen"]}
    made = [
        Profile.model_validate(
            {
                "id": f"ca-{place}",
                "version": 1,
                "domain": f"d{place}",
                "accreditation": f"a-{place}",
                "name": dict.fromkeys(("zh-Hans", "zh-Hant", "en", "pt"), "CA"),
                "keys": [key],
                "algorithms": ["ecdsa-p256"],
                "asserts": ["cn-id"],
                "max_level": 4,
                "types": [{**kind, "match": {"subject_ou": "Person"}}],
            }
        )
        for place, key in enumerate(sorted(keys))
    ]
    return {profile.id: profile for profile in made}


def seen(snapshot: Snapshot) -> tuple[object, ...]:
    """All that a snapshot says: states in their order with every value, problems, candidates, verdicts."""
    compiled = snapshot.compiled
    states = [
        (name, [replace(state, path=()) for state in kept], [[c.sha256 for c in state.path] for state in kept])
        for name, kept in compiled.graph.states.items()
    ]
    candidates = {
        name: [(c.above_sha256, c.denied, c.profile, c.alone, c.not_before, c.not_after) for c in kept]
        for name, kept in compiled.candidates.items()
    }
    parents = {key: [c.sha256 for c in state.path] for key, state in compiled.parents.items()}
    return states, snapshot.problems, candidates, parents, verdicts(snapshot)


def verdicts(snapshot: Snapshot) -> list[Verdict]:
    """Of a leaf of every CA."""
    return [snapshot.judge(leaf, NOW) for leaf in mesh()[2]]


edits = st.lists(st.lists(st.integers(0, 29), unique=True, max_size=30), min_size=2, max_size=4)
few = st.lists(st.tuples(st.booleans(), st.integers(0, 29)), min_size=1, max_size=6)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(edits)
def test_any_bundle_after_any_other(sequence: list[list[int]]) -> None:
    """Whatever bundle came before, in whatever order its files lie, a snapshot says what a fresh one says."""
    snapshot: Snapshot | None = None
    for chosen in sequence:
        bundle = bundle_of(chosen)
        snapshot = compile_bundle(bundle, snapshot)
        assert seen(snapshot) == seen(compile_bundle(bundle))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(few)
def test_one_certificate_after_the_other(changes: list[tuple[bool, int]]) -> None:
    """Cross-certificates come and go one by one, as in real life: states are taken over, and stay right."""
    chosen = set(range(0, 30, 2)) | {1}
    snapshot = compile_bundle(bundle_of(sorted(chosen)))
    for added, number in changes:
        chosen = chosen | {number} if added else chosen - {number}
        bundle = bundle_of(sorted(chosen))
        snapshot = compile_bundle(bundle, snapshot)
        assert seen(snapshot) == seen(compile_bundle(bundle))


@pytest.mark.parametrize(
    "change",
    [
        {"anchors": ()},
        {"policy": TrustPolicy(max_intermediates=1)},
        {"policy": TrustPolicy(require_policy=True, initial_policies=(OTHER,))},
        {"levels": Levels(policies={POLICY: 1}, storage={"token": 4})},
        {"denials": (Denial(why="test", domain="d1"),)},
        {"crls": ()},
        {"profiles": {}},
    ],
)
def test_what_is_not_a_certificate_may_change_too(change: dict[str, Any]) -> None:
    """Anchors, inputs, tables, denials, CRLs, profiles: none of them is taken over stale, there and back."""
    first = compile_bundle(bundle_of(range(30)))
    changed = bundle_of(range(30), **change)
    there = compile_bundle(changed, first)
    assert seen(there) == seen(compile_bundle(changed))
    assert seen(there) != seen(first)
    back = compile_bundle(bundle_of(range(30)), there)
    assert seen(back) == seen(first)


def test_a_profile_s_new_domain_meets_the_old_denial() -> None:
    """A CA that moves into a domain that is switched off is denied, although denials and states are as before."""
    denials = (Denial(why="test", domain="off"),)
    first = compile_bundle(bundle_of(range(30), denials=denials))
    accepted = next(v for v in verdicts(first) if v.accepted and len(v.path) > 2)
    moved = {
        name: profile.model_copy(update={"domain": "off/x"}) if name == accepted.ca else profile
        for name, profile in first.bundle.profiles.items()
    }
    bundle = bundle_of(range(30), denials=denials, profiles=moved)
    after = compile_bundle(bundle, first)
    assert seen(after) == seen(compile_bundle(bundle))
    assert "trust.denied" in {v.code for v in verdicts(after)}


def test_one_change_costs_its_own_signatures_only() -> None:
    """Edges that were verified are not verified again; a new certificate costs its own, one that goes costs none."""
    first = compile_bundle(bundle_of(range(29)))
    assert first.compiled.graph.signatures >= 20
    added = compile_bundle(bundle_of(range(30)), first).compiled.graph
    assert added.signatures == len(set(added.edges) - set(first.compiled.graph.edges))
    assert added.signatures < first.compiled.graph.signatures
    assert added.folded < first.compiled.graph.folded
    assert compile_bundle(bundle_of(range(28)), first).compiled.graph.signatures == 0


def test_a_new_crl_alone_folds_nothing() -> None:
    """Status data is no part of the graph: its states are the very same objects."""
    first = compile_bundle(bundle_of(range(30)))
    after = compile_bundle(bundle_of(range(30), crls=mesh()[3][1:]), first)
    assert (after.compiled.graph.signatures, after.compiled.graph.folded) == (0, 0)
    for name, kept in first.compiled.graph.states.items():
        assert all(a is b for a, b in zip(kept, after.compiled.graph.states[name], strict=True))


def test_another_distinguishing_id_checks_signatures_again() -> None:
    """An SM2 signature is good under one ID only: what was verified under another says nothing."""
    anchor, cross, *_ = mesh()
    first = compile_graph([anchor], cross, Inputs(), lambda _: DEFAULT_SM2_ID)
    other = compile_graph([anchor], cross, Inputs(), lambda _: "another", first)
    assert other.signatures == first.signatures


def test_the_source_recompiles_what_changed(federation: Federation) -> None:
    """`SnapshotSource`: files that lie there as before are neither parsed nor folded again; the new one counts."""
    clock = [NOW]
    source = SnapshotSource(federation.folder, lambda: clock[0])
    first = source.current()
    below = federation.root.subordinate("Below")
    federation.write("cross/below.pem", pem(below.certificate))
    clock[0] += timedelta(seconds=1)
    second = source.current()
    assert second.hash != first.hash
    assert second.compiled.graph.signatures == 1
    assert {id(c) for c in first.bundle.certificates} <= {id(c) for c in second.bundle.certificates}
    assert first.bundle.profiles["gd"] is second.bundle.profiles["gd"]
    federation.write("cross/below.pem", pem(federation.root.certify(below)))
    assert federation.snapshot().judge(der(federation.leaf()), NOW).accepted


def test_a_file_of_the_same_name_is_read_anew(federation: Federation) -> None:
    """What is taken over is known by its octets, never by its path."""
    first = read_bundle(federation.folder)
    federation.write("cross/root.pem", pem(federation.anchor.certify(federation.root)))
    second, fresh = read_bundle(federation.folder, first), read_bundle(federation.folder)
    assert second.certificates == fresh.certificates
    assert [crl.sha256 for crl in second.crls] == [crl.sha256 for crl in fresh.crls]
    assert second.certificates != first.certificates
