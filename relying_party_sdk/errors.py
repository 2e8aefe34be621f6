"""The tree of errors of the relying party, each with a stable code that begins with `rp.`.

    RPError
    ├── SettingsError   rp.settings rp.key_file                  the window's own set-up
    ├── StoreError      rp.store                                 the window's session store
    ├── ProviderError   rp.provider_… rp.metadata rp.issuer rp.attributes   the provider is down, or answers wrongly
    ├── CallbackError   rp.callback… rp.state rp.other_browser rp.denied    the way back from the provider
    │   └── GrantRefused   rp.grant_refused                      the provider gives a service no token
    ├── TokenError      rp.token_… rp.claims rp.logout_… rp.dpop_…   a token or proof that is refused
    ├── SessionEnded    rp.session_ended                         the provider says that the session is over
    ├── AccessError     rp.sign_in_required rp.level_… rp.…_unmet             what a page or an API asks for
    ├── AccountError    rp.account_…                             linking the application's own accounts
    └── RequestError    rp.form_not_sent rp.cross_site rp.bearer_request          a request that is not carried out

What a person reads of a code (four languages: why, and what to do) lies in `messages.json`; `detail` is for the
operator's log and never says who the person is.
"""

from __future__ import annotations


class RPError(Exception):
    """Any refusal or fault of the relying party; `code` is stable, `detail` is for operators."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.return_to = ""
        """Path at this site where the person was going, when a sign-in failed on the way."""
        self.detail = detail


class SettingsError(RPError):
    """Settings or key files that are missing, contradictory or unsafe."""


class StoreError(RPError):
    """The session store cannot be read or written."""


class ProviderError(RPError):
    """The provider (or the attribute endpoint) is unreachable, slow, or answers what it must not."""

    unsure = False
    """What was asked may have been carried out all the same: no whole answer came back."""


class GrantRefused(ProviderError):  # noqa: N818 - an answer, not a fault
    """The provider gives no token for what a service asked; `error` is its OAuth code (RFC 6749 §5.2)."""

    def __init__(self, code: str, detail: str = "", error: str = "") -> None:
        super().__init__(code, detail)
        self.error = error


class CallbackError(RPError):
    """The browser came back from the provider in a way that is refused."""


class TokenError(RPError):
    """A token whose signature or content is refused."""


class SessionEnded(RPError):  # noqa: N818 - a state, not a fault
    """The provider says that the session is over (RFC 6749 §5.2 `invalid_grant` at refresh)."""


class AccessError(RPError):
    """A page asks for a session, level, freshness or rung that the person does not have now."""


class RequestError(RPError):
    """A request that the adapter does not carry out, and says so."""


class AccountError(RPError):
    """The application's own account cannot be linked to the person, or it is not said which one is meant."""

    accounts: tuple[str, ...] = ()
    """With `rp.account_choice`: those the person may choose from."""
