"""What a window is registered to learn of a person: asked once, then kept sealed with the session."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from relying_party_sdk import userinfo
from relying_party_sdk.endpoint import Endpoint
from relying_party_sdk.errors import ProviderError
from relying_party_sdk.person import Attributes
from relying_party_sdk.sender import Sender
from relying_party_sdk.session import Session, Sessions
from relying_party_sdk.settings import Settings
from relying_party_sdk.strict import answer
from relying_party_sdk.transport import get


class AttributeSource:
    """The hall's attribute endpoint, or any provider's userinfo endpoint."""

    def __init__(self, settings: Settings, sessions: Sessions, sender: Sender, endpoint: Endpoint) -> None:
        self._settings = settings
        self._sessions = sessions
        self._sender = sender
        self._endpoint = endpoint

    def of(self, session: Session) -> Attributes:
        """The attributes.

        Raises ProviderError: `rp.attributes` when the endpoint refuses or speaks of another person (userinfo:
        `rp.userinfo_sub`).
        """
        if self._settings.userinfo == "on":
            return Attributes.of_userinfo(self._sessions.attributes(session) or self._ask_userinfo(session))
        if not self._settings.attributes_url:
            return Attributes()
        return Attributes.read(self._sessions.attributes(session) or self._ask_hall(session))

    def _ask_hall(self, session: Session) -> Mapping[str, Any]:
        response = self._sender.call(get(self._settings.attributes_url), session.access_token)
        if response.status in (401, 403):
            raise ProviderError("rp.attributes", f"the attribute endpoint refuses: HTTP {response.status}")
        raw = answer(response, "attributes")
        if raw.get("subject") != session.claims["crosshall_subject"]:
            raise ProviderError("rp.attributes", "the attribute endpoint speaks of another person")
        Attributes.read(raw)  # what cannot be read is not kept
        self._sessions.keep_attributes(session, raw)
        return raw

    def _ask_userinfo(self, session: Session) -> Mapping[str, Any]:
        call = userinfo.userinfo_request(self._endpoint.metadata())
        response = self._sender.call(call, session.access_token)
        raw = userinfo.process_userinfo(response, self._settings, self._endpoint.keys.find, session.sub)
        self._sessions.keep_attributes(session, raw)
        return raw
