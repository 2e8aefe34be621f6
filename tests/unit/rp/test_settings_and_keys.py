"""Settings that do not hold together, key files, sealing, words: everything refuses clearly."""

from __future__ import annotations

import ast
import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest

import relying_party_sdk
from relying_party_sdk import RelyingParty, Settings, SettingsError
from relying_party_sdk.adapters.flask import CrosshallRP
from relying_party_sdk.clientauth import ClientKey
from relying_party_sdk.pages import HEADERS, Page, error_json, error_page
from relying_party_sdk.request import safe_path
from relying_party_sdk.sealing import Sealer, b64, read_or_make, unb64
from relying_party_sdk.testing import Browser
from relying_party_sdk.words import LANGUAGES, catalogue, pick_language, remedies, words
from tests.unit.rp.conftest import Window

SDK = Path(relying_party_sdk.__file__).parent
FILE = """
issuer = "https://sso.gd.localhost:8443/realms/gd"
client_id = "police"
base_url = "https://police.gd.localhost:8443"
attributes_url = "https://hall.gd.localhost:8443/attributes"
ca_file = "ca.pem"
key_file = "keys/police.pem"
store = "police.sqlite"
[department]
anything = 1
"""


def _file(folder: Path, text: str = FILE) -> Path:
    path = folder / "window.toml"
    path.write_text(text, "utf-8")
    return path


def test_file_of_window_add(tmp_path: Path) -> None:
    """The keys that `crosshall window add` writes are read; relative paths start at the file; tables are left alone."""
    settings = Settings.from_toml(_file(tmp_path), {})
    assert settings.key_file == tmp_path / "keys" / "police.pem"
    assert settings.store == f"sqlite:{tmp_path / 'police.sqlite'}"
    assert settings.ca_file == tmp_path / "ca.pem"
    assert settings.redirect_uri == "https://police.gd.localhost:8443/oidc/callback"
    assert settings.home == "https://police.gd.localhost:8443/"
    assert settings.cookie("session") == "__Host-police-session"


def test_environment_wins(tmp_path: Path) -> None:
    """`CROSSHALL_RP_<KEY>` wins over the file, with the key's type; a file is not needed."""
    env = {"CROSSHALL_RP_RECHECK": "30", "CROSSHALL_RP_STORE": "memory:", "CROSSHALL_RP_ALGORITHMS": "ES256 PS256"}
    settings = Settings.from_toml(_file(tmp_path), env)
    assert (settings.recheck, settings.store, settings.algorithms) == (30, "memory:", ("ES256", "PS256"))
    alone = {
        "CROSSHALL_RP_ISSUER": "https://sso.example",
        "CROSSHALL_RP_CLIENT_ID": "x",
        "CROSSHALL_RP_BASE_URL": "https://x.example/app",
        "CROSSHALL_RP_KEY_FILE": str(tmp_path / "k"),
        "CROSSHALL_RP_STORE": "memory:",
    }
    assert Settings.from_environment(alone).base_path == "/app"
    assert Settings.from_environment({"CROSSHALL_RP_SETTINGS": str(_file(tmp_path))}).client_id == "police"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('client_id = "police"', ""),
        ('client_id = "police"', "client_id = 7"),
        ('client_id = "police"', 'client_id = ""'),
        ('client_id = "police"', 'client_id = "police"\nrechek = 60'),
        ("https://sso", "http://sso.example/"),
        ("https://police", "ftp://police"),
        ("8443/attributes", "8443/attributes?x=1"),
        ('base_url = "https://police.gd.localhost:8443"', 'base_url = "https://police.gd.localhost:8443/"'),
        ('base_url = "https://police.gd.localhost:8443"', 'base_url = "https://user@police.example"'),
        ('base_url = "https://police.gd.localhost:8443"', 'base_url = "https://police.example:99999"'),
        ("[department]", 'algorithms = ["HS256"]\n[department]'),
        ("[department]", 'algorithms = ["none"]\n[department]'),
        ("[department]", "algorithms = []\n[department]"),
        ("[department]", 'scope = "profile"\n[department]'),
        ("[department]", 'scope = "openid offline_access"\n[department]'),
        ("[department]", 'prefix = "oidc"\n[department]'),
        ("[department]", "recheck = 0\n[department]"),
        ("[department]", "leeway = 3600\n[department]"),
        ("[department]", "total_timeout = 600\n[department]"),
        ("[department]", "grace = -1\n[department]"),
        ("[department]", "session = 1\n[department]"),
        ("[department]", 'dangerously_allow_http = "yes"\n[department]'),
        ("[department]", "= broken"),
    ],
)
def test_settings_that_do_not_hold(tmp_path: Path, old: str, new: str) -> None:
    """A missing, mistyped, unknown or unsafe setting fails at start with `rp.settings`."""
    assert old in FILE
    with pytest.raises(SettingsError) as caught:
        Settings.from_toml(_file(tmp_path, FILE.replace(old, new, 1)), {})
    assert caught.value.code == "rp.settings"


