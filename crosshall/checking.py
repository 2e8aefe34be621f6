"""What `crosshall check` does with files, and how it explains a verdict to a person."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

from ca_bridge.asn1.certificate import Certificate, load_certificate, parse_anchor, parse_certificate, pem_blocks
from ca_bridge.asn1.crl import load_crl
from ca_bridge.errors import ConfigError, CrosshallError, InputError, words
from ca_bridge.path.state import Inputs
from ca_bridge.trust.bundle import read_bundle
from ca_bridge.types import Refusal
from ca_bridge.verdict.judge import refused
from ca_bridge.verdict.snapshot import Snapshot, compile_bundle
from ca_bridge.verdict.supplied import Supplied, validate

T = TypeVar("T")
_WORDS = {
    "zh-Hans": ("接受", "拒绝", "原因", "规则", "怎么办", "路径", "策略", "级别"),
    "zh-Hant": ("接受", "拒絕", "原因", "規則", "怎麼辦", "路徑", "政策", "級別"),
    "en": ("accepted", "refused", "why", "rule", "what to do", "path", "policies", "level"),
    "pt": ("aceite", "recusado", "porquê", "regra", "o que fazer", "caminho", "políticas", "nível"),
}


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the options of `check` say."""

    anchors: tuple[Path, ...]
    pool: tuple[Path, ...]
    crls: tuple[Path, ...]
    at: datetime
    revocation: str
    policies: frozenset[str] | None
    require_policy: bool
    inhibit_mapping: bool
    inhibit_any_policy: bool
    max_intermediates: int | None
    anchor_constraints: bool
    purpose: str
    sm2_id: str


@dataclass(frozen=True, slots=True)
class Report:
    """One certificate's verdict with all that is needed to explain it."""

    file: Path
    accepted: bool
    refusal: Refusal | None
    path: tuple[Certificate, ...] = ()
    others: tuple[Refusal, ...] = ()
    policies: frozenset[str] = frozenset()
    facts: Mapping[str, str] | None = None

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        first = self.refusal or Refusal("ok")
        return {
            "file": str(self.file),
            "verdict": "accept" if self.accepted else "refuse",
            "code": first.code,
            "detail": first.detail,
            "clause": first.clause,
            "depth": first.depth,
            "path": [{"sha256": c.sha256, "subject": c.subject.text} for c in self.path],
            "policies": sorted(self.policies),
            "refusals": [
                {"code": r.code, "detail": r.detail, "clause": r.clause, "depth": r.depth} for r in self.others
            ],
            **(self.facts or {}),
        }

    def text(self, language: str) -> str:
        """For a person: verdict, reason, rule, remedy, and the path drawn from the anchor down."""
        yes, no, why, rule, remedy, path, policies, _ = _WORDS.get(language, _WORDS["en"])
        lines = [f"{self.file}: {yes if self.accepted else no}"]
        if self.refusal is not None:
            reason, what = words(self.refusal.code, language)
            lines.append(f"  {why}: {reason}")
            lines.append(f"  {rule}: {self.refusal.code} – {self.refusal.detail} ({self.refusal.clause or '–'})")
            lines.append(f"  {remedy}: {what}")
        lines += [f"  {key}: {value}" for key, value in (self.facts or {}).items() if value]
        if self.policies:
            lines.append(f"  {policies}: {', '.join(sorted(self.policies))}")
        if self.path:
            lines.append(f"  {path}:")
            lines += _draw(self.path, self.refusal)
        lines += [f"  – {r.code} ({r.depth}): {r.detail}" for r in self.others[:10] if r != self.refusal]
        return "\n".join(lines)


Judge = Callable[[Path], Report]


def by_bundle(folder: Path, wishes: Wishes) -> Judge:
    """Judges as the bridge does at a sign-in, against a bundle. Raises PathError `trust.*` for a bad bundle."""
    snapshot = compile_bundle(read_bundle(folder))
    bundle = snapshot.bundle
    listed = [c for entry in bundle.lists for c in (entry.signing, entry.root)]
    known = {c.sha256: c for c in (*bundle.anchors, *bundle.certificates, *listed)}

    def judge(file: Path) -> Report:
        try:
            leaf = _chain(file)[0]
        except CrosshallError as error:
            return Report(file, accepted=False, refusal=refused(error), others=(refused(error),))
        verdict = snapshot.judge(leaf.der, wishes.at)
        path = tuple(
            c for c in (known.get(h, leaf if h == leaf.sha256 else None) for h in verdict.path) if c is not None
        )
        first = (
            None
            if verdict.accepted
            else Refusal(verdict.code, verdict.detail, verdict.clause, _depth(verdict.refusals))
        )
        facts = {
            "ca": verdict.ca,
            "domain": verdict.domain,
            "type": verdict.certificate_type,
            "level": str(verdict.level or ""),
            "engine": verdict.engine,
            "status_issued_at": verdict.status_issued_at.isoformat() if verdict.status_issued_at else "",
            "snapshot": verdict.snapshot,
        }
        return Report(file, verdict.accepted, first, path, verdict.refusals, verdict.policies, facts)

    return judge


