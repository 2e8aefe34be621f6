"""The signer, asked by a page on a public-looking address: the browser wants to know first whether the page may.

A network namespace holds the hall's front at 203.0.113.10, the signer and the browser; nothing in it leads outside.
The hall is a second bridge of the demo's node under a public name: for pages under `localhost` browsers do not ask.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import tomli_w
from playwright.sync_api import Browser, Page, Playwright, expect

from ca_bridge.files import config_dir
from ca_bridge.store import migrate
from crosshall.node import NodeFolder, bridge_parts, write_settings
from crosshall.supervisor import Part, Supervisor
from demo.personas import persona
from demo.pki import keys
from demo.pki.bundle import public_pem, write_origins
from demo.stack import Demo
from tests.live.people import fill_signer
from tests.parts.chromium import ARGUMENTS

pytestmark = pytest.mark.live

HOST, ADDRESS, PORT, SIGNER_PORT = "hall.crosshall.test", "203.0.113.10", 8443, 28443
HALL = f"https://{HOST}:{PORT}"
SIGNER = f"http://127.0.0.1:{SIGNER_PORT}"
WHO = persona("ch-huang")
NAMES = {"zh-Hans": "公网大厅", "zh-Hant": "公網大廳", "en": "Hall on the Internet", "pt": "Balcão na Internet"}


@dataclass(slots=True)
class Outside:
    """The namespace with what runs in it."""

    name: str
    supervisor: Supervisor
    signer: Part
    browser: Browser
    redirect_uri: str


@pytest.fixture(scope="module", name="namespace")
def _namespace() -> Iterator[str]:
    """A network namespace with loopback and one address of TEST-NET-3 (RFC 5737), connected to nothing."""
    name = f"crosshall-{os.getpid()}"
    subprocess.run(["/usr/sbin/ip", "netns", "add", name], check=True)
    try:
        for line in ("link set lo up", f"addr add {ADDRESS}/32 dev lo"):
            subprocess.run(["/usr/sbin/ip", "-n", name, *line.split()], check=True)
        yield name
    finally:
        subprocess.run(["/usr/sbin/ip", "netns", "delete", name], check=True)


@pytest.fixture(scope="module", name="outside")
def _outside(
    demo: Demo, namespace: str, playwright: Playwright, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Outside]:
    folder = tmp_path_factory.mktemp("outside")
    node = _second_node(demo, folder / "node")
    supervisor = Supervisor(folder / "logs", print)
    inside = ("/usr/sbin/ip", "netns", "exec", namespace)
    signer = _signer(demo, folder, inside)
    try:
        supervisor.start(bridge_parts(node, workers=1)[0])
        supervisor.start(_front(demo, folder, node, inside))
        supervisor.start(signer)
        with _chromium(playwright, folder, inside) as browser:
            yield Outside(namespace, supervisor, signer, browser, demo.settings.keycloak.redirect_uri)
    finally:
        supervisor.stop_all()
        for log in (folder / "logs").glob("*.log"):  # the test of privacy reads them too
            shutil.copy(log, demo.folder.logs / f"outside-{log.name}")


def _second_node(demo: Demo, root: Path) -> NodeFolder:
    node = NodeFolder(root)
    shutil.copytree(demo.folder.state, node.state, ignore=shutil.ignore_patterns("*.sqlite*", ".lock"))
    shutil.copytree(demo.folder.bundle, node.bundle)
    sections = tomllib.loads(demo.folder.settings.read_text("utf-8"))
    sections["bridge"] |= {"issuer": HALL, "certificate_host": f"*.cert.{HOST}:{PORT}", "signer": SIGNER}
    sections["database"] = {"url": f"sqlite:///{node.state}/bridge.sqlite"}
    write_settings(node, sections)
    migrate(sections["database"]["url"])
    return node


def _front(demo: Demo, folder: Path, node: NodeFolder, inside: tuple[str, ...]) -> Part:
    """A front for one host: TLS in, the bridge's socket out."""
    (folder / "nginx").mkdir()
    (folder / "nginx" / "nginx.conf").write_text(
        f"user root; daemon off; worker_processes 1; pid {folder}/nginx/pid; error_log stderr; events {{}}\n"
        f"http {{ access_log off; client_body_temp_path {folder}/nginx/body; proxy_temp_path {folder}/nginx/proxy;\n"
        f"fastcgi_temp_path {folder}/nginx/f; uwsgi_temp_path {folder}/nginx/u; scgi_temp_path {folder}/nginx/s;\n"
        f"server {{ listen {ADDRESS}:{PORT} ssl; server_name {HOST};\n"
        f"ssl_certificate {demo.pki.tls_certificate}; ssl_certificate_key {demo.pki.tls_key};\n"
        f"location / {{ proxy_set_header Host $http_host; proxy_pass http://unix:{node.socket}; }} }} }}\n"
    )
    command: tuple[str | Path, ...] = (
        *inside,
        "/usr/sbin/nginx",
        "-e",
        "stderr",
        "-c",
        folder / "nginx" / "nginx.conf",
    )
    pid = folder / "nginx" / "pid"
    return Part("outside-nginx", command, lambda: pid.is_file() and bool(pid.read_text().strip()), start_seconds=15)


