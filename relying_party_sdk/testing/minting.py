"""Makes the fake provider's tokens, right or wrong."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from relying_party_sdk.claims import loa
from relying_party_sdk.testing.faults import Fault
from relying_party_sdk.verify import LOGOUT_EVENT, at_hash

if TYPE_CHECKING:
    from relying_party_sdk.testing.provider import Login


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class Mint:
    """Signing keys and tokens of one issuer."""

    def __init__(
        self, issuer: str, clock: Callable[[], float], *, algorithm: str = "ES256", standard: bool = False
    ) -> None:
        self.issuer = issuer
        self.clock = clock
        self.algorithm = algorithm
        self.standard = standard
        """ID tokens are any OpenID provider's: nothing of the hall's contract but `acr`."""
        self.named = True
        """Keys and tokens have a `kid`."""
        self.keys: dict[str, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey] = {}
        self.signing = ""
        self.rotate()

    def rotate(self, *, keep: bool = False) -> None:
        """Sign with a new key from now on; the old one is published only when `keep`."""
        if not keep:
            self.keys.clear()
        self.signing = f"k{secrets.token_hex(4)}"
        self.keys[self.signing] = self.new_key()

    def new_key(self) -> ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey:
        """A key for `algorithm`."""
        if self.algorithm == "ES256":
            return ec.generate_private_key(ec.SECP256R1())
        return rsa.generate_private_key(65537, 2048)

    def jwks(self) -> dict[str, Any]:
        """The published keys."""
        rows = []
        for kid, key in self.keys.items():
            public = key.public_key()
            if isinstance(public, rsa.RSAPublicKey):
                row = jwt.algorithms.RSAAlgorithm.to_jwk(public, as_dict=True)
            else:
                row = jwt.algorithms.ECAlgorithm.to_jwk(public, as_dict=True)
            name = {"kid": kid} if self.named else {}
            rows.append({**row, **name, "use": "sig", "alg": self.algorithm})
        return {"keys": rows}

    def sign(self, header: dict[str, Any], claims: dict[str, Any], key: Any = None) -> str:
        """A compact JWS; `alg` of the header decides: the mint's, HS256 (with the public key's PEM), none."""
        signer = key or self.keys[self.signing]
        head, body = (_b64(json.dumps(part, ensure_ascii=False).encode()) for part in (header, claims))
        message = f"{head}.{body}".encode()
        if header.get("alg") == "none":
            raw = b""
        elif header.get("alg") == "HS256":
            pem = (
                self.keys[self.signing]
                .public_key()
                .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
            )
            raw = hmac.digest(pem, message, "sha256")
        else:
            raw = jwt.get_algorithm_by_name(self.algorithm).sign(message, signer)
        return f"{head}.{body}.{_b64(raw)}"

    def logout_token(self, client_id: str, **changes: Any) -> str:
        """A logout token of `sub` and `sid`; a change to None removes a claim; `typ`, `alg`, `key` are the header's."""
        header = {"alg": changes.pop("alg", self.algorithm), "typ": changes.pop("typ", "logout+jwt")}
        header["kid"] = self.signing if self.named else None
        key, now = changes.pop("key", None), int(self.clock())
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "aud": client_id,
            "iat": now,
            "exp": now + 120,
            "jti": secrets.token_hex(8),
            "events": {LOGOUT_EVENT: {}},
            **changes,
        }
        kept = {name: value for name, value in claims.items() if value is not None}
        return self.sign({k: v for k, v in header.items() if v is not None}, kept, key)

    def id_token(
        self, client_id: str, login: Login, nonce: str, access: str, faults: set[Fault], *, refreshed: bool
    ) -> str:
        """An ID token of a session, with whatever `faults` ask for."""
        claims = self.claims(client_id, login, nonce, access)
        if refreshed and Fault.OTHER_PERSON_AT_REFRESH in faults:
            claims["crosshall_subject"] = "s1:" + "a" * 52
        if refreshed:
            del claims["nonce"]
        header: dict[str, Any] = {"alg": self.algorithm, "typ": "JWT", "kid": self.signing}
        if not self.named:
            del header["kid"]
        for fault in faults:
            self._spoil(fault, header, claims)
        foreign = Fault.FOREIGN_KEY in faults
        token = self.sign(header, claims, self.new_key() if foreign else None)
        if Fault.BAD_SIGNATURE in faults:
            head, body, _ = token.split(".")
            token = f"{head}.{body}.{_b64(hashlib.sha512(body.encode()).digest())}"
        return token

    def claims(self, client_id: str, login: Login, nonce: str, access: str) -> dict[str, Any]:
        """What an ID token says of a session."""
        now, person = int(self.clock()), login.person
        claims = {
            "iss": self.issuer,
            "sub": person.subject(f"sub-{client_id}"),
            "aud": client_id,
            "azp": client_id,
            "exp": now + 300,
            "iat": now,
            "nonce": nonce,
            "sid": login.sid,
            "typ": "ID",
            "at_hash": at_hash(self.algorithm, access),
            "acr": loa(login.level),
        }
        if self.standard:
            return {**claims, "auth_time": int(login.auth_time)}
        checked = now if login.checked_at is None else int(login.checked_at)
        return {
            **claims,
            "crosshall_subject": person.subject(client_id),
            "crosshall_kind": person.kind,
            "crosshall_level": login.level,
            "crosshall_auth_time": int(login.auth_time),
            "crosshall_domain": person.domain,
            "crosshall_checked_at": checked,
            "crosshall_status_issued_at": checked - 60,
            "crosshall_rung": person.rung,
        }

    def _spoil(self, fault: Fault, header: dict[str, Any], claims: dict[str, Any]) -> None:
        now = int(self.clock())
        removed = {
            Fault.NO_ISS: "iss",
            Fault.NO_AUD: "aud",
            Fault.NO_SUB: "sub",
            Fault.NO_NONCE: "nonce",
            Fault.NO_EXP: "exp",
            Fault.NO_IAT: "iat",
            Fault.NO_CLAIM: "crosshall_rung",
        }
        changed: dict[Fault, dict[str, Any]] = {
            Fault.WRONG_ISS: {"iss": "https://attacker.example"},
            Fault.WRONG_AUD: {"aud": "another-window"},
            Fault.EXTRA_AUD: {"aud": [claims.get("aud"), "another-window"]},
            Fault.WRONG_AZP: {"azp": "another-window"},
            Fault.WRONG_NONCE: {"nonce": "of-another-sign-in"},
            Fault.EXPIRED: {"exp": now - 60},
            Fault.FUTURE: {"iat": now + 3600, "exp": now + 7200},
            Fault.WRONG_AT_HASH: {"at_hash": at_hash(self.algorithm, "another")},
            Fault.ACCESS_TOKEN_TYPE: {"typ": "Bearer"},
            Fault.MISTYPED_CLAIM: {"crosshall_level": str(claims.get("crosshall_level"))},
        }
        headers: dict[Fault, dict[str, Any]] = {
            Fault.ALG_NONE: {"alg": "none"},
            Fault.HMAC_PUBLIC_KEY: {"alg": "HS256"},
        }
        claims.pop(removed.get(fault, ""), None)
        claims.update(changed.get(fault, {}))
        header.update(headers.get(fault, {}))
        if fault is Fault.NO_KID:
            header.pop("kid", None)
