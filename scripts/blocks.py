"""A guide's blocks, read and typed: on machines that are file system roots with processes of their own.

A person's part is played here: passphrases, fingerprints read aloud and compared. What the guide says one sees is
looked for in what stood on the screen.
"""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from scripts.fresh import KEPT

MACHINES = ("province", "city")
_BLOCK_SECONDS = 900.0
_STEP = re.compile(
    r"^```sh (?P<tags>[^\n]+)\n(?P<words>.*?)^```\n(?:\n```text\n(?P<seen>.*?)^```\n)?"
    r"|^<!-- guide: (?P<act>[^\n]+) -->$",
    re.MULTILINE | re.DOTALL,
)


class NotAsWrittenError(Exception):
    """Something was not as the guide says."""


@dataclass(frozen=True, slots=True)
class Step:
    """One block (`machines`, `words`, what is `seen`), or an act of a person or of this script (`act`)."""

    line: int
    chapter: str
    machines: tuple[str, ...] = ()
    root: bool = False
    exit_code: int = 0
    within: float = 0.0
    words: str = ""
    seen: tuple[str, ...] = ()
    act: str = ""


def read(text: str) -> tuple[Step, ...]:
    """The guide's steps in order. Raises ValueError for a tag that means nothing."""
    steps = []
    for found in _STEP.finditer(text):
        before = text[: found.start()]
        line, chapter = before.count("\n") + 1, re.findall(r"^#+ (.*)$", before, re.MULTILINE)[-1]
        if found["act"]:
            steps.append(Step(line, chapter, act=found["act"]))
            continue
        machine, *tags = found["tags"].split()
        options = dict(tag.split("=") for tag in tags if "=" in tag)
        if machine not in ("both", *MACHINES) or {*tags} - {"root"} - {f"{k}={v}" for k, v in options.items()}:
            raise ValueError(f"line {line}: {found['tags']}")
        code, within = int(options.pop("exit", 0)), float(options.pop("within", 0))
        if options:
            raise ValueError(f"line {line}: {found['tags']}")
        seen = tuple(row.strip() for row in (found["seen"] or "").splitlines() if row.strip())
        machines = MACHINES if machine == "both" else (machine,)
        steps.append(Step(line, chapter, machines, "root" in tags, code, within, found["words"], seen))
    return tuple(steps)


def missing(seen: tuple[str, ...], told: str) -> str:
    """The first line of `seen` that `told` does not hold after the ones before it; empty when all are there."""
    place = 0
    for row in seen:
        pattern = r"[^\n]*".join(re.escape(part.strip()) for part in row.split("…"))
        found = re.compile(pattern).search(told, place)
        if found is None:
            return row
        place = found.end()
    return ""


