"""A browser without a screen: cookies, redirects and forms, for self-checks and measurements.

It keeps cookies by the rules that matter here (host-only, `__Host-`, Secure, Path, deletion), connects names under
`localhost` to 127.0.0.1 (RFC 6761 §6.3), trusts one CA, and presents a client certificate where it is told to.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlencode, urljoin, urlsplit

import urllib3

MAX_REDIRECTS = 20


@dataclass(frozen=True, slots=True)
class Form:
    """One form of a page: where it goes, how, and its fields' present values."""

    action: str
    method: str
    fields: dict[str, str]
    id: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """What came back at last: address, status, text and headers, after all redirects."""

    url: str
    status: int
    text: str
    headers: dict[str, str]
    hops: tuple[str, ...] = ()

    def header(self, name: str) -> str:
        """The header of that name in whatever case the server wrote it (RFC 9110 §5.1); empty without one."""
        return next((value for key, value in self.headers.items() if key.lower() == name.lower()), "")

    @property
    def forms(self) -> list[Form]:
        """All forms, actions made absolute."""
        reader = _Forms(self.url)
        reader.feed(self.text)
        return reader.forms

    @property
    def links(self) -> list[str]:
        """All links, made absolute."""
        reader = _Forms(self.url)
        reader.feed(self.text)
        return reader.links


@dataclass(slots=True)
class Browser:
    """One person's browser; `certificate` (PEM: certificate, key) goes to hosts that contain `certificate_names`."""

    ca_file: Path
    certificate: tuple[Path, Path] | None = None
    certificate_names: str = ".cert."
    language: str = "zh-CN"
    seconds: float = 30.0
    """The longest that an answer is waited for."""
    stop_at: str = ""
    """A redirect to an address that begins so is not followed: the page is the redirect, its `url` the address."""
    cookies: dict[str, dict[str, str]] = field(default_factory=dict)
    _pools: dict[tuple[str, int, bool], urllib3.HTTPConnectionPool] = field(default_factory=dict)

    def get(self, url: str, headers: dict[str, str] | None = None) -> Page:
        """GET and follow redirects."""
        return self._go("GET", url, None, headers or {})

    def post(self, url: str, fields: dict[str, str], headers: dict[str, str] | None = None) -> Page:
        """POST a form and follow redirects."""
        return self._go("POST", url, urlencode(fields), headers or {})

    def submit(self, page: Page, form: Form, **changed: str) -> Page:
        """Send a form of `page`, some fields changed."""
        parts = urlsplit(page.url)
        headers = {"Origin": f"{parts.scheme}://{parts.netloc}", "Referer": page.url}
        fields = {**form.fields, **changed}
        if form.method == "GET":
            return self.get(f"{form.action}?{urlencode(fields)}", headers)
        return self.post(form.action, fields, headers)

    def once(self, method: str, url: str, body: str | None = None, headers: dict[str, str] | None = None) -> Page:
        """One request, no redirect followed."""
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 443
        sent = {"Host": parts.netloc, "Accept-Language": self.language, "Accept": "text/html,*/*", **(headers or {})}
        if self.cookies.get(host):
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies[host].items())
        if body is not None:
            sent.setdefault("Content-Type", "application/x-www-form-urlencoded")
        target = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
        answer = self._pool(host, port).request(method, target, body=body, headers=sent, redirect=False, retries=False)
        for line in answer.headers.getlist("Set-Cookie"):
            self._keep(host, line)
        return Page(url, answer.status, answer.data.decode("utf-8", "replace"), dict(answer.headers))

    def answers(self, url: str, headers: dict[str, str] | None = None) -> int:
        """The status that the address answers with; 0 when nothing answers in time."""
        try:
            return self.once("GET", url, None, headers).status
        except (urllib3.exceptions.HTTPError, OSError):
            return 0

    def moves(self) -> None:
        """The machine stands elsewhere now: connections that were open are gone, cookies stay."""
        for pool in self._pools.values():
            pool.close()
        self._pools.clear()

    def _go(self, method: str, url: str, body: str | None, headers: dict[str, str]) -> Page:
        hops: list[str] = []
        for _ in range(MAX_REDIRECTS):
            page = self.once(method, url, body, headers)
            location = page.header("Location") or _refresh(page.header("Refresh"))
            if page.status not in (200, 301, 302, 303, 307, 308) or not location:
                return Page(page.url, page.status, page.text, page.headers, tuple(hops))
            hops.append(url)
            url = urljoin(url, location)
            if self.stop_at and url.startswith(self.stop_at):
                return Page(url, page.status, page.text, page.headers, tuple(hops))
            if page.status not in (307, 308):
                method, body = "GET", None
            headers = {}
        raise RuntimeError(f"more than {MAX_REDIRECTS} redirects, last to {urlsplit(url).netloc}{urlsplit(url).path}")

    def _pool(self, host: str, port: int) -> urllib3.HTTPConnectionPool:
        presents = self.certificate is not None and self.certificate_names in host
        key = (host, port, presents)
        if key not in self._pools:
            context = ssl.create_default_context(cafile=str(self.ca_file))
            if presents and self.certificate:
                context.load_cert_chain(*map(str, self.certificate))
            address = "127.0.0.1" if host.endswith("localhost") else host
            self._pools[key] = urllib3.HTTPSConnectionPool(
                address, port, ssl_context=context, server_hostname=host, assert_hostname=host, timeout=self.seconds
            )
        return self._pools[key]

    def _keep(self, host: str, line: str) -> None:
        pair, *attributes = (part.strip() for part in line.split(";"))
        name, _, value = pair.partition("=")
        gone = any(a.lower() in ("max-age=0", "max-age=-1") or "01 jan 1970" in a.lower() for a in attributes)
        jar = self.cookies.setdefault(host, {})
        if gone or not value.strip('"'):
            jar.pop(name, None)
        else:
            jar[name] = value


def _refresh(value: str) -> str:
    """The address of a `Refresh: 0; url=…`, which browsers follow as they follow a redirect."""
    seconds, _, address = value.partition("; url=")
    return address if seconds == "0" else ""


class _Forms(HTMLParser):
    """Collects forms and links."""

    def __init__(self, base: str) -> None:
        super().__init__()
        self.base, self.forms, self.links = base, [], []
        self._form: Form | None = None

    forms: list[Form]
    links: list[str]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "form":
            action = urljoin(self.base, values.get("action", ""))
            self._form = Form(action, values.get("method", "get").upper(), {}, values.get("id", ""))
            self.forms.append(self._form)
        elif tag == "a" and "href" in values:
            self.links.append(urljoin(self.base, values["href"]))
        elif self._form is not None and tag in ("input", "button") and values.get("name"):
            kind = values.get("type", "text")
            if kind not in ("radio", "checkbox", "submit") or "checked" in values:
                self._form.fields[values["name"]] = values.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._form = None
