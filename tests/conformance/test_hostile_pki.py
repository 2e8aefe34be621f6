"""Hostile certificates through the batch: always a verdict with a code, within the counted budgets, in little time.

Times are bounds against running away, a hundred times what is measured; the work itself is counted.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import cache
from typing import Any

import pytest
from asn1crypto import core
from cryptography import x509

from ca_bridge.asn1 import der
from ca_bridge.asn1.certificate import parse_certificate
from ca_bridge.crypto.der import element
from ca_bridge.verdict import batch
from tests import pki
from tests.conformance.resign import ECDSA_SHA256, SM2_SM3, Key, p256_key, sm2_key
from tests.conformance.suite import pem

POLICIES = [f"1.3.6.1.4.1.99999.8.{n}" for n in range(8)]
Answer = dict[str, Any]


def ask(
    leaf: str, anchor: x509.Certificate | str, pool: Iterable[str] = (), seconds: float = 20, **wishes: Any
) -> Answer:
    """The batch's answer, which must come within `seconds`."""
    question = {
        "id": "x",
        "leaf": leaf,
        "anchors": [anchor if isinstance(anchor, str) else pki.pem(anchor)],
        "pool": list(pool),
    }
    text = json.dumps(question | {"time": pki.NOW.isoformat()} | wishes)
    started = time.monotonic()
    (answer,) = batch.run([text], lambda: pki.NOW)
    assert time.monotonic() - started < seconds
    parsed: Answer = json.loads(answer)
    assert (parsed["verdict"] == "accept") == (parsed["code"] == "ok")
    return parsed


@cache
def root() -> pki.Authority:
    """One root for the tests that only need a leaf."""
    return pki.Authority.create("Root")


def rebuilt(certificate: x509.Certificate, change: Callable[[list[bytes]], None], key: Key | None = None) -> str:
    """PEM of a certificate with fields of its TBS changed, signed again by `key` or by nobody."""
    old = parse_certificate(pki.der(certificate))
    parts = [der.raw(old.tbs, item) for item in der.children(old.tbs)]
    change(parts)
    tbs = element(0x30, b"".join(parts))
    signature = key.sign(tbs) if key is not None else old.signature
    return pem("CERTIFICATE", element(0x30, tbs + parts[2] + element(3, b"\x00" + signature)))


@pytest.mark.parametrize(("depth", "count"), [(7, 8), (20, 8)])
@pytest.mark.parametrize("explicit", [False, True])
def test_policy_blow_up(depth: int, count: int, explicit: bool) -> None:
    """All policies mapped to all at every step: answered, and right (RFC 9618; CVE-2023-0464)."""
    policies = POLICIES[:count]
    anchor = above = pki.Authority.create("Root")
    chain: list[str] = []
    for number in range(depth):
        wanted = [pki.policies(*policies), pki.mappings((a, b) for a in policies for b in policies)]
        above = above.subordinate(f"CA {number}", extensions=wanted)
        chain.append(pki.pem(above.certificate))
    leaf = pki.pem(above.issue("x", extensions=[pki.usage("digital_signature"), pki.policies(policies[0])]))
    answer = ask(
        leaf, anchor.certificate, chain, 5,
        max_intermediates=30, require_policy=explicit, initial_policies=policies[:1] if explicit else None,
    )  # fmt: skip
    assert answer["code"] == "ok"
    assert answer["policies"] == (policies[:1] if explicit else sorted(policies))


def test_deeper_than_anybody_asked_for() -> None:
    """Without `max_intermediates` 20 CA certificates are more than the budget of 8; the refusal names it."""
    anchor = above = pki.Authority.create("Root")
    chain = [pki.pem((above := above.subordinate(f"CA {n}")).certificate) for n in range(20)]
    answer = ask(pki.pem(above.issue("x")), anchor.certificate, chain)
    assert answer["code"] == "path.budget"
    assert "intermediates" in answer["detail"]


def test_quadratic_name_constraints() -> None:
    """Thousands of names against thousands of constraints stop at the budget (limbo's nc-dos)."""
    trees = [x509.DNSName(f"t{n}.example.cn") for n in range(2000)]
    names = [x509.DNSName(f"x{n}.example.org") for n in range(2000)]
    limited = root().subordinate("CA", extensions=[(x509.NameConstraints(None, trees), True)])
    leaf = limited.issue("x", extensions=[(x509.SubjectAlternativeName(names), False)])
    answer = ask(pki.pem(leaf), root().certificate, [pki.pem(limited.certificate)], 5)
    assert answer["code"] == "path.budget"
    assert "comparisons" in answer["detail"]


