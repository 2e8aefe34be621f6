"""A small OpenID provider for tests: real HTTP on loopback, in a thread. It checks what a provider must check.

PAR is required, PKCE (S256), private_key_jwt (ES256, once), redirect addresses, codes (once) and refresh tokens
(rotated; a second use ends the session) are checked; what is refused is in `refusals`: a test can ask that nothing was.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self
from urllib.parse import urlencode

from relying_party_sdk.settings import CLIENT_AUTH, Settings
from relying_party_sdk.testing.apis import GRANTS, Apis
from relying_party_sdk.testing.clients import Client, ClientProofs, Refused
from relying_party_sdk.testing.faults import Fault
from relying_party_sdk.testing.minting import Mint
from relying_party_sdk.testing.personas import Persona
from relying_party_sdk.testing.server import Answer, Call, LoopbackServer

Form = Mapping[str, str]


@dataclass(slots=True)
class Login:
    """One browser session at the provider."""

    person: Persona
    level: int
    auth_time: float
    checked_at: float | None = None
    """When the certificate was judged last; None: as the token is made."""
    brokered: float = 0.0
    """Seconds that the person sat on a page after the proof: `max_age` is counted from then, as Keycloak does."""
    sid: str = field(default_factory=lambda: secrets.token_hex(8))
    live: bool = True


@dataclass(slots=True)
class Grant:
    """What a code or refresh token stands for."""

    client: Client
    login: Login
    nonce: str
    challenge: str = ""
    redirect_uri: str = ""
    jkt: str = ""
    used: bool = False


_RESOURCES = ("attributes", "userinfo")


class FakeProvider:
    """A context manager. `person` is who sits at the browser (None: sign-in is refused), `faults` what goes wrong."""

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        *,
        par: bool = True,
        access_seconds: int = 60,
        algorithm: str = "ES256",
        standard: bool = False,
    ) -> None:
        self.clock = clock
        self.par = par
        self.access_seconds = access_seconds
        self.iss = True
        """Advertise RFC 9207, and send `iss` with each answer."""
        self.refresh_tokens = True
        self.rung = "fresh"
        """What the hall's `/status` tells now (setting `status_url`), whatever it was at a sign-in."""
        self.userinfo: dict[str, Any] = {"name": "张三", "email": "zhang@example.com"}
        self.person: Persona | None = None
        self.faults: set[Fault] = set()
        self.calls: Counter[str] = Counter()
        """How often each address was called; refreshes count as `refresh`."""
        self.refusals: list[str] = []
        self.attribute_names: tuple[str, ...] = ("name", "identifiers", "organisation")
        self.reached = threading.Event()
        """Set when a call hangs in `Fault.SLOW_REFRESH`."""
        self.error = ""
        """Answer authorization requests with this error."""
        self.login: Login | None = None
        self.authorizations: list[Form] = []
        self._clients: dict[str, Client] = {}
        self._windows: dict[str, Settings] = {}
        self._pushed: dict[str, Form] = {}
        self._codes: dict[str, Grant] = {}
        self._refresh: dict[str, Grant] = {}
        self._guard = threading.RLock()
        self._server = LoopbackServer(self._dispatch)
        self.issuer = self._server.address
        self.mint = Mint(self.issuer, clock, algorithm=algorithm, standard=standard)
        self.apis = Apis(self.mint, self._now, seconds=access_seconds)
        self._proofs = ClientProofs(self.issuer, self._now, self._clients)

    _running: ClassVar[list[FakeProvider]] = []

    def __enter__(self) -> Self:
        self._server.start()
        self._running.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.remove(self)
        self._server.stop()

    @classmethod
    def running(cls) -> FakeProvider:
        """The one that runs in this process. Raises RuntimeError for none or several."""
        if len(cls._running) != 1:
            raise RuntimeError(f"{len(cls._running)} fake providers run: name the one that is meant")
        return cls._running[0]

    def _now(self) -> float:
        """By the clock as it is now: tests change it."""
        return self.clock()

    # ---- for tests

    def settings(self, folder: Path, client_id: str = "window", **changes: Any) -> Settings:
        """Settings of a window of this provider, files below `folder`."""
        values: dict[str, Any] = {
            "issuer": self.issuer,
            "client_id": client_id,
            "base_url": f"https://{client_id}.test",
            "attributes_url": "" if self.mint.standard else f"{self.issuer}/attributes",
            "claims": "standard" if self.mint.standard else "crosshall",
            "key_file": folder / f"{client_id}.pem",
            "store": f"sqlite:{folder / client_id}.sqlite",
        }
        return Settings(**{**values, **changes})

    def register(self, settings: Settings, jwks: Mapping[str, Any]) -> None:
        """Register the client of `settings` with its public keys."""
        self._windows[settings.client_id] = settings
        self._clients[settings.client_id] = Client(
            settings.client_id,
            settings.redirect_uri,
            lambda: jwks,
            settings.signed_out_uri,
            settings.client_auth,
            settings.client_secret,
        )

    def window(self, client_id: str = "") -> Settings:
        """The settings that were registered, of `client_id` or of the only window. Raises LookupError."""
        if client_id:
            return self._windows[client_id]
        if len(self._windows) != 1:
            raise LookupError(f"{len(self._windows)} windows are registered: name the one that is meant")
        return next(iter(self._windows.values()))

    def logout_token(self, client_id: str, **changes: Any) -> str:
        """A logout token for the present session; `changes`: as `Mint.logout_token`."""
        login = self.login
        sid, person = (login.sid, login.person) if login else ("none", self.person)
        sub = person.subject(f"sub-{client_id}") if person else "nobody"
        return self.mint.logout_token(client_id, **{"sub": sub, "sid": sid, **changes})

    def end_login(self) -> None:
        """End the browser session here, without telling the windows."""
        with self._guard:
            if self.login:
                self.login.live = False
            self.login = None

    # ---- addresses

    def _dispatch(self, call: Call) -> Answer:
        name = call.path.strip("/")
        routes: dict[str, Callable[[Call], Answer]] = {
            ".well-known/openid-configuration": self._metadata,
            "jwks": lambda _: Answer.json(self.mint.jwks()),
            "par": self._par,
            "authorize": self._authorize,
            "token": self._token,
            "logout": self._logout,
            "attributes": self._attributes,
            "userinfo": self._userinfo,
            "status": lambda _: Answer.json({"node": "gd", "rung": self.rung, "age": 0}),
            "introspect": lambda call: self.apis.introspect(call, self._proofs.client(call)),
        }
        with self._guard:
            refresh = call.form.get("grant_type") == "refresh_token"
            self.calls["refresh" if refresh else name] += 1
        wrong = None if name in ("authorize", "logout") else self._server.fault(self.faults)
        if wrong is not None:
            return wrong
        if name == "jwks" and (wrong := self._wrong_keys()) is not None:
            return wrong
        if name not in routes:
            return Answer(404, "text/plain", b"no such address")
        try:
            with self._guard:
                answer = routes[name](call)
            if refresh and Fault.SLOW_REFRESH in self.faults:
                self.reached.set()
                self._server.hang()
            return self.apis.with_nonce(answer)
        except Refused as refused:
            self.refusals.append(f"{name}: {refused}")
            answer = Answer.json(
                {"error": refused.code, "error_description": str(refused)}, 401 if name in _RESOURCES else 400
            )
            return self.apis.with_nonce(answer)

    def _wrong_keys(self) -> Answer | None:
        """What a fault of the keys' address answers."""
        if Fault.SLOW_JWKS in self.faults:
            self._server.hang()
            return Answer(503, "text/plain", b"slow")
        if Fault.HTML_JWKS in self.faults:
            return Answer(200, "text/html", b"<!doctype html><title>maintenance</title>")
        return Answer.json({"keys": []}) if Fault.EMPTY_JWKS in self.faults else None

    def _metadata(self, _: Call) -> Answer:
        base = "http://provider.example" if Fault.PLAIN_HTTP in self.faults else self.issuer
        value: dict[str, Any] = {
            "issuer": self.issuer + ("/" if Fault.WRONG_ISSUER in self.faults else ""),
            "authorization_endpoint": f"{base}/authorize",
            "token_endpoint": f"{base}/token",
            "jwks_uri": f"{base}/jwks",
            "end_session_endpoint": f"{base}/logout",
            "code_challenge_methods_supported": ["S256"],
            "userinfo_endpoint": f"{base}/userinfo",
            "introspection_endpoint": f"{base}/introspect",
            "dpop_signing_alg_values_supported": ["ES256"],
            "token_endpoint_auth_methods_supported": list(CLIENT_AUTH),
        }
        if self.iss:
            value["authorization_response_iss_parameter_supported"] = True
        if self.par:
            value["pushed_authorization_request_endpoint"] = f"{base}/par"
        return Answer.json(value)

    def _par(self, call: Call) -> Answer:
        self._proofs.client(call)
        uri = f"urn:ietf:params:oauth:request_uri:{secrets.token_urlsafe(16)}"
        self._pushed[uri] = dict(call.form)
        return Answer.json({"request_uri": uri, "expires_in": 60}, 201)

    def _authorize(self, call: Call) -> Answer:
        query = call.query
        if self.par:
            pushed = self._pushed.pop(query.get("request_uri", ""), None)
            if pushed is None or pushed.get("client_id") != query.get("client_id"):
                raise Refused("invalid_request", "no pushed request")
            query = pushed
        client = self._clients.get(query.get("client_id", ""))
        if client is None or query.get("redirect_uri") != client.redirect_uri:
            raise Refused("invalid_request", "redirect_uri is not registered")
        if query.get("response_type") != "code" or query.get("code_challenge_method") != "S256":
            raise Refused("invalid_request", "not code with PKCE S256")
        self.authorizations.append(query)
        answer = {"state": query.get("state", "")}
        if self.iss and Fault.CALLBACK_NO_ISS not in self.faults:
            wrong = Fault.CALLBACK_WRONG_ISS in self.faults
            answer["iss"] = "https://attacker.example" if wrong else self.issuer
        if self.error or self.person is None:
            answer["error"] = self.error or "login_required"
        else:
            code = secrets.token_urlsafe(24)
            login = self._sign_in(self.person, query)
            self._codes[code] = Grant(
                client,
                login,
                query.get("nonce", ""),
                query.get("code_challenge", ""),
                query["redirect_uri"],
                query.get("dpop_jkt", ""),
            )
            answer["code"] = code
        return Answer.redirect(f"{query['redirect_uri']}?{urlencode(answer)}")

    def _sign_in(self, person: Persona, query: Form) -> Login:
        """The present session, or a new one; raised or renewed when the request asks for it."""
        now = self.clock()
        if self.login is None or not self.login.live or self.login.person != person:
            self.login = Login(person, person.level, now)
        login = self.login
        asked = int(query.get("acr_values", "urn:crosshall:loa:1").partition(" ")[0].rpartition(":")[2])
        ended = login.auth_time + login.brokered
        stale = query.get("prompt") == "login" or ("max_age" in query and now - ended > int(query["max_age"]))
        if asked > login.level or (stale and Fault.OLD_AUTH_TIME not in self.faults):
            login.level = max(login.level, min(asked, person.highest))
            login.auth_time, login.brokered, login.checked_at = now, 0.0, None
        if Fault.LOWER_LEVEL in self.faults:
            login.level = 1
        return login

    def _token(self, call: Call) -> Answer:
        client = self._proofs.client(call)
        if call.form.get("grant_type") in GRANTS:
            return self.apis.grant(call, client, self._clients)
        jkt = self.apis.possession(call)
        if call.form.get("grant_type") == "refresh_token":
            return self._tokens(self._refreshed(call.form, client), jkt, refreshed=True)
        grant = self._codes.get(call.form.get("code", ""))
        if grant is None or grant.client is not client or grant.used:
            raise Refused("invalid_grant", "code unknown or used")
        grant.used = True
        digest = hashlib.sha256(call.form.get("code_verifier", "").encode()).digest()
        expected = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if not hmac.compare_digest(expected, grant.challenge) or call.form.get("redirect_uri") != grant.redirect_uri:
            raise Refused("invalid_grant", "PKCE or redirect_uri")
        if grant.jkt not in ("", jkt):
            raise Refused("invalid_grant", "dpop_jkt")
        return self._tokens(grant, jkt, refreshed=False)

    def _refreshed(self, form: Form, client: Client) -> Grant:
        grant = self._refresh.get(form.get("refresh_token", ""))
        if grant is None or grant.client is not client:
            raise Refused("invalid_grant", "refresh token unknown")
        if grant.used:
            grant.login.live = False  # RFC 9700 §4.14.2
            raise Refused("invalid_grant", "refresh token used twice")
        if not grant.login.live:
            raise Refused("invalid_grant", "session over")
        grant.used = True
        return grant

    def _tokens(self, grant: Grant, jkt: str, *, refreshed: bool) -> Answer:
        if Fault.ROTATE_BEFORE_SIGNING in self.faults:
            self.mint.rotate()
        refresh, access = secrets.token_urlsafe(24), self.apis.give(grant.client, grant.login, jkt)
        self._refresh[refresh] = Grant(grant.client, grant.login, grant.nonce)
        token = self.mint.id_token(grant.client.id, grant.login, grant.nonce, access, self.faults, refreshed=refreshed)
        answer = {"access_token": access, "id_token": token}
        answer |= {"refresh_token": refresh} if self.refresh_tokens else {}
        return Answer.json({**answer, "token_type": "DPoP" if jkt else "Bearer", "expires_in": self.access_seconds})

    def _logout(self, call: Call) -> Answer:
        client = self._clients.get(call.query.get("client_id", ""))
        target = call.query.get("post_logout_redirect_uri", "")
        if client is None or target != client.post_logout_uri or not call.query.get("id_token_hint"):
            raise Refused("invalid_request", "post_logout_redirect_uri is not registered")
        self.end_login()
        state = "of-another-sign-out" if Fault.LOGOUT_WRONG_STATE in self.faults else call.query.get("state")
        back = f"?{urlencode({'state': state})}" if state and Fault.LOGOUT_NO_STATE not in self.faults else ""
        return Answer.redirect(target + back)

    def _attributes(self, call: Call) -> Answer:
        grant = self.apis.presented(call)
        if grant is None or grant.login is None:
            return Answer.json({"error": "invalid_token"}, 401)
        person = grant.login.person
        released = {name: person.attributes[name] for name in self.attribute_names if name in person.attributes}
        sector = "elsewhere" if Fault.OTHER_SUBJECT in self.faults else grant.client.id
        return Answer.json({"subject": person.subject(sector), "kind": person.kind, **released})

    def _userinfo(self, call: Call) -> Answer:
        grant = self.apis.presented(call)
        if grant is None or grant.login is None:
            return Answer.json({"error": "invalid_token"}, 401)
        other = Fault.USERINFO_WRONG_SUB in self.faults
        sub = grant.login.person.subject("elsewhere" if other else f"sub-{grant.client.id}")
        named = {} if Fault.USERINFO_NO_SUB in self.faults else {"sub": sub}
        return Answer.json({**named, **self.userinfo})
