"""`crosshall check --batch`: one JSON object in, one out (design §9), for other people's suites and for auditors.

A line that cannot be understood gets a refusal with its own code. A text of `pool` or `crls` may hold several blocks
(a chain file); what of them cannot be parsed is counted in `ignored`. A leaf or an anchor is exactly one certificate,
and one that cannot be parsed refuses.
"""

from __future__ import annotations

import binascii
import contextlib
import json
import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from ca_bridge.asn1.certificate import Certificate, parse_anchor, parse_certificate, pem_blocks
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
_RFC_3339 = re.compile(
    r"(?P<minute>[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}):(?P<second>[0-9]{2})"
    r"(?P<fraction>\.[0-9]+)?(?P<zone>[Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_log = logging.getLogger(__name__)
T = TypeVar("T")
Texts = tuple[str, ...]


def _time(value: object) -> object:
    """RFC 3339 §5.6 and nothing else that a date parser would take, such as seconds since 1970."""
    found = _RFC_3339.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("RFC 3339 text is expected")
    if found["second"] != "60":
        return value
    # A leap second is legal; clocks here have none, so it is the second after :59.
    before = datetime.fromisoformat(f"{found['minute']}:59{found['fraction'] or ''}{found['zone'].upper()}")
    try:
        return before + timedelta(seconds=1)
    except OverflowError as error:
        raise ValueError("beyond the calendar") from error


class Question(BaseModel):
    """One line of input; an unknown key is an error, because it would be a wish that nobody follows."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    id: str
    leaf: str
    anchors: Texts | None = None
    pool: Texts | None = None
    crls: Texts | None = None
    ocsp: Texts | None = None
    time: Annotated[AwareDatetime, Field(strict=False), BeforeValidator(_time)] | None = None
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
        try:
            answer = _answer(line, clock, parser)
        except Exception as error:  # a fault of ours refuses this line, and the suite goes on
            _log.exception("batch", extra={"code": "run.fault"})
            answer = _refusal(_id_of(line), Refusal("run.fault", type(error).__name__, "ours: design §9"), 0)
        answer["seconds"] = round(time.perf_counter() - started, 6)
        yield json.dumps(answer, ensure_ascii=False, separators=(",", ":"))


def _answer(line: str, clock: Clock, parser: _Parser) -> dict[str, Any]:
    try:
        question = _question(line)
    except CrosshallError as error:
        return _refusal(_id_of(line), refused(error), 0)
    read = _Read(parser)
    try:
        supplied = read.supplied(question, question.time or clock())
        return _result(question.id, validate(supplied), read.ignored)
    except CrosshallError as error:
        return _refusal(question.id, refused(error), read.ignored)


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
    if not isinstance(found, str):
        return None
    # JSON can name halves of characters that no text has, and that cannot be written back (RFC 8259 §8.2).
    return None if any("\ud800" <= character <= "\udfff" for character in found) else found


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


class _Read:
    """Reads what a question brings, and counts what cannot be read."""

    def __init__(self, parser: _Parser) -> None:
        self._parser = parser
        self.ignored = 0

    def supplied(self, question: Question, at: datetime) -> Supplied:
        """The question as the validator takes it, at `at` (aware). Raises InputError for leaf and anchors."""
        parser = self._parser
        responses: list[OcspResponse] = []
        for text in question.ocsp or ():
            with contextlib.suppress(InputError):
                responses.append(_ocsp(text))
        return Supplied(
            leaf=parser.one(question.leaf),
            anchors=[parser.anchor(text) for text in question.anchors or ()],
            at=at,
            pool=self._many(question.pool or (), parser.certificates),
            crls=self._many(question.crls or (), parser.crls),
            ocsp=responses,
            revocation=question.revocation or "off",
            inputs=question.inputs(),
            anchor_constraints=bool(question.anchor_constraints),
            purpose=question.purpose or "any",
            sm2_id=DEFAULT_SM2_ID if question.sm2_id is None else question.sm2_id,
        )

    def _many(self, texts: Iterable[str], parse: Callable[[str], Sequence[T | CrosshallError]]) -> list[T]:
        every = [found for text in texts for found in parse(text)]
        good = [found for found in every if not isinstance(found, CrosshallError)]
        self.ignored += len(every) - len(good)
        return good


class _Parser:
    """Parses PEM, and keeps what it parsed: suites repeat the same pool on every line."""

    def __init__(self) -> None:
        self._certificates: dict[str, tuple[Certificate | CrosshallError, ...]] = {}
        self._anchors: dict[str, tuple[Certificate | CrosshallError, ...]] = {}
        self._crls: dict[str, tuple[Crl | CrosshallError, ...]] = {}
        self._size = 0

    def one(self, text: str) -> Certificate:
        """The one certificate of a PEM text. Raises InputError `asn1.*`."""
        return _only(self.certificates(text))

    def anchor(self, text: str) -> Certificate:
        """The one trust anchor of a PEM text. Raises InputError `asn1.*`."""
        return _only(self._kept(text, self._anchors, "CERTIFICATE", parse_anchor))

    def certificates(self, text: str) -> tuple[Certificate | CrosshallError, ...]:
        """Every certificate of a PEM text, or why it is none."""
        return self._kept(text, self._certificates, "CERTIFICATE", parse_certificate)

    def crls(self, text: str) -> tuple[Crl | CrosshallError, ...]:
        """Every CRL of a PEM text, or why it is none."""
        return self._kept(text, self._crls, "X509 CRL", parse_crl)

    def _kept(
        self, text: str, table: dict[str, tuple[T | CrosshallError, ...]], label: str, parse: Callable[[bytes], T]
    ) -> tuple[T | CrosshallError, ...]:
        if text not in table:
            if self._size > _KEPT_OCTETS:
                self._certificates.clear()
                self._anchors.clear()
                self._crls.clear()
                self._size = 0
            self._size += len(text)
            table[text] = tuple(_blocks(text, label, parse))
        return table[text]


def _only(found: tuple[Certificate | CrosshallError, ...]) -> Certificate:
    if len(found) != 1:
        raise InputError("asn1.pem", f"{len(found)} certificates where one is expected")
    if isinstance(found[0], CrosshallError):
        raise found[0]
    return found[0]


def _blocks(text: str, label: str, parse: Callable[[bytes], T]) -> Iterator[T | CrosshallError]:
    try:
        blocks = pem_blocks(text, label)
    except CrosshallError as error:
        yield error
        return
    if not blocks:
        yield InputError("asn1.pem", f"no block of {label}")
    for block in blocks:
        try:
            yield parse(block)
        except CrosshallError as error:
            yield error


def _ocsp(text: str) -> OcspResponse:
    try:
        return parse_ocsp(binascii.a2b_base64("".join(text.split()), strict_mode=True))
    except (binascii.Error, ValueError) as error:
        raise InputError("asn1.ocsp", f"base64: {error}") from error