def _signer(demo: Demo, folder: Path, inside: tuple[str, ...]) -> Part:
    """A signer that knows this hall, with the tokens that are files."""
    key = keys.generate("ecdsa-p256")
    (folder / "bundle").mkdir()
    write_origins(folder / "bundle", key, {HALL: NAMES}, datetime.now(UTC), 1)
    (folder / "key.pem").write_bytes(public_pem(key))
    settings = {
        "port": SIGNER_PORT,
        "origins_file": str(folder / "bundle" / "origins.json"),
        "origins_key_file": str(folder / "key.pem"),
        "tokens": [{"kind": "file", "folder": str(demo.pki.tokens / "files")}],
    }
    (folder / "signer.toml").write_text(tomli_w.dumps(settings))
    command: tuple[str | Path, ...] = (
        *inside,
        sys.executable,
        "-m",
        "crosshall",
        "signer",
        "run",
        "--settings",
        folder / "signer.toml",
    )
    look = f"import urllib.request as u; u.urlopen('{SIGNER}/v1/status', timeout=2).read()"
    probe = (*inside, "/usr/bin/python3", "-c", look)
    return Part("outside-signer", command, lambda: _succeeds(probe), start_seconds=30)


def _succeeds(command: tuple[str, ...]) -> bool:
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


