"""A node's Keycloak alone, with its realm applied, between the stand-ins of `tests.parts.realm`."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from ca_bridge import registry
from ca_bridge.settings import Settings, load_settings
from crosshall.node import NodeFolder, keycloak_part, make_secrets, write_settings
from crosshall.supervisor import Supervisor
from idp.admin import Admin, connect
from idp.apply import apply_realm
from idp.install import install
from idp.seed import claim, free_ports, seed
from idp.server import KeycloakServer, read_password
from tests.parts.realm import Page, Stage, stage
from tests.parts.realm_window import Window


@dataclass
class Realm:
    """The realm under test and what stands around it."""

    settings: Settings
    windows: tuple[registry.Window, ...]
    stage: Stage
    log: Callable[[], str]

    @property
    def admin(self) -> Admin:
        node = self.settings.keycloak
        return connect(node.internal, node.realm, node.admin_user, read_password(node.admin_password_file))

    def window(self, name: str) -> Window:
        origin = f"https://{name}.gd.localhost:8443/oidc/callback"
        return Window(self.settings.keycloak.issuer, name, self.stage.window_keys[name], origin)

    def apply(self) -> int:
        return apply_realm(self.settings, self.windows).writes

    def drop(self) -> None:
        self.admin.delete(f"admin/realms/{self.settings.keycloak.realm}")


def registered(name: str, origin: str) -> registry.Window:
    """A window whose own addresses lie at the stage."""
    base = f"https://{name}.gd.localhost:8443"
    return registry.Window(
        id=name,
        sector=name,
        name={"zh-Hans": "窗口"},
        base_url=base,
        redirect_uris=(f"{base}/oidc/callback",),
        post_logout_redirect_uris=(f"{base}/",),
        backchannel_logout_url=f"{origin}/{name}/backchannel-logout",
        jwks_url=f"{origin}/{name}/jwks.json",
    )


@contextmanager
def running_realm(path: Path) -> Iterator[Realm]:
    """Keycloak from the seed, claimed, realm applied; stopped at the end."""
    folder = NodeFolder(path)
    make_secrets(folder)
    port, management = free_ports(2)
    home = install()
    server = KeycloakServer(
        home=home,
        folder=folder.run / "keycloak",
        port=port,
        management_port=management,
        hostname=f"http://127.0.0.1:{port}",
        admin_password_file=folder.keys / "keycloak-admin",
    )
    server.prepare(seed(home))
    supervisor = Supervisor(folder.logs, lambda _: None)
    with stage() as around:
        url = f"http://127.0.0.1:{port}"
        write_settings(folder, {
            "bridge": {"issuer": around.origin, "certificate_host": "*.cert.gd.localhost:8443"},
            "keycloak": {"issuer": f"{url}/realms/gd", "internal": url},
        })  # fmt: skip
        settings = load_settings(folder.settings, {})
        around.keycloak_jwks = settings.keycloak.jwks_url
        windows = (registered("police", around.origin), registered("env", around.origin))
        try:
            supervisor.start(keycloak_part(server))
            claim(server)
            realm = Realm(settings, windows, around, lambda: (folder.logs / "keycloak.log").read_text("utf-8"))
            realm.apply()
            yield realm
        finally:
            supervisor.stop_all()


def words(page: Page) -> str:
    """What a person reads on a page of Keycloak."""
    text = re.sub(r"(?s)<(script|style).*?</\1>|<[^>]+>", " ", page.text)
    return re.sub(r"\s+", " ", re.sub(r"&#x([0-9a-f]+);", lambda m: chr(int(m[1], 16)), text))


def send_logout(realm: Realm, token: str) -> int:
    """The bridge's logout token to Keycloak; the status it answers."""
    body = urlencode({"logout_token": token}).encode()
    try:
        with urllib.request.urlopen(realm.settings.keycloak.logout_url, body, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def drift(admin: Admin) -> None:
    """What a well-meaning hand may change in the console."""
    base = admin.base
    admin.put(base, {**admin.read(base), "registrationAllowed": True, "accessTokenLifespan": 86_400})
    provider = admin.read(f"{base}/identity-provider/instances/bridge")
    provider["config"] |= {"validateSignature": "false", "jwtAuthorizationGrantEnabled": "true"}
    admin.put(f"{base}/identity-provider/instances/bridge", provider)
    client = admin.read(f"{base}/clients", clientId="police")[0]
    changed = {**client, "redirectUris": ["https://police.gd.localhost:8443/*"], "directAccessGrantsEnabled": True}
    admin.put(f"{base}/clients/{client['id']}", changed)
    mappers = {each["name"]: each for each in client["protocolMappers"]}
    at = f"{base}/clients/{client['id']}/protocol-mappers/models"
    admin.delete(f"{at}/{mappers['introspection username']['id']}")
    admin.post(at, {"name": "leak", "protocol": "openid-connect", "protocolMapper": "oidc-usermodel-attribute-mapper",
                    "config": {"user.attribute": "username", "claim.name": "who"}})  # fmt: skip
    scopes = {each["name"]: each["id"] for each in admin.read(f"{base}/client-scopes")}
    admin.put(f"{base}/clients/{client['id']}/optional-client-scopes/{scopes['offline_access']}", {})
    flow = admin.read(f"{base}/authentication/flows/crosshall-after-1/executions")
    allow = next(row for row in flow if row.get("providerId") == "conditional-user-attribute")
    admin.put(f"{base}/authentication/flows/crosshall-after-1/executions", {**allow, "requirement": "DISABLED"})