def test_settings_that_are_not_there(tmp_path: Path) -> None:
    """No file, and a bad value in the environment, fail with `rp.settings`."""
    with pytest.raises(SettingsError):
        Settings.from_toml(tmp_path / "absent.toml", {})
    for name, value in (("RECHECK", "soon"), ("DANGEROUSLY_ALLOW_HTTP", "1"), ("READ_TIMEOUT", "x")):
        with pytest.raises(SettingsError):
            Settings.from_toml(_file(tmp_path), {f"CROSSHALL_RP_{name}": value})


def test_weakening_is_named_dangerous() -> None:
    """Every boolean setting is off by default and says in its name that it is dangerous."""
    defaults = {f.name: f.default for f in Settings.__dataclass_fields__.values() if str(f.type) == "bool"}
    assert defaults
    assert all(name.startswith("dangerously_") and value is False for name, value in defaults.items())


def test_key_is_made_once_and_kept(tmp_path: Path) -> None:
    """The client's key is made on first use, 0600, the same for the next process; its JWKS holds no private part."""
    first, second = (ClientKey(tmp_path / "k" / "key.pem", lambda n: b"x" * n) for _ in range(2))
    assert first.kid == second.kid
    assert (tmp_path / "k" / "key.pem").stat().st_mode & 0o777 == 0o600
    assert [file.name for file in (tmp_path / "k").iterdir()] == ["key.pem"]
    row = first.jwks["keys"][0]
    assert set(row) == {"kty", "crv", "x", "y", "kid", "use", "alg"}


@pytest.mark.parametrize(
    "content", [b"", b"not a key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_key_file_of_another_kind(tmp_path: Path, content: bytes) -> None:
    """A file that is no P-256 key is never replaced: `rp.key_file`."""
    path = tmp_path / "key.pem"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(SettingsError) as caught:
        ClientKey(path, lambda n: b"x" * n)
    assert (caught.value.code, path.read_bytes()) == ("rp.key_file", content)


def test_key_file_that_others_can_read(tmp_path: Path) -> None:
    """A secret file that group or others can read is refused."""
    path = tmp_path / "key"
    read_or_make(path, lambda: b"x")
    path.chmod(0o640)
    with pytest.raises(SettingsError, match="chmod 600"):
        read_or_make(path, lambda: b"y")


def test_first_key_made_wins(tmp_path: Path) -> None:
    """Two processes that make the key at once end with the same one."""
    path = tmp_path / "key"

    def late() -> bytes:
        read_or_make(path, lambda: b"first")
        return b"second"

    assert read_or_make(path, late) == b"first"


def test_sealed_for_one_use_only() -> None:
    """What was sealed for one purpose, or under another key, does not open for another."""
    sealer = Sealer(b"k" * 32)
    sealed = sealer.seal("a", b"secret")
    assert sealer.open("a", sealed) == b"secret"
    assert sealer.open("b", sealed) is None
    assert Sealer(b"l" * 32).open("a", sealed) is None
    assert all(sealer.open("a", sealed[:cut]) is None for cut in range(len(sealed)))
    assert sealer.seal("a", b"secret") != sealed


def test_forged_and_cut_cookies(browser: Browser, window: Window) -> None:
    """A cookie that is changed, cut, from another key, huge or odd is nobody, never a fault."""
    browser.open("/matters/7")
    good = window.cookie(browser)
    raw = bytearray(unb64(good))
    raw[-1] ^= 1
    other = Sealer(b"x" * 32).seal(window.settings.cookie("session"), b"a" * 43)
    stored = unb64(good)
    odd = [
        "",
        "x",
        good[:-1],
        good + "A",
        good + "=",
        b64(bytes(raw)),
        b64(other),
        "A" * 5000,
        "é",
        "../..",
        good.upper(),
    ]
    for value in (*odd, b64(stored[:12]), b64(stored[12:])):
        assert window.party.current(value) is None, value
    assert window.party.current(good) is not None


def test_cookie_of_the_store_s_key_opens_nothing(browser: Browser, window: Window) -> None:
    """Who reads the store's keys cannot make a cookie of them."""
    browser.open("/matters/7")
    session = window.party.current(window.cookie(browser))
    assert session is not None
    assert window.party.current(session.key) is None
    assert window.party.current(base64.urlsafe_b64encode(session.key.encode()).decode()) is None


@pytest.mark.parametrize("text", ["a", "ab==", "a b", "ab+/", "AB\n", "é", "AB-"])
def test_base64url_has_one_spelling(text: str) -> None:
    """Padding, other alphabets, spaces and spare bits are refused."""
    with pytest.raises(ValueError, match=r"base64url|canonical"):
        unb64(text)


@pytest.mark.parametrize(
    ("path", "kept"), [("/", True), ("/a?b=//c", True), ("/a#b", True), ("//a", False), ("/ a", False)]
)
def test_safe_path(path: str, kept: bool) -> None:
    """A path of this site is kept, whatever its query; anything that a browser may read as a host is not."""
    assert safe_path(path) == (path if kept else "/")


def _codes_in_source() -> set[str]:
    found: set[str] = set()
    for file in SDK.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found |= set(re.findall(r"\Arp\.[a-z_]+\Z", node.value))
    return found


def test_every_code_has_words_and_every_word_a_code() -> None:
    """The catalogue and the sources name the same codes; each has a status and eight texts, none empty."""
    used = _codes_in_source()
    assert used | {"rp.fault"} == set(catalogue())
    for code, entry in catalogue().items():
        assert entry["status"] in (400, 401, 403, 409, 413, 429, 500, 501, 502, 503), code
        for kind in ("say", "do"):
            assert set(entry[kind]) == set(LANGUAGES), code
            assert all(entry[kind].values()), code


def test_every_code_has_a_remedy() -> None:
    """The operator is told what to do about each code, in Chinese and English."""
    found = remedies()
    assert set(found) == set(catalogue())
    general = found["rp.fault"]
    assert [code for code, fix in found.items() if fix == general] == ["rp.fault"]


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "zh-Hans"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh-Hans"),
        ("zh-HK", "zh-Hant"),
        ("zh-MO, pt;q=0.5", "zh-Hant"),
        ("fr, pt-PT;q=0.8, en;q=0.9", "en"),
        ("pt", "pt"),
        ("en;q=0, pt;q=0.1", "pt"),
        ("en;q=x, pt", "pt"),
        ("x" * 10_000, "zh-Hans"),
        ("ent", "zh-Hans"),
    ],
)
def test_language_of_the_browser(header: str, language: str) -> None:
    """The best language the browser names, Hong Kong and Macao in traditional characters, else simplified."""
    assert pick_language(header) == language


