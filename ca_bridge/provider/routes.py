"""The provider's addresses. Authorization answers go to the browser, everything else is JSON."""

from __future__ import annotations

import logging
from urllib.parse import urlencode, urlsplit

from authlib.oauth2 import OAuth2Error
from flask import Blueprint, Response, abort, g, jsonify, redirect, request
from werkzeug.wrappers import Response as AnyResponse

from ca_bridge.ceremony.services import Services
from ca_bridge.ceremony.transaction import SignInRequest, begin, finish, new_secret
from ca_bridge.errors import LANGUAGES, CrosshallError, ProviderError, catalogue
from ca_bridge.provider import attributes, cookies, hall_logout, metrics
from ca_bridge.provider.health import Health
from ca_bridge.provider.keys import ALGORITHM, SigningKeys
from ca_bridge.provider.request import Refused, check_client, read_request, safe_state
from ca_bridge.provider.server import Provider
from ca_bridge.provider.tokens import claims_supported
from ca_bridge.provider.watcher import still_good
from ca_bridge.store.sessions import SIGNED_OUT
from ca_bridge.types import LEVELS, Session, loa

JWKS_SECONDS = 60
_LOCAL = ("openid.health", "openid.metrics")
_STRANGERS = ("provider.bearer", "provider.token_form", "provider.token_signature")
_STRANGE_HALLS = ("crypto.size", "crypto.jws", "abroad.unknown_hall", "abroad.logout")
_log = logging.getLogger(__name__)


def blueprint(provider: Provider, keys: SigningKeys) -> Blueprint:
    """Every address of the provider, as docs/contracts.md lists them."""
    routes = Routes(provider, keys)
    bp = Blueprint("openid", __name__)
    bp.before_request(routes.only_at_the_hall)
    bp.add_url_rule("/.well-known/openid-configuration", "discovery", routes.discovery)
    bp.add_url_rule("/jwks", "jwks", routes.jwks)
    bp.add_url_rule("/authorize", "authorize", routes.authorize, methods=["GET", "POST"])
    bp.add_url_rule("/authorize/continue", "continue_", routes.continue_)
    bp.add_url_rule("/token", "token", routes.token, methods=["POST"])
    bp.add_url_rule("/logout", "logout", routes.logout, methods=["GET", "POST"])
    bp.add_url_rule("/attributes", "attributes", routes.attributes)
    bp.add_url_rule("/abroad/logout", "abroad_logout", routes.abroad_logout, methods=["POST"])
    bp.add_url_rule("/health", "health", routes.health)
    bp.add_url_rule("/metrics", "metrics", routes.metrics)
    return bp


