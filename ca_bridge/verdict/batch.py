"""`crosshall check --batch`: one JSON object in, one out (design §9), for other people's suites and for auditors.

A line that cannot be understood gets a refusal with its own code. Certificates and CRLs of `pool` and `crls` that
cannot be parsed are counted in `ignored`; a leaf or an anchor that cannot be parsed refuses.
"""

from __future__ import annotations

import binascii
import json
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from ca_bridge.asn1.certificate import Certificate, parse_certificate, pem_blocks
from ca_bridge.asn1.crl import Crl, parse_crl
from ca_bridge.asn1.ocsp import OcspResponse, parse_ocsp
from ca_bridge.errors import CrosshallError, InputError
from ca_bridge.path.build import Result
from ca_bridge.path.state import Inputs
from ca_bridge.path.validate import DEFAULT_SM2_ID
from ca_bridge.types import Clock, Refusal
from ca_bridge.verdict.judge import refused
from ca_bridge.verdict.supplied import Supplied, validate

MAX_LINE_CHARACTERS = 512 << 20
_KEPT_OCTETS = 64 << 20
_OID = r"^[0-2](\.(0|[1-9][0-9]*))+$"
T = TypeVar("T")
Texts = tuple[str, ...]


def _text(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("RFC 3339 text is expected")
    return value


class Question(BaseModel):
    """One line of input; an unknown key is an error, because it would be a wish that nobody follows."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    id: str
    leaf: str
    anchors: Texts | None = None
    pool: Texts | None = None
    crls: Texts | None = None
    ocsp: Texts | None = None
    time: Annotated[AwareDatetime, Field(strict=False), BeforeValidator(_text)] | None = None
    revocation: Literal["require", "if-available", "off"] | None = None
    initial_policies: tuple[Annotated[str, Field(pattern=_OID)], ...] | None = None
    require_policy: bool | None = None
    inhibit_mapping: bool | None = None
    inhibit_any_policy: bool | None = None
    max_intermediates: Annotated[int, Field(ge=0)] | None = None
    anchor_constraints: bool | None = None
    purpose: Literal["client", "server", "ca", "any"] | None = None
    sm2_id: str | None = None

    def inputs(self) -> Inputs:
        """The inputs of RFC 5280 §6.1.1."""
        return Inputs(
            initial_policies=None if self.initial_policies is None else frozenset(self.initial_policies),
            require_policy=bool(self.require_policy),
            inhibit_mapping=bool(self.inhibit_mapping),
            inhibit_any_policy=bool(self.inhibit_any_policy),
            max_intermediates=self.max_intermediates,
        )


def run(lines: Iterable[str], clock: Clock) -> Iterator[str]:
    """One line of JSON for each line of input, in order; blank lines are malformed too. Never raises for bad input."""
    parser = _Parser()
    for line in lines:
        started = time.perf_counter()
        answer = _answer(line, clock, parser)
        answer["seconds"] = round(time.perf_counter() - started, 6)
        yield json.dumps(answer, ensure_ascii=False, separators=(",", ":"))


def _answer(line: str, clock: Clock, parser: _Parser) -> dict[str, Any]:
    try:
        question = _question(line)
    except CrosshallError as error:
        return _refusal(_id_of(line), refused(error), 0)
    ignored = 0
    try:
        leaf = parser.one(question.leaf)
        anchors = [parser.one(text) for text in question.anchors or ()]
        pool, ignored = parser.many(question.pool or (), parser.one)
        crls, bad_crls = parser.many(question.crls or (), parser.crl)
        ignored += bad_crls
        responses, _ = parser.many(question.ocsp or (), _ocsp)
        result = validate(
            Supplied(
                leaf=leaf,
                anchors=anchors,
                at=question.time or clock(),
                pool=pool,
                crls=crls,
                ocsp=responses,
                revocation=question.revocation or "off",
                inputs=question.inputs(),
                anchor_constraints=bool(question.anchor_constraints),
                purpose=question.purpose or "any",
                sm2_id=DEFAULT_SM2_ID if question.sm2_id is None else question.sm2_id,
            )
        )
    except CrosshallError as error:
        return _refusal(question.id, refused(error), ignored)
    return _result(question.id, result, ignored)


def _question(line: str) -> Question:
    if len(line) > MAX_LINE_CHARACTERS:
        raise InputError("input.line", "a line too long", clause="ours: design §9")
    try:
        return Question.model_validate_json(line)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:5])
        raise InputError("input.line", wrong[:500], clause="ours: design §9") from error


def _id_of(line: str) -> str | None:
    """The id of a line that is JSON with a text `id`, else None."""
    try:
        table = json.loads(line)
    except (ValueError, RecursionError):
        return None
    found = table.get("id") if isinstance(table, dict) else None
    return found if isinstance(found, str) else None


def _result(question_id: str, result: Result, ignored: int) -> dict[str, Any]:
    if result.found is None:
        return _refusal(question_id, result.refusals[0], ignored)
    found = result.found
    path = [c.sha256 for c in found.outcome.path]
    if found.anchor.certificate is not None and found.anchor.certificate.sha256 not in path:
        path.append(found.anchor.certificate.sha256)
    return {
        "id": question_id,
        "verdict": "accept",
        "code": "ok",
        "detail": "",
        "clause": "",
        "path": path,
        "policies": sorted(found.outcome.policies),
        "ignored": ignored,
    }


def _refusal(question_id: str | None, refusal: Refusal, ignored: int) -> dict[str, Any]:
    return {
        "id": question_id,
        "verdict": "refuse",
        "code": refusal.code,
        "detail": f"certificate {refusal.depth}: {refusal.detail}" if refusal.depth else refusal.detail,
        "clause": refusal.clause,
        "path": [],
        "policies": [],
        "ignored": ignored,
    }


class _Parser:
    """Parses PEM, and keeps what it parsed: suites repeat the same pool on every line."""

    def __init__(self) -> None:
        self._certificates: dict[str, Certificate | CrosshallError] = {}
        self._crls: dict[str, Crl | CrosshallError] = {}
        self._size = 0

    def one(self, text: str) -> Certificate:
        """The one certificate of a PEM text. Raises InputError `asn1.*`."""
        return self._kept(text, self._certificates, lambda: parse_certificate(_block(text, "CERTIFICATE")))

    def crl(self, text: str) -> Crl:
        """The one CRL of a PEM text. Raises InputError `asn1.*`."""
        return self._kept(text, self._crls, lambda: parse_crl(_block(text, "X509 CRL")))

    def many(self, texts: Iterable[str], parse: Callable[[str], T]) -> tuple[list[T], int]:
        """What of `texts` can be parsed, and how many cannot."""
        good: list[T] = []
        bad = 0
        for text in texts:
            try:
                good.append(parse(text))
            except CrosshallError:
                bad += 1
        return good, bad

    def _kept(self, text: str, table: dict[str, T | CrosshallError], parse: Callable[[], T]) -> T:
        if text not in table:
            if self._size > _KEPT_OCTETS:
                self._certificates.clear()
                self._crls.clear()
                self._size = 0
            self._size += len(text)
            try:
                table[text] = parse()
            except CrosshallError as error:
                table[text] = error
        found = table[text]
        if isinstance(found, CrosshallError):
            raise found
        return found


def _ocsp(text: str) -> OcspResponse:
    try:
        return parse_ocsp(binascii.a2b_base64("".join(text.split()), strict_mode=True))
    except (binascii.Error, ValueError) as error:
        raise InputError("asn1.ocsp", f"base64: {error}") from error


def _block(text: str, label: str) -> bytes:
    found = pem_blocks(text, label)
    if len(found) != 1:
        raise InputError("asn1.pem", f"{len(found)} blocks of {label} where one is expected")
    return found[0]