@dataclass(slots=True)
class Machine:
    """A bare root that is running. `line`: the network namespace that it stands in; empty: this machine's own."""

    name: str
    root: Path
    line: str = ""
    init: int = 0
    _holder: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Switch it on: mounts and a first process of its own."""
        mounts = (
            f"mount --bind {self.root} {self.root} && mount -t proc proc {self.root}/proc && "
            f"mount --rbind /dev {self.root}/dev && mount -t sysfs sys {self.root}/sys && "
            f"exec chroot {self.root} /bin/bash -c 'while :; do sleep 3600 & wait; done'"
        )
        words = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "/bin/sh", "-c", mounts]
        self._holder = subprocess.Popen(words)
        children = Path(f"/proc/{self._holder.pid}/task/{self._holder.pid}/children")
        for _ in range(100):
            time.sleep(0.1)
            if (self.root / "proc" / "self").exists() or children.read_text().strip():
                self.init = int(children.read_text().split()[0])
                if Path(f"/proc/{self.init}/root").resolve() == self.root.resolve():
                    return
        raise NotAsWrittenError(f"{self.name} does not start")

    def stop(self) -> None:
        """Switch it off: every process in it ends."""
        if self._holder is not None:
            self._holder.kill()
            self._holder.wait(30)

    def argv(self, words: str, *, root: bool) -> list[str]:
        """What runs `words` as a terminal would, stopping at the first command that fails."""
        net = [f"--net=/run/netns/{self.line}"] if self.line else []
        enter = ["nsenter", "-t", str(self.init), "--mount", "--pid", "--root", *net, "env", "-i", "--chdir=/root"]
        bare = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
        bare |= {"LANG": "C.UTF-8", "TERM": "dumb", "COLUMNS": "200"}
        kept = {name: value for name, value in os.environ.items() if name.startswith(KEPT)}
        given = [f"{name}={value}" for name, value in {**bare, **kept}.items()]
        shell = ["/bin/bash", "-c", f"set -e\n{words}"]
        if not root:
            shell = ["su", "-l", "crosshall", "--session-command", f"set -e\n{words}"]
        return [*enter, *given, *shell]


@dataclass(slots=True)
class Sitting:
    """Two machines, their operators, three key holders, a citizen."""

    machines: dict[str, Machine] = field(default_factory=dict)
    aloud: str = ""
    """The fingerprint that was read aloud last."""
    drafts: set[str] = field(default_factory=set)
    """Fingerprints of drafts, as the publisher's screen shows them."""
    log: list[str] = field(default_factory=list)

    def type(self, step: Step) -> None:
        """A block on each of its machines, until what one sees is as the guide says, or its time is over."""
        for name in step.machines:
            deadline = time.monotonic() + step.within
            while True:
                code, told = self._run(self.machines[name], step)
                lacking = missing(step.seen, told)
                if code == step.exit_code and not lacking:
                    break
                if time.monotonic() > deadline:
                    why = f"“{lacking}” was not seen" if lacking else f"it ended with {code}"
                    raise NotAsWrittenError(f"line {step.line}, {name}: {why}\n{step.words}\n--- seen:\n{told}")
                time.sleep(2)

    def _run(self, machine: Machine, step: Step) -> tuple[int, str]:
        """Exit code, and everything that stood on the screen."""
        pid, screen = pty.fork()
        if pid == 0:
            argv = machine.argv(step.words, root=step.root)
            os.execvp(argv[0], argv)  # noqa: S606 - no shell between
        told, answered, deadline = "", 0, time.monotonic() + _BLOCK_SECONDS
        while time.monotonic() < deadline:
            if not select.select([screen], [], [], 1)[0]:
                continue
            try:
                data = os.read(screen, 65536)
            except OSError:  # the last process with this screen has ended
                break
            told += data.decode("utf-8", "replace").replace("\r", "")
            answer = self._answer(told[answered:], step.words)
            if answer is not None:
                answered = len(told)
                os.write(screen, f"{answer}\n".encode())
        else:
            os.kill(pid, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        os.close(screen)
        self.log.append(f"=== {machine.name}{', root' if step.root else ''}\n{step.words}---\n{told}--- {code}\n")
        self._listen(told, signs="federation sign" in step.words)
        return code, told

    def _answer(self, told: str, words: str) -> str | None:
        """What a person types at a question; None while none is asked."""
        question = told.rpartition("\n")[2]
        # The space comes when the terminal has been told what to do with the answer: one typed before would be lost.
        if question.endswith(("Passphrase: ", "confirmation: ")):
            holder = re.search(r"/media/(holder-\d)/", words)
            return f"what {holder[1]} alone knows" if holder else ""
        if question.endswith("read to you: "):
            return self.aloud
        if question.endswith("[y/N]: "):
            shown = re.findall(r"fingerprint: ([0-9 ]+)", told)
            return "y" if shown and shown[-1].strip() in self.drafts else "n"
        return None

    def _listen(self, told: str, *, signs: bool) -> None:
        aloud = re.findall(r"to read aloud: ([0-9 ]+)", told)
        self.aloud = aloud[-1].strip() if aloud else self.aloud
        if not signs:
            self.drafts |= {shown.strip() for shown in re.findall(r"; fingerprint: ([0-9 ]+)", told)}

    def carry(self, start: str, to: str) -> None:
        """The stick goes from one machine to the other."""
        for file in (self.machines[start].root / "media" / "stick").glob("*.jws"):
            shutil.copy(file, self.machines[to].root / "media" / "stick")
