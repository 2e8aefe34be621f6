"""A province, two cities and a county on machines of their own, brought in by the operators' own commands."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import tomli_w
from typer.testing import CliRunner

from ca_bridge.files import write_atomically
from crosshall.main import app
from crosshall.supervisor import Part, Supervisor
from demo.browser import Browser, Page
from demo.personas import Persona
from demo.pki import certificates, keys
from demo.pki.authorities import Authorities, load_authorities, write_crl, write_crls
from demo.pki.bundle import write_manifest, write_origins
from demo.pki.cache import build, read_manifest
from demo.pki.certificates import Template
from demo.pki.description import read_federation
from tests.nodes.wires import PEOPLE, Wires

PORT, KEYCLOAK, MANAGEMENT, WINDOW = 8443, 8080, 9000, 9003
SECRET = "a passphrase of the rehearsal"
_TLS = [["O", "Crosshall tests"], ["CN", "TLS CA of the tests"]]


@dataclass(frozen=True, slots=True)
class Place:
    """One node to be."""

    name: str
    domain: str
    role: str
    address: str

    @property
    def base(self) -> str:
        """Its hosts' domain."""
        return f"{self.name}.test"

    def url(self, host: str) -> str:
        """`https://<host>.<base>:8443`."""
        return f"https://{host}.{self.base}:{PORT}"


PLACES = (
    Place("gd", "gd", "province", "10.77.0.1"),
    Place("gz", "gd/guangzhou", "city", "10.77.0.2"),
    Place("fs", "gd/foshan", "city", "10.77.0.3"),
    Place("ch", "gd/guangzhou/conghua", "county", "10.77.0.4"),
)
HOSTS = ("hall", "sso", "police", "*.cert")


