"""The tree of errors, and the catalogue of what is said of each to a person.

    CrosshallError
    ├── InputError       asn1. input.            bytes or fields that are not what they must be
    ├── PathError        path. trust.            no acceptable certification path; trust data that cannot be used
    ├── RevocationError  revocation.             revoked, stale or unknown status
    ├── CryptoError      crypto.                 a signature or key that is not acceptable
    ├── IdentityError    identity.               who this is cannot be told, or may not be told so
    ├── PolicyDenied     policy.                 the level or the matter does not allow it
    ├── CeremonyError    ceremony.               the sign-in's own steps: expired, replayed, another browser
    ├── ProviderError    provider.               OpenID Connect requests and tokens
    ├── SignerError      signer.                 the local signer
    ├── StoreError       store.                  the database
    ├── UpstreamError    upstream. realm.        Keycloak and other services
    ├── FederationError  federation. node.       trust data between nodes, and what nodes say to each other
    └── ConfigError      config. run.            settings, files and parts of an installation

A code is `area.reason` and is never renamed. What the citizen reads (four languages: why, and what to do) lies in
`config/errors/<area>.toml`; `detail` is for the operator's log and says nothing of who the person is.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ca_bridge.files import config_dir

LANGUAGES = ("zh-Hans", "zh-Hant", "en", "pt")


@dataclass(frozen=True, slots=True)
class Subject:
    """The certificate an error speaks of: issuer key hash, serial number, depth in the path (0 is the leaf)."""

    issuer_key: str = ""
    serial: int = 0
    depth: int = 0


class CrosshallError(Exception):
    """Any refusal or fault that Crosshall itself raises; `code` is stable, `detail` is for operators."""

    areas: ClassVar[tuple[str, ...]] = ()

    def __init__(self, code: str, detail: str = "", *, subject: Subject | None = None, **facts: Any) -> None:
        area = code.partition(".")[0]
        if self.areas and area not in self.areas:
            raise ValueError(f"{type(self).__name__} takes codes of {self.areas}, not {code!r}")
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.detail = detail
        self.subject = subject
        self.facts = facts


class InputError(CrosshallError):
    """Bytes or fields that are not what they must be."""

    areas = ("asn1", "input")


class PathError(CrosshallError):
    """No acceptable certification path, or trust data that cannot be used."""

    areas = ("path", "trust")


class RevocationError(CrosshallError):
    """A certificate that is revoked, or whose status is stale or unknown."""

    areas = ("revocation",)


class CryptoError(CrosshallError):
    """A signature, key or algorithm that is not acceptable."""

    areas = ("crypto",)


class IdentityError(CrosshallError):
    """Who this is cannot be told, or may not be told in this way."""

    areas = ("identity",)


class PolicyDenied(CrosshallError):  # noqa: N818 - a denial, not a fault
    """The level reached, or the policy of the matter, does not allow it."""

    areas = ("policy",)


class CeremonyError(CrosshallError):
    """A step of a sign-in that is expired, repeated, or in another browser."""

    areas = ("ceremony",)


class ProviderError(CrosshallError):
    """An OpenID Connect request or token that is refused."""

    areas = ("provider",)


class SignerError(CrosshallError):
    """The local signer: origin, token or PIN."""

    areas = ("signer",)


class StoreError(CrosshallError):
    """The database is locked, full, absent or at another version."""

    areas = ("store",)


class UpstreamError(CrosshallError):
    """Keycloak or another service is down, slow, or answers what it must not."""

    areas = ("upstream", "realm")


class FederationError(CrosshallError):
    """Trust data that came from another node, or a node's own word, that is not to be believed."""

    areas = ("federation", "node", "abroad")


class ConfigError(CrosshallError):
    """Settings, files or parts of an installation that are missing or contradict each other."""

    areas = ("config", "run")


@dataclass(frozen=True, slots=True)
class Entry:
    """What the catalogue holds of one code: HTTP status, source of the rule, words in four languages."""

    code: str
    status: int
    clause: str
    say: Mapping[str, str]
    do: Mapping[str, str]


@functools.cache
def catalogue() -> Mapping[str, Entry]:
    """Every known code, from `config/errors/*.toml`."""
    entries: dict[str, Entry] = {}
    for file in sorted((config_dir() / "errors").glob("*.toml")):
        for code, raw in tomllib.loads(file.read_text("utf-8")).items():
            entries[code] = Entry(code, raw.get("status", 400), raw.get("clause", ""), raw["say"], raw["do"])
    return entries


def words(code: str, language: str = "zh-Hans") -> tuple[str, str]:
    """What a person reads for `code`: (why, what to do). A code without an entry reads as a general fault."""
    entry = catalogue().get(code) or catalogue()["run.fault"]
    return entry.say.get(language, entry.say["zh-Hans"]), entry.do.get(language, entry.do["zh-Hans"])
