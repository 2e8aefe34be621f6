"""K=validation: one leaf against the compiled bundle, beside other validators, and meshes of many CAs.

Ours: strict parse, `Snapshot.judge_certificate` (policies, constraints, CRL status of the whole path, level), identity
by the CA's profile. Peers get the same leaves and certificates in the same run and do less: no status, no identity.
CPU seconds; rounds are interleaved, each figure is the median of the rounds. What was moved to compile time, and cold
chains that a caller supplies, are reported beside it.
"""

from __future__ import annotations

import contextlib
import random
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from bench import pki
from bench.peers.validators import MissingToolError, Peer, describe, found_by, peers_of
from bench.pki import AT, Chain, Mesh
from ca_bridge.asn1.certificate import parse_certificate
from ca_bridge.asn1.crl import parse_crl
from ca_bridge.crypto import sm2
from ca_bridge.identity.extract import identify
from ca_bridge.trust.bundle import Bundle
from ca_bridge.verdict.snapshot import Snapshot, compile_bundle
from ca_bridge.verdict.supplied import Supplied, validate
from demo.pki.certificates import pem

ROUNDS = 7
LEAVES = 500
KINDS = {"p256": "ecdsa-p256", "rsa2048": "rsa-2048", "sm2": "sm2"}
MESHES = ((20, 40), (100, 300), (500, 1500), (2000, 6000))
MESH_LEAVES = 200
PEER_LEAVES = 50
PEER_SECONDS = 60
"""After which a peer on a mesh is stopped: it searches at each validation."""
Rounds = Mapping[str, list[float]]


def run() -> None:
    """Print `rate`, `bytes` and `ratio` lines; says plainly which tool of a peer is missing, and stops."""
    try:
        print(f"peers: {describe()}", file=sys.stderr)
        for name, kind in KINDS.items():
            measure_chain(name, pki.make_chain(kind, LEAVES))
    except MissingToolError as error:
        sys.exit(f"bench: {error}")
    measure_meshes()


def measure_chain(name: str, chain: Chain) -> None:
    """One algorithm: ours, the bare signature, the peers, compile time, and the cold chain."""
    trust = pki.bundle(chain.anchor, chain.pool, chain.crls, [chain.county_spki])
    snapshot = compile_bundle(trust)
    ours: dict[str, Callable[[], float]] = {
        "ours": lambda: _each(lambda der: sign_in(snapshot, der), chain.leaves),
        "bare": _bare(chain),
        "supplied": _supplied(chain),
        "compile": lambda: _cpu(
            lambda: compile_bundle(pki.bundle(chain.anchor, chain.pool, chain.crls, [chain.county_spki]))
        ),
    }
    with tempfile.TemporaryDirectory(prefix="crosshall-bench-") as folder, contextlib.ExitStack() as stack:
        for file, ders in (("anchor", [chain.anchor]), ("pool", chain.pool), ("leaves", chain.leaves)):
            (Path(folder) / f"{file}.pem").write_text("".join(map(pem, ders)))
        for peer in peers_of(chain.kind):
            ours[peer] = stack.enter_context(Peer(peer, chain.kind, Path(folder))).round
        found = _rounds(ours)
    for what, seconds in found.items():
        unit = "bundles/s" if what == "compile" else "leaves/s"
        print(f"rate validation.{name}.{what} {1 / statistics.median(seconds):.0f} {unit}")
    for what in (*peers_of(chain.kind), "bare"):
        print(f"ratio validation.{name}.vs_{what} {_ratio(found, what):.2f}", flush=True)


def sign_in(snapshot: Snapshot, der: bytes) -> None:
    """What a sign-in does with a certificate: parse, judge, identify. Raises RuntimeError unless it is accepted."""
    leaf = parse_certificate(der)
    verdict = snapshot.judge_certificate(leaf, AT)
    if not verdict.accepted:
        raise RuntimeError(f"a good leaf is refused: {verdict.code} {verdict.detail}")
    identify(leaf, snapshot.profile(verdict.ca), verdict.certificate_type)


