"""`make fresh`: the README's commands in a bare Debian 12 root, as a newcomer would give them.

Builds a minimal root with mmdebstrap, clones this checkout (its last commit) into it, and runs inside, in mount and
process namespaces of its own: line zero, `make run SELFCHECK=1` twice, and with `FULL=1` also `make test`. Prints what
each took. Needs root. What this machine's package clients are set up with (certificates, pip, apt, Maven) is copied
in, so that the root reaches the same registries; nothing else of the machine is seen inside.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CLIENTS = (
    "/etc/pip.conf",
    "/etc/resolv.conf",
    "/usr/local/share/ca-certificates",
)
STEPS = [
    ("line zero", "apt-get update -qq && apt-get install -y -qq make git python3-venv >/dev/null"),
    ("clone", "git clone -q /src/crosshall.git /root/crosshall"),
    ("first make run", "cd /root/crosshall && make run SELFCHECK=1 PORT=9843"),
    ("second make run", "cd /root/crosshall && make run SELFCHECK=1 PORT=9843"),
]
KEPT = (
    "PIP_",
    "SSL_CERT",
    "CURL_CA",
    "REQUESTS_CA",
    "http_proxy",
    "https_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "no_proxy",
)


def main() -> int:
    """Build the root, run the steps, tell the times; exit code 1 at the first that fails."""
    if os.geteuid() != 0:
        print("make fresh needs root: it builds and enters a file system root")
        return 3
    if not shutil.which("mmdebstrap"):
        subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "mmdebstrap"], check=True)
    with tempfile.TemporaryDirectory(prefix="crosshall-fresh-") as folder:
        root = Path(folder) / "root"
        timed("bare Debian 12", lambda: build(root))
        subprocess.run(["git", "clone", "-q", "--bare", str(ROOT), str(root / "src" / "crosshall.git")], check=True)
        steps = [*STEPS, ("make test", "cd /root/crosshall && make test")] if os.environ.get("FULL") else STEPS
        for name, command in steps:
            if timed(name, lambda command=command: inside(root, command)):
                return 1
    return 0


def timed(name: str, step: object) -> int:
    """Run a step and print what it took; its exit code."""
    print(f"fresh: {name} …", flush=True)
    started = time.monotonic()
    code = step() or 0  # type: ignore[operator]
    print(f"fresh: {name}: {'FAILED, ' if code else ''}{time.monotonic() - started:.0f} s", flush=True)
    return int(code)


def build(root: Path) -> None:
    """A minbase root of bookworm from this machine's own apt sources, with its package clients' settings."""
    sources = [
        str(p) for p in (Path("/etc/apt/sources.list"), Path("/etc/apt/sources.list.d/debian.sources")) if p.exists()
    ]
    include = "--include=ca-certificates"
    apt = [f"--aptopt={p}" for p in sorted(Path("/etc/apt/apt.conf.d").glob("99*"))]
    subprocess.run(
        ["mmdebstrap", "-q", "--variant=minbase", include, *apt, "bookworm", str(root), *sources], check=True
    )
    for name in CLIENTS:
        source, target = Path(name), root / name.lstrip("/")
        if source.is_dir():
            target.mkdir(parents=True, exist_ok=True)
            subprocess.run(["cp", "-a", "--remove-destination", f"{source}/.", str(target)], check=True)
        elif source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    for settings in (Path.home() / ".m2/settings.xml", Path("/usr/share/maven/conf/settings.xml")):
        if settings.exists():
            (root / "root/.m2").mkdir(parents=True, exist_ok=True)
            shutil.copyfile(settings, root / "root/.m2/settings.xml")
            break
    subprocess.run(["chroot", str(root), "update-ca-certificates"], check=True, capture_output=True)
    find_links = os.environ.get("PIP_FIND_LINKS", "")
    if find_links.startswith("/"):
        (root / find_links.lstrip("/")).mkdir(parents=True, exist_ok=True)


def inside(root: Path, command: str) -> int:
    """Run a command in the root: own mounts, own processes (all end with it), a bare environment."""
    keep = {name: value for name, value in os.environ.items() if name.startswith(KEPT)}
    bare = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "DEBIAN_FRONTEND": "noninteractive",
    }
    # the root becomes a mount of its own: programs inside may then make mount namespaces, as on a real machine
    mounts = (
        f"mount --bind {root} {root} && "
        f"mount -t proc proc {root}/proc && mount --rbind /dev {root}/dev && mount -t sysfs sys {root}/sys && "
        f'exec chroot {root} /bin/sh -c "$0"'
    )
    return subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "--kill-child", "/bin/sh", "-c", mounts, command],
        env={**bare, **keep},
        check=False,
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
