"""A node's settings, two windows and the desired realm that they make."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from ca_bridge.registry import Window
from ca_bridge.settings import Bridge, Keycloak, Settings
from idp.desired import desired_realm
from idp.model import Client, Desired
from idp.salts import Salts

Change = Callable[[Desired], Desired]


def window(name: str = "police", **changes: object) -> Window:
    """A registered window."""
    base = f"https://{name}.gd.localhost:8443"
    made = Window(
        id=name,
        sector=name,
        name={"zh-Hans": "窗口", "en": "Window"},
        base_url=base,
        redirect_uris=(f"{base}/oidc/callback",),
        post_logout_redirect_uris=(f"{base}/",),
        backchannel_logout_url="http://127.0.0.1:18101/oidc/backchannel-logout",
        jwks_url="http://127.0.0.1:18101/oidc/jwks.json",
    )
    return replace(made, **changes)  # type: ignore[arg-type]


@pytest.fixture(name="settings")
def _settings() -> Settings:
    return Settings(
        bridge=Bridge(issuer="https://hall.gd.localhost:8443", certificate_host="*.cert.gd.localhost:8443"),
        keycloak=Keycloak(issuer="https://sso.gd.localhost:8443/realms/gd", internal="http://127.0.0.1:8444"),
    )


@pytest.fixture(name="desired")
def _desired(settings: Settings) -> Desired:
    return desired_realm(settings, (window(), window("env")), Salts(b"x" * 32))


def with_client(desired: Desired, change: Callable[[Client], Client]) -> Desired:
    """`desired` with its first client changed."""
    return replace(desired, clients=(change(desired.clients[0]), *desired.clients[1:]))
