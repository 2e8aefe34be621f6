"""The validators that generated chains are put to: ours by the batch, pyhanko-certvalidator, and OpenSSL's command."""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import json
import logging
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from asn1crypto import crl as asn1_crl
from asn1crypto import x509 as asn1_x509
from pyhanko_certvalidator import ValidationContext, name_trees
from pyhanko_certvalidator.errors import PathError as PyhankoPathError
from pyhanko_certvalidator.policy_decl import PKIXValidationParams
from pyhanko_certvalidator.validate import async_validate_path

from ca_bridge.verdict import batch
from tests.conformance.suite import pem
from tests.deep.chains import ANY, AT, Case


def _ip_within(network: Any, address: Any) -> bool:
    return ipaddress.ip_address(address) in ipaddress.ip_network(network)


# pyhanko 0.33 knows constraints on all names but addresses; the standard library answers for it.
name_trees._name_type_checkers[name_trees.GeneralNameType.IP_ADDRESS] = _ip_within
logging.getLogger("pyhanko_certvalidator").setLevel(logging.CRITICAL)


@dataclass(frozen=True, slots=True)
class Answer:
    """One validator's answer; `policies` None: it does not say, or has no opinion."""

    valid: bool
    reason: str
    policies: frozenset[str] | None = None
    path: tuple[str, ...] = ()
    """SHA-256 of its certificates, leaf first; ours only."""


def line(case: Case) -> str:
    """A case as a line of the batch."""
    return json.dumps(
        {
            "id": str(case.number),
            "leaf": pem("CERTIFICATE", case.leaf),
            "anchors": [pem("CERTIFICATE", case.anchor)],
            "pool": [pem("CERTIFICATE", c) for c in case.pool],
            "crls": [pem("X509 CRL", c) for c in case.crls or ()],
            "time": AT.isoformat(),
            "revocation": "off" if case.crls is None else "require",
            "initial_policies": case.initial_policies,
            "require_policy": case.require_policy,
            "inhibit_mapping": case.inhibit_mapping,
            "inhibit_any_policy": case.inhibit_any_policy,
        }
    )


def ours(cases: Iterable[Case]) -> Iterator[Answer]:
    """Our answers, in order."""
    for text in batch.run(map(line, cases), lambda: AT):
        answer = json.loads(text)
        yield Answer(
            answer["verdict"] == "accept", answer["code"], frozenset(answer["policies"]), tuple(answer["path"])
        )


async def pyhanko(case: Case) -> Answer:
    """pyhanko's answer: valid when any path that it builds is."""
    chosen = case.initial_policies
    parameters = PKIXValidationParams(
        user_initial_policy_set=frozenset(
            {"any_policy"} if chosen is None else {"any_policy" if p == ANY else p for p in chosen}
        ),
        initial_policy_mapping_inhibit=case.inhibit_mapping,
        initial_explicit_policy=case.require_policy,
        initial_any_policy_inhibit=case.inhibit_any_policy,
    )
    context = ValidationContext(
        trust_roots=[asn1_x509.Certificate.load(case.anchor)],
        other_certs=[asn1_x509.Certificate.load(c) for c in case.pool],
        crls=[asn1_crl.CertificateList.load(c) for c in case.crls or ()],
        moment=AT,
        time_tolerance=timedelta(0),
        revocation_mode="soft-fail" if case.crls is None else "require",
    )
    reason = "no path"
    paths = context.path_builder.async_build_paths_lazy(asn1_x509.Certificate.load(case.leaf))
    try:
        async for path in paths:
            try:
                await async_validate_path(context, path, parameters=parameters)
            except Exception as error:
                reason = f"{type(error).__name__}: {error}"
                continue
            return Answer(True, "", _policies(path))
    except PyhankoPathError as error:
        reason = f"{type(error).__name__}: {error}"
    return Answer(False, reason)


def _policies(path: Any) -> frozenset[str] | None:
    found = path.qualified_policies()
    if found is None:
        return None
    return frozenset(ANY if q.user_domain_policy_id == "any_policy" else q.user_domain_policy_id for q in found)


def all_pyhanko(cases: Iterable[Case]) -> list[Answer]:
    """pyhanko's answers, in order."""

    async def go() -> list[Answer]:
        return [await pyhanko(case) for case in cases]

    return asyncio.run(go())


def narrowed(case: Case, path: Iterable[str]) -> Case:
    """The case with nothing in its pool but one path's certificates."""
    kept = set(path)
    return replace(case, pool=tuple(c for c in case.pool if hashlib.sha256(c).hexdigest() in kept))


def openssl(case: Case) -> Answer:
    """The answer of `openssl verify`, which builds one path only: a refusal of several paths is no proof."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "anchor").write_text(pem("CERTIFICATE", case.anchor))
        (place / "leaf").write_text(pem("CERTIFICATE", case.leaf))
        (place / "pool").write_text("".join(pem("CERTIFICATE", c) for c in case.pool))
        (place / "crls").write_text("".join(pem("X509 CRL", c) for c in case.crls or ()))
        options = ["-attime", str(int(AT.timestamp())), "-no-CApath", "-no-CAstore", "-policy_check"]
        options += [
            o for p in ((ANY,) if case.initial_policies is None else case.initial_policies) for o in ("-policy", p)
        ]
        if case.crls is not None:
            options += ["-crl_check_all", "-extended_crl", "-use_deltas", "-CRLfile", "crls"]
        options += ["-explicit_policy"] * case.require_policy + ["-inhibit_map"] * case.inhibit_mapping
        options += ["-inhibit_any"] * case.inhibit_any_policy
        command = ["openssl", "verify", *options, "-CAfile", "anchor", "-untrusted", "pool", "leaf"]
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    return Answer(done.returncode == 0, " ".join((done.stdout + done.stderr).split())[-200:])
