"""A person at a real Chromium: a home folder of their own, their certificate imported, the demo's TLS CA trusted.

Chromium asks which client certificate to use; without a screen nobody can answer, so a managed policy answers for the
certificate host. The policy lies in a mount namespace of this browser alone: the machine's own policies are untouched.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import Browser, BrowserContext, Playwright

from ca_bridge.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Sequence

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 900}


def home_for(folder: Path, tls_ca: Path, pkcs12: Path | None = None, password: str = "") -> Path:
    """A home folder whose NSS database trusts `tls_ca` and holds the person's certificate, when they have one."""
    database = folder / ".pki" / "nssdb"
    database.mkdir(parents=True)
    name = f"sql:{database}"
    _run("certutil", "-d", name, "-N", "--empty-password")
    _run("certutil", "-d", name, "-A", "-n", "demo TLS CA", "-t", "C,,", "-i", str(tls_ca))
    if pkcs12 is not None:
        import_certificate(folder, pkcs12, password)
    policies = folder / "policies"
    policies.mkdir()
    choose(folder)
    wrapper = folder / "chromium"
    target = "/etc/chromium/policies/managed"
    wrapper.write_text(
        "#!/bin/sh\n"
        f"mkdir -p {target}\n"
        f'exec unshare --mount /bin/sh -c \'mount --bind {policies} {target} && exec {CHROMIUM} "$@"\' chromium "$@"\n'
    )
    wrapper.chmod(0o755)
    return folder


def import_certificate(home: Path, pkcs12: Path, password: str) -> None:
    """Put one more certificate and its key into the home's database."""
    _run("pk12util", "-d", f"sql:{home / '.pki' / 'nssdb'}", "-i", str(pkcs12), "-W", password, "-K", "")


def choose(home: Path, subject: Mapping[str, str] | None = None) -> None:
    """Which certificate answers the certificate host: that of `subject` (CN and OU), else the only one there is.

    A browser that runs takes notice when its policies are reloaded (`chrome://policy`).
    """
    wanted = {"SUBJECT": {kind: subject[kind] for kind in ("CN", "OU")}} if subject else {}
    select = [json.dumps({"pattern": "https://[*.]localhost", "filter": wanted}, ensure_ascii=False)]
    rule = json.dumps({"AutoSelectCertificateForUrls": select}, ensure_ascii=False)
    write_atomically(home / "policies" / "crosshall.json", rule.encode(), mode=0o644)


@contextmanager
def launch(playwright: Playwright, home: Path, arguments: Sequence[str] = ()) -> Iterator[Browser]:
    """Chromium in that home; closed at the end."""
    browser = playwright.chromium.launch(
        executable_path=str(home / "chromium"),
        env={"HOME": str(home), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"},
        args=[*ARGUMENTS, *arguments],
    )
    try:
        yield browser
    finally:
        browser.close()


@contextmanager
def person_at_browser(
    playwright: Playwright,
    home: Path,
    *,
    locale: str = "zh-CN",
    phone: bool = False,
    arguments: Sequence[str] = (),
) -> Iterator[BrowserContext]:
    """One person's browser context; closes the browser at the end. Uncaught errors of a page's script fail the test."""
    with launch(playwright, home, arguments) as browser:
        context = browser.new_context(locale=locale, viewport=PHONE if phone else DESKTOP)  # type: ignore[arg-type]
        errors: list[str] = []
        context.on("weberror", lambda error: errors.append(str(error.error)))
        yield context
        assert not errors, errors


def _run(*command: str) -> None:
    found = shutil.which(command[0])
    assert found, f"{command[0]} is not installed (make test installs it)"
    subprocess.run([found, *command[1:]], check=True, capture_output=True)
