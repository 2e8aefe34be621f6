"""The TLS way: which certificate nginx says was presented in the handshake, and whether it was nginx that says so.

nginx has verified that the browser holds the key (RFC 8446 §4.4.3, RFC 5246 §7.4.8) and nothing else: whether the
certificate is any good, the bridge judges. The headers are believed only together with the channel secret, which
nginx and the bridge share; nginx clears them on every other host.
"""

from __future__ import annotations

import binascii
import functools
import hmac
import re
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote_to_bytes

from werkzeug.datastructures import Headers

from ca_bridge.errors import CeremonyError, ConfigError

CHANNEL = "X-Crosshall-Channel"
CERTIFICATE = "X-Crosshall-Client-Cert"
VERIFY = "X-Crosshall-Client-Verify"
MAX_HEADER = 24 * 1024
"""Characters of the URL-encoded PEM; ours: an RSA-4096 leaf with private extensions needs about 6,000."""

_PEM = re.compile(rb"\s*-----BEGIN CERTIFICATE-----\r?\n([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----\s*")
_BEGIN = b"-----BEGIN CERTIFICATE-----"
_SHORTEST_SECRET = 32


@dataclass(frozen=True, slots=True)
class Presented:
    """The leaf of the handshake, DER; `hint` is nginx's own opinion of it, for the log only."""

    leaf: bytes = field(repr=False)
    hint: str


def presented(headers: Headers | Mapping[str, str], secret: str) -> Presented:
    """The one certificate that came with this connection.

    Raises CeremonyError: `ceremony.channel` (the headers do not come from nginx), `ceremony.no_certificate`,
    `ceremony.two_certificates`, `ceremony.certificate_size`, `ceremony.certificate_form` (not one PEM block).
    """
    if not hmac.compare_digest(headers.get(CHANNEL, "").encode(), secret.encode()):
        raise CeremonyError("ceremony.channel", "the channel secret is absent or wrong")
    raw = headers.get(CERTIFICATE, "").strip()
    if not raw:
        raise CeremonyError("ceremony.no_certificate", "the browser presented none")
    if len(raw) > MAX_HEADER:
        raise CeremonyError("ceremony.certificate_size", f"{len(raw)} characters")
    return Presented(_der(raw), _hint(headers.get(VERIFY, "")))


def channel_secret(file: Path) -> str:
    """The secret in `file`, read again when the file changes. Raises ConfigError `config.channel`."""
    try:
        return _read_secret(file, file.stat().st_mtime_ns)
    except OSError as error:
        raise ConfigError("config.channel", f"{file}: {error.strerror}") from error


@functools.lru_cache(maxsize=4)
def _read_secret(file: Path, _changed: int) -> str:
    secret = file.read_text("ascii", errors="replace").strip()
    if len(secret) < _SHORTEST_SECRET:
        raise ConfigError("config.channel", f"{file}: fewer than {_SHORTEST_SECRET} characters")
    return secret


def _der(raw: str) -> bytes:
    # A second header of the same name arrives joined by a comma (RFC 9110 §5.3); a URL-encoded PEM has none.
    pem = unquote_to_bytes(raw)
    if "," in raw or pem.count(_BEGIN) > 1:
        raise CeremonyError("ceremony.two_certificates", "more than one certificate in the header")
    block = _PEM.fullmatch(pem)
    if block is None:
        raise CeremonyError("ceremony.certificate_form", "the header is not one PEM block")
    try:
        der = b64decode(b"".join(block[1].split()), validate=True)
    except binascii.Error as error:
        raise CeremonyError("ceremony.certificate_form", "the PEM block is not base64") from error
    if not der:
        raise CeremonyError("ceremony.certificate_form", "the PEM block is empty")
    return der


def _hint(verify: str) -> str:
    # nginx: NONE, SUCCESS or FAILED:reason. The reason is free text of OpenSSL; only its kind goes on.
    return verify.partition(":")[0] if re.match(r"(NONE|SUCCESS|FAILED)\b", verify) else ""