def test_error_page_escapes() -> None:
    """Addresses on the page cannot break out of it."""
    page = Page("rp.state", "<n>", "en", '/oidc/login?return_to="><script>', "/")
    status, html = error_page(page)
    assert (status, "<script>" in html, "<n>" in html) == (400, False, False)
    assert "default-src 'none'" in HEADERS["Content-Security-Policy"]


def test_unknown_code_reads_as_a_fault() -> None:
    """A code without words shows a general text, not a stack trace."""
    assert words("rp.of_the_future", "fr") == words("rp.fault", "zh-Hans")
    status, body = error_json("rp.of_the_future", "en", "1", "/x")
    assert (status, "sign_in" in body) == (500, False)


def test_exports() -> None:
    """Every public name can be imported, and the list is sorted without doubles."""
    names = relying_party_sdk.__all__
    assert len(names) == len(set(names))
    assert all(hasattr(relying_party_sdk, name) for name in names)


def test_sdk_imports_nothing_of_ours() -> None:
    """Core modules import the standard library, cryptography, jwt, urllib3 and themselves; adapters their framework."""
    allowed = {"cryptography", "jwt", "urllib3", "relying_party_sdk"}
    for file in SDK.rglob("*.py"):
        frameworks = {"flask", "werkzeug", "django", "starlette", "pytest"}
        extra = {"adapters": frameworks, "testing": frameworks, "stores": {"sqlalchemy", "redis"}}.get(
            file.parent.name, set()
        )
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            modules = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            for module in modules:
                top = module.partition(".")[0]
                assert top in allowed | extra or top in __import__("sys").stdlib_module_names, f"{file}: {module}"


def test_party_before_init_app() -> None:
    """An adapter that was never attached says so."""
    with pytest.raises(SettingsError):
        _ = CrosshallRP().party


def test_jwks_address(window: Window) -> None:
    """The client's public keys are served for the provider, without any private part."""
    answer = window.app.test_client().get("/oidc/jwks.json")
    assert json.loads(answer.data) == dict(window.party.jwks)
    assert "d" not in answer.get_json()["keys"][0]


def test_cookie_secret_is_shared_by_processes(window: Window, browser: Browser, clock: Any) -> None:
    """Two processes with the same key files read each other's cookies; other key files read none."""
    browser.open("/matters/7")
    cookie = window.cookie(browser)
    same = RelyingParty(window.settings, clock=clock)
    assert same.current(cookie) is not None
    same.close()
    apart = RelyingParty(
        window.settings.with_(cookie_key_file=window.settings.key_file.with_name("other")), clock=clock
    )
    assert apart.current(cookie) is None
    apart.close()
