"""All tokens of this machine together, and the one thing that may be signed with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from ca_bridge.crypto import challenge as challenges
from ca_bridge.crypto import sm2
from ca_bridge.crypto.challenge import LIFETIME, Asked, Challenge
from ca_bridge.errors import CryptoError, SignerError
from signer.file_token import FileTokens
from signer.pkcs11_token import Pkcs11Tokens
from signer.settings import FileSource, SignerSettings
from signer.tokens import Held, Token


@dataclass(frozen=True, slots=True)
class Signature:
    """What goes back to the hall."""

    certificate: bytes = field(repr=False)
    """DER."""
    algorithm: str
    value: bytes = field(repr=False)


class Wallet:
    """Lists certificates and signs sign-in challenges; there is no method that signs anything else."""

    def __init__(self, tokens: Sequence[Token], *, rsa: str = "RS256", sm2_id: str = sm2.DEFAULT_ID) -> None:
        self._tokens = tuple(tokens)
        self._rsa = rsa
        self._sm2_id = sm2_id

    def held(self) -> tuple[Held, ...]:
        """Every certificate on every token, those that can sign first, one certificate once."""
        found: dict[str, Held] = {}
        for token in self._tokens:
            for held in token.held():
                found.setdefault(held.id, held)
        return tuple(sorted(found.values(), key=lambda held: (not held.can_sign, held.token)))

    def sign(self, held_id: str, pin: str, asked: Asked, now: datetime) -> Signature:
        """The challenge signed by the certificate's key, checked before it is handed out.

        Raises SignerError: `signer.certificate` (gone, or not for signing), `signer.algorithm`, `signer.key_mismatch`
        (the key on the token is not the certificate's), `signer.expired`, and those of `Token.sign`.
        """
        token, held = self._find(held_id)
        if not held.can_sign:
            raise SignerError("signer.certificate", "the certificate is not for signing")
        key = challenges.key_hash(held.certificate.spki)
        challenge = Challenge(asked.origin, asked.transaction, asked.nonce, key, asked.expires, asked.browser)
        if now >= asked.expires:
            raise SignerError("signer.expired", "the challenge is over")
        algorithm = self._algorithm(held.kind)
        value = token.sign(held, pin, challenges.message(challenge), algorithm)
        try:
            then = max(now, asked.expires - LIFETIME)  # when was judged above; here the signature is
            challenges.check(challenge, held.certificate.spki, value, algorithm, self._sm2_id, now=then)
        except CryptoError as error:
            raise SignerError("signer.key_mismatch", error.code) from error
        return Signature(held.certificate.der, algorithm, value)

    def _find(self, held_id: str) -> tuple[Token, Held]:
        for token in self._tokens:
            for held in token.held():
                if held.id == held_id:
                    return token, held
        raise SignerError("signer.certificate", "no such certificate on any token")

    def _algorithm(self, kind: str) -> str:
        names = challenges.algorithms_for(kind)
        if not names:
            raise SignerError("signer.algorithm", f"no sign-in algorithm for keys of kind {kind}")
        return self._rsa if self._rsa in names else names[0]


def open_wallet(settings: SignerSettings) -> Wallet:
    """The wallet that the settings describe. Raises SignerError `signer.module`."""
    tokens: list[Token] = []
    for source in settings.tokens:
        if isinstance(source, FileSource):
            tokens.append(FileTokens(source, tries=settings.file_pin_tries, sm2_id=settings.sm2_id))
        else:
            tokens.append(Pkcs11Tokens(source))
    return Wallet(tokens, rsa=settings.rsa, sm2_id=settings.sm2_id)