def by_anchor(wishes: Wishes) -> Judge:
    """Validates by RFC 5280 alone, with the caller's anchors, pool and CRLs. Raises InputError for bad anchors."""
    anchors = [certificate for file in wishes.anchors for certificate in _chain(file, parse_anchor)]
    pool = [c for found in _each(wishes.pool, _chain) for c in found]
    crls = list(_each(wishes.crls, lambda file: load_crl(_read(file))))

    def judge(file: Path) -> Report:
        try:
            leaf, *rest = _chain(file)
        except CrosshallError as error:
            return Report(file, accepted=False, refusal=refused(error), others=(refused(error),))
        result = validate(
            Supplied(
                leaf=leaf,
                anchors=anchors,
                at=wishes.at,
                pool=[*rest, *pool],
                crls=crls,
                revocation=cast("Literal['require', 'if-available', 'off']", wishes.revocation),
                inputs=_inputs(wishes),
                anchor_constraints=wishes.anchor_constraints,
                purpose=wishes.purpose,
                sm2_id=wishes.sm2_id,
            )
        )
        if result.found is None:
            return Report(file, accepted=False, refusal=result.refusals[0], path=(leaf,), others=result.refusals)
        found = result.found
        anchor = (found.anchor.certificate,) if found.anchor.certificate is not None else ()
        return Report(file, True, None, (*found.outcome.path, *anchor), result.refusals, found.outcome.policies)

    return judge


def describe(snapshot: Snapshot, now: datetime) -> Iterator[str]:
    """What a bundle holds, for an operator."""
    bundle = snapshot.bundle
    yield f"bundle {bundle.version}, issued {bundle.issued.isoformat()}, {snapshot.hash}"
    for anchor in bundle.anchors:
        yield f"anchor  {anchor.subject.text}  to {anchor.not_after.date()}"
    reached = {s.spki_sha256: s for states in snapshot.compiled.graph.states.values() for s in states}
    listed = {entry.signing.spki_sha256 for entry in bundle.lists}
    for profile in sorted(bundle.profiles.values(), key=lambda p: (p.domain, p.id)):
        for key in profile.keys:
            way = f"path of {len(reached[key].path)}" if key in reached else "list" if key in listed else "NOT REACHED"
            yield f"CA      {profile.id} v{profile.version}  domain {profile.domain}  key {key[:16]}  {way}"
    for entry in bundle.lists:
        yield f"list    {entry.ca}  {entry.type_name}  {entry.valid_from.date()} to {entry.valid_to.date()}"
    for crl in bundle.crls:
        until = crl.next_update.isoformat() if crl.next_update else "–"
        stale = "  STALE" if crl.next_update is None or crl.next_update < now else ""
        form = "" if crl.summary is None else ", a filter"
        yield f"CRL     {crl.issuer.text}  {crl.count} revoked{form}, to {until}{stale}"
    for denial in bundle.denials:
        yield f"denial  {denial.domain or denial.key or denial.certificate}: {denial.why}"
    for problem in snapshot.problems:
        yield f"problem {problem}"


def locale_language() -> str:
    """Language of the terminal: simplified or traditional Chinese, Portuguese, else English."""
    found = os.environ.get("LC_ALL") or os.environ.get("LC_MESSAGES") or os.environ.get("LANG") or ""
    if found.startswith(("zh_HK", "zh_TW", "zh_MO")):
        return "zh-Hant"
    return {"zh": "zh-Hans", "pt": "pt"}.get(found[:2], "en")


def _draw(path: tuple[Certificate, ...], refusal: Refusal | None) -> Iterator[str]:
    for level, certificate in enumerate(reversed(path)):
        depth = len(path) - 1 - level
        mark = "  ✗" if refusal is not None and refusal.depth == depth else ""
        branch = f"{'   ' * (level - 1)}└─ " if level else ""
        dates = f"{certificate.not_before.date()} – {certificate.not_after.date()}"
        yield f"    {branch}{certificate.subject.text or '(no name)'}  [{dates}]{mark}"


def _depth(refusals: tuple[Refusal, ...]) -> int:
    return refusals[0].depth if refusals else 0


def _inputs(wishes: Wishes) -> Inputs:
    return Inputs(
        initial_policies=wishes.policies,
        require_policy=wishes.require_policy,
        inhibit_mapping=wishes.inhibit_mapping,
        inhibit_any_policy=wishes.inhibit_any_policy,
        max_intermediates=wishes.max_intermediates,
    )


def _chain(file: Path, parse: Callable[[bytes], Certificate] = parse_certificate) -> list[Certificate]:
    data = _read(file)
    if b"-----BEGIN" not in data[:4096]:
        return [parse(data)]
    blocks = pem_blocks(data, "CERTIFICATE")
    return [parse(block) for block in blocks] or [load_certificate(data)]


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigError("config.missing", f"{file}: {error.strerror}") from error


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(file for file in path.rglob("*") if file.is_file())
        else:
            yield path


def _each(paths: Iterable[Path], load: Callable[[Path], T]) -> Iterator[T]:
    """What can be read; a folder may hold other files, and broken ones: they are passed over, as in a batch."""
    for file in _files(paths):
        try:
            yield load(file)
        except InputError:
            continue
