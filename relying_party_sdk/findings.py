"""What `crosshall-rp doctor` finds: for a person in Chinese and English, for a machine as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

OK, WARN, FAULT = "ok", "warn", "fault"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: its name, `ok`, `warn` or `fault`, what is the case and what to change (Chinese, English)."""

    check: str
    state: str
    zh: str
    en: str
    fix_zh: str = ""
    fix_en: str = ""


def as_text(findings: list[Finding]) -> str:
    """For a person: a line a check, faults with what to change."""
    marks = {OK: "  ok ", WARN: "warn ", FAULT: "FAULT"}
    lines = []
    for each in findings:
        lines.append(f"{marks[each.state]} {each.check}: {each.zh}" + ("" if each.zh == each.en else f" / {each.en}"))
        if each.fix_zh:
            lines.append(f"      → {each.fix_zh}\n      → {each.fix_en}")
    return "\n".join(lines) + "\n"


def as_json(findings: list[Finding]) -> str:
    """For a machine: `{"healthy": …, "findings": [...]}`."""
    rows: list[dict[str, Any]] = [asdict(each) for each in findings]
    return json.dumps({"healthy": not faulty(findings), "findings": rows}, ensure_ascii=False, indent=1) + "\n"


def faulty(findings: list[Finding]) -> bool:
    """True when something has to be changed."""
    return any(each.state == FAULT for each in findings)
