"""`make guide`: docs/guide-operators.md, every block typed word by word on two bare Debian 12 machines.

The machines are minimal roots (`scripts/fresh.py`) with processes of their own (`scripts/blocks.py`), in network
namespaces with a cable between them. Blocks up to `no registries` reach the package registries by this machine's
line; afterwards there is only the cable. systemd cannot run in such a root: a stand-in `systemctl` runs a unit's
ExecStart as it is written, as its User, in its folder, with its mask and capabilities; its sandbox is not tried.
Needs root; ends with 1 at the first thing that is not as the guide says. The screens: `.run/guide.log`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from demo.browser import Browser
from demo.personas import persona
from demo.pki import certificates, keys
from demo.pki.authorities import load_authorities, write_crls
from demo.pki.bundle import write_manifest, write_origins
from demo.pki.cache import build, read_manifest
from demo.pki.certificates import Template
from demo.pki.description import read_federation
from demo.selfcheck import present_certificate
from scripts import fresh
from scripts.blocks import Machine, NotAsWrittenError, Sitting, read
from tests.nodes.wires import Wires

ROOT = Path(__file__).resolve().parent.parent
GUIDE = ROOT / "docs" / "guide-operators.md"
ADDRESSES = {"province": "10.78.0.1", "city": "10.78.0.2", "citizen": "10.78.0.9"}
NAMES = {
    "province": ("hall.gd.example", "sso.gd.example", "*.cert.hall.gd.example"),
    "city": ("hall.gz.example", "sso.gz.example", "police.gz.example", "*.cert.hall.gz.example"),
}
WINDOW, PERSON = "https://police.gz.example/me", "gd-zhang"
_TLS = [["O", "Crosshall tests"], ["CN", "TLS CA of the guide"]]
_CLONED = '[url "file:///src/crosshall.git"]\n\tinsteadOf = https://git.example/crosshall.git\n'
_SYSTEMCTL = r"""#!/bin/bash
# Stands in for systemd, which cannot run here: a unit's lines, as they are written.
set -eu
name=${*: -1}
[ "$name" != nginx ] || exit 0
of() { sed -n "s/^$1=//p" "/etc/systemd/system/$name.service"; }
cd "$(of WorkingDirectory)"
umask "$(of UMask)"
home=$(getent passwd "$(of User)" | cut -d: -f6)
privileges=(--inh-caps=-all)
[ -z "$(of AmbientCapabilities)" ] || privileges=(--inh-caps=+net_bind_service --ambient-caps=+net_bind_service)
[ "$(of NoNewPrivileges)" != yes ] || privileges+=(--no-new-privs)
read -ra command <<<"$(of ExecStart)"
read -ra variables <<<"$(of Environment)"
variables+=(PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin LANG=C.UTF-8 "HOME=$home")
setsid setpriv --reuid="$(of User)" --regid="$(of User)" --init-groups "${privileges[@]}" \
    env -i "${variables[@]}" "${command[@]}" </dev/null >>"/var/log/$name.journal" 2>&1 &
