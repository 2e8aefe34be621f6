"""Settings of one person's signer: a TOML file; relative paths are relative to it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ca_bridge.errors import ConfigError


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Pkcs11Source(_Section):
    """Tokens behind a PKCS#11 library: every token that is plugged in."""

    kind: Literal["pkcs11"]
    module: str
    """Path of the vendor's library; `softhsm` looks for SoftHSM in the usual places."""
    softhsm_configuration: Path | None = None
    """Becomes `SOFTHSM2_CONF` before the library is loaded."""


class FileSource(_Section):
    """Encrypted files: each folder below `folder` is a token (`certificate.pem`, `key.pem`)."""

    kind: Literal["file"]
    folder: Path


Source = Annotated[Pkcs11Source | FileSource, Field(discriminator="kind")]


class SignerSettings(_Section):
    """All settings. The signer listens on 127.0.0.1 only, whatever is written here."""

    port: int = Field(default=28443, ge=1, le=65535)
    origins_file: Path
    """`origins.json`: the halls that may ask, signed by the province. Read again when it changes."""
    origins_key_file: Path
    """The province's public key for it (P-256, PEM)."""
    tokens: tuple[Source, ...] = ()
    rsa: Literal["RS256", "PS256"] = "RS256"
    """By which algorithm RSA keys sign; many tokens know no PSS."""
    sm2_id: str = Field(default="1234567812345678", min_length=1)
    """Distinguishing ID under which SM2 keys sign (GM/T 0009 §10)."""
    max_pending: int = Field(default=8, ge=1, le=64)
    requests_per_minute: int = Field(default=30, ge=1)
    """For each hall."""
    pin_tries: int = Field(default=3, ge=1, le=10)
    """Wrong PINs in one request before it is refused; the token's own counter goes on."""
    file_pin_tries: int = Field(default=6, ge=1, le=15)
    """Wrong PINs in a row before a file token is locked."""

    @property
    def origin(self) -> str:
        """The signer's own origin, as pages and `Host` must name it."""
        return f"http://127.0.0.1:{self.port}"


def load_settings(path: Path) -> SignerSettings:
    """The settings at `path`, paths made absolute. Raises ConfigError `config.missing` or `config.invalid`."""
    try:
        settings = SignerSettings.model_validate(tomllib.loads(path.read_text("utf-8")))
    except FileNotFoundError as error:
        raise ConfigError("config.missing", f"no settings file at {path}") from error
    except ValidationError as error:
        where = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ConfigError("config.invalid", f"{path}: {where}") from error
    except (OSError, ValueError) as error:
        raise ConfigError("config.invalid", f"{path}: {error}") from error
    base = path.resolve().parent
    return settings.model_copy(
        update={
            "origins_file": base / settings.origins_file,
            "origins_key_file": base / settings.origins_key_file,
            "tokens": tuple(_absolute(source, base) for source in settings.tokens),
        }
    )


def _absolute(source: Source, base: Path) -> Source:
    if isinstance(source, FileSource):
        return source.model_copy(update={"folder": base / source.folder})
    if source.softhsm_configuration is None:
        return source
    return source.model_copy(update={"softhsm_configuration": base / source.softhsm_configuration})
