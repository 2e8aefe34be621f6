"""The province's status page: every node of the roster by what it last said of itself; whoever does not speak is red.

Two forms, HTML for a person's browser (four languages, narrow screens too) and JSON. Operators alone read it: it names
what is wrong with which node. No person and no count of persons is in it.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from html import escape
from pathlib import Path

from ca_bridge.errors import LANGUAGES, FederationError, words
from ca_bridge.trust.roster import Roster, RosterNode
from nodes.report import NodeReport, load_report
from nodes.roles import domain_role

LATE = timedelta(minutes=5)
"""A node reports every half minute."""
SKEW = timedelta(seconds=60)
_CODE = re.compile(r"[a-z]+\.[a-z0-9_]{1,40}")
_NUMBERS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9}){0,4}")

_TEXTS = {
    "zh-Hans": (
        "全省节点",
        "正常",
        "异常",
        "节点",
        "类型",
        "阶段",
        "软件",
        "数据",
        "最近报告",
        "问题",
        "省厅",
        "市",
        "县区",
    ),
    "zh-Hant": (
        "全省節點",
        "正常",
        "異常",
        "節點",
        "類型",
        "階段",
        "軟件",
        "數據",
        "最近報告",
        "問題",
        "省廳",
        "市",
        "縣區",
    ),
    "en": (
        *("Nodes of the province", "well", "red", "Node", "Kind", "Stage", "Software", "Data", "Last report"),
        *("What is wrong", "province", "city", "county"),
    ),
    "pt": (
        *("Nós da província", "bem", "com falha", "Nó", "Tipo", "Fase", "Software", "Dados", "Último relatório"),
        *("O que falha", "província", "cidade", "condado"),
    ),
}
_KEYS = (
    *("title", "well", "red", "node", "role", "stage", "version", "data", "at", "codes"),
    *("province", "city", "county"),
)
_STYLE = """
body{font:1rem/1.5 system-ui,sans-serif;margin:1rem auto;max-width:76rem;padding:0 1rem;color:#1c1c1c;background:#fff}
nav a{display:inline-block;padding:.6rem .8rem .6rem 0}table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.5rem;border-bottom:1px solid #ccc;vertical-align:top}
.red{color:#a40000;font-weight:600}.well{color:#14532d}code{overflow-wrap:anywhere}section{margin:0 0 3rem}
@media(max-width:48rem){thead{display:none}tr,td{display:block}tr{border-bottom:2px solid #666;padding:.5rem 0}
td{border:0;padding:.15rem 0}td::before{content:attr(data-label)": ";color:#555}}
"""


@dataclass(frozen=True, slots=True)
class NodeRow:
    """One node as the province knows it."""

    name: str
    title: dict[str, str]
    role: str
    stage: str
    """As the roster has it."""
    version: str
    step: str
    """Of its software against the province's: `N`, `N-1` (earlier), `N+1`, `below` the floor; empty: unknown."""
    rung: str
    age_seconds: int
    """Of its trust data; -1 when it has none, or did not say."""
    reported: str
    """When it last spoke, RFC 3339, by its own clock; empty: never."""
    codes: tuple[str, ...]
    """What is wrong; empty when it is well."""


def rows(roster: Roster, reports: Path, now: datetime, own_version: str) -> tuple[NodeRow, ...]:
    """All nodes, those that are red first. `now` is the province's, `own_version` of its Crosshall. Never raises."""
    found = [_row(roster, node, reports, now, own_version) for node in roster.nodes]
    return tuple(sorted(found, key=lambda row: (not row.codes, row.name)))


def _row(roster: Roster, node: RosterNode, reports: Path, now: datetime, own_version: str) -> NodeRow:
    said, codes = None, []
    if node.role == "province":
        return _as_row(node, None, own_version, _step(roster, own_version, own_version), _floor(roster, own_version))
    try:
        said = load_report(reports / f"{domain_role(node.name)}.jws", node)
    except FederationError as error:
        codes.append(error.code)
    except OSError:
        codes.append("node.report")
    if said is None:
        return _as_row(node, None, "", "", codes or ["node.silent"])
    made = datetime.fromisoformat(said.made)
    if now - made > LATE:
        codes.append("node.silent")
    if made - now > SKEW:
        codes.append("trust.skew")
    codes += _floor(roster, said.version)
    codes += [code for code in (*said.reasons, *said.failing) if _CODE.fullmatch(code) and not _trial(node, code)]
    return _as_row(node, said, said.version, _step(roster, said.version, own_version), codes)


def _trial(node: RosterNode, code: str) -> bool:
    """That a node in pilot is in pilot is not wrong with it."""
    return code == "node.pilot" and node.stage != "live"


def _floor(roster: Roster, version: str) -> list[str]:
    return ["node.below_floor"] if roster.software.below(version) else []


def _as_row(node: RosterNode, said: NodeReport | None, version: str, step: str, codes: list[str]) -> NodeRow:
    return NodeRow(
        name=node.name,
        title=dict(node.title),
        role=node.role,
        stage=node.stage,
        version=version,
        step=step,
        rung=said.rung if said is not None else "",
        age_seconds=said.age_seconds if said is not None else -1,
        reported=said.made if said is not None else "",
        codes=tuple(dict.fromkeys(codes)),
    )


def _step(roster: Roster, version: str, own: str) -> str:
    if roster.software.below(version):
        return "below"
    if version == own:
        return "N"
    if not _NUMBERS.fullmatch(version) or not _NUMBERS.fullmatch(own):
        return ""
    theirs, ours = (tuple(map(int, text.split("."))) for text in (version, own))
    return "N-1" if theirs < ours else "N+1"


def as_json(found: tuple[NodeRow, ...], now: datetime) -> str:
    """The page for programs: `at`, `red` (how many), `nodes`."""
    body = {
        "at": now.astimezone(UTC).isoformat(timespec="seconds"),
        "red": sum(bool(row.codes) for row in found),
        "nodes": [asdict(row) for row in found],
    }
    return json.dumps(body, ensure_ascii=False, indent=1)


def as_html(found: tuple[NodeRow, ...], now: datetime) -> str:
    """The page for people: one file without a script, each language a part of it."""
    nav = "".join(f'<a href="#{language}" lang="{language}">{_NAMES[language]}</a>' for language in LANGUAGES)
    parts = "".join(_part(found, now, language) for language in LANGUAGES)
    return (
        '<!doctype html><html lang="zh-Hans"><head><meta charset="utf-8"><title>Crosshall</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta http-equiv="refresh" content="30"><meta name="robots" content="noindex">'
        f"<style>{_STYLE}</style></head><body><nav>{nav}</nav>{parts}</body></html>\n"
    )


_NAMES = {"zh-Hans": "简体中文", "zh-Hant": "繁體中文", "en": "English", "pt": "Português"}


def _part(found: tuple[NodeRow, ...], now: datetime, language: str) -> str:
    text = dict(zip(_KEYS, _TEXTS[language], strict=True))
    red = sum(bool(row.codes) for row in found)
    columns = ("node", "role", "stage", "version", "data", "at", "codes")
    head = "".join(f'<th scope="col">{text[name]}</th>' for name in columns)
    body = "".join(_line(row, text, language) for row in found)
    return (
        f'<section id="{language}" lang="{language}"><h1>{text["title"]}</h1>'
        f"<p>{_shown(now.isoformat())} · {text['well']}: {len(found) - red} · "
        f'<span class="{"red" if red else "well"}">{text["red"]}: {red}</span></p>'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></section>"
    )


def _line(row: NodeRow, text: dict[str, str], language: str) -> str:
    codes = "<br>".join(_code(code, language) for code in row.codes)
    state = (
        f'<span class="red">{text["red"]}</span><br>{codes}' if codes else f'<span class="well">{text["well"]}</span>'
    )
    age = f"{row.age_seconds} s" if row.age_seconds >= 0 else ""
    cells = {
        "node": f"{escape(row.title[language])}<br><code>{escape(row.name)}</code>",
        "role": text[row.role],
        "stage": escape(row.stage),
        "version": escape(f"{row.version} {row.step}".strip()) or "–",
        "data": escape(f"{row.rung} {age}".strip()) or "–",
        "at": _shown(row.reported) if row.reported else "–",
        "codes": state,
    }
    return "<tr>" + "".join(f'<td data-label="{text[name]}">{cell}</td>' for name, cell in cells.items()) + "</tr>"


def _code(code: str, language: str) -> str:
    return f"<code>{escape(code)}</code> {escape(words(code, language)[0])}"


def _shown(time: str) -> str:
    return escape(datetime.fromisoformat(time).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"))
