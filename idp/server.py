"""One Keycloak process of one node: its command line, environment and address of readiness.

The built distribution is shared and read only. Keycloak finds everything by `kc.home.dir`; each run has a home of its
own with `lib` linked to the shared one and its own `conf`, `data`, `themes` and `tmp`. Java is started directly: the
process that is started is the one to signal, and its arguments hold no secret.
"""

from __future__ import annotations

import ipaddress
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ca_bridge.errors import UpstreamError
from ca_bridge.files import config_dir, write_atomically

_OPENS = (
    "java.base/java.util=ALL-UNNAMED",
    "java.base/java.util.concurrent=ALL-UNNAMED",
    "java.base/java.security=ALL-UNNAMED",
    "java.base/java.lang=ALL-UNNAMED",
)
# Keycloak writes user names (the person keys) into event lines: they are in the expiring event table only.
# The health check reports each probe before readiness as a line of its own.
_LOG_LEVELS = "INFO,org.keycloak.events:off,io.smallrye.health:warn"


@dataclass(frozen=True, slots=True)
class KeycloakServer:
    """How a node runs Keycloak. `prepare()` once, then start `command()` with `environment()` added."""

    home: Path
    """Built distribution, from `idp.install.install`."""
    folder: Path
    """The run's own folder: database (H2), configuration, theme."""
    port: int
    """Loopback HTTP port; nginx stands before it."""
    management_port: int
    """Loopback port of `/health/ready`."""
    hostname: str
    """What browsers and tokens say: `https://sso…:8443`, no path."""
    admin_password_file: Path
    """One line, mode 0600; needed at the first start, when the database is made without a seed."""
    admin_user: str = "admin"
    database_url: str = ""
    """Empty for the H2 file in `folder`; else `postgresql://user:password@host:port/name` (a build for postgres)."""
    trust: tuple[Path, ...] = ()
    """PEM files of CAs that Keycloak's own HTTPS calls trust beside the public ones (the demo's TLS CA)."""
    hosts: tuple[str, ...] = ()
    """Names that mean 127.0.0.1 for this process. When given, no other name but IP addresses resolves."""
    heap_megabytes: int = 512
    java: str = "java"

    @property
    def ready_url(self) -> str:
        """Answers 200 when the realm can be used; the HTTP port answers before that."""
        return f"http://127.0.0.1:{self.management_port}/health/ready"

    @property
    def internal_url(self) -> str:
        """Address for calls between servers, without a path."""
        return f"http://127.0.0.1:{self.port}"

    def prepare(self, seed: Path | None = None) -> None:
        """Lay out the run's folder; may be called before each start. `seed` (`idp.seed`) fills an empty database only.

        Raises UpstreamError `realm.build` when `home` is not a built distribution.
        """
        jar = self.home / "lib" / "quarkus" / "generated-bytecode.jar"
        if not jar.is_file():
            raise UpstreamError("realm.build", f"{self.home} holds no built Keycloak")
        for name in ("conf", "data", "providers", "themes"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self.folder / "tmp", ignore_errors=True)
        (self.folder / "tmp").mkdir()
        # Keycloak keeps compressed copies of a theme's files here and never looks whether the theme has changed.
        shutil.rmtree(self.folder / "data" / "tmp" / "kc-gzip-cache", ignore_errors=True)
        (self.folder / "data").chmod(0o700)
        _link(self.folder / "lib", self.home / "lib")
        shutil.copyfile(self.home / "conf" / "cache-ispn.xml", self.folder / "conf" / "cache-ispn.xml")
        write_atomically(self.folder / "conf" / "keycloak.conf", b"")
        write_atomically(self.folder / "conf" / "hosts", self._hosts_file())
        _copy_theme(self.folder / "themes")
        # The seed's administrator is called admin: another name needs Keycloak's own first start.
        if seed is not None and not self.database_url and self.admin_user == "admin":
            _plant(seed, self.folder / "data")

    def command(self) -> list[str]:
        """The process to start, without secrets."""
        properties = {
            "kc.home.dir": self.folder,
            "jboss.server.config.dir": self.folder / "conf",
            "java.io.tmpdir": self.folder / "tmp",
            "java.util.logging.manager": "org.jboss.logmanager.LogManager",
            "java.util.concurrent.ForkJoinPool.common.threadFactory": (
                "io.quarkus.bootstrap.forkjoin.QuarkusForkJoinWorkerThreadFactory"
            ),
            "java.security.egd": "file:/dev/urandom",
            "kc.config.built": "true",
            "picocli.disable.closures": "true",
            "file.encoding": "UTF-8",
            "user.language": "en",
            "user.country": "US",
        }
        if self.hosts:
            properties["jdk.net.hosts.file"] = self.folder / "conf" / "hosts"
        return [
            self.java,
            # C1 alone: ready after 7 s instead of 12–20, and half the CPU; throughput of a node's sign-ins suffices.
            "-XX:TieredStopAtLevel=1",
            "-XX:+UseSerialGC",
            "-XX:+ExitOnOutOfMemoryError",
            "-XX:MaxMetaspaceSize=256m",
            "-Xms64m",
            f"-Xmx{self.heap_megabytes}m",
            *(f"--add-opens={name}" for name in _OPENS),
            *(f"-D{name}={value}" for name, value in properties.items()),
            "-cp",
            str(self.folder / "lib" / "quarkus-run.jar"),
            "io.quarkus.bootstrap.runner.QuarkusEntryPoint",
            *self._arguments(),
        ]

    def _arguments(self) -> list[str]:
        arguments = [
            "start",
            "--optimized",
            "--cache=local",  # counts only here: given to build alone, JGroups starts all the same
            "--http-enabled=true",
            "--http-host=127.0.0.1",
            f"--http-port={self.port}",
            "--http-management-host=127.0.0.1",
            f"--http-management-port={self.management_port}",
            f"--hostname={self.hostname}",
            "--hostname-backchannel-dynamic=true",
            "--proxy-headers=xforwarded",
            "--proxy-trusted-addresses=127.0.0.1",
            f"--log-level={_LOG_LEVELS}",
            # A connection kept alive to a front that has just restarted is dead: the next call must not be somebody's
            # failed sign-in. What is sent twice by it is refused (assertions are good once), never done twice.
            "--spi-connections-http-client--default--max-retries=2",
            "--spi-connections-http-client--default--initial-backoff-millis=100",
        ]
        if self.trust:
            arguments.append(f"--truststore-paths={','.join(map(str, self.trust))}")
        return arguments

    def environment(self) -> dict[str, str]:
        """Variables that hold what must not be in a process list. Raises UpstreamError `realm.admin_password`."""
        environment = {
            "KC_BOOTSTRAP_ADMIN_USERNAME": self.admin_user,
            "KC_BOOTSTRAP_ADMIN_PASSWORD": read_password(self.admin_password_file),
        }
        if self.database_url:
            environment |= _jdbc(self.database_url)
        return environment

    def _hosts_file(self) -> bytes:
        # The machine's own name too: Java asks for it and warns when it does not resolve.
        names = ("localhost", socket.gethostname(), *self.hosts)
        return "".join(f"127.0.0.1 {name}\n" for name in names).encode()


