"""The menu of faults of the fake provider: what a relying party must withstand (OpenID RP conformance, and ours)."""

from __future__ import annotations

from enum import StrEnum


class Fault(StrEnum):
    """One thing the fake provider does wrongly while it is in `FakeProvider.faults`."""

    # ID tokens
    ALG_NONE = "alg-none"
    HMAC_PUBLIC_KEY = "hmac-public-key"
    BAD_SIGNATURE = "bad-signature"
    FOREIGN_KEY = "foreign-key"
    """Signed by another key under the published key's `kid`."""
    NO_KID = "no-kid"
    """Not wrong while only one key is published."""
    WRONG_ISS = "wrong-iss"
    NO_ISS = "no-iss"
    WRONG_AUD = "wrong-aud"
    NO_AUD = "no-aud"
    EXTRA_AUD = "extra-aud"
    WRONG_AZP = "wrong-azp"
    NO_SUB = "no-sub"
    ROTATE_BEFORE_SIGNING = "rotate-before-signing"
    """Not wrong: signs with a key that is published only from that moment."""
    NO_NONCE = "no-nonce"
    WRONG_NONCE = "wrong-nonce"
    EXPIRED = "expired"
    NO_EXP = "no-exp"
    FUTURE = "future"
    NO_IAT = "no-iat"
    WRONG_AT_HASH = "wrong-at-hash"
    ACCESS_TOKEN_TYPE = "access-token-type"  # noqa: S105 - a fault's name
    NO_CLAIM = "no-claim"
    MISTYPED_CLAIM = "mistyped-claim"
    LOWER_LEVEL = "lower-level"
    """Answers with level 1 whatever was asked."""
    OTHER_PERSON_AT_REFRESH = "other-person-at-refresh"
    OLD_AUTH_TIME = "old-auth-time"
    """Ignores max_age."""
    # the way back
    CALLBACK_WRONG_ISS = "callback-wrong-iss"
    CALLBACK_NO_ISS = "callback-no-iss"
    # HTTP, at every address but /authorize
    DOWN = "down"
    HTML = "html"
    HUGE = "huge"
    SLOW = "slow"
    """Answers nothing until the provider stops."""
    REDIRECT = "redirect"
    SLOW_JWKS = "slow-jwks"
    """The keys' address alone answers nothing until the provider stops; the next two: with a page, without a key."""
    HTML_JWKS = "html-jwks"
    EMPTY_JWKS = "empty-jwks"
    SLOW_REFRESH = "slow-refresh"
    """Spends the refresh token, and then answers nothing until the provider stops."""
    # metadata
    WRONG_ISSUER = "wrong-issuer"
    PLAIN_HTTP = "plain-http"
    # the way back from a sign-out
    LOGOUT_WRONG_STATE = "logout-wrong-state"
    LOGOUT_NO_STATE = "logout-no-state"
    # userinfo
    USERINFO_WRONG_SUB = "userinfo-wrong-sub"
    USERINFO_NO_SUB = "userinfo-no-sub"
    # attributes
    OTHER_SUBJECT = "other-subject"


HTTP_FAULTS = frozenset({Fault.DOWN, Fault.HTML, Fault.HUGE, Fault.SLOW, Fault.REDIRECT})
