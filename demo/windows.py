"""The departments of the demo: the SDK's examples, as a department would run them.

police, env   examples/flask_window.py    unified login; registered for name and identifiers, and for nothing
archive       examples/django_window.py   has accounts of its own, linked once by their old password
api           examples/fastapi_api.py     takes the access tokens of `police`
old           examples/old_wsgi.py        cannot be changed: behind `crosshall-rp proxy`
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import tomli_w

from ca_bridge.registry import Window, write_window
from ca_bridge.settings import Settings
from crosshall.node import gunicorn
from crosshall.supervisor import Part, http_ready
from crosshall.window import write_developer_settings
from demo.addresses import Addresses

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
OLD_ACCOUNT, OLD_PASSWORD = "zhang", "of long ago"
"""Of the archive, from before unified login."""


@dataclass(frozen=True, slots=True)
class Demonstrated:
    """How one department is registered."""

    zh_hans: str
    zh_hant: str
    en: str
    pt: str
    attributes: tuple[str, ...] = ()

    @property
    def name(self) -> Mapping[str, str]:
        """In four languages."""
        return {"zh-Hans": self.zh_hans, "zh-Hant": self.zh_hant, "en": self.en, "pt": self.pt}


WINDOWS: Mapping[str, Demonstrated] = {
    "police": Demonstrated(
        "公安厅窗口",
        "公安廳窗口",
        "Public Security window",
        "Balcão da Segurança Pública",
        ("name", "identifiers"),
    ),
    "env": Demonstrated("生态环境厅窗口", "生態環境廳窗口", "Environment window", "Balcão do Ambiente"),
    "archive": Demonstrated("档案查询系统", "檔案查詢系統", "Archive", "Arquivo"),
    "api": Demonstrated("办件查询接口", "辦件查詢介面", "Cases API", "API de processos"),
    "old": Demonstrated("旧业务系统", "舊業務系統", "Old system", "Sistema antigo"),
}


def register(settings: Settings, root: Path, addresses: Addresses, ca_file: Path) -> None:
    """Write every window's registration, and the settings file that its developer would be given."""
    for window_id, about in WINDOWS.items():
        base, inside = addresses.url(window_id), f"http://127.0.0.1:{addresses.window_ports[window_id]}"
        window = Window(
            id=window_id,
            sector=window_id,
            name=about.name,
            base_url=base,
            redirect_uris=(f"{base}/oidc/callback",),
            post_logout_redirect_uris=(f"{base}/",),
            backchannel_logout_url=f"{inside}/oidc/backchannel-logout",
            jwks_url=f"{inside}/oidc/jwks.json",
            attributes=about.attributes,
        )
        write_window(settings.node.state, window)
        write_developer_settings(settings, window, _file(root, window_id), ca_file=ca_file)
    _write_proxy(_file(root, "old"), addresses)


def parts(root: Path, addresses: Addresses) -> tuple[Part, ...]:
    """Every process of the windows."""
    ports = addresses.window_ports
    flask, old = "examples.flask_window:create_app()", f"127.0.0.1:{addresses.old_system_port}"
    commands: dict[str, tuple[str | Path, ...]] = {
        "police": gunicorn(f"127.0.0.1:{ports['police']}", flask, workers=2),
        "env": gunicorn(f"127.0.0.1:{ports['env']}", flask, workers=2),
        "archive": gunicorn(f"127.0.0.1:{ports['archive']}", "examples.django_window:application"),
        "api": (
            *(sys.executable, "-m", "uvicorn", "--factory", "examples.fastapi_api:create_app", "--no-access-log"),
            *("--port", str(ports["api"]), "--log-level", "warning"),
        ),
        "old": (
            *(sys.executable, "-m", "relying_party_sdk.cli", "proxy", _file(root, "old")),
            *("--listen", f"127.0.0.1:{ports['old']}", "--workers", "1"),
        ),
    }
    more: dict[str, dict[str, str]] = {
        "archive": {
            "CROSSHALL_RP_ACCOUNTS": f"sqlite:{root / 'windows' / 'archive' / 'accounts.sqlite'}",
            "DATABASE": str(root / "windows" / "archive" / "old.sqlite"),
            "ALLOWED_HOSTS": f"{addresses.host('archive')},127.0.0.1",
            "OLD_ACCOUNT": f"{OLD_ACCOUNT}:{OLD_PASSWORD}",
        },
        "api": {"CROSSHALL_RP_API_AUDIENCE": "police"},
    }
    windows = (
        Part(
            window_id,
            command,
            http_ready(f"http://127.0.0.1:{ports[window_id]}/oidc/jwks.json"),
            {"CROSSHALL_RP_SETTINGS": str(_file(root, window_id)), **more.get(window_id, {})},
            start_seconds=30,
        )
        for window_id, command in commands.items()
    )
    behind = Part("old-system", gunicorn(old, "examples.old_wsgi:application"), http_ready(f"http://{old}/"))
    return (*windows, behind)


def _file(root: Path, window_id: str) -> Path:
    return root / "windows" / window_id / "window.toml"


def _write_proxy(file: Path, addresses: Addresses) -> None:
    """The rules of the example, before the old system of this copy."""
    table = tomllib.loads((EXAMPLES / "old_wsgi.toml").read_text("utf-8"))["proxy"]
    upstream = {"upstream": f"http://127.0.0.1:{addresses.old_system_port}"}
    file.write_text(file.read_text("utf-8") + tomli_w.dumps({"proxy": {**table, **upstream}}), "utf-8")
