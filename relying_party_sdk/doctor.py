"""`crosshall-rp doctor`: does this window's set-up hold? What is wrong, and what to change, in Chinese and in English.

Reads the settings file, asks the provider as the window would, and calls the window at its public address. Nothing is
changed, nobody is signed in, no secret is printed. Each check stands alone: one that fails stops only what needs it.
"""

from __future__ import annotations

import email.utils
import json
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

from relying_party_sdk.errors import RPError, SettingsError
from relying_party_sdk.findings import FAULT, OK, WARN, Finding
from relying_party_sdk.line import Line
from relying_party_sdk.metadata import Metadata, metadata_request, process_metadata
from relying_party_sdk.person import Requirement
from relying_party_sdk.profile import profile_of
from relying_party_sdk.settings import Settings, is_loopback
from relying_party_sdk.stores import open_store
from relying_party_sdk.transport import HttpRequest, HttpResponse, Transport, Urllib3Transport, get, post_form
from relying_party_sdk.words import remedies


@dataclass(slots=True)
class Doctor:
    """Checks one window; nothing is raised, what fails is a finding."""

    settings: Settings
    transport: Transport
    clock: Callable[[], float] = time.time
    levels: tuple[int, ...] = ()
    """Levels that the window's pages ask; without any, 1 to 4 or as many as the settings name."""
    site: Transport | None = None
    """How the window itself is reached, when not as the provider is."""
    _metadata: Metadata | None = field(default=None, init=False)

    def run(self) -> list[Finding]:
        """Every finding, in the order of the checks."""
        found: list[Finding] = []
        for check in (
            self._base,
            self._keys,
            self._store,
            self._provider,
            self._clock,
            self._signing_keys,
            self._levels,
            self._status,
            self._window,
            self._public_keys,
            self._back_channel,
            self._redirect,
        ):
            found += check()
        return found

    # ---- this machine

    def _base(self) -> Iterator[Finding]:
        parts = urlsplit(self.settings.base_url)
        if parts.scheme != "https":
            yield Finding(
                "base_url",
                WARN if is_loopback(parts.hostname or "") else FAULT,
                "base_url 不是 https：浏览器不会保存登录用的 Cookie（__Host-、Secure）。",
                "base_url is not https: browsers do not keep the sign-in's cookies (__Host-, Secure).",
                "给应用加上 TLS（通常由前面的代理负责），base_url 写浏览器看到的 https 地址。",
                "Put TLS before the application (usually at the proxy) and write the https address that browsers see.",
            )
        else:
            yield Finding(
                "base_url", OK, f"对外地址 {self.settings.base_url}", f"public address {self.settings.base_url}"
            )
        for name in (name for name in Settings.__dataclass_fields__ if name.startswith("dangerously_")):
            if getattr(self.settings, name):
                yield Finding(
                    name,
                    WARN,
                    f"{name} 已打开，安全性降低。",
                    f"{name} is on and weakens the sign-in.",
                    "上线前去掉这一行。",
                    "Remove the line before going live.",
                )

    def _keys(self) -> Iterator[Finding]:
        files = [self.settings.cookie_keys, *([] if self.settings.client_secret else [self.settings.key_file])]
        for file in files:
            name = f"key file {file.name}"
            if not file.exists():
                zh, en = (
                    f"{file.name} 还没有；应用首次启动时生成。",
                    f"{file.name} is not there yet; made at the first start.",
                )
                fix = (
                    "先启动一次应用，再向登录服务登记公钥。",
                    "Start the application once before the window is registered.",
                )
                yield Finding(name, WARN, zh, en, *fix)
            elif file.stat().st_mode & 0o077:
                zh, en = f"{file} 可被其他用户读取。", f"{file} can be read by other users."
                yield Finding(name, FAULT, zh, en, f"chmod 600 {file}", f"chmod 600 {file}")
            else:
                yield Finding(
                    name, OK, f"{file.name} 在，仅属主可读", f"{file.name} is there, readable by its owner only"
                )

    def _store(self) -> Iterator[Finding]:
        try:
            mark, store = secrets.token_hex(8), open_store(self.settings.store, self.clock)
            store.put("doctor", mark, b"1", self.clock() + 60)
            kept = store.take("doctor", mark)
            store.close()
        except RPError as error:
            yield self._fault("store", error)
            return
        if kept != b"1":
            fix = ("检查存储是否只读或被清空。", "Is the store read-only, or emptied?")
            yield Finding("store", FAULT, "会话存储写入后读不出来。", "What the store was given is not there.", *fix)
        elif self.settings.store == "memory:":
            fix = ("正式环境改用 sqlite:、PostgreSQL 或 Redis。", "In production take sqlite:, PostgreSQL or Redis.")
            zh, en = (
                "会话在内存中：重启即丢失，只能一个进程。",
                "Sessions are in memory: one process, lost at a restart.",
            )
            yield Finding("store", WARN, zh, en, *fix)
        else:
            yield Finding("store", OK, "会话存储可读可写", "the session store can be read and written")

    # ---- the provider

    def _provider(self) -> Iterator[Finding]:
        try:
            answer = self.transport.send(metadata_request(self.settings))
            self._metadata = process_metadata(answer, self.settings)
        except RPError as error:
            yield self._fault("provider", error)
            return
        yield Finding(
            "provider", OK, f"登录服务 {self.settings.issuer} 可用", f"{self.settings.issuer} answers, as itself"
        )
        if self.settings.client_auth not in self._metadata.client_auth:
            offered = ", ".join(self._metadata.client_auth)
            yield Finding(
                "client_auth",
                FAULT,
                f"登录服务不接受 {self.settings.client_auth}（它接受：{offered}）。",
                f"The provider does not take {self.settings.client_auth} (it takes: {offered}).",
                "改 client_auth，或请登录服务开通 private_key_jwt。",
                "Change client_auth, or ask the provider for private_key_jwt.",
            )
        elif self.settings.client_secret and "private_key_jwt" in self._metadata.client_auth:
            yield Finding(
                "client_auth",
                WARN,
                "登录服务支持 private_key_jwt，却在使用共享口令。",
                "A secret is shared although the provider takes private_key_jwt.",
                "去掉 client_secret 和 client_auth，登记 jwks.json。",
                "Remove client_secret and client_auth, and register jwks.json.",
            )

    def _clock(self) -> Iterator[Finding]:
        if self._metadata is None:
            return
        before = self.clock()
        try:
            answer = self.transport.send(metadata_request(self.settings))
            there = email.utils.parsedate_to_datetime(answer.headers.get("date", "")).timestamp()
        except (RPError, ValueError, TypeError):
            zh, en = "登录服务没有给出时间，无法比较时钟。", "The provider tells no time; the clock is not compared."
            fix = ("用 NTP 校时。", "Keep the clock by NTP.")
            yield Finding("clock", WARN, zh, en, *fix)
            return
        off = round((before + self.clock()) / 2 - there)
        if abs(off) > max(2, self.settings.leeway):
            yield Finding(
                "clock",
                FAULT,
                f"本机时钟与登录服务相差 {off:+d} 秒，超过 leeway（{self.settings.leeway}）。",
                f"This clock differs from the provider's by {off:+d} s, more than leeway ({self.settings.leeway}).",
                "启用 NTP（chronyd 或 systemd-timesyncd），不要加大 leeway。",
                "Run NTP (chronyd, systemd-timesyncd); do not raise leeway.",
            )
        else:
            yield Finding("clock", OK, f"时钟相差 {off:+d} 秒", f"clocks differ by {off:+d} s")

    def _signing_keys(self) -> Iterator[Finding]:
        if self._metadata is None:
            return
        try:
            keys = json.loads(self.transport.send(get(self._metadata.jwks_uri)).body)["keys"]
            usable = [key for key in keys if key.get("use", "sig") == "sig" and key.get("kty") in ("EC", "RSA")]
        except RPError as error:
            yield self._fault("keys", error)
            return
        except (ValueError, KeyError, TypeError, AttributeError):
            usable = []
        if usable:
            yield Finding("keys", OK, f"签名公钥 {len(usable)} 把", f"{len(usable)} signing keys")
        else:
            fix = ("请登录服务的运维人员检查 jwks_uri。", "For the provider's operators: jwks_uri.")
            yield Finding("keys", FAULT, "登录服务没有可用的签名公钥。", "The provider publishes no usable key.", *fix)

    def _levels(self) -> Iterator[Finding]:
        most = max(1, len(self.settings.acr_levels)) if self.settings.claims == "standard" else 4
        for level in self.levels or range(1, most + 1):
            try:
                Requirement(level)
                profile_of(self.settings).acr_values(level)
            except (ValueError, SettingsError):
                zh, en = f"等级 {level} 没有对应的 acr。", f"No acr stands for level {level}."
                fix = (
                    "在 acr_levels 中按等级写出登录服务的 acr。",
                    "Name the provider's acr of each level in acr_levels.",
                )
                yield Finding("levels", FAULT, zh, en, *fix)
                return
        yield Finding("levels", OK, "等级都有对应的 acr", "every level has its acr")

    def _status(self) -> Iterator[Finding]:
        if not self.settings.status_url:
            return
        line = Line(self.settings, self.transport, self.clock)
        try:
            rung = line.rung
        except RPError as error:
            yield Finding(
                "status_url",
                FAULT,
                f"办事大厅的线路状态读不到（{error.detail}）：要求线路的页面会拒绝所有人。",
                f"The hall does not tell its line ({error.detail}): pages that ask a rung refuse everybody.",
                f"检查 status_url 和 ca_file：{self.settings.status_url}",
                f"Check status_url and ca_file: {self.settings.status_url}",
            )
            return
        yield Finding("status_url", OK, f"线路状态：{rung}", f"the hall's line: {rung}")

    # ---- the window at its public address

    def _window(self) -> Iterator[Finding]:
        answer = self._visit("login")
        if isinstance(answer, Finding):
            yield answer
            return
        target = answer.headers.get("location", "")
        expected = self._metadata.authorization_endpoint if self._metadata else self.settings.issuer
        if answer.status not in (302, 303) or not target.startswith(expected):
            yield Finding(
                "window",
                FAULT,
                f"{self.settings.prefix}/login 没有转到登录服务（HTTP {answer.status}）：没有到达应用，或路径不对。",
                f"{self.settings.prefix}/login does not lead to the provider (HTTP {answer.status}): "
                "the request does not reach the application, or arrives under another path.",
                "代理要把 base_url 的路径部分去掉再转给应用（nginx：proxy_pass …/; 末尾的斜线）。",
                "The proxy takes the path of base_url off (nginx: the slash that ends proxy_pass …/;).",
            )
            return
        yield Finding("window", OK, "应用在对外地址上应答", "the application answers at its public address")
        yield from _cookies(answer, self.settings)

    def _public_keys(self) -> Iterator[Finding]:
        if self.settings.client_secret:
            return
        answer = self._visit("jwks.json")
        if isinstance(answer, Finding):
            return  # said by `window` already
        try:
            shown = {key["kid"] for key in json.loads(answer.body)["keys"]}
        except (ValueError, KeyError, TypeError):
            shown = set()
        if answer.status == 200 and shown:
            yield Finding("jwks.json", OK, "本系统的公钥可读取", "the window's public key can be read")
            return
        fix = ("放行该地址（GET，不需登录）。", "Let the address through (GET, without a sign-in).")
        zh, en = f"jwks.json 读不到（HTTP {answer.status}）。", f"jwks.json cannot be read (HTTP {answer.status})."
        yield Finding("jwks.json", FAULT, zh, en, *fix)

    def _back_channel(self) -> Iterator[Finding]:
        request = post_form(self._address("backchannel-logout"), {"logout_token": "doctor"})
        try:
            answer = (self.site or self.transport).send(request)
        except RPError:
            return  # said by `window` already
        if answer.status == 400 and b"rp.token_format" in answer.body:
            yield Finding("backchannel", OK, "后端退出地址可达", "the back-channel address is reached")
            return
        yield Finding(
            "backchannel",
            FAULT,
            f"后端退出地址没有由 SDK 应答（HTTP {answer.status}）：统一退出不会传到本系统。",
            f"The back-channel address is not answered by the SDK (HTTP {answer.status}): sign-outs do not arrive.",
            "代理和应用的 CSRF、登录拦截都要放行 POST …/backchannel-logout。",
            "Let POST …/backchannel-logout through the proxy, CSRF checks and login filters.",
        )

    def _redirect(self) -> Iterator[Finding]:
        """Follows the sign-in to the provider's first answer: an unregistered address is refused there."""
        answer = self._visit("login")
        if isinstance(answer, Finding) or self._metadata is None or answer.status not in (302, 303):
            return
        try:
            there = self.transport.send(HttpRequest("GET", answer.headers["location"], {"Accept": "text/html"}))
        except RPError as error:
            yield self._fault("redirect", error)
            return
        refused = there.status >= 400 and there.status not in (401, 403)
        if not refused and there.status in (302, 303):
            target = urlsplit(there.headers.get("location", ""))
            error_code = parse_qs(target.query).get("error", [""])[0]
            refused = there.headers.get("location", "").startswith(self.settings.redirect_uri) and error_code in (
                "invalid_request",
                "unauthorized_client",
                "invalid_scope",
            )
        if refused:
            yield Finding(
                "redirect",
                FAULT,
                f"登录服务不接受这个请求（HTTP {there.status}）：多半是回调地址没有登记。",
                f"The provider refuses the request (HTTP {there.status}): most likely the redirect address is not "
                "registered.",
                f"登记回调地址（逐字）：{self.settings.redirect_uri}",
                f"Register exactly this redirect address: {self.settings.redirect_uri}",
            )
        else:
            yield Finding("redirect", OK, "登录服务接受回调地址", "the provider takes the redirect address")

    # ---- parts

    def _address(self, name: str) -> str:
        return f"{self.settings.base_url}{self.settings.prefix}/{name}"

    def _visit(self, name: str) -> HttpResponse | Finding:
        query = f"?{urlencode({'return_to': '/'})}" if name == "login" else ""
        try:
            return (self.site or self.transport).send(
                HttpRequest("GET", self._address(name) + query, {"Accept": "text/html"})
            )
        except RPError as error:
            return Finding(
                "window",
                FAULT,
                f"应用在对外地址上没有应答（{error.detail}）。",
                f"The application does not answer at its public address ({error.detail}).",
                "启动应用；检查代理、DNS、证书（ca_file）和 base_url。",
                "Start the application; check the proxy, DNS, the certificate (ca_file) and base_url.",
            )

    @staticmethod
    def _fault(check: str, error: RPError) -> Finding:
        fix_zh, fix_en = remedies().get(error.code, remedies()["rp.fault"])
        return Finding(check, FAULT, str(error), str(error), fix_zh, fix_en)


