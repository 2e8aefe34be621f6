"""NIST PKITS through the batch interface: every case right but the two that need DSA accepted, revocation required."""

from __future__ import annotations

import base64
import importlib.resources
import json
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ca_bridge.asn1.certificate import Certificate, parse_certificate
from ca_bridge.asn1.crl import parse_crl
from ca_bridge.asn1.names import Normalised
from ca_bridge.errors import InputError
from ca_bridge.verdict import batch

MANIFEST = tomllib.loads((Path(__file__).parent / "pkits.toml").read_text("utf-8"))
ANCHOR = "TrustAnchorRootCertificate"
AT = "2022-05-01T00:00:00Z"
ARC = "2.16.840.1.101.3.2.1.48."


class Suite:
    """NIST's files, and which of them belong to a case."""

    def __init__(self) -> None:
        data = importlib.resources.files("cryptography_vectors") / "x509" / "PKITS_data"
        self.certificates = {f.name.removesuffix(".crt"): f.read_bytes() for f in (data / "certs").iterdir()}
        self.crls = {f.name.removesuffix(".crl"): f.read_bytes() for f in (data / "crls").iterdir()}
        self._parsed = dict(_parsed(self.certificates, parse_certificate))
        self._lists = dict(_parsed(self.crls, parse_crl))

    def own(self, leaf: str) -> tuple[list[str], list[str]]:
        """Certificates and CRLs that a case's leaf leads to by names: issuers, CRL issuers, and theirs."""
        todo: list[Normalised] = []
        names: set[Normalised] = set()
        chosen: set[str] = set()
        certificate = self._parsed.get(leaf)
        if certificate is not None:
            todo += _names(certificate)
        while todo:
            name = todo.pop()
            if name in names:
                continue
            names.add(name)
            for file, found in self._parsed.items():
                if found.subject.normalised == name and file not in (ANCHOR, leaf):
                    chosen.add(file)
                    todo += _names(found)
        return sorted(chosen), sorted(f for f, crl in self._lists.items() if crl.issuer.normalised in names)

    def line(self, case: dict[str, Any], *, everything: bool) -> str:
        """A case as a line of the batch."""
        leaf = case["leaf"]
        pool, crls = self.own(leaf)
        if everything:
            pool, crls = [f for f in self.certificates if f not in (ANCHOR, leaf)], list(self.crls)
        policies = case.get("policies")
        return json.dumps(
            {
                "id": case["test"],
                "leaf": pem("CERTIFICATE", self.certificates[leaf]),
                "anchors": [pem("CERTIFICATE", self.certificates[ANCHOR])],
                "pool": [pem("CERTIFICATE", self.certificates[f]) for f in pool],
                "crls": [pem("X509 CRL", self.crls[f]) for f in crls],
                "time": AT,
                "revocation": "require",
                "initial_policies": policies and ["2.5.29.32.0" if p == "any" else ARC + p for p in policies],
                "require_policy": case.get("require_policy"),
                "inhibit_mapping": case.get("inhibit_mapping"),
                "inhibit_any_policy": case.get("inhibit_any_policy"),
            }
        )


def pem(label: str, data: bytes) -> str:
    """PEM of some DER."""
    return f"-----BEGIN {label}-----\n{base64.b64encode(data).decode()}\n-----END {label}-----\n"


def _parsed(files: dict[str, bytes], parse: Any) -> Iterator[tuple[str, Any]]:
    for name, data in files.items():
        try:
            yield name, parse(data)
        except InputError:
            continue  # NIST's badly signed and DSA ones, which no path may use


def _names(certificate: Certificate) -> list[Normalised]:
    issuers = [n.name for p in certificate.distribution_points or () for n in p.crl_issuer if n.name is not None]
    return [certificate.issuer.normalised, *(name.normalised for name in issuers)]


@pytest.fixture(scope="module")
def suite() -> Suite:
    """The suite, read once."""
    return Suite()


def results(suite: Suite, *, everything: bool) -> dict[int, str]:
    """Row of the manifest → our code, for every row."""
    lines = (suite.line(case, everything=everything) for case in MANIFEST["case"])
    answers = batch.run(lines, lambda: datetime(2022, 5, 1, tzinfo=UTC))
    found = {}
    for number, answer in enumerate(answers):
        parsed = json.loads(answer)
        assert (parsed["verdict"] == "accept") == (parsed["code"] == "ok")
        found[number] = parsed["code"]
    return found


def wrong(found: dict[int, str], *, codes: bool) -> list[str]:
    """Rows that came out otherwise than the manifest says, without the two that need DSA accepted."""
    bad = []
    for number, case in enumerate(MANIFEST["case"]):
        same = found[number] == case["code"] if codes else (found[number] == "ok") == (case["code"] == "ok")
        if not same and case["test"] not in MANIFEST["unsupported"]:
            bad.append(f"{case['test']} {case['leaf']}: {found[number]} instead of {case['code']}")
    return bad


def test_the_manifest_covers_the_whole_document() -> None:
    """Each of NIST's 224 tests has at least one row (sections 4.1 to 4.16, all numbers)."""
    last = {
        1: 6,
        2: 8,
        3: 11,
        4: 21,
        5: 8,
        6: 17,
        7: 5,
        8: 20,
        9: 8,
        10: 14,
        11: 11,
        12: 10,
        13: 38,
        14: 35,
        15: 10,
        16: 2,
    }
    wanted = {f"4.{section}.{number}" for section, count in last.items() for number in range(1, count + 1)}
    assert {case["test"] for case in MANIFEST["case"]} == wanted
    assert len(wanted) == 224


def test_with_only_the_cases_own_files(suite: Suite) -> None:
    """Each case is right, and refused for the right reason, when it sees only its own certificates and CRLs."""
    assert wrong(results(suite, everything=False), codes=True) == []


def test_with_every_file_in_the_pool(suite: Suite) -> None:
    """Each case is right when all 405 certificates and 173 CRLs are at hand."""
    assert (len(suite.certificates), len(suite.crls)) == (405, 173)
    assert wrong(results(suite, everything=True), codes=False) == []


def test_dsa_is_refused_not_misread(suite: Suite) -> None:
    """The two valid cases that need DSA are refused, so that nobody thinks they passed."""
    found = results(suite, everything=False)
    codes = {
        case["test"]: found[n] for n, case in enumerate(MANIFEST["case"]) if case["test"] in MANIFEST["unsupported"]
    }
    assert set(codes) == {"4.1.4", "4.1.5"}
    assert "ok" not in codes.values()
