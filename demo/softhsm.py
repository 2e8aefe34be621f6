"""Demo USB tokens: one SoftHSM token for each persona, made in a child process of its own.

SoftHSM reads its configuration when the library is loaded, so a process can know one folder of tokens only. The child
(`python -m demo.softhsm`) is told by its environment; keys come on its standard input, never on a command line.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ca_bridge.errors import ConfigError
from ca_bridge.files import write_atomically

_SO_PIN = "87654321"
_SECONDS = 60


@dataclass(frozen=True, slots=True)
class TokenContent:
    """One token: label, certificate (DER) and private key (PKCS#8 DER; RSA or EC)."""

    label: str
    certificate: bytes
    private_key: bytes = field(repr=False)


def find_module() -> Path:
    """SoftHSM's PKCS#11 library. Raises ConfigError `run.missing_part`."""
    from signer.modules import find_softhsm  # noqa: PLC0415 - the child starts without it

    found = find_softhsm()
    if found is None:
        raise ConfigError("run.missing_part", "libsofthsm2.so is not installed (Debian: softhsm2)")
    return found


def write_configuration(folder: Path) -> Path:
    """`softhsm2.conf` in `folder` for the tokens in `folder/softhsm`; returns its path."""
    path = folder / "softhsm2.conf"
    lines = (
        f"directories.tokendir = {folder / 'softhsm'}",
        "objectstore.backend = file",
        "log.level = ERROR",
        "slots.removable = false",
    )
    write_atomically(path, ("\n".join(lines) + "\n").encode())
    return path


def create_tokens(folder: Path, contents: list[TokenContent], pin: str) -> None:
    """Make one token for each content in `folder/softhsm`. Raises ConfigError `run.part_failed`."""
    (folder / "softhsm").mkdir(parents=True, exist_ok=True)
    configuration = write_configuration(folder)
    spec = {
        "module": str(find_module()),
        "pin": pin,
        "tokens": [
            {
                "label": content.label,
                "certificate": base64.b64encode(content.certificate).decode(),
                "private_key": base64.b64encode(content.private_key).decode(),
            }
            for content in contents
        ],
    }
    done = subprocess.run(
        [sys.executable, "-m", "demo.softhsm"],
        input=json.dumps(spec).encode(),
        capture_output=True,
        env={**os.environ, "SOFTHSM2_CONF": str(configuration)},
        timeout=_SECONDS,
        check=False,
    )
    if done.returncode:
        raise ConfigError("run.part_failed", f"softhsm: {done.stderr.decode(errors='replace')[-400:]}")


def _child() -> None:
    """Read the specification from standard input and fill the tokens."""
    import pkcs11  # noqa: PLC0415 - loads nothing before the environment is known to be set

    spec: Mapping[str, Any] = json.load(sys.stdin)
    for token in spec["tokens"]:
        _initialise(token["label"], spec["pin"])
    library = pkcs11.lib(spec["module"])
    for token in spec["tokens"]:
        with library.get_token(token_label=token["label"]).open(rw=True, user_pin=spec["pin"]) as session:
            _fill(session, token)


def _initialise(label: str, pin: str) -> None:
    subprocess.run(
        ["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", pin, "--so-pin", _SO_PIN],
        stdout=subprocess.DEVNULL,
        check=True,
    )


def _fill(session: Any, token: Mapping[str, str]) -> None:
    from asn1crypto import keys, x509  # noqa: PLC0415
    from pkcs11 import Attribute, CertificateType, ObjectClass  # noqa: PLC0415
    from pkcs11.util.ec import decode_ec_private_key  # noqa: PLC0415
    from pkcs11.util.rsa import decode_rsa_private_key  # noqa: PLC0415

    certificate = x509.Certificate.load(base64.b64decode(token["certificate"]))
    info = keys.PrivateKeyInfo.load(base64.b64decode(token["private_key"]))
    identifier = certificate.public_key.sha1
    if info.algorithm == "rsa":
        fields = decode_rsa_private_key(info["private_key"].parsed.dump())
    else:
        inner = info["private_key"].parsed.copy()
        inner["parameters"] = info["private_key_algorithm"]["parameters"]
        fields = decode_ec_private_key(inner.dump(force=True))
    common = {Attribute.TOKEN: True, Attribute.ID: identifier, Attribute.LABEL: token["label"]}
    session.create_object(
        {
            **fields,
            **common,
            Attribute.PRIVATE: True,
            Attribute.SENSITIVE: True,
            Attribute.EXTRACTABLE: False,
            Attribute.SIGN: True,
        }
    )
    session.create_object(
        {
            **common,
            Attribute.CLASS: ObjectClass.CERTIFICATE,
            Attribute.CERTIFICATE_TYPE: CertificateType.X_509,
            Attribute.PRIVATE: False,
            Attribute.SUBJECT: certificate.subject.dump(),
            Attribute.ISSUER: certificate.issuer.dump(),
            Attribute.SERIAL_NUMBER: certificate["tbs_certificate"]["serial_number"].dump(),
            Attribute.VALUE: certificate.dump(),
        }
    )


if __name__ == "__main__":
    _child()