def measure_meshes() -> None:
    """Every mesh: compile time, memory, share found, length beside the shortest, cost, no path, one change."""
    meshes: dict[int, Mesh] = {}
    snapshots: dict[int, Snapshot] = {}
    for size, edges in MESHES:
        meshes[size] = pki.make_mesh(size, edges, MESH_LEAVES)
        snapshots[size] = _compile_mesh(size, meshes[size])
    rounds = {
        str(size): lambda s=snapshots[size], m=mesh: _each(lambda der: sign_in(s, der), m.leaves)
        for size, mesh in meshes.items()
    }
    found = _rounds(rounds)
    smallest = found[str(MESHES[0][0])]
    for size, mesh in meshes.items():
        seconds = found[str(size)]
        print(f"rate mesh.{size}.ours {1 / statistics.median(seconds):.0f} leaves/s")
        ratio = statistics.median(small / large for small, large in zip(smallest, seconds, strict=True))
        print(f"ratio mesh.{size}.vs_smallest {ratio:.2f}")
        _paths(size, mesh, snapshots[size])
        _no_path(size, mesh, snapshots[size])
        _peers_on(size, mesh)


def _peers_on(size: int, mesh: Mesh) -> None:
    """What the C and Go peers find of the same leaves, every cross-certificate at hand; no CRLs are asked for."""
    with tempfile.TemporaryDirectory(prefix="crosshall-bench-") as folder:
        for file, ders in (("anchor", [mesh.anchor]), ("pool", mesh.cross), ("leaves", mesh.leaves[:PEER_LEAVES])):
            (Path(folder) / f"{file}.pem").write_text("".join(map(pem, ders)))
        for peer in ("openssl", "go"):
            found = found_by(peer, Path(folder), PEER_SECONDS)
            share = "none within the time" if found is None else f"{found.share:.3f}"
            print(f"rate mesh.{size}.{peer}_found {share} share")
            if found is not None:
                print(f"rate mesh.{size}.{peer} {1 / found.seconds:.0f} leaves/s", flush=True)


def _change(size: int, trust: Bundle, snapshot: Snapshot) -> None:
    """One cross-certificate goes and comes back, then one CRL is new: what is recompiled is what they touch."""
    source = random.Random(11)
    seconds: list[float] = []
    for _ in range(ROUNDS):
        certificates = list(trust.certificates)
        del certificates[source.randrange(len(certificates))]
        without = replace(trust, certificates=tuple(certificates))
        kept: list[Snapshot] = []
        seconds.append(_cpu(lambda bundle=without, into=kept: into.append(compile_bundle(bundle, snapshot))))
        seconds.append(_cpu(lambda before=kept[0]: compile_bundle(trust, before)))
    print(f"rate validation.compile.{size}.one_change {1 / statistics.median(seconds):.2f} bundles/s")
    print(f"seconds mesh.{size}.one_change {statistics.median(seconds):.4f}")
    fewer = replace(trust, crls=trust.crls[1:])
    again = statistics.median(_cpu(lambda: compile_bundle(fewer, snapshot)) for _ in range(ROUNDS))
    print(f"seconds mesh.{size}.new_crl {again:.4f}")


def _compile_mesh(size: int, mesh: Mesh) -> Snapshot:
    # Reading (parse) is apart: files that did not change need not be read again, edges must be folded.
    trust = pki.bundle(mesh.anchor, mesh.cross, mesh.crls, mesh.spkis, pki.assigned(mesh.spkis))
    before = _resident()
    snapshots: list[Snapshot] = []
    seconds = [_cpu(lambda: snapshots.append(compile_bundle(trust))) for _ in range(5 if size <= 500 else 3)]
    print(f"rate validation.compile.{size} {1 / statistics.median(seconds):.2f} bundles/s")
    print(f"seconds mesh.{size}.compile {statistics.median(seconds):.3f}")
    print(f"bytes mesh.{size}.compiled {(_resident() - before) // len(seconds)}")
    if snapshots[0].problems:
        raise RuntimeError(f"mesh {size}: {snapshots[0].problems[:3]}")
    _change(size, trust, snapshots[0])
    return snapshots[0]


