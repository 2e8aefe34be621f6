"""Two distributions from one checkout: each holds what is its own, and the SDK works alone."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module", name="wheels")
def _wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("wheels")
    for source in (ROOT, ROOT / "relying_party_sdk"):
        subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
            cwd=source,
            check=True,
            capture_output=True,
        )
    return {path.name.split("-")[0]: path for path in folder.glob("*.whl")}


def tops(wheel: Path) -> set[str]:
    """The top-level names that a wheel puts into site-packages."""
    return {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}


def test_each_wheel_holds_what_is_its_own(wheels: dict[str, Path]) -> None:
    """No package is in both, and no top-level `config` collides with other people's."""
    assert tops(wheels["crosshall"]) == {"ca_bridge", "crosshall", "demo", "idp", "nodes", "signer"}
    assert tops(wheels["crosshall_rp"]) == {"relying_party_sdk"}


def test_data_travels_with_the_code(wheels: dict[str, Path]) -> None:
    """Templates, words, nginx and realm, migrations, and the claims' contract are in the wheels."""
    names = set(zipfile.ZipFile(wheels["crosshall"]).namelist())
    for name in (
        "crosshall/config/claims.schema.json",
        "crosshall/config/errors/run.toml",
        "crosshall/config/locales/zh-Hans.toml",
        "crosshall/config/nginx/main.conf",
        "crosshall/config/realm/realm.toml",
        "ca_bridge/py.typed",
        "ca_bridge/store/migrations/versions/0001_first.py",
        "ca_bridge/web/templates/signin.html",
        "signer/templates/frame.html",
        "demo/personas.toml",
    ):
        assert name in names, name
    sdk = set(zipfile.ZipFile(wheels["crosshall_rp"]).namelist())
    assert {"relying_party_sdk/py.typed", "relying_party_sdk/claims.schema.json"} <= sdk
    assert {"relying_party_sdk/remedies.json", "relying_party_sdk/templates/flask/app.py.txt"} <= sdk
    points = next(name for name in sdk if name.endswith(".dist-info/entry_points.txt"))
    assert b"[pytest11]" in zipfile.ZipFile(wheels["crosshall_rp"]).read(points)


def test_the_sdk_installs_alone(wheels: dict[str, Path], tmp_path: Path) -> None:
    """In an empty environment the SDK brings cryptography, pyjwt, urllib3 (and what these need), and imports."""
    environment = tmp_path / "venv"
    uv = str(Path(sys.executable).parent / "uv")
    subprocess.run([uv, "venv", "-q", str(environment)], check=True)
    python = str(environment / "bin" / "python")
    subprocess.run([uv, "pip", "install", "-q", "--python", python, str(wheels["crosshall_rp"])], check=True)
    listed = subprocess.run([uv, "pip", "list", "-q", "--python", python], check=True, capture_output=True, text=True)
    found = {line.split()[0].lower() for line in listed.stdout.splitlines()[2:]}
    assert found == {"cffi", "cryptography", "crosshall-rp", "pycparser", "pyjwt", "urllib3"}
    program = "import relying_party_sdk as rp; print(rp.__file__)"
    done = subprocess.run([python, "-c", program], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert str(environment) in done.stdout