def _cookies(answer: HttpResponse, settings: Settings) -> Iterator[Finding]:
    """Whether the sign-in's cookie came through the proxy as it was set."""
    jar: SimpleCookie = SimpleCookie()
    try:
        jar.load(answer.headers.get("set-cookie", ""))
    except CookieError:
        jar = SimpleCookie()
    ours = [morsel for name, morsel in jar.items() if name.startswith(settings.cookie("tab-"))]
    good = ours and all(
        each["secure"] and each["httponly"] and each["path"] == "/" and not each["domain"] and each["samesite"] == "Lax"
        for each in ours
    )
    if good:
        yield Finding("cookies", OK, "Cookie 原样到达", "cookies arrive as they were set")
    else:
        yield Finding(
            "cookies",
            FAULT,
            "登录用的 Cookie 没有原样到达：须有 Secure、HttpOnly、SameSite=Lax、Path=/，没有 Domain。",
            "The sign-in's cookie does not arrive as it was set: Secure, HttpOnly, SameSite=Lax, Path=/ and no Domain.",
            "去掉代理中改写 Cookie 的设置（nginx：proxy_cookie_path、proxy_cookie_flags、proxy_hide_header）。",
            "Remove what rewrites cookies at the proxy (nginx: proxy_cookie_path, proxy_cookie_flags, …).",
        )


def examine(file: Path | None, levels: tuple[int, ...] = ()) -> list[Finding]:
    """The findings for a settings file, or for the environment."""
    try:
        settings = Settings.from_toml(file) if file else Settings.from_environment()
    except SettingsError as error:
        return [Doctor._fault("settings", error)]
    transport = Urllib3Transport(settings.with_(dangerously_allow_http=True))
    try:
        return Doctor(settings, transport, levels=levels).run()
    finally:
        transport.close()
