"""Keys on PKCS#11 tokens, by the commands that holders type, on a real SoftHSM."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from demo.softhsm import find_module, write_configuration
from nodes.drafts import sign_draft
from nodes.keys import new_key, read_public
from nodes.publish import Publisher
from tests.unit.nodes.world import Clock

PIN = "2468135790"
LABEL = "holder"


class Holder:
    """A key holder with a token; every command is a process of its own, because SoftHSM is configured once in one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "softhsm").mkdir(parents=True)
        self._environment = {**os.environ, "SOFTHSM2_CONF": str(write_configuration(folder))}
        init = ["softhsm2-util", "--init-token", "--free", "--label", LABEL, "--pin", PIN, "--so-pin", "87654321"]
        subprocess.run(init, env=self._environment, check=True, capture_output=True)
        (folder / "pin").write_text(f"{PIN}\n")

    def run(self, *words: str, pin: str = "pin", token: str = LABEL) -> subprocess.CompletedProcess[str]:
        """`crosshall federation …` with the token."""
        place = ("--module", str(find_module()), "--token", token, "--passphrase-file", pin)
        command = [sys.executable, "-m", "crosshall", "federation", *words, *place]
        environment = {**self._environment, "PYTHONPATH": os.pathsep.join([str(Path.cwd()), *sys.path])}
        return subprocess.run(
            command, cwd=self.folder, env=environment, check=False, capture_output=True, text=True, timeout=60
        )


def test_a_token_signs_the_first_root(tmp_path: Path) -> None:
    """A key made on a token signs a draft there; with a file key's signature the root is published. Wrong PIN, another
    token, another label, and a label that is taken: refused with their codes, and the draft is as it was."""
    holder = Holder(tmp_path / "holder")
    made = holder.run("key", "root-1")
    assert made.returncode == 0, made.stderr
    assert PIN not in made.stdout + made.stderr
    public = read_public(holder.folder / "root-1.pub")
    assert (public.keytype, public.scheme) == ("ecdsa", "ecdsa-sha2-nistp256")
    other = new_key("sm2")
    keys = [public, other.public_key]
    publisher = Publisher(tmp_path / "home", Clock())
    drafts = publisher.init(
        "gd", root=keys, root_threshold=2, targets=keys, targets_threshold=1, border=keys, border_threshold=1
    )
    copy = holder.folder / drafts[0].name
    copy.write_bytes(drafts[0].read_bytes())
    (holder.folder / "wrong").write_text("1111\n")
    for words, more, code in (
        (("sign", copy.name, "--yes", "--key", "root-1"), {"pin": "wrong"}, "federation.passphrase"),
        (("sign", copy.name, "--yes", "--key", "root-1"), {"token": "nobody"}, "federation.key"),
        (("sign", copy.name, "--yes", "--key", "root-2"), {}, "federation.key"),
        (("key", "root-1"), {}, "federation.key"),
    ):
        refused = holder.run(*words, **more)
        assert refused.returncode != 0
        assert code in refused.stdout + refused.stderr
    assert copy.read_bytes() == drafts[0].read_bytes()
    signed = holder.run("sign", copy.name, "--yes", "--key", "root-1")
    assert signed.returncode == 0, signed.stderr
    assert publisher.assemble([copy]).waiting["root"] == 1
    for draft in drafts:
        sign_draft(draft, other)
    assert publisher.assemble().published == ("root", "targets")


def test_the_key_never_leaves_the_token(tmp_path: Path) -> None:
    """The private key is sensitive and not extractable: reading it out is refused by the token itself."""
    holder = Holder(tmp_path / "holder")
    assert holder.run("key", "root-1").returncode == 0
    text = """
import sys, pkcs11
from pkcs11 import Attribute, ObjectClass
session = pkcs11.lib(sys.argv[1]).get_token(token_label="holder").open(user_pin=sys.argv[2])
key = session.get_key(object_class=ObjectClass.PRIVATE_KEY, label="root-1")
assert key[Attribute.SENSITIVE] and not key[Attribute.EXTRACTABLE]
try:
    key[Attribute.VALUE]
except pkcs11.exceptions.PKCS11Error as error:
    print(type(error).__name__)
"""
    command = [sys.executable, "-c", text, str(find_module()), PIN]
    done = subprocess.run(command, env=holder._environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.strip() == "AttributeSensitive", done.stderr
