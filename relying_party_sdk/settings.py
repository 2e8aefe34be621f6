"""Settings of one relying party: frozen, checked when made, weakened only by names that say so.

A file (TOML) holds the keys that `crosshall window add` writes; `CROSSHALL_RP_<KEY>` in the environment wins over it.
Tables in the file belong to the application and are left alone. Times are in seconds.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from relying_party_sdk.errors import SettingsError
from relying_party_sdk.stores import located

ENV_PREFIX = "CROSSHALL_RP_"
ALGORITHMS = ("ES256", "ES384", "PS256", "PS384", "RS256")
"""Signature algorithms that can be allowed at all: no `none`, nothing symmetric."""

CLIENT_AUTH = ("private_key_jwt", "client_secret_basic", "client_secret_post")
"""How a client can prove itself at the provider (OpenID Connect Core §9), best first."""
_CHOICES: Mapping[str, tuple[str, ...]] = {
    "claims": ("crosshall", "standard"),
    "client_auth": CLIENT_AUTH,
    "assertion_audience": ("issuer", "token_endpoint"),
    "response_mode": ("query", "form_post"),
    "userinfo": ("off", "on"),
    "sign_out_return": ("home", "signed-out"),
    "accounts_per_person": ("one", "many"),
    "persons_per_account": ("one", "many"),
    "dpop": ("off", "on"),
    "api_dpop_nonce": ("off", "on"),
}

_PATHS = ("key_file", "ca_file", "cookie_key_file", "keys_file")


def is_loopback(host: str) -> bool:
    """True for names and addresses of this machine (RFC 6761 §6.3: `localhost` and all names under it)."""
    name = host.rstrip(".").lower()
    return name in ("localhost", "127.0.0.1", "::1") or name.endswith(".localhost")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything a relying party needs to know; raises SettingsError `rp.settings` when it does not hold together."""

    issuer: str
    """The provider's issuer, compared character by character."""
    client_id: str
    base_url: str
    """The application's address as a browser sees it, without a slash at the end. Never guessed from headers."""
    key_file: Path
    """Private key (ES256, PEM) for private_key_jwt; made on first use, mode 0600. With a secret: its name only."""
    store: str = dataclasses.field(repr=False)
    """`sqlite:<path>` (one machine), `postgresql://…`, `mysql+…://…`, `redis[s]://…`, or `memory:` (one process)."""
    accounts: str = dataclasses.field(default="", repr=False)
    """Where links to the application's own accounts are kept for good; addresses as of `store`. Empty: no accounts."""
    accounts_per_person: str = "one"
    """`many`: a person may open several of the application's accounts, and chooses."""
    persons_per_account: str = "one"
    """`many`: several persons may open one account, such as an office's."""
    attributes_url: str = ""
    """The bridge's attribute endpoint; empty when the window is registered for no attributes."""
    status_url: str = ""
    """The hall's public `/status`: a page that asks a rung takes the worse of sign-in and hall; empty: not asked."""
    claims: str = "crosshall"
    """What tokens say: `crosshall`: the hall's contract, enforced; `standard`: any OpenID provider's `sub`, `acr`."""
    acr_levels: tuple[str, ...] = ()
    """With `standard`: the provider's `acr` values of levels 1, 2, …; whatever is not among them is level 1."""
    userinfo: str = "off"
    """`on`, with `standard`: `person.attributes()` asks the provider's userinfo endpoint."""
    client_auth: str = "private_key_jwt"
    """`client_secret_basic` or `client_secret_post` only where a provider has nothing better."""
    client_secret: str = dataclasses.field(default="", repr=False)
    """The secret shared with the provider, for the two ways that have one; best from the environment."""
    assertion_audience: str = "issuer"
    """For whom private_key_jwt is made out: `issuer`, or `token_endpoint` for providers that know only that."""
    response_mode: str = "query"
    """`form_post`: the provider posts the answer, so that no code is in an address or its logs."""
    sign_out_return: str = "home"
    """`signed-out`: a sign-out comes back to `<prefix>/signed-out`, where its `state` is checked, and then home."""
    ca_file: Path | None = None
    """Roots for TLS to the provider (PEM); the machine's own when absent."""
    key_rotation: int = 0
    """Age at which the private key is replaced, the new one published an hour before; 0: by hand. Needs `jwks_url`."""
    cookie_key_file: Path | None = None
    """32 random bytes that seal cookies and the store; `<key_file>.cookie` when absent, made on first use."""
    keys_file: Path | None = None
    """The provider's last good public keys, kept over restarts; `<key_file>.keys` when absent."""
    keys_stale: int = 86_400
    """How long keys are good beyond their ten minutes when the provider cannot be asked for newer ones."""
    scope: str = "openid"
    algorithms: tuple[str, ...] = ("ES256", "PS256", "RS256")
    """Signature algorithms accepted in tokens; the token's own header never adds to it."""
    prefix: str = "/oidc"
    """Path of the SDK's own addresses below `base_url`."""
    recheck: int = 60
    """A session in use is confirmed with the provider when its last confirmation is older: ended means ended in it."""
    grace: int = 300
    """How long after the access token's end a session is still served when the provider cannot be asked."""
    session: int = 28_800
    """Longest life of a session."""
    sign_in: int = 600
    """Longest time between leaving for the provider and coming back."""
    leeway: int = 10
    """Difference of clocks that is forgiven in tokens."""
    connect_timeout: float = 3.0
    read_timeout: float = 5.0
    total_timeout: float = 10.0
    """Longest time for a whole answer of the provider."""
    dpop: str = "off"
    """`on`: tokens are bound to a key of this window (RFC 9449): stolen ones are of no use elsewhere."""
    api_audience: str = ""
    """What `aud` of an access token must name for this application's own API; `client_id` when empty."""
    api_clients: tuple[str, ...] = ()
    """Clients whose access tokens the API takes; empty: every client to which the provider gives one for it."""
    api_lifetime: int = 86_400
    """Longest life of an access token that the API takes; sign-outs are remembered as long."""
    api_dpop_nonce: str = "off"
    """`on`: DPoP proofs at the API carry a nonce of ours (RFC 9449 §9), so that none can be made ahead of time."""
    introspection_cache: int = 5
    """How long the provider's word that a token is active is believed; 0: asked each time."""
    dangerously_allow_http: bool = False
    """Accept plain HTTP to hosts that are not this machine."""
    dangerously_skip_tls_verification: bool = False
    """Believe any certificate of the provider: for a test bench only. Better: `ca_file`."""
    dangerously_accept_untyped_logout_tokens: bool = False
    """Accept logout tokens without `typ: logout+jwt` (providers older than OpenID Connect Back-Channel Logout 1.0)."""

    def __post_init__(self) -> None:
        _check_types(self)
        halls = [name for name in ("attributes_url", "status_url") if getattr(self, name)]
        for name in ("issuer", "base_url", *halls):
            _check_url(name, getattr(self, name), plain=self.dangerously_allow_http)
        if self.base_url.endswith("/"):
            raise SettingsError("rp.settings", "base_url ends with a slash")
        if not self.client_id or not self.client_id.isprintable():
            raise SettingsError("rp.settings", "client_id is empty or not printable")
        unknown = set(self.algorithms) - set(ALGORITHMS)
        if unknown or not self.algorithms:
            raise SettingsError("rp.settings", f"algorithms not allowed: {sorted(unknown) or 'none named'}")
        if "openid" not in self.scope.split() or "offline_access" in self.scope.split():
            raise SettingsError("rp.settings", "scope needs openid, and offline_access would outlive a sign-out")
        if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", self.prefix):
            raise SettingsError("rp.settings", "prefix is a path such as /oidc")
        _check_numbers(self)
        _check_provider(self)

    @property
    def redirect_uri(self) -> str:
        """Where the provider sends the browser back."""
        return f"{self.base_url}{self.prefix}/callback"

    @property
    def home(self) -> str:
        """The application's first page; also where a sign-out ends."""
        return f"{self.base_url}/"

    @property
    def signed_out_uri(self) -> str:
        """Where the provider sends the browser after a sign-out."""
        return f"{self.base_url}{self.prefix}/signed-out" if self.sign_out_return == "signed-out" else self.home

    @property
    def base_path(self) -> str:
        """Path part of `base_url`, empty or beginning with a slash."""
        return urlsplit(self.base_url).path

    @property
    def cookie_keys(self) -> Path:
        """The file of the sealing key."""
        return self.cookie_key_file or self.key_file.with_name(self.key_file.name + ".cookie")

    @property
    def kept_keys(self) -> Path:
        """The file of the provider's last good keys."""
        return self.keys_file or self.key_file.with_name(self.key_file.name + ".keys")

    @property
    def dpop_key(self) -> Path:
        """The file of the key to which tokens are bound; made on first use."""
        return self.key_file.with_name(self.key_file.name + ".dpop")

    @property
    def audience(self) -> str:
        """What `aud` of an access token must name."""
        return self.api_audience or self.client_id

    def cookie(self, use: str) -> str:
        """Name of a cookie: host-bound, and of this client, since cookies ignore ports."""
        plain = re.fullmatch(r"[A-Za-z0-9_-]{1,32}", self.client_id)
        slug = self.client_id if plain else hashlib.sha256(self.client_id.encode()).hexdigest()[:12]
        return f"__Host-{slug}-{use}"

    @classmethod
    def from_toml(cls, path: str | os.PathLike[str], environ: Mapping[str, str] | None = None) -> Settings:
        """Settings of a file, environment on top; relative paths start at the file's folder. Raises `rp.settings`."""
        file = Path(path)
        try:
            raw = tomllib.loads(file.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise SettingsError("rp.settings", f"cannot read {file}: {type(error).__name__}") from error
        values = {key: value for key, value in raw.items() if not isinstance(value, dict)}
        return cls._make(values | _environment(environ), file.resolve().parent)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Settings of the file `CROSSHALL_RP_SETTINGS` names, or of `CROSSHALL_RP_…` alone. Raises `rp.settings`."""
        env = os.environ if environ is None else environ
        if file := env.get(f"{ENV_PREFIX}SETTINGS"):
            return cls.from_toml(file, env)
        return cls._make(_environment(env), Path.cwd())

    @classmethod
    def _make(cls, values: dict[str, Any], folder: Path) -> Settings:
        known = {field.name for field in fields(cls)}
        if strange := set(values) - known:
            raise SettingsError("rp.settings", f"unknown keys: {', '.join(sorted(strange))}")
        for name in _PATHS:
            if values.get(name):
                values[name] = folder / str(values[name])
            else:
                values.pop(name, None)
        for name in ("store", "accounts"):
            if isinstance(values.get(name), str):
                values[name] = located(values[name], folder)
        for name in ("algorithms", "acr_levels", "api_clients"):
            if isinstance(values.get(name), list):
                values[name] = tuple(values[name])
        try:
            return cls(**values)
        except TypeError as error:
            missing = {"issuer", "client_id", "base_url", "key_file", "store"} - set(values)
            raise SettingsError("rp.settings", f"missing keys: {', '.join(sorted(missing))}") from error

    def with_(self, **changes: Any) -> Settings:
        """A copy with some values changed, checked again."""
        return replace(self, **changes)


def _environment(environ: Mapping[str, str] | None) -> dict[str, Any]:
    env = os.environ if environ is None else environ
    found: dict[str, Any] = {}
    for field in fields(Settings):
        text = env.get(ENV_PREFIX + field.name.upper())
        if text is None:
            continue
        found[field.name] = _parse(field.name, str(field.type), text)
    return found


def _parse(name: str, kind: str, text: str) -> Any:
    try:
        if kind == "int":
            return int(text)
        if kind == "float":
            return float(text)
        if kind == "bool":
            return {"true": True, "false": False}[text.lower()]
    except (ValueError, KeyError) as error:
        raise SettingsError("rp.settings", f"{name} in the environment is not {kind}") from error
    return tuple(text.split()) if kind.startswith("tuple") else text


def _check_types(settings: Settings) -> None:
    for field in fields(settings):
        value, kind = getattr(settings, field.name), str(field.type)
        fits = {
            "str": isinstance(value, str),
            "int": isinstance(value, int) and not isinstance(value, bool),
            "float": isinstance(value, int | float) and not isinstance(value, bool),
            "bool": isinstance(value, bool),
            "Path": isinstance(value, Path),
            "Path | None": value is None or isinstance(value, Path),
        }.get(kind, isinstance(value, tuple))
        if not fits:
            raise SettingsError("rp.settings", f"{field.name} is not {kind}")


def _check_url(name: str, url: str, *, plain: bool) -> None:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise SettingsError("rp.settings", f"{name} is not an address") from error
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment or parts.username:
        raise SettingsError("rp.settings", f"{name} is not a plain http(s) address")
    if parts.scheme == "http" and not plain and not is_loopback(host):
        raise SettingsError("rp.settings", f"{name} is not https")


def _check_numbers(settings: Settings) -> None:
    if not 0 <= settings.leeway <= 120:
        raise SettingsError("rp.settings", "leeway is 0 to 120 seconds")
    if not 5 <= settings.recheck <= 3600 or not 0 <= settings.grace <= 86_400:
        raise SettingsError("rp.settings", "recheck is 5 to 3600 seconds, grace 0 to 86400")
    if not 60 <= settings.session <= 604_800 or not 60 <= settings.sign_in <= 3600:
        raise SettingsError("rp.settings", "session is 60 seconds to 7 days, sign_in 60 to 3600 seconds")
    if not 0 <= settings.keys_stale <= 604_800 or not 0 <= settings.introspection_cache <= 30:
        raise SettingsError("rp.settings", "keys_stale is 0 to 604800 seconds, introspection_cache 0 to 30")
    if not 60 <= settings.api_lifetime <= 604_800:
        raise SettingsError("rp.settings", "api_lifetime is 60 seconds to 7 days")
    if settings.key_rotation and settings.key_rotation < 86_400:
        raise SettingsError("rp.settings", "key_rotation is 0, or at least 86400 seconds")
    if not 0 < settings.connect_timeout <= settings.total_timeout <= 25 or not 0 < settings.read_timeout <= 25:
        raise SettingsError("rp.settings", "timeouts are above 0 and at most 25 seconds")


def _check_provider(settings: Settings) -> None:
    """What belongs together: claims and what is read from them, a way to prove oneself and its secret."""
    for name, choices in _CHOICES.items():
        if getattr(settings, name) not in choices:
            raise SettingsError("rp.settings", f"{name} is one of {', '.join(choices)}")
    if (settings.client_auth == "private_key_jwt") == bool(settings.client_secret):
        raise SettingsError("rp.settings", "client_secret goes with client_secret_basic or client_secret_post, only")
    standard = settings.claims == "standard"
    if standard and settings.status_url:
        raise SettingsError("rp.settings", "status_url is the hall's: other providers have no rung")
    if standard and settings.attributes_url:
        raise SettingsError("rp.settings", "attributes_url is the hall's: with standard claims, userinfo")
    if not standard and (settings.userinfo == "on" or settings.acr_levels):
        raise SettingsError("rp.settings", "userinfo and acr_levels go with claims = standard")
    levels = settings.acr_levels
    if not all(isinstance(name, str) and name.isprintable() and name for name in settings.api_clients):
        raise SettingsError("rp.settings", "api_clients are names of clients")
    if len(levels) > 4 or len(set(levels)) != len(levels) or not all(map(_is_acr, levels)):
        raise SettingsError("rp.settings", "acr_levels are at most four different acr values, level 1 first")


def _is_acr(value: object) -> bool:
    return isinstance(value, str) and bool(re.fullmatch(r"[\x21-\x7e]{1,255}", value))