def _paths(size: int, mesh: Mesh, snapshot: Snapshot) -> None:
    verdicts = [snapshot.judge(der, AT) for der in mesh.leaves]
    accepted = [(len(v.path) - 2, far) for v, far in zip(verdicts, mesh.shortest, strict=True) if v.accepted]
    print(f"ratio mesh.{size}.found {len(accepted) / len(verdicts):.3f}")
    print(f"ratio mesh.{size}.within_one {sum(own <= far + 1 for own, far in accepted) / len(verdicts):.3f}")
    print(f"longest mesh.{size} {max((own for own, _ in accepted), default=0)} certificates", flush=True)


def _no_path(size: int, mesh: Mesh, snapshot: Snapshot) -> None:
    """Leaves of an unknown CA, leaves of a known name under another key, and a foreign anchor supplied."""
    other = pki.make_chain("ecdsa-p256", 20)
    namesake = pki.make_mesh(20, 40, 20)
    compiled = max(_each(lambda der: snapshot.judge(der, AT), ders) for ders in (other.leaves, namesake.leaves))
    anchors = [parse_certificate(other.anchor)]
    pool = [parse_certificate(der) for der in mesh.cross]
    leaves = [parse_certificate(der) for der in mesh.leaves[:5]]
    supplied = [_each(lambda leaf: validate(Supplied(leaf, anchors, AT, pool)), [one]) for one in leaves]
    print(f"seconds mesh.{size}.no_path.compiled {compiled:.6f}")
    print(f"seconds mesh.{size}.no_path.supplied {statistics.median(supplied):.6f}", flush=True)


def _bare(chain: Chain) -> Callable[[], float]:
    """One signature under a key that is loaded: what no validator can be faster than."""
    if chain.kind == "sm2":
        engine, identifier = sm2.engine(), sm2.DEFAULT_ID.encode()
        parsed = [parse_certificate(der) for der in chain.leaves]
        point = chain.county_spki[-65:]
        return lambda: _each(lambda leaf: engine.verify(point, leaf.tbs, leaf.signature, identifier), parsed)
    key = x509.load_der_x509_certificate(chain.pool[-1]).public_key()
    loaded = [x509.load_der_x509_certificate(der) for der in chain.leaves]
    pairs = [(leaf.signature, leaf.tbs_certificate_bytes) for leaf in loaded]
    if isinstance(key, rsa.RSAPublicKey):
        scheme, digest = padding.PKCS1v15(), hashes.SHA256()
        return lambda: _each(lambda pair: key.verify(pair[0], pair[1], scheme, digest), pairs)
    assert isinstance(key, ec.EllipticCurvePublicKey)
    algorithm = ec.ECDSA(hashes.SHA256())
    return lambda: _each(lambda pair: key.verify(pair[0], pair[1], algorithm), pairs)


def _supplied(chain: Chain) -> Callable[[], float]:
    """The slow path: everything parsed afresh for each leaf, status required."""

    def one(der: bytes) -> None:
        result = validate(
            Supplied(
                leaf=parse_certificate(der),
                anchors=[parse_certificate(chain.anchor)],
                at=AT,
                pool=[parse_certificate(ca) for ca in chain.pool],
                crls=[parse_crl(crl) for crl in chain.crls],
                revocation="require",
            )
        )
        if result.found is None:
            raise RuntimeError(f"a good chain is refused: {result.refusals}")

    return lambda: _each(one, chain.leaves[:100])


def _rounds(kinds: Mapping[str, Callable[[], float]]) -> Rounds:
    found: dict[str, list[float]] = {name: [] for name in kinds}
    for turn in range(ROUNDS + 1):
        for name, measure in kinds.items():
            seconds = measure()
            if turn:  # the first round warms up
                found[name].append(seconds)
    return found


def _ratio(found: Rounds, peer: str) -> float:
    """Median over the rounds of peer's seconds by ours: both in one round met the same machine."""
    return statistics.median(theirs / own for own, theirs in zip(found["ours"], found[peer], strict=True))


def _each(work: Callable[[Any], object], items: Sequence[Any]) -> float:
    return _cpu(lambda: [work(item) for item in items] and None) / len(items)


def _cpu(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
