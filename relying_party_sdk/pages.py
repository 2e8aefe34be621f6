"""The SDK's own page: an error in plain words, without scripts, for any framework. An application may show its own."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

from relying_party_sdk.words import words

_STYLE = (
    "body{margin:0;background:#f4f5f7;color:#1b1f24;"
    "font:1.0625rem/1.6 system-ui,'PingFang SC','Microsoft YaHei',sans-serif}"
    "main{max-width:38rem;margin:8vh auto;padding:2rem;background:#fff;border-top:.3rem solid #8a1c1c}"
    "h1{font-size:1.3rem;line-height:1.4;margin:0 0 1rem}a{color:#0b4a8f}"
    "a.go{display:inline-block;margin:.5rem 1rem .5rem 0;padding:.6rem 1.2rem;"
    "background:#0b4a8f;color:#fff;text-decoration:none}"
    "a:focus-visible{outline:.2rem solid #c26a00;outline-offset:.15rem}small{color:#4a5361}"
)
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Headers of the page; `Cache-Control` and `Referrer-Policy` also of every redirect of the SDK."""

_LINKS = {
    "zh-Hans": ("登录", "在新窗口登录", "首页", "编号"),
    "zh-Hant": ("登入", "在新視窗登入", "首頁", "編號"),
    "en": ("Sign in", "Sign in in a new window", "First page", "Number"),
    "pt": ("Iniciar sessão", "Iniciar sessão numa nova janela", "Página inicial", "Número"),
}


@dataclass(frozen=True, slots=True)
class Page:
    """What an error's page is made of; `sign_in` and `home` are addresses of this site."""

    code: str
    number: str
    """For the operator to find the log line; says nothing about the person."""
    language: str
    sign_in: str
    home: str
    new_window: bool = False


def error_page(page: Page) -> tuple[int, str]:
    """(status, HTML) of an error."""
    text = words(page.code, page.language)
    here, elsewhere, home, number = _LINKS.get(page.language, _LINKS["zh-Hans"])
    target = ' target="_blank" rel="noopener"' if page.new_window else ""
    html = (
        f'<!doctype html><html lang="{escape(page.language)}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(text.say)}</title><style>{_STYLE}</style></head><body><main>"
        f"<h1>{escape(text.say)}</h1><p>{escape(text.do)}</p>"
        f'<p><a class="go" href="{escape(page.sign_in)}"{target}>{elsewhere if page.new_window else here}</a>'
        f'<a href="{escape(page.home)}">{home}</a></p>'
        f"<p><small>{number} {escape(page.number)} · {escape(page.code)}</small></p>"
        "</main></body></html>"
    )
    return text.status, html


def error_json(code: str, language: str, number: str, sign_in: str) -> tuple[int, dict[str, str]]:
    """(status, body) of an error for a script; 401 for whatever a sign-in can mend."""
    text = words(code, language)
    mended = code in (
        "rp.sign_in_required",
        "rp.level_unmet",
        "rp.max_age_unmet",
        "rp.status_unmet",
        "rp.form_not_sent",
    )
    body = {"error": code, "say": text.say, "do": text.do, "number": number}
    return (401, {**body, "sign_in": sign_in}) if mended else (text.status, body)
