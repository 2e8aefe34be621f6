"""K=token: what an API pays for one access token, beside pyjwt, joserfc and the lean limit, in CPU seconds.

Each of a round's tokens is new to everybody: nothing is remembered but keys. Ours is the whole public check, with what
the peers leave out (typ, client, bound keys, JSON without doubles, one spelling of base64, sign-outs, remembering).
`cached` is the same token again. Rounds are interleaved; each figure is the median of the rounds.
"""

from __future__ import annotations

import secrets
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.peers import tokens as peers
from relying_party_sdk import Settings
from relying_party_sdk.bearer import Bearer
from relying_party_sdk.ended import Ended
from relying_party_sdk.jwks import KeyCache, read_keys
from relying_party_sdk.sealing import Sealer
from relying_party_sdk.stores import MemoryStore
from relying_party_sdk.testing.minting import Mint

ROUNDS = 15
TOKENS = 100
CACHED = 4000
ISSUER, AUDIENCE = "https://sso.gd.example/realms/gd", "police"
ALGORITHMS = ("ES256", "RS256", "PS256")


def run() -> None:
    """Print `rate` and `ratio` lines."""
    for algorithm in ALGORITHMS:
        _measure(algorithm)


def _measure(algorithm: str) -> None:
    mint = Mint(ISSUER, time.time, algorithm=algorithm)
    jwks = {"keys": mint.jwks()["keys"]}
    public = mint.keys[mint.signing].public_key()
    tokens = [_token(mint, algorithm) for _ in range(TOKENS)]
    checks: dict[str, Callable[[], Callable[[str], object]]] = {
        "ours": lambda: _ours(jwks).check,
        "lean": lambda: peers.lean(public, algorithm, ISSUER, AUDIENCE),
        "pyjwt": lambda: peers.pyjwt(jwks, algorithm, ISSUER, AUDIENCE),
        "joserfc": lambda: peers.joserfc(jwks, algorithm, ISSUER, AUDIENCE),
    }
    seconds: dict[str, list[float]] = {name: [] for name in (*checks, "cached")}
    warm = _ours(jwks)
    for each in checks.values():  # imports, first uses
        each()(tokens[0])
    warm.check(tokens[0])
    for _ in range(ROUNDS):
        for name, make in checks.items():
            seconds[name].append(_cpu(make(), tokens))
        seconds["cached"].append(_cpu(warm.check, [tokens[0]] * CACHED))
    median = {name: statistics.median(values) for name, values in seconds.items()}
    kind = f"token.{algorithm.lower()}"
    for name in ("ours", "lean", "pyjwt", "joserfc"):
        print(f"rate {kind}.{name} {1 / median[name]:.0f} tokens/s")
    for name in ("lean", "pyjwt", "joserfc"):
        print(f"ratio {kind}.vs_{name} {median[name] / median['ours']:.2f}")
    cached = "token.cached" if algorithm == "RS256" else f"token.cached.{algorithm.lower()}"  # RS256: pyjwt's quickest
    print(f"rate {cached} {1 / median['cached']:.0f} tokens/s")
    print(f"ratio {cached}.vs_pyjwt {median['pyjwt'] / median['cached']:.1f}")


def _cpu(check: Callable[[str], object], tokens: list[str]) -> float:
    """CPU seconds of this thread per token."""
    begin = time.thread_time()
    for token in tokens:
        check(token)
    return (time.thread_time() - begin) / len(tokens)


def _ours(jwks: dict[str, Any]) -> Bearer:
    """As a process that has its keys and has seen no token yet."""
    settings = Settings(
        issuer=ISSUER, client_id=AUDIENCE, base_url="https://police.example", key_file=Path("unused"), store="memory:"
    )
    keys = KeyCache(lambda: read_keys(jwks["keys"]), time.time, wait=1)
    keys.find(jwks["keys"][0]["kid"], jwks["keys"][0]["alg"])
    sealer = Sealer(secrets.token_bytes(32))
    ended = Ended(MemoryStore(time.time), sealer, time.time, secrets.token_bytes, 86_400)
    return Bearer(settings, keys, ended, time.time)


def _token(mint: Mint, algorithm: str) -> str:
    """As Keycloak makes one for a window of the hall."""
    now = int(time.time())
    claims = {
        "exp": now + 900,
        "iat": now,
        "nbf": now,
        "jti": f"onrtac:{secrets.token_hex(16)}",
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": secrets.token_hex(32),
        "typ": "Bearer",
        "azp": AUDIENCE,
        "sid": secrets.token_hex(16),
        "acr": "urn:crosshall:loa:2",
        "scope": "openid crosshall",
        "crosshall_subject": "s1:" + "a" * 52,
        "crosshall_kind": "citizen",
        "crosshall_level": 2,
        "crosshall_auth_time": now - 60,
        "crosshall_domain": "gd/guangzhou",
        "crosshall_checked_at": now - 60,
        "crosshall_status_issued_at": now - 600,
        "crosshall_rung": "fresh",
        "realm_access": {"roles": ["officer", "reader"]},
    }
    return mint.sign({"alg": algorithm, "typ": "JWT", "kid": mint.signing}, claims)