class Routes:
    """The views; each takes the request apart, asks the parts that decide, and answers."""

    def __init__(self, provider: Provider, keys: SigningKeys) -> None:
        self._provider = provider
        self._keys = keys
        self._health = Health(provider.services, keys)
        self._services: Services = provider.services
        self._issuer = provider.services.settings.bridge.issuer

    def only_at_the_hall(self) -> None:
        """404 under any other host name (the certificate host above all); two are asked locally too."""
        if request.endpoint not in _LOCAL and request.host != urlsplit(self._issuer).netloc:
            abort(404)

    def discovery(self) -> Response:
        """OpenID Connect Discovery §3."""
        issuer = self._issuer
        answer = jsonify(
            issuer=issuer,
            authorization_endpoint=f"{issuer}/authorize",
            token_endpoint=f"{issuer}/token",
            jwks_uri=f"{issuer}/jwks",
            end_session_endpoint=f"{issuer}/logout",
            scopes_supported=["openid"],
            response_types_supported=["code"],
            response_modes_supported=["query"],
            grant_types_supported=["authorization_code"],
            subject_types_supported=["public"],
            id_token_signing_alg_values_supported=[ALGORITHM],
            token_endpoint_auth_methods_supported=["private_key_jwt"],
            token_endpoint_auth_signing_alg_values_supported=[ALGORITHM],
            code_challenge_methods_supported=["S256"],
            acr_values_supported=[loa(level) for level in LEVELS],
            prompt_values_supported=["none", "login", "select_account"],
            claims_supported=claims_supported(self._services),
            claims_parameter_supported=True,
            request_parameter_supported=False,
            request_uri_parameter_supported=False,
            authorization_response_iss_parameter_supported=True,
            backchannel_logout_supported=True,
            backchannel_logout_session_supported=True,
            ui_locales_supported=list(LANGUAGES),
        )
        return _cached(answer)

    def jwks(self) -> Response:
        """RFC 7517: the keys to come, the one that signs, those whose tokens may still live."""
        return _cached(jsonify(keys=self._keys.ring().published(self._services.clock())))

    def authorize(self) -> AnyResponse:
        """OpenID Connect Core §3.1.2: a code at once for a live session that satisfies, else a sign-in begins."""
        services = self._services
        parameters = request.args if request.method == "GET" else request.form
        check_client(parameters, self._provider.client)
        now = services.clock()
        try:
            asked = read_request(parameters, self._provider.client, now)
        except Refused as refused:
            return self._back(parameters["redirect_uri"], safe_state(parameters), refused.error, refused.description)
        session = services.sessions.find(cookies.session())
        if session is not None and not still_good(services, session):
            session = None
        if session and satisfies(session, asked.request):
            return self._answer(asked.request, session)
        if asked.silent:
            enough = session is not None and session.level >= asked.request.level
            missing = "login_required" if session is None or enough else "interaction_required"
            return self._back(asked.request.redirect_uri, asked.request.state, missing, "a page is needed")
        browser = cookies.browser()
        tx = begin(services.store, asked.request, browser or (browser := new_secret()), now)
        answer = redirect(f"{self._issuer}/sign-in/{tx.id}", 303)
        cookies.keep_browser(answer, browser)
        return answer

    def continue_(self) -> AnyResponse:
        """The sign-in that `web` has ended, taken once and in its own browser, becomes the answer to the client."""
        services = self._services
        tx = finish(services.store, request.args.get("tx", ""), cookies.browser(), services.clock())
        if tx.refused:
            return self._back(tx.request.redirect_uri, tx.request.state, tx.refused, "the person did not sign in")
        session = services.sessions.find(cookies.session())
        if session is None or session.sid != tx.sid:
            raise ProviderError("provider.session_lost", "the session of this sign-in is over or not this browser's")
        if not satisfies(session, tx.request):
            # never an answer below what was asked, whatever the ceremony made of it
            return self._back(tx.request.redirect_uri, tx.request.state, "interaction_required", "level or age not met")
        return self._answer(tx.request, session)

    def token(self) -> Response:
        """RFC 6749 §4.1.3, by Authlib; faults of our own are 503 with a code, never 500."""
        try:
            answer: Response = self._provider.server.create_token_response()
        except OAuth2Error as error:
            answer = _json_error(400, error.error or "invalid_request", error.error or "")
        except CrosshallError as error:
            _log.warning("token request failed", extra={"code": error.code, "detail": error.detail})
            answer = _json_error(503, "temporarily_unavailable", error.code)
        if answer.status_code == 400 and (answer.get_json(silent=True) or {}).get("error") == "invalid_client":
            g.stranger = True
        answer.headers["Cache-Control"] = "no-store"
        return answer

    def logout(self) -> AnyResponse:
        """RP-Initiated Logout: by Keycloak's server or a browser with `id_token_hint`; by our own page with POST."""
        parameters = request.args if request.method == "GET" else request.form
        target = parameters.get("post_logout_redirect_uri", "")
        if target and target != self._after_logout:
            raise ProviderError("provider.redirect_uri", "post_logout_redirect_uri is not the registered one")
        hint = parameters.get("id_token_hint", "")
        if hint:
            # the caller's session is over already: nothing is queued for it
            self._services.sessions.end_told(self._provider.tokens.read_hint(hint))
            state = safe_state(parameters)
            answer = (
                redirect(f"{target}?{urlencode({'state': state})}" if state else target, 303)
                if target
                else Response("", 200, mimetype="text/plain")
            )
        elif request.method == "POST" and request.headers.get("Origin") == self._issuer:
            session = self._services.sessions.find(cookies.session())
            if session:
                self._services.sessions.end(session.sid, SIGNED_OUT)
                self._services.deliver_logouts()
            answer = redirect(f"{self._issuer}/", 303)
        else:
            raise ProviderError("provider.logout_hint", "neither an ID token nor our own page")
        cookies.forget_session(answer)
        return answer

    def attributes(self) -> Response:
        """What the window of the access token may know; RFC 6750 §3 for refusals."""
        services, keys = self._services, self._provider.realm_keys
        try:
            shown = attributes.Shown(
                request.headers.get("Authorization", ""), tuple(request.headers.getlist("DPoP")), request.method
            )
            answer = jsonify(attributes.release(services, keys, shown))
        except ProviderError as error:
            _log.info("attributes refused", extra={"code": error.code, "detail": error.detail})
            g.stranger = error.code in _STRANGERS
            answer = _bearer_error(error)
        except CrosshallError as error:
            _log.warning("attributes failed", extra={"code": error.code, "detail": error.detail})
            answer = _json_error(503, "temporarily_unavailable", error.code)
        answer.headers["Cache-Control"] = "no-store"
        return answer

    def abroad_logout(self) -> Response:
        """Another hall says which of its links are over: 204 when taken, known or not."""
        try:
            hall_logout.take(self._services, request.form.get("logout", ""))
        except CrosshallError as error:
            g.stranger = error.code in _STRANGE_HALLS
            _log.warning("sign-out of another hall refused", extra={"code": error.code, "detail": error.detail})
            entry = catalogue().get(error.code)
            return _json_error(entry.status if entry else 500, "invalid_request", error.code)
        return Response(status=204)

    def health(self) -> Response:
        """200 when people can sign in here, else 503 with the reasons."""
        found = self._health.reasons()
        answer = jsonify(status="red" if found else "ok", reasons=found)
        answer.status_code = 503 if found else 200
        return answer

    def metrics(self) -> Response:
        """Prometheus' text format, at the bridge's own socket only: 404 for what came through nginx."""
        if metrics.came_through_a_front(request.headers):
            abort(404)
        return Response(metrics.exposition(self._services, self._health), content_type=metrics.CONTENT_TYPE)

    @property
    def _after_logout(self) -> str:
        return f"{self._services.settings.keycloak.redirect_uri}/logout_response"

    def _answer(self, asked: SignInRequest, session: Session) -> AnyResponse:
        code = self._provider.issue_code(asked, session)
        return self._to(asked.redirect_uri, {"code": code, "state": asked.state})

    def _back(self, redirect_uri: str, state: str, error: str, description: str) -> AnyResponse:
        return self._to(redirect_uri, {"error": error, "error_description": description, "state": state})

    def _to(self, redirect_uri: str, values: dict[str, str]) -> AnyResponse:
        # RFC 9207: whose answer this is, on every answer
        query = urlencode({name: value for name, value in values.items() if value} | {"iss": self._issuer})
        return redirect(f"{redirect_uri}{'&' if '?' in redirect_uri else '?'}{query}", 303)


