"""A ready-made empty database for the H2 mode: a node's first start then takes 7 s instead of 16.

The seed holds the master realm and one administrator with a random password that lies beside it (0600). A node that
was started from it is not finished before `claim`: the node's own password is set and the master realm gets keys of
its own, so that two nodes of one machine share no secret.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import time
from pathlib import Path

import urllib3

from ca_bridge.errors import UpstreamError
from ca_bridge.files import write_atomically
from idp.admin import Admin, Json, connect
from idp.install import Progress, locked, partial_folder
from idp.server import KeycloakServer, read_password

_KEY_PROVIDER = "org.keycloak.keys.KeyProvider"
_START_SECONDS = 180
_MASTER_KEYS: tuple[tuple[str, Json], ...] = (
    ("ecdsa-generated", {"ecdsaEllipticCurveKey": ["P-256"]}),
    ("hmac-generated", {"algorithm": ["HS512"]}),
    ("aes-generated", {}),
)


def seed(home: Path, *, java: str = "java", progress: Progress = lambda _: None) -> Path:
    """The seed folder beside `home` in the cache, made when absent by one start of Keycloak (about 20 s).

    Safe to interrupt and to call side by side. Raises UpstreamError `realm.build` when that start fails.
    """
    folder = home.with_name(f"{home.name}-seed")
    if folder.is_dir():
        return folder
    with locked(home.parent):
        if folder.is_dir():
            return folder
        with partial_folder(home.parent) as work:
            progress("Keycloak: making an empty database (about 20 s, once)")
            _make(home, work, java)
            (work / "seed").rename(folder)
    return folder


def _make(home: Path, work: Path, java: str) -> None:
    result = work / "seed"
    result.mkdir(mode=0o700)
    write_atomically(result / "password", secrets.token_urlsafe(32).encode(), mode=0o600)
    port, management = free_ports(2)
    server = KeycloakServer(
        home=home,
        folder=work / "run",
        port=port,
        management_port=management,
        hostname=f"http://127.0.0.1:{port}",
        admin_password_file=result / "password",
        java=java,
    )
    server.prepare()
    run_once(server, work / "keycloak.log")
    shutil.copytree(work / "run" / "data" / "h2", result / "h2")


def run_once(server: KeycloakServer, log: Path) -> None:
    """Start `server`, wait until it is ready, stop it. Raises UpstreamError `realm.build` with the log's end."""
    with log.open("wb") as output:
        # setpriv: the process dies with us, however we end.
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", "--", *server.command()],
            env=_environment(server),
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            ready = _wait(server.ready_url, process)
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    if not ready:
        raise UpstreamError("realm.build", f"Keycloak did not start:\n{log.read_text('utf-8', 'replace')[-1500:]}")


def _environment(server: KeycloakServer) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KC_")}
    return {**kept, **server.environment()}


def _wait(url: str, process: subprocess.Popen[bytes]) -> bool:
    pool = urllib3.PoolManager(retries=False, timeout=2.0)
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if pool.request("GET", url).status == 200:
                return True
        except urllib3.exceptions.HTTPError:
            pass
        time.sleep(0.1)
    return False


def free_ports(count: int) -> list[int]:
    """Loopback ports that nothing listens on at this moment."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def claim(server: KeycloakServer) -> bool:
    """After this a running node that grew from a seed has its own administrator's password and master keys.

    Returns whether there was anything to do; may be interrupted and called again. Raises UpstreamError
    `realm.admin_login` when neither the seed's password nor the node's is taken.
    """
    mark = server.folder / "data" / "unclaimed"
    if not mark.exists():
        return False
    own = read_password(server.admin_password_file)
    admin = _log_in(server, own, read_password(mark))
    user = admin.read("admin/realms/master/users", username=server.admin_user, exact="true")[0]["id"]
    admin.put(
        f"admin/realms/master/users/{user}/reset-password", {"type": "password", "value": own, "temporary": False}
    )
    old = [key["id"] for key in _keys(admin)]
    _new_keys(admin, f"node {secrets.token_hex(4)}")
    # Only a token signed by a key that stays may remove the others.
    admin = connect(server.internal_url, "master", server.admin_user, own)
    for key in old:
        admin.delete(f"admin/realms/master/components/{key}")
    mark.unlink()
    return True


def _new_keys(admin: Admin, name: str) -> None:
    # Elliptic keys only: making RSA keys takes seconds at each node's first start.
    parent = admin.read("admin/realms/master")["id"]
    for provider, config in _MASTER_KEYS:
        body = {"name": f"{provider} {name}", "providerId": provider, "providerType": _KEY_PROVIDER}
        priority = 100 + len(_keys(admin))
        settings = {**config, "priority": [str(priority)]}
        admin.post("admin/realms/master/components", {**body, "parentId": parent, "config": settings})
    admin.put("admin/realms/master", {"realm": "master", "defaultSignatureAlgorithm": "ES256"})


def _log_in(server: KeycloakServer, own: str, seeded: str) -> Admin:
    try:
        return connect(server.internal_url, "master", server.admin_user, seeded)
    except UpstreamError as error:
        if error.code != "realm.admin_login":
            raise
    return connect(server.internal_url, "master", server.admin_user, own)


def _keys(admin: Admin) -> list[Json]:
    found: list[Json] = admin.read("admin/realms/master/components", type=_KEY_PROVIDER)
    return found
