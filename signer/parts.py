"""What the signer's handlers work with."""

from __future__ import annotations

from dataclasses import dataclass

from flask import current_app

from ca_bridge.types import Clock
from signer.origins import Origins
from signer.requests import Requests
from signer.settings import SignerSettings
from signer.wallet import Wallet


@dataclass(frozen=True, slots=True)
class Parts:
    """Settings and working parts of one signer; in `app.extensions["signer"]`."""

    settings: SignerSettings
    wallet: Wallet
    origins: Origins
    requests: Requests
    clock: Clock


def parts() -> Parts:
    """The parts of the running application."""
    found: Parts = current_app.extensions["signer"]
    return found
