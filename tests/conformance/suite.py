"""NIST's PKITS as this project runs it: files, which of them belong to a case, lines of the batch, marks."""

from __future__ import annotations

import base64
import importlib.resources
import json
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

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
    """The suite's files (NIST's, or the same re-signed), and which of them belong to a case."""

    def __init__(self, certificates: dict[str, bytes], crls: dict[str, bytes]) -> None:
        self.certificates = certificates
        self.crls = crls
        self._parsed = dict(_parsed(certificates, parse_certificate))
        self._lists = dict(_parsed(crls, parse_crl))

    @staticmethod
    def of_nist() -> Suite:
        """NIST's own files."""
        data = importlib.resources.files("cryptography_vectors") / "x509" / "PKITS_data"
        return Suite(
            {f.name.removesuffix(".crt"): f.read_bytes() for f in (data / "certs").iterdir()},
            {f.name.removesuffix(".crl"): f.read_bytes() for f in (data / "crls").iterdir()},
        )

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


def results(suite: Suite, cases: list[dict[str, Any]], *, everything: bool) -> dict[int, str]:
    """Number of a case in `cases` → our code, for each."""
    lines = (suite.line(case, everything=everything) for case in cases)
    answers = batch.run(lines, lambda: datetime(2022, 5, 1, tzinfo=UTC))
    found = {}
    for number, answer in enumerate(answers):
        parsed = json.loads(answer)
        assert (parsed["verdict"] == "accept") == (parsed["code"] == "ok")
        found[number] = parsed["code"]
    return found


def wrong(cases: list[dict[str, Any]], found: dict[int, str], *, codes: bool) -> list[str]:
    """Cases that came out otherwise than the manifest says; `codes`: the reason counts too."""
    bad = []
    for number, case in enumerate(cases):
        same = found[number] == case["code"] if codes else (found[number] == "ok") == (case["code"] == "ok")
        if not same:
            bad.append(f"{case['test']} {case['leaf']}: {found[number]} instead of {case['code']}")
    return bad


def _parsed(files: dict[str, bytes], parse: Any) -> Iterator[tuple[str, Any]]:
    for name, data in files.items():
        try:
            yield name, parse(data)
        except InputError:
            continue  # NIST's badly signed and DSA ones, which no path may use


def _names(certificate: Certificate) -> list[Normalised]:
    issuers = [n.name for p in certificate.distribution_points or () for n in p.crl_issuer if n.name is not None]
    return [certificate.issuer.normalised, *(name.normalised for name in issuers)]