"""
_JOURNALCTL = '#!/bin/sh\ntail -n "$4" "/var/log/$2.journal"\n'


@dataclass(frozen=True, slots=True)
class _Hall:
    certificate_host: str


class World:
    """What is there before the first word: machines, names, sticks with what the guide says one brings, people."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        hosts = {name: ADDRESSES[place] for place, names in NAMES.items() for name in names}
        self.wires = Wires(ADDRESSES, hosts)
        self.sitting = Sitting({name: Machine(name, folder / name) for name in NAMES})
        self._built = build(None, now=datetime.now(UTC), federation=read_federation())

    def make(self) -> None:
        """Bare roots, switched on; cables; sticks."""
        self.wires.up()
        first, *others = (machine.root for machine in self.sitting.machines.values())
        fresh.build(first)
        for name, text in (("systemctl", _SYSTEMCTL), ("journalctl", _JOURNALCTL)):
            (first / "usr/local/bin" / name).write_text(text)
            (first / "usr/local/bin" / name).chmod(0o755)
        (first / "usr/sbin/policy-rc.d").write_text("#!/bin/sh\nexit 101\n")
        (first / "usr/sbin/policy-rc.d").chmod(0o755)
        (first / "etc/gitconfig").write_text(_CLONED)
        names = "".join(f"{address} {host}\n" for host, address in self.wires.hosts.items() if "*" not in host)
        (first / "etc/hosts").write_text(f"127.0.0.1 localhost {os.uname().nodename}\n{names}")
        subprocess.run(["git", "clone", "-q", "--bare", str(ROOT), str(first / "src/crosshall.git")], check=True)
        self._sticks(first / "media")
        for other in others:
            subprocess.run(["cp", "-a", str(first), str(other)], check=True)
        for name, machine in self.sitting.machines.items():
            tls = machine.root / "media/stick/tls"
            (tls / name / "server.pem").rename(tls / "server.pem")
            (tls / name / "server.key").rename(tls / "server.key")
            subprocess.run(["chmod", "-R", "a+rwX", str(machine.root / "media")], check=True)
            machine.start()
        shutil.rmtree(self.sitting.machines["city"].root / "media/stick/bundle")

    def end(self) -> None:
        """Nothing of it is left."""
        for machine in self.sitting.machines.values():
            machine.stop()
        self.wires.down()

    def act(self, words: str) -> None:
        """What the guide asks of people between two blocks. Raises NotAsWrittenError."""
        what, *more = words.split()
        if what == "no":
            for name, machine in self.sitting.machines.items():
                machine.line = self.wires.namespace(name)
        elif what == "carry":
            self.sitting.carry(*more)
        elif what == "pull":
            self.wires.cut(*more)
        elif what == "plug":
            self.wires.join(*more)
        elif what == "sign-in":
            self._sign_in(*more)
        else:
            raise NotAsWrittenError(f"nobody knows how to {words}")

    def _sign_in(self, place: str, rung: str) -> None:
        """A citizen with a certificate, standing at `place`; the window shows the name and the rung."""
        person = persona(PERSON)
        files = person.files(self._built)
        with self.wires.standing(place):
            browser = Browser(self.folder / "tls-ca.pem", (files.certificate, files.key))
            page = browser.get(WINDOW)
            if urlsplit(page.url).hostname != urlsplit(WINDOW).hostname:
                hall = _Hall(f"*.cert.hall.gz.example:{urlsplit(WINDOW).port or 443}")
                page = present_certificate(browser, hall, page)  # type: ignore[arg-type]
        self.sitting.log.append(f"=== citizen, {place}\n{page.status} {page.url}\n{page.text}")
        wanted = (person.name, f'data-received="rung" data-value="{rung}"')
        if page.status != 200 or page.url != WINDOW or any(text not in page.text for text in wanted):
            raise NotAsWrittenError(f"no sign-in: {page.status} {page.url}")

    def _sticks(self, media: Path) -> None:
        """The operators' stick and those of the three holders."""
        stick = media / "stick"
        for folder in (stick, *(media / f"holder-{number}" for number in (1, 2, 3))):
            folder.mkdir(parents=True)
        (stick / "backup-passphrase").write_text("the operators keep this one in the safe\n")
        shutil.copytree(self._built / "bundle", stick / "bundle")
        federation, now = read_federation(), datetime.now(UTC)
        revoked: dict[str, list[tuple[int, datetime]]] = {}
        for row in read_manifest(self._built)["revoked"]:
            found = (int(row["serial"], 16), datetime.fromisoformat(row["at"]))
            revoked.setdefault(row["authority"], []).append(found)
        write_crls(load_authorities(federation, self._built / "authorities"), stick / "bundle/crls", revoked, now)
        origins = {f"https://{names[0]}": federation.hall_name for names in NAMES.values()}
        write_origins(stick / "bundle", keys.load(self._built / "origins.pem", "ecdsa-p256"), origins, now, 30)
        write_manifest(stick / "bundle", now)
        self._tls(stick, now)

    def _tls(self, stick: Path, now: datetime) -> None:
        """A CA of the guide's own, and a certificate for each machine's names."""
        ca, span = keys.generate("ecdsa-p256"), (now - timedelta(days=1), now + timedelta(days=90))
        extensions = certificates.authority_extensions(ca, ca, path_length=0, extra=(), crl_url=None)
        text = certificates.pem(
            certificates.issue(Template(_TLS, _TLS, ca.spki, *span, extensions), ca, certificates.new_serial())
        )
        (stick / "tls-ca.crt").write_text(text)
        (self.folder / "tls-ca.pem").write_text(text)
        for name, hosts in NAMES.items():
            key = keys.generate("ecdsa-p256")
            extra = (certificates.alternative_names(list(hosts)), certificates.extended_usage(["server_auth"]))
            extensions = certificates.holder_extensions(key, ca, usage={"digital_signature"}, extra=extra, crl_url=None)
            template = Template([["CN", hosts[0]]], _TLS, key.spki, *span, extensions)
            (stick / "tls" / name).mkdir(parents=True)
            keys.save(key, stick / "tls" / name / "server.key")
            der = certificates.issue(template, ca, certificates.new_serial())
            (stick / "tls" / name / "server.pem").write_text(certificates.pem(der))


def follow(world: World) -> None:
    """Every step in order; tells each chapter's minutes, and those to the first sign-in."""
    started = chapter_started = time.monotonic()
    chapter, signed_in = "", 0.0
    for step in read(GUIDE.read_text("utf-8")):
        if step.chapter != chapter:
            if chapter:
                say(f"{chapter}: {time.monotonic() - chapter_started:.0f} s")
            chapter, chapter_started = step.chapter, time.monotonic()
        if step.act:
            world.act(step.act)
            if step.act.startswith("sign-in") and not signed_in:
                signed_in = time.monotonic() - started
                say(f"first sign-in at the city's window {signed_in / 60:.1f} minutes after the first word")
            continue
        world.sitting.type(step)
        maven(world)
    say(f"{chapter}: {time.monotonic() - chapter_started:.0f} s")
    say(f"the whole guide: {(time.monotonic() - started) / 60:.1f} minutes")


def maven(world: World) -> None:
    """Machines that have just got a Maven reach what this machine's reaches, as with pip and apt in `make fresh`."""
    settings = Path("/etc/maven/settings.xml")
    for machine in world.sitting.machines.values():
        if settings.exists() and (machine.root / "etc/maven").is_dir():
            shutil.copyfile(settings, machine.root / "etc/maven/settings.xml")


def say(text: str) -> None:
    """One line, at once."""
    print(f"guide: {text}", flush=True)


def main() -> int:
    """Build, follow, tell the times; 1 when something was not as written."""
    if os.geteuid() != 0:
        say("needs root: it builds file system roots and network namespaces")
        return 3
    if not shutil.which("mmdebstrap"):
        subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "mmdebstrap"], check=True)
    log = ROOT / ".run" / "guide.log"
    log.parent.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="crosshall-guide-"))
    world = World(folder)
    try:
        started = time.monotonic()
        world.make()
        say(f"two bare machines: {time.monotonic() - started:.0f} s")
        follow(world)
    except NotAsWrittenError as error:
        say(f"NOT AS WRITTEN: {error}")
        return 1
    finally:
        log.write_text("\n".join(world.sitting.log), "utf-8")
        world.end()
        subprocess.run(["rm", "-rf", "--one-file-system", str(folder)], check=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
