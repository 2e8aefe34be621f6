"""For tests of windows: a fake provider over real HTTP on loopback, personas, a menu of faults, a browser that follows.

with FakeProvider() as provider:
    app = create_app(provider.settings(tmp_path, "police"))
    browser = Browser(app.test_client(), provider)
    provider.person = CITIZEN
    page = browser.open("/matters/1")
"""

from relying_party_sdk.testing.browser import Browser, Page
from relying_party_sdk.testing.faults import Fault
from relying_party_sdk.testing.personas import CITIZEN, OFFICER, OPERATOR, Persona
from relying_party_sdk.testing.provider import FakeProvider
from relying_party_sdk.testing.signin import SignInFailed, sign_in_as

__all__ = [
    "CITIZEN",
    "OFFICER",
    "OPERATOR",
    "Browser",
    "FakeProvider",
    "Fault",
    "Page",
    "Persona",
    "SignInFailed",
    "sign_in_as",
]