def satisfies(session: Session, asked: SignInRequest) -> bool:
    """Whether a live session is no less than what was asked: level, and age of the proof."""
    return session.level >= asked.level and (asked.fresh_after is None or session.auth_time >= asked.fresh_after)


def _cached(answer: Response) -> Response:
    answer.headers["Cache-Control"] = f"public, max-age={JWKS_SECONDS}"
    return answer


def _json_error(status: int, error: str, code: str) -> Response:
    answer = jsonify(error=error, error_description=code)
    answer.status_code = status
    return answer


def _bearer_error(error: ProviderError) -> Response:
    entry = catalogue().get(error.code)
    status = entry.status if entry else 401
    kind = "insufficient_scope" if status == 403 else "invalid_token"
    answer = _json_error(status, kind, error.code)
    if error.code == "provider.bearer":  # RFC 6750 §3.1: no error code for a request without credentials
        answer.headers["WWW-Authenticate"] = 'Bearer, DPoP algs="ES256"'
    elif error.code == "provider.dpop":  # RFC 9449 §7.1
        answer.headers["WWW-Authenticate"] = f'DPoP error="{kind}", error_description="{error.code}", algs="ES256"'
    else:
        answer.headers["WWW-Authenticate"] = f'Bearer error="{kind}", error_description="{error.code}"'
    return answer
