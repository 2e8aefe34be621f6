"""Last of all live tests: nobody can be found in what the whole run has written.

Looked through: every log, every address that a browser asked for, Keycloak's database, the bridge's database.
For: every persona's name, identifiers and organisation, plain and in the disguises that software gives to texts; in
logs and addresses the person keys and subjects too.

Where a person may stand, and does: person keys (pseudonyms, design §5) in Keycloak's users and events and in the
bridge's tables; names and identifiers in the bridge's sealed columns (`sessions.holder`, `items.value`) and inside the
windows that are registered for them.
"""

from __future__ import annotations

import base64
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import quote

import pytest

from demo.personas import persona
from demo.selfcheck import new_browser, sign_in
from demo.stack import Demo
from tests.live import seen
from tests.live.witness import rows, who
from tests.parts.postgres import Cluster, binaries

pytestmark = pytest.mark.live
KEYS = re.compile(rb"[ps]1(?::|%3A|%3a|%253A|\\u003a)[a-z2-7]{20}")
_SHORT = 10


@cache
def disguises(text: str) -> frozenset[bytes]:
    """The forms under which a text lies in files: UTF-8, UTF-16, GB 18030, escaped, in hexadecimal, in base64."""
    plain = text.encode()
    raw = {plain, text.encode("utf-16-le"), text.encode("utf-16-be")}
    if not text.isascii():
        raw.add(text.encode("gb18030"))
    found = {form for form in raw if len(form) >= 4}
    found |= {quote(text, safe="").encode(), quote(quote(text, safe=""), safe="").encode()} - {plain}
    found |= {quote(text, safe="").lower().encode()} - {plain}
    if not text.isascii():
        escaped = text.encode("ascii", "backslashreplace")
        found |= {escaped, escaped.upper().replace(b"\\U", b"\\u"), escaped.replace(b"\\", b"\\\\")}
    for form in raw:
        found |= {form.hex().encode(), form.hex().upper().encode(), *_base64(form)}
    return frozenset(found)


def _base64(form: bytes) -> Iterator[bytes]:
    """The characters of base64 that `form` alone decides, at each of the three places it may stand at."""
    for shift in range(3):
        text = base64.b64encode(bytes(shift) + form)
        inside = text[-(-8 * shift // 6) : (shift + len(form)) * 8 // 6]
        if len(inside) >= 6:
            yield inside
            yield inside.replace(b"+", b"-").replace(b"/", b"_")


def found_in(data: bytes, texts: set[str] | frozenset[str]) -> list[str]:
    """Which of the texts stand in `data`, in any disguise."""
    return [text for text in texts if any(_stands(form, data) for form in disguises(text))]


def _stands(form: bytes, data: bytes) -> bool:
    """A short number must stand by itself: eight digits also occur inside times and hashes."""
    if len(form) < _SHORT and form.isalnum():
        return re.search(rb"(?<![0-9A-Za-z])" + form + rb"(?![0-9A-Za-z])", data) is not None
    return form in data


@pytest.fixture(scope="module", name="demo_used")
def _demo_used(demo: Demo) -> Demo:
    """The run, in which certainly somebody signed in, was shown a name, and somebody was refused."""
    page = sign_in(new_browser(demo.pki, persona("gd-zhang")), demo.addresses)
    assert persona("gd-zhang").name in page.text
    assert sign_in(new_browser(demo.pki, persona("gd-revoked")), demo.addresses).status == 403
    return demo


def test_the_search_finds_what_is_there() -> None:
    """A search that cannot fail proves nothing: each disguise of a name or number is found amid other text."""
    for text in ("张明华", "440000198503140012", "Z9876546"):
        for form in disguises(text):
            assert found_in(b'{"a": "' + form + b'"}', {text}) == [text], form
        for shift in range(3):
            pem = base64.b64encode(b"x" * shift + text.encode() + b"yyyy")
            assert found_in(pem, {text}) == [text]
    assert found_in(b"x" * 200 + b"1795462299998412", {"99998412"}) == []
    assert KEYS.search(b"person=p1%3A" + b"a" * 52)


def test_logs(demo_used: Demo) -> None:
    """No log of any part names a person, a number, a person key or a subject."""
    logs = sorted(path for path in demo_used.folder.logs.rglob("*") if path.is_file())
    assert {"bridge.log", "keycloak.log", "nginx-access.log", "nginx-error.log", "police.log", "watcher.log"} <= {
        path.name for path in logs
    }
    for path in logs:
        data = path.read_bytes()
        assert found_in(data, frozenset(who())) == [], path.name
        assert KEYS.search(data) is None, path.name
    assert (demo_used.folder.logs / "bridge.log").stat().st_size > 1000


def test_addresses(demo_used: Demo) -> None:
    """No address that any browser of the run asked for names a person, a number, a person key or a subject."""
    assert len(seen.URLS) > 10
    data = "\n".join(sorted(seen.URLS)).encode()
    assert found_in(data, frozenset(who())) == []
    assert KEYS.search(data) is None


def test_keycloak_knows_no_name(demo_used: Demo, tmp_path: Path) -> None:
    """Keycloak's whole database holds pseudonyms only: no name, no number, in no table, session or event."""
    script = _keycloak_dump(demo_used, tmp_path)
    text = script.read_bytes()
    assert b"USER_ENTITY" in text
    assert re.search(rb"p1:[a-z2-7]{52}", text), "nobody is in this database at all"
    assert found_in(text, frozenset(who())) == []
    for path in (demo_used.folder.run / "keycloak" / "data").rglob("*"):
        if path.is_file():
            assert found_in(path.read_bytes(), frozenset(who())) == [], path.name


def _keycloak_dump(demo: Demo, folder: Path) -> Path:
    """H2's own script of a copy, taken while Keycloak stands still."""
    home, group = demo.folder.run / "keycloak", demo.supervisor.pid("keycloak")
    os.killpg(group, signal.SIGSTOP)
    try:
        shutil.copy(home / "data" / "h2" / "keycloakdb.mv.db", folder / "copy.mv.db")
    finally:
        os.killpg(group, signal.SIGCONT)
    (jar,) = (home / "lib" / "lib" / "main").glob("com.h2database.h2-*.jar")
    script = folder / "dump.sql"
    url = f"jdbc:h2:file:{folder / 'copy'};NON_KEYWORDS=VALUE"
    options = ["-url", url, "-user", "", "-password", "", "-script", str(script)]
    subprocess.run(["java", "-Xmx256m", "-cp", str(jar), "org.h2.tools.Script", *options], check=True, timeout=60)
    return script


def test_the_bridge_keeps_people_sealed(demo_used: Demo, cluster: Cluster) -> None:
    """The bridge's database, dumped, shows no name and no number: what it holds of them is sealed."""
    command = [str(binaries() / "pg_dump"), "-h", str(cluster.socket), "-U", "crosshall", "bridge"]
    dump = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
    assert b"COPY public.sessions" in dump
    assert re.search(rb"p1:[a-z2-7]{52}", dump), "nobody is in this database at all"
    assert found_in(dump, frozenset(who())) == []
    for kind, name in (("holder", "sessions"), ("value", "items")):
        for (sealed,) in rows(demo_used, f"SELECT {kind} FROM {name}"):
            assert found_in(bytes(sealed), frozenset(who())) == []  # type: ignore[arg-type]
