"""The process of Keycloak: its arguments, environment and folder."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from ca_bridge.errors import UpstreamError
from idp.server import KeycloakServer, read_password


@pytest.fixture(name="server")
def _server(tmp_path: Path) -> KeycloakServer:
    home = tmp_path / "home"
    (home / "lib" / "quarkus").mkdir(parents=True)
    (home / "lib" / "quarkus" / "generated-bytecode.jar").write_bytes(b"")
    (home / "conf").mkdir()
    (home / "conf" / "cache-ispn.xml").write_text("<x/>")
    password = tmp_path / "password"
    password.write_text("not-in-arguments\n")
    password.chmod(0o600)
    return KeycloakServer(
        home=home,
        folder=tmp_path / "run",
        port=18444,
        management_port=18445,
        hostname="https://sso.gd.localhost:8443",
        admin_password_file=password,
        trust=(tmp_path / "ca.pem",),
        hosts=("hall.gd.localhost",),
    )


@pytest.fixture(name="seed")
def _seed(tmp_path: Path) -> Path:
    folder = tmp_path / "seed"
    (folder / "h2").mkdir(parents=True)
    (folder / "h2" / "keycloakdb.mv.db").write_bytes(b"seeded")
    (folder / "password").write_text("seed-password")
    (folder / "password").chmod(0o600)
    return folder


def test_it_listens_on_loopback_only(server: KeycloakServer) -> None:
    """HTTP and management are on 127.0.0.1; what browsers see is the hostname; headers are believed from loopback."""
    command = server.command()
    for argument in (
        "start", "--optimized", "--cache=local", "--http-host=127.0.0.1", "--http-management-host=127.0.0.1",
        "--http-port=18444", "--http-management-port=18445", "--hostname=https://sso.gd.localhost:8443",
        "--proxy-headers=xforwarded", "--proxy-trusted-addresses=127.0.0.1",
    ):  # fmt: skip
        assert argument in command
    assert f"--truststore-paths={server.trust[0]}" in command
    assert server.ready_url == "http://127.0.0.1:18445/health/ready"


def test_no_secret_is_an_argument(server: KeycloakServer) -> None:
    """Passwords are in the environment: every user of a machine can read arguments."""
    with_database = replace(server, database_url="postgresql://kc:data%2Fword@127.0.0.1:5433/kc?sslmode=disable")
    environment = with_database.environment()
    assert environment["KC_BOOTSTRAP_ADMIN_PASSWORD"] == "not-in-arguments"
    assert environment["KC_DB_URL"] == "jdbc:postgresql://127.0.0.1:5433/kc?sslmode=disable"
    assert (environment["KC_DB_USERNAME"], environment["KC_DB_PASSWORD"]) == ("kc", "data/word")
    arguments = " ".join(with_database.command())
    assert "not-in-arguments" not in arguments
    assert "word@" not in arguments


def test_no_person_key_in_its_log(server: KeycloakServer) -> None:
    """Event lines hold user names (person keys): their logger is off."""
    assert any(
        argument.startswith("--log-level=") and "org.keycloak.events:off" in argument for argument in server.command()
    )


@pytest.mark.parametrize("url", ["mysql://u:p@h/db", "postgresql://h", "postgresql:///db", "kc"])
def test_other_databases_are_refused(server: KeycloakServer, url: str) -> None:
    """Only PostgreSQL with host and name; the error does not repeat the address, which may hold a password."""
    with pytest.raises(UpstreamError) as caught:
        replace(server, database_url=url).environment()
    assert caught.value.code == "realm.database"
    assert url not in caught.value.detail


def test_the_folder_is_its_own(server: KeycloakServer, seed: Path) -> None:
    """Data, configuration, theme and temporary files are the run's; only the program is shared, by a link."""
    server.prepare(seed)
    assert (server.folder / "lib").readlink() == server.home / "lib"
    assert (server.folder / "data" / "h2" / "keycloakdb.mv.db").read_bytes() == b"seeded"
    assert (server.folder / "data").stat().st_mode & 0o077 == 0
    assert (server.folder / "data" / "unclaimed").stat().st_mode & 0o777 == 0o600
    lines = (server.folder / "conf" / "hosts").read_text().splitlines()
    assert lines == [f"127.0.0.1 {name}" for name in ("localhost", socket.gethostname(), "hall.gd.localhost")]
    theme = server.folder / "themes" / "crosshall" / "login" / "theme.properties"
    assert theme.is_file()
    assert not theme.is_symlink()


def test_a_database_is_never_replaced(server: KeycloakServer, seed: Path) -> None:
    """Preparing again keeps the database of the node, and does not make it unclaimed again."""
    server.prepare(seed)
    (server.folder / "data" / "h2" / "keycloakdb.mv.db").write_bytes(b"my own")
    (server.folder / "data" / "unclaimed").unlink()
    server.prepare(seed)
    assert (server.folder / "data" / "h2" / "keycloakdb.mv.db").read_bytes() == b"my own"
    assert not (server.folder / "data" / "unclaimed").exists()


def test_half_a_seed_is_planted_again(server: KeycloakServer, seed: Path) -> None:
    """An interrupt while the seed is copied leaves no half database behind."""
    (server.folder / "data" / ".h2-partial").mkdir(parents=True)
    (server.folder / "data" / ".h2-partial" / "keycloakdb.mv.db").write_bytes(b"see")
    server.prepare(seed)
    assert (server.folder / "data" / "h2" / "keycloakdb.mv.db").read_bytes() == b"seeded"


@pytest.mark.parametrize(
    "change", [{"database_url": "postgresql://u:p@h/db"}, {"admin_user": "root"}], ids=["pg", "name"]
)
def test_no_seed_where_it_does_not_fit(server: KeycloakServer, seed: Path, change: dict[str, str]) -> None:
    """PostgreSQL has its own data; the seed's administrator is called admin."""
    replace(server, **change).prepare(seed)  # type: ignore[arg-type]
    assert not (server.folder / "data" / "h2").exists()


def test_an_unbuilt_home_is_refused(server: KeycloakServer, tmp_path: Path) -> None:
    """A folder without a built Keycloak: `realm.build`, before anything is written."""
    with pytest.raises(UpstreamError) as caught:
        replace(server, home=tmp_path / "nothing").prepare()
    assert caught.value.code == "realm.build"
    assert not server.folder.exists()


@pytest.mark.parametrize(
    ("text", "mode"), [(None, 0), ("", 0o600), (" \n", 0o600), ("secret", 0o644), ("secret", 0o640)]
)
def test_password_files_that_are_refused(tmp_path: Path, text: str | None, mode: int) -> None:
    """Absent, empty, or readable by others; the error never holds the password."""
    path = tmp_path / "file"
    if text is not None:
        path.write_text(text)
        path.chmod(mode)
    with pytest.raises(UpstreamError) as caught:
        read_password(path)
    assert caught.value.code == "realm.admin_password"
    assert "secret" not in str(caught.value)
