"""The one door to Keycloak's admin API, through python-keycloak; every write is counted.

Paths are those of Keycloak's admin REST API, without a leading slash. The administrator lives in the `master` realm,
whatever realm is spoken of. Details of errors name the address and Keycloak's own words, never a token.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from keycloak import KeycloakOpenIDConnection
from keycloak.exceptions import KeycloakAuthenticationError, KeycloakConnectionError, KeycloakError

from ca_bridge.errors import UpstreamError

Json = dict[str, Any]


class Admin:
    """Reads and writes of the admin API. Make it with `connect`; not thread safe."""

    def __init__(self, connection: KeycloakOpenIDConnection, realm: str) -> None:
        self._connection = connection
        self.realm = realm
        self.writes = 0
        """How many POST, PUT and DELETE were sent."""

    @property
    def base(self) -> str:
        """`admin/realms/<realm>`."""
        return f"admin/realms/{self.realm}"

    def find(self, path: str, **query: str) -> Any | None:
        """The JSON at `path`, or None when Keycloak answers 404."""
        answer = self._call(self._connection.raw_get, path, **query)
        return None if answer.status_code == 404 and not answer.history else self._json(answer, path)

    def read(self, path: str, **query: str) -> Any:
        """The JSON at `path`. Raises UpstreamError `realm.refused` for any answer but 2xx."""
        return self._json(self._call(self._connection.raw_get, path, **query), path)

    def post(self, path: str, body: object) -> str:
        """Create below `path`. Returns the id of what was made, when Keycloak tells it."""
        answer = self._write(self._connection.raw_post, path, body)
        return str(answer.headers.get("Location", "")).rpartition("/")[2]

    def put(self, path: str, body: object) -> None:
        """Replace what is at `path`."""
        self._write(self._connection.raw_put, path, body)

    def delete(self, path: str, body: object | None = None) -> None:
        """Remove what is at `path`; what is gone already is no error."""
        self.writes += 1
        keywords = {} if body is None else {"data": json.dumps(body)}
        answer = self._call(lambda address, **_: self._connection.raw_delete(address, **keywords), path)
        if answer.status_code != 404 or answer.history:
            self._check(answer, path)

    def _write(self, method: Callable[..., Any], path: str, body: object) -> Any:
        self.writes += 1
        data = json.dumps(body, ensure_ascii=False).encode()
        answer = self._call(lambda address, **_: method(address, data=data), path)
        self._check(answer, path)
        return answer

    def _call(self, method: Callable[..., Any], path: str, **query: str) -> Any:
        try:
            return method(path, **query)
        except KeycloakAuthenticationError as error:
            raise UpstreamError("realm.admin_login", f"the administrator's token is refused at {path}") from error
        except (KeycloakConnectionError, OSError) as error:
            raise UpstreamError("realm.unreachable", f"no answer from Keycloak at {path}") from error
        except KeycloakError as error:
            raise UpstreamError("realm.refused", f"{path}: HTTP {error.response_code}") from error

    @staticmethod
    def _check(answer: Any, path: str) -> None:
        if answer.history:
            raise UpstreamError("realm.refused", f"{path}: redirected, so this is not Keycloak's own address")
        if answer.status_code in (401, 403):
            raise UpstreamError("realm.admin_login", f"the administrator may not use {path}")
        if not 200 <= answer.status_code < 300:
            raise UpstreamError("realm.refused", f"{path}: HTTP {answer.status_code} {answer.text[:500]}")

    def _json(self, answer: Any, path: str) -> Any:
        self._check(answer, path)
        try:
            return answer.json()
        except ValueError as error:
            raise UpstreamError("realm.refused", f"{path}: the answer is not JSON") from error


def connect(url: str, realm: str, user: str, password: str, *, timeout: int = 30) -> Admin:
    """An administrator of `realm` at `url` (scheme, host, port), logged in to the master realm.

    `timeout` is in seconds, for each call. Raises UpstreamError `realm.admin_login` (name or password is refused) or
    `realm.unreachable`.
    """
    connection = KeycloakOpenIDConnection(
        server_url=url.rstrip("/") + "/",
        username=user,
        password=password,
        realm_name=realm,
        user_realm_name="master",
        client_id="admin-cli",
        timeout=timeout,
    )
    try:
        connection.get_token()
    except KeycloakAuthenticationError as error:
        raise UpstreamError("realm.admin_login", "name or password of the administrator is refused") from error
    except (KeycloakConnectionError, OSError) as error:
        raise UpstreamError("realm.unreachable", f"no answer from Keycloak at {url}") from error
    except KeycloakError as error:
        if error.response_code in (400, 401):
            raise UpstreamError("realm.admin_login", "name or password of the administrator is refused") from error
        raise UpstreamError("realm.unreachable", f"{url} answers HTTP {error.response_code}") from error
    return Admin(connection, realm)