@cache
def crowd() -> tuple[str, ...]:
    """10,000 different certificates that all bear the name of the CA below the root, signed by nobody."""
    template = pki.der(root().subordinate("Issuing").certificate)
    signature = len(template) - 8
    return tuple(pem("CERTIFICATE", template[:signature] + n.to_bytes(8, "big")) for n in range(10_000))


def test_ten_thousand_impostors() -> None:
    """A crowd of the right name hides nobody: with key identifiers the good path is found among them."""
    issuing = root().subordinate("Issuing", extensions=[(x509.SubjectKeyIdentifier(b"k" * 20), False)])
    leaf = issuing.issue(
        "x",
        extensions=[
            pki.usage("digital_signature"),
            (x509.AuthorityKeyIdentifier.from_issuer_public_key(issuing.key.public_key()), False),
        ],
    )
    good = pki.pem(issuing.certificate)
    answer = ask(pki.pem(leaf), root().certificate, [*crowd(), good], 60)
    assert answer["code"] == "ok"


def test_ten_thousand_and_no_path() -> None:
    """A crowd without a good one costs no more than the budget of signatures."""
    stranger = pki.Authority.create("Stranger").subordinate("Issuing")
    answer = ask(pki.pem(stranger.issue("x")), root().certificate, crowd(), 60)
    assert answer["code"] in ("path.signature", "path.budget")


def test_everybody_certifies_everybody() -> None:
    """Loops without end and no anchor: refused; with one way out: found (RFC 4158 §2.4.1)."""
    ring = [pki.Authority.create(f"CA {n}") for n in range(12)]
    mesh = [pki.pem(a.certify(b)) for a in ring for b in ring if a is not b]
    leaf = pki.pem(ring[0].issue("x"))
    assert ask(leaf, root().certificate, mesh)["code"] == "path.unknown_issuer"
    assert ask(leaf, root().certificate, [*mesh, pki.pem(root().certify(ring[7]))])["code"] == "ok"


@pytest.mark.parametrize("at", ["1969-07-20T20:17:40Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"])
@pytest.mark.parametrize("revocation", ["off", "require"])
def test_clocks_of_other_ages(at: str, revocation: str) -> None:
    """A clock at 1969, at the end of time or before it is no crash: the certificate is not valid then."""
    wishes = {"time": at, "revocation": revocation, "crls": [pki.pem(root().crl())]}
    code = ask(pki.pem(root().issue("x")), root().certificate, **wishes)["code"]
    assert code == ("path.expired" if at.startswith("9999") else "path.not_yet_valid")


def test_valid_until_the_end_of_time() -> None:
    """99991231235959Z is an end like any other (RFC 5280 §4.1.2.5)."""
    leaf = root().issue("x", not_after=datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))
    assert ask(pki.pem(leaf), root().certificate)["code"] == "ok"


def test_unknown_critical_extension_wherever() -> None:
    """Refused in a leaf and in a CA; taken where it is not critical."""
    for critical, code in ((True, "path.unknown_critical_extension"), (False, "ok")):
        leaf = root().issue("x", extensions=[pki.unknown(critical=critical)])
        assert ask(pki.pem(leaf), root().certificate)["code"] == code
        middle = root().subordinate("CA", extensions=[pki.unknown(critical=critical)])
        assert ask(pki.pem(middle.issue("x")), root().certificate, [pki.pem(middle.certificate)])["code"] == code


def _twice(parts: list[bytes]) -> None:
    start = der.children(parts[-1], 0xA3)[0]
    inside = der.content(parts[-1], start)
    parts[-1] = element(0xA3, element(0x30, inside + inside))


def _serial(octets: bytes) -> Callable[[list[bytes]], None]:
    def change(parts: list[bytes]) -> None:
        parts[1] = element(2, octets)

    return change


def _key(spki: bytes) -> Callable[[list[bytes]], None]:
    def change(parts: list[bytes]) -> None:
        parts[6] = spki

    return change


SIGNER = p256_key(b"signer")


@cache
def signing_root() -> str:
    """A root whose key `rebuilt` can sign with."""
    return rebuilt(root().certificate, _key(SIGNER.spki), SIGNER)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        pytest.param(_twice, "asn1.duplicate_extension", id="extension twice"),
        pytest.param(_serial(b"\x00"), "asn1.serial", id="0"),
        pytest.param(_serial(b"\x01" * 21), "asn1.serial", id="21 octets"),
        pytest.param(_serial(b"\x00\x01"), "asn1.certificate", id="padded"),
        pytest.param(_serial(b"\xff\xff\x01"), "asn1.certificate", id="negative, padded"),
        pytest.param(_serial(b"\x80" + b"\x01" * 20), "asn1.serial", id="negative, 21 octets"),
        pytest.param(_serial(b""), "asn1.certificate", id="no octet"),
        pytest.param(_serial(b"\xfb"), "ok", id="negative, as PKITS 4.4.14 has it"),
        pytest.param(_serial(b"\x7f" + b"\xff" * 19), "ok", id="20 octets"),
    ],
)
def test_serials_and_doubles(change: Callable[[list[bytes]], None], code: str) -> None:
    """An extension twice, and serial numbers of every bad form (RFC 5280 §4.1.2.2, §4.2)."""
    leaf = rebuilt(root().issue("x"), change, SIGNER)
    assert ask(leaf, signing_root())["code"] == code