@contextmanager
def _chromium(playwright: Playwright, folder: Path, inside: tuple[str, ...]) -> Iterator[Browser]:
    wrapper = folder / "chromium"
    wrapper.write_text(f'#!/bin/sh\nexec {" ".join(inside)} /usr/bin/chromium "$@"\n')
    wrapper.chmod(0o755)
    browser = playwright.chromium.launch(
        executable_path=str(wrapper),
        env={"HOME": str(folder), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"},
        args=[*ARGUMENTS, f"--host-resolver-rules=MAP {HOST} {ADDRESS}"],
    )
    try:
        yield browser
    finally:
        browser.close()


@pytest.fixture(name="page")
def _page(outside: Outside) -> Iterator[Page]:
    """The sign-in page of the hall outside, in a browser that has not been asked yet."""
    # The front's certificate bears the demo's names; what is tested here is the browser's permission.
    context = outside.browser.new_context(locale="zh-CN", ignore_https_errors=True)
    context.set_default_timeout(10_000)
    page = context.new_page()
    page.goto(f"{HALL}/authorize?{urlencode(_request(outside))}")
    expect(page.locator("[data-act=start]:visible")).to_have_count(1)
    yield page
    context.close()


def _request(outside: Outside) -> dict[str, str]:
    """What Keycloak asks the hall; the answer goes to its address, which this browser cannot reach."""
    return {
        "client_id": "keycloak",
        "redirect_uri": outside.redirect_uri,
        "response_type": "code",
        "scope": "openid",
        "state": secrets.token_urlsafe(16),
        "nonce": secrets.token_urlsafe(16),
        "code_challenge": secrets.token_urlsafe(32),
        "code_challenge_method": "S256",
    }


def _given(page: Page) -> None:
    """The person has said yes to the browser, for this hall."""
    page.context.grant_permissions(["local-network-access"], origin=HALL)


@contextmanager
def _refused(page: Page) -> Iterator[None]:
    """The person has said no; holds as long as the session with the browser does."""
    browser = page.context.browser
    assert browser
    session = browser.new_browser_cdp_session()
    target = page.context.new_cdp_session(page).send("Target.getTargetInfo")["targetInfo"]
    for name in ("local-network-access", "loopback-network", "local-network"):
        answer = {"permission": {"name": name}, "setting": "denied", "origin": HALL}
        session.send("Browser.setPermission", {**answer, "browserContextId": target["browserContextId"]})
    yield
    session.detach()


def _asked_of_the_signer(page: Page) -> list[str]:
    asked: list[str] = []
    page.context.on("request", lambda request: asked.append(request.url) if request.url.startswith(SIGNER) else None)
    return asked


def test_the_page_explains_before_the_browser_asks(page: Page) -> None:
    """Not answered yet: the page says what the browser will ask, and asks nothing of the signer until told to go on."""
    asked = _asked_of_the_signer(page)
    page.locator("[data-act=start]:visible").click()
    expect(page.locator("[data-when=explain]")).to_be_visible()
    expect(page.locator("[data-when=explain] h3")).to_be_focused()
    assert not asked


def test_given(page: Page) -> None:
    """Allowed: the signer's page opens, and the sign-in comes to its end with a code of the hall."""
    page.locator("[data-act=start]:visible").click()
    expect(page.locator("[data-when=explain]")).to_be_visible()
    _given(page)
    with page.expect_request(lambda request: "/broker/bridge/endpoint" in request.url) as back:
        with page.context.expect_page() as opened:
            page.locator("[data-act=allow]").click()
        fill_signer(opened.value, WHO)
    answer = parse_qs(urlsplit(back.value.url).query)
    assert answer["iss"] == [HALL]
    assert answer["code"]
    assert "error" not in answer


def test_refused(page: Page) -> None:
    """Refused: the page says so in plain words, and what to do; it does not turn for ever, nor asks the signer."""
    with _refused(page):
        asked = _asked_of_the_signer(page)
        page.locator("[data-act=start]:visible").click()
        expect(page.locator("[data-say]")).to_have_text(_word("denied_say"))
        expect(page.locator("[data-do]")).to_have_text(_word("denied_do"))
        expect(page.locator("[data-say]")).to_be_focused()
        assert not asked


def test_refused_when_asked(page: Page) -> None:
    """Refused when the browser asks (as one without a screen does by itself): the same words, at once."""
    page.locator("[data-act=start]:visible").click()
    expect(page.locator("[data-when=explain]")).to_be_visible()
    page.locator("[data-act=allow]").click()
    expect(page.locator("[data-say]")).to_have_text(_word("denied_say"))


def test_no_signer(outside: Outside, page: Page) -> None:
    """Allowed, but nothing listens: the page says that the signer was not found, and offers another try."""
    outside.supervisor.stop(outside.signer.name)
    try:
        _given(page)
        page.locator("[data-act=start]:visible").click()
        expect(page.locator("[data-say]")).to_have_text(_word("absent_say"))
        expect(page.locator("[data-when=failed] [data-act=start]")).to_be_visible()
    finally:
        outside.supervisor.start(outside.signer)


def _word(key: str) -> str:
    texts = tomllib.loads((config_dir() / "locales" / "zh-Hans.toml").read_text("utf-8"))
    return str(texts["token"][key])