def read_password(path: Path) -> str:
    """The one line of a password file. Raises UpstreamError `realm.admin_password`: absent, empty, open to others."""
    try:
        if path.stat().st_mode & 0o077:
            raise UpstreamError("realm.admin_password", f"{path} can be read by others: chmod 600")
        password = path.read_text("utf-8").strip()
    except OSError as error:
        raise UpstreamError("realm.admin_password", f"cannot read {path}: {error.strerror}") from error
    if not password:
        raise UpstreamError("realm.admin_password", f"{path} is empty")
    return password


def _jdbc(url: str) -> dict[str, str]:
    parts = urlsplit(url)
    if parts.scheme not in ("postgresql", "postgres") or not parts.hostname or not parts.path.strip("/"):
        raise UpstreamError("realm.database", "the address must read postgresql://user:password@host:port/name")
    host = f"[{parts.hostname}]" if _is_ipv6(parts.hostname) else parts.hostname
    query = f"?{parts.query}" if parts.query else ""
    return {
        "KC_DB_URL": f"jdbc:postgresql://{host}:{parts.port or 5432}{parts.path}{query}",
        "KC_DB_USERNAME": unquote(parts.username or ""),
        "KC_DB_PASSWORD": unquote(parts.password or ""),
    }


def _is_ipv6(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).version == 6
    except ValueError:
        return False


def _link(link: Path, target: Path) -> None:
    if link.is_symlink() and link.readlink() == target:
        return
    link.unlink(missing_ok=True)
    link.symlink_to(target)


def _copy_theme(themes: Path) -> None:
    # A copy and not a link: Keycloak refuses theme resources whose real path leaves the theme's folder.
    shutil.rmtree(themes / "crosshall", ignore_errors=True)
    shutil.copytree(config_dir() / "realm" / "theme" / "crosshall", themes / "crosshall")


def _plant(seed: Path, data: Path) -> None:
    if (data / "h2").exists():
        return
    partial = data / ".h2-partial"
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(seed / "h2", partial)
    # Tells `idp.seed.claim` that the seed's password still stands; written before the database appears.
    shutil.copyfile(seed / "password", data / "unclaimed")
    (data / "unclaimed").chmod(0o600)
    partial.rename(data / "h2")