def rsa_key(bits: int, exponent: int) -> bytes:
    """SubjectPublicKeyInfo of an RSA key of any size."""
    modulus = (1 << bits) - 1
    numbers = core.Integer(modulus).dump() + core.Integer(exponent).dump()
    algorithm = bytes.fromhex("300d06092a864886f70d0101010500")
    return element(0x30, algorithm + element(3, b"\x00" + element(0x30, numbers)))


def off_curve(key: bytes) -> bytes:
    """The key with its point moved off the curve."""
    return key[:-1] + bytes([key[-1] ^ 1])


BAD_KEYS = {
    "16,384 bits": rsa_key(16_384, 65_537),
    "1,024 bits": rsa_key(1_024, 65_537),
    "exponent 1": rsa_key(2_048, 1),
    "exponent 3": rsa_key(2_048, 3),
    "exponent of 2,048 bits": rsa_key(2_048, (1 << 2047) + 1),
    "exponent of 16,384 bits": rsa_key(2_048, (1 << 16_383) + 1),
    "P-256 off its curve": off_curve(SIGNER.spki),
    "SM2 off its curve": off_curve(sm2_key(b"x").spki),
    "P-256 at infinity": SIGNER.spki[:-65] + b"\x00" * 65,
    "P-256 compressed": element(0x30, SIGNER.spki[2:23] + element(3, b"\x00\x02" + SIGNER.spki[-64:-32])),
    "a curve nobody knows": SIGNER.spki[:-68] + b"\x09" + SIGNER.spki[-67:],
    "no key": b"\x30\x00",
}


@pytest.mark.parametrize("name", BAD_KEYS)
def test_bad_keys(name: str) -> None:
    """A key that is too large, too small, odd or off its curve is refused in a leaf, and signs nothing as a CA's."""
    leaf = rebuilt(root().issue("x"), _key(BAD_KEYS[name]), SIGNER)
    assert ask(leaf, signing_root())["code"].partition(".")[0] in ("crypto", "asn1")
    middle = rebuilt(root().subordinate("CA").certificate, _key(BAD_KEYS[name]), SIGNER)
    below = pki.pem(pki.Authority.create("CA").issue("x"))
    answer = ask(below, signing_root(), [middle], 5)
    assert answer["verdict"] == "refuse"


@pytest.mark.parametrize(
    ("key", "algorithm"), [(sm2_key(b"ca"), ECDSA_SHA256), (p256_key(b"ca"), SM2_SM3)], ids=["sm2", "p256"]
)
def test_key_and_algorithm_must_fit(key: Key, algorithm: bytes) -> None:
    """An SM2 key under ECDSA's identifier, and the reverse, are refused although the signature itself is right."""

    def become(algorithm: bytes, *, spki: bytes | None = None) -> Callable[[list[bytes]], None]:
        def change(parts: list[bytes]) -> None:
            parts[2] = algorithm
            parts[6] = spki or parts[6]

        return change

    anchor = rebuilt(root().certificate, become(key.algorithm, spki=key.spki), key)
    right = rebuilt(root().issue("x"), become(key.algorithm), key)
    swapped = rebuilt(root().issue("x"), become(algorithm), key)
    assert ask(right, anchor)["code"] == "ok"
    assert ask(swapped, anchor)["code"] == "crypto.algorithm_key"


def test_two_cas_of_one_name_and_serial() -> None:
    """Two certificates of one issuer and serial, and two CAs of one name: its own key's CRL decides over each leaf.

    (Without one RFC 5280 takes the other's: to it a name is one CA, which may have a key for CRLs; PKITS 4.4.19.)
    """
    twins = [pki.Authority.create("Twin") for _ in range(2)]
    crossed = [pki.pem(root().certify(twin)) for twin in twins]
    for twin, other in (twins, reversed(twins)):
        leaf = twin.issue("x", serial=7)
        crls = [pki.pem(root().crl()), pki.pem(other.crl([7])), pki.pem(twin.crl([8]))]
        wishes = {"crls": crls, "revocation": "require"}
        assert ask(pki.pem(leaf), root().certificate, crossed, **wishes)["code"] == "ok"
