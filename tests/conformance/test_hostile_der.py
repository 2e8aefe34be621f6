"""Damaged octets, at every position: our typed errors and refusals, never another exception, never an acceptance."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ca_bridge.asn1.certificate import parse_certificate
from ca_bridge.asn1.crl import parse_crl
from ca_bridge.errors import InputError
from ca_bridge.verdict import batch
from tests import pki
from tests.conformance.resign import resign, sm2_key
from tests.conformance.suite import Suite, pem
from tests.deep.chains import generate
from tests.deep.oracles import line
from tests.deep.targets import TARGETS

CORPUS = Path(__file__).parent.parent / "deep" / "corpus"


def damaged(data: bytes) -> Iterator[bytes]:
    """Cut short and changed at every position, and extended."""
    yield from (data[:n] for n in range(len(data)))
    for position in range(len(data)):
        for change in (0x01, 0x80, 0xFF):
            yield data[:position] + bytes([data[position] ^ change]) + data[position + 1 :]
    yield from (data + tail for tail in (b"\x00", b"\x30\x00", data))
    yield from (data[:n] + b"\x00" + data[n:] for n in range(0, len(data), 7))


def certificate() -> bytes:
    """A certificate with many extensions."""
    root = pki.Authority.create("Root")
    wanted = [*pki.ca(1), pki.policies("1.2.3.4"), pki.mappings([("1.2.3.4", "1.2.3.5")]), pki.eku("1.3.6.1.5.5.7.3.2")]
    return pki.der(root.issue("Rich", extensions=wanted))


def sm2_certificate() -> bytes:
    """NIST's first leaf under SM2."""
    nist = Suite.of_nist()
    names = ("TrustAnchorRootCertificate", "GoodCACert", "ValidCertificatePathTest1EE")
    signed, _, _ = resign({name: nist.certificates[name] for name in names}, {}, sm2_key)
    return signed["ValidCertificatePathTest1EE"]


def crl() -> bytes:
    """A CRL with entries, reasons and a scope."""
    root = pki.Authority.create("Root")
    return pki.der(root.crl([5, 6], reason=pki.x509.ReasonFlags.key_compromise))


def failure(parse: Callable[[bytes], object], data: bytes) -> InputError | None:
    """The parser's InputError; anything else that it raises goes on."""
    try:
        parse(data)
    except InputError as error:
        return error
    return None


@pytest.mark.parametrize(
    ("make", "parse"), [(certificate, parse_certificate), (sm2_certificate, parse_certificate), (crl, parse_crl)]
)
def test_every_position(make: Callable[[], bytes], parse: Callable[[bytes], object]) -> None:
    """A parser returns or raises InputError; whatever is shorter, longer or of another form is refused."""
    data = make()
    parse(data)
    errors = [error for bad in damaged(data) if (error := failure(parse, bad)) is not None]
    assert len(errors) > 2 * len(data)
    assert {error.code.partition(".")[0] for error in errors} == {"asn1"}
    for size in range(len(data)):
        with pytest.raises(InputError):
            parse(data[:size])


def test_no_damaged_leaf_is_accepted() -> None:
    """The whole batch over a leaf damaged at every position: a refusal with a code each time, never `ok`."""
    case = next(c for c in (generate(3, n) for n in range(200)) if accepted(line(c)))
    whole = json.loads(line(case))
    bad = [json.dumps(whole | {"leaf": pem("CERTIFICATE", data)}) for data in damaged(case.leaf)]
    codes = {json.loads(answer)["code"] for answer in batch.run(bad, lambda: pki.NOW)}
    assert "ok" not in codes
    assert {code.partition(".")[0] for code in codes} <= {"asn1", "path", "crypto"}


def test_a_damaged_crl_is_as_good_as_none() -> None:
    """With its only CRL damaged anywhere a leaf has no status, and a required one refuses."""
    root = pki.Authority.create("Root")
    question = {
        "leaf": pki.pem(root.issue("x")),
        "anchors": [pki.pem(root.certificate)],
        "time": pki.NOW.isoformat(),
        "revocation": "require",
    }
    good = pki.der(root.crl())
    lines = [json.dumps({"id": "x", "crls": [pem("X509 CRL", data)], **question}) for data in (good, *damaged(good))]
    first, *rest = [json.loads(answer)["code"] for answer in batch.run(lines, lambda: pki.NOW)]
    assert first == "ok"
    assert set(rest) == {"revocation.unknown"}


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_the_fuzzers_corpus(name: str) -> None:
    """Every input that ever taught the fuzzer something, octet for octet and cut in half."""
    files = sorted((CORPUS / name).iterdir())
    assert len(files) >= 5
    for file in files:
        data = file.read_bytes()
        TARGETS[name](data)
        TARGETS[name](data[: len(data) // 2])


def accepted(text: str) -> bool:
    """Whether a line of the batch is accepted."""
    (answer,) = batch.run([text], lambda: pki.NOW)
    return bool(json.loads(answer)["code"] == "ok")