@dataclass(slots=True)
class Country:
    """All nodes. `found` makes the federation, `start` a node."""

    root: Path
    python: str = sys.executable
    environment: dict[str, dict[str, str]] = field(default_factory=dict)
    """Further variables of a place's processes: a clock that is wrong."""
    wires: Wires = field(init=False)
    supervisor: Supervisor = field(init=False)
    _built: Path = field(init=False)
    _authorities: Authorities = field(init=False)
    revoked: dict[str, list[tuple[int, datetime]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        addresses = {place.name: place.address for place in PLACES} | {PEOPLE: "10.77.0.250"}
        hosts = {f"{host}.{place.base}": place.address for place in PLACES for host in HOSTS}
        self.wires = Wires(addresses, hosts)
        self.supervisor = Supervisor(self.root / "logs", print)
        self._built = build(None, now=datetime.now(UTC), federation=read_federation())
        self._authorities = load_authorities(read_federation(), self._built / "authorities")
        for row in read_manifest(self._built)["revoked"]:
            rows = self.revoked.setdefault(row["authority"], [])
            rows.append((int(row["serial"], 16), datetime.fromisoformat(row["at"])))

    def folder(self, place: Place) -> Path:
        """A node's folder."""
        return self.root / place.name

    @property
    def bundle(self) -> Path:
        """The province's source bundle."""
        return self.folder(PLACES[0]) / "bundle"

    @property
    def old_disk(self) -> Path:
        """The federation as it was first published, on a disk."""
        return self.root / "old-disk"

    @property
    def tls_ca(self) -> Path:
        """What people's browsers trust."""
        return self.root / "tls-ca.pem"

    # the operators' commands

    def office(self, *words: str | Path) -> str:
        """A command at the province that needs no line: given in this process, where it starts at once."""
        here = Path.cwd()
        os.chdir(self.folder(PLACES[0]))
        try:
            done = CliRunner().invoke(app, list(map(str, words)), catch_exceptions=False)
        finally:
            os.chdir(here)
        assert done.exit_code == 0, f"{words}: {done.output}"
        return done.output

    def run(self, place: Place, *words: str | Path, fails: bool = False) -> str:
        """A command of an operator, given in the node's folder on its machine; what it printed."""
        command = [*self.wires.inside(place.name), self.python, "-m", "crosshall", *map(str, words)]
        done = subprocess.run(command, cwd=self.folder(place), capture_output=True, text=True, check=False, timeout=120)
        if (done.returncode != 0) != fails:
            raise AssertionError(f"{' '.join(map(str, words))}: {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout + done.stderr

    def found(self) -> None:
        """The province: settings, source bundle, keys of the federation, the first publication."""
        province = PLACES[0]
        folder = self.folder(province)
        folder.mkdir(parents=True)
        self._tls()
        self._settings(province)
        shutil.copytree(self._built / "bundle", self.bundle)
        now = datetime.now(UTC)
        write_crls(self._authorities, self.bundle / "crls", self.revoked, now)
        names = read_federation().hall_name
        origins = {place.url("hall"): names for place in PLACES}
        write_origins(self.bundle, keys.load(self._built / "origins.pem", "ecdsa-p256"), origins, now, 30)
        write_manifest(self.bundle, now)
        (folder / "secret").write_text(f"{SECRET}\n")
        for name in ("root-1", "root-2", "root-3", "targets-1", "targets-2", "border-1"):
            self.office("federation", "key", f"{name}.pem", "--passphrase-file", "secret")
        roots = [word for n in (1, 2, 3) for word in ("--root-key", f"root-{n}.pem.pub")]
        targets = [word for n in (1, 2) for word in ("--targets-key", f"targets-{n}.pem.pub")]
        thresholds = ("--root-threshold", "2", "--targets-threshold", "2")
        self.office("federation", "init", "gd", *roots, *targets, "--border-key", "border-1.pem.pub", *thresholds)
        self.office("node", "province", "--title", "省厅")
        self.office("federation", "publish", "bundle")
        self.signed()
        self.office("federation", "export", self.old_disk)

    def signed(self) -> str:
        """The key holders sign what waits, each with their own key; the province puts it together."""
        province = PLACES[0]
        holders = {"root": ("root-1", "root-3"), "targets": ("targets-1", "targets-2"), "border": ("border-1",)}
        for draft in sorted((self.folder(province) / "federation" / "drafts").glob("*.json")):
            role = draft.name.split(".")[1]
            for holder in holders[role]:
                self.office(
                    "federation",
                    "sign",
                    draft,
                    "--key",
                    f"{holder}.pem",
                    "--passphrase-file",
                    "secret",
                    "--yes",
                )
        return self.office("federation", "assemble")

    def bring_in(self, place: Place) -> None:
        """Request, admission, join, a window: as docs/nodes.md says."""
        province, folder = PLACES[0], self.folder(place)
        folder.mkdir()
        above = next(p for p in PLACES if p.domain == place.domain.rpartition("/")[0])
        source = f"{above.url('hall')}/federation/"
        words = ("--role", place.role, "--hall", place.url("hall"), "--sso", place.url("sso"), "--title", place.name)
        told = self.run(
            place, "node", "request", place.domain, *words, "--listen", f"{place.address}:{PORT}",
            "--keycloak-port", str(KEYCLOAK), "--management-port", str(MANAGEMENT), "--source", source,
        )  # fmt: skip
        self._settings(place)
        spoken = _spoken(told)
        carried = self.folder(province) / f"{place.name}.request"
        shutil.copy(folder / "request.jws", carried)
        told = self.run(
            province, "node", "admit", carried, "--fingerprint", spoken, "--out", f"{place.name}.admission",
            "--source", source,
        )  # fmt: skip
        self.signed()
        if place.role == "county":
            city = self.folder(above) / "county.request"
            shutil.copy(folder / "request.jws", city)
            self.run(above, "node", "delegate", city, "--fingerprint", spoken)
            wait(60, lambda: "conghua" in (self.folder(above) / "bundle" / "roster.json").read_text())
        shutil.copy(self.folder(province) / f"{place.name}.admission", folder / "admission.jws")
        self.run(place, "node", "join", "admission.jws", "--fingerprint", _spoken(told))

    def launch(self, place: Place) -> None:
        """`crosshall node run`, and a window beside it."""
        if not (self.folder(place) / "window.toml").exists():
            self._window(place)
        inside = self.wires.inside(place.name)
        wrong = self.environment.get(place.name, {})
        command = (*inside, self.python, "-m", "crosshall", "node", "run", "--workers", "1")
        log = self.root / "logs" / f"{place.name}.log"
        log.unlink(missing_ok=True)

        def ready() -> bool:
            return log.exists() and "serves at" in log.read_text("utf-8", "replace")

        folder = self.folder(place)
        self.supervisor.launch(
            Part(place.name, command, ready, wrong, folder=folder, start_seconds=180, stop_seconds=40)
        )
        serving = ("gunicorn", "--bind", f"127.0.0.1:{WINDOW}", "--threads", "4", "examples.flask_window:create_app()")
        settings = {**wrong, "CROSSHALL_RP_SETTINGS": str(folder / "window.toml")}
        root = Path(__file__).resolve().parents[2]
        window = (*inside, self.python, "-m", *serving)
        self.supervisor.launch(Part(f"{place.name}-window", window, lambda: True, settings, folder=root))

    def ready(self, place: Place) -> None:
        """Returns when people can come."""
        self.supervisor.wait_ready(place.name)

    def stop(self, place: Place, *, kill: bool = False) -> None:
        """Stop a node and its window."""
        self.supervisor.stop(f"{place.name}-window", kill=kill)
        self.supervisor.stop(place.name, kill=kill)

    # what people do

    def browser(self, persona: Persona) -> Browser:
        """A browser that holds the persona's certificate."""
        files = persona.files(self._built)
        return Browser(self.tls_ca, (files.certificate, files.key))

    def sign_in(self, place: Place, browser: Browser, path: str = "/me") -> Page:
        """Open a page of the place's window, by certificate when it asks; the page that the person ends at."""
        page = browser.get(place.url("police") + path)
        for _ in range(3):
            ways = [url for url in page.links if ".cert." in url]
            forms = [form for form in page.forms if ".cert." in form.action]
            if not ways and not forms:
                return page
            there = browser.get(ways[0]) if ways else browser.submit(page, forms[0])
            button = next((form for form in there.forms if form.method == "POST" and "/c/" in form.action), None)
            page = browser.submit(there, button) if button else there
        return page

    def revoke(self, persona: Persona) -> datetime:
        """The persona's CA revokes, the province's operator puts the CRL into the bundle; the time of it."""
        holder = read_manifest(self._built)["personas"][persona.id]
        now = datetime.now(UTC)
        rows = self.revoked.setdefault(holder["authority"], [])
        rows.append((int(holder["serial"], 16), now))
        write_crl(self._authorities, holder["authority"], self.bundle / "crls", rows, now)
        write_manifest(self.bundle, now)
        return now

    def remanifest(self) -> None:
        """`bundle.json` over what lies in the province's source bundle now."""
        write_manifest(self.bundle, datetime.now(UTC))

    # making of

    def _settings(self, place: Place) -> None:
        path = self.folder(place) / "node.toml"
        raw = tomllib.loads(path.read_text("utf-8")) if path.exists() else {}
        section: dict[str, dict[str, object]] = raw
        hall, sso = place.url("hall"), place.url("sso")
        if place.role == "province":
            section["node"] = {"name": place.domain, "role": place.role}
            section["bridge"] = {"issuer": hall, "certificate_host": f"*.cert.{place.base}:{PORT}"}
            internal = f"http://127.0.0.1:{KEYCLOAK}"
            section["keycloak"] = {"issuer": f"{sso}/realms/gd", "internal": internal, "management_port": MANAGEMENT}
            section["front"] = {"listen": f"{place.address}:{PORT}", "published": "federation/public"}
        section["bridge"] |= {
            "certificate_host": f"*.cert.{place.base}:{PORT}",
            "rejudge_seconds": 2,
            "rate_per_minute": 6000,
        }
        section["front"] |= {
            "certificate": str(self.root / f"{place.name}.pem"),
            "certificate_key": str(self.root / f"{place.name}.key"),
            "ca_file": str(self.tls_ca),
            "upstreams": {f"police.{place.base}": f"127.0.0.1:{WINDOW}"},
        }
        section.setdefault("sync", {}).update({"ca_file": str(self.tls_ca), "interval_seconds": 5})
        write_atomically(path, tomli_w.dumps(section).encode(), mode=0o600)

    def _window(self, place: Place) -> None:
        inside = f"http://127.0.0.1:{WINDOW}/oidc"
        self.run(
            place, "window", "add", "police", "--name", "公安窗口", "--base-url", place.url("police"),
            "--attribute", "name", "--attribute", "identifiers", "--jwks-url", f"{inside}/jwks.json",
            "--backchannel-url", f"{inside}/backchannel-logout", "--ca-file", self.tls_ca, "--out", "window.toml",
        )  # fmt: skip

    def _tls(self) -> None:
        ca, now = keys.generate("ecdsa-p256"), datetime.now(UTC)
        start, end = now - timedelta(days=3), datetime(now.year + 2, 1, 1, tzinfo=UTC)
        extensions = certificates.authority_extensions(ca, ca, path_length=0, extra=(), crl_url=None)
        der = certificates.issue(Template(_TLS, _TLS, ca.spki, start, end, extensions), ca, certificates.new_serial())
        self.tls_ca.write_text(certificates.pem(der))
        for place in PLACES:
            key = keys.generate("ecdsa-p256")
            hosts = [f"{name}.{place.base}" for name in ("hall", "sso", "police", "*.cert")]
            extra = (certificates.alternative_names(hosts), certificates.extended_usage(["server_auth"]))
            extensions = certificates.holder_extensions(key, ca, usage={"digital_signature"}, extra=extra, crl_url=None)
            template = Template([["CN", hosts[0]]], _TLS, key.spki, start, end, extensions)
            keys.save(key, self.root / f"{place.name}.key")
            (self.root / f"{place.name}.pem").write_text(
                certificates.pem(certificates.issue(template, ca, certificates.new_serial()))
            )


def wait(seconds: float, ready: Callable[[], bool]) -> float:
    """Return, as soon as `ready` holds, how long it took; fail after `seconds`."""
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        if ready():
            return time.monotonic() - started
        time.sleep(0.2)
    raise AssertionError(f"not within {seconds} s")


def status_of(country: Country, place: Place) -> Mapping[str, object]:
    """What the node's sync agent last wrote."""
    found: dict[str, object] = json.loads(
        (country.folder(place) / "state" / "federation" / "status.json").read_text("utf-8")
    )
    return found


def _spoken(told: str) -> str:
    return re.findall(r"(?:\d{5} ){7}\d{5}", told)[-1]
