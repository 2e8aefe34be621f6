"""A realm that is dropped and rebuilt by its code knows the same people under the same subjects."""

from __future__ import annotations

import re

import pytest

from ca_bridge.registry import load_windows
from demo.personas import persona
from demo.selfcheck import new_browser, sign_in
from demo.stack import Demo
from idp.admin import connect
from idp.apply import apply_realm, plan
from idp.server import read_password
from tests.live.as_window import AsWindow, Received

pytestmark = pytest.mark.live
ZHANG, LI = persona("gd-zhang"), persona("gz-li")
CLASSES = ("crosshall_domain", "crosshall_kind", "acr", "crosshall_rung")
"""Claims of design §5 that say of which kind a person is, the same for many."""


def texts(value: object) -> set[str]:
    """Every text inside a claim's value."""
    if isinstance(value, dict):
        return set().union(*(texts(inner) for inner in value.values())) if value else set()
    if isinstance(value, list):
        return set().union(*(texts(inner) for inner in value)) if value else set()
    return {value} if isinstance(value, str) else set()


def all_texts(received: Received) -> set[str]:
    """Every text that a window was given, but the claims that only say of which kind somebody is."""
    return {
        text
        for claims in received.places().values()
        for name, value in claims.items()
        if name not in CLASSES
        for text in texts(value)
    }


def test_two_windows_share_nothing_but_sid(demo: Demo) -> None:
    """No text that two windows receive of one person, and of no other person, is the same, but `sid`."""
    browser, other = new_browser(demo.pki, ZHANG), new_browser(demo.pki, LI)
    police, env = AsWindow(demo, "police"), AsWindow(demo, "env")
    left, right = police.receive(browser), env.receive(browser)
    strangers = all_texts(police.receive(other)) | all_texts(env.receive(other))
    shared = (all_texts(left) & all_texts(right)) - strangers
    assert shared == {left.id_token["sid"]}
    for received in (left, right):
        for place, claims in received.places().items():
            assert not any(re.search(r"p1:", text) for text in texts(claims)), place
            assert ZHANG.name not in str(claims)
            assert ZHANG.identifiers[0][2] not in str(claims)
    assert left.id_token["sub"] != right.id_token["sub"]
    assert left.id_token["crosshall_subject"] != right.id_token["crosshall_subject"]


def test_the_subject_outlives_the_realm(demo: Demo) -> None:
    """Dropped by hand and rebuilt by one apply, the realm gives each window the subject it knew, in all four places."""
    windows = [AsWindow(demo, name) for name in ("police", "env")]
    before = [window.receive(new_browser(demo.pki, ZHANG)) for window in windows]
    realm = demo.settings.keycloak
    admin = connect(realm.internal, realm.realm, realm.admin_user, read_password(realm.admin_password_file))
    admin.delete(admin.base)
    assert admin.find(admin.base) is None
    demo.apply()
    after = [window.receive(new_browser(demo.pki, ZHANG)) for window in windows]
    for old, new in zip(before, after, strict=True):
        subject = old.id_token["crosshall_subject"]
        assert re.fullmatch(r"s1:[a-z2-7]{52}", subject)
        for received in (old, new):
            assert {place: claims["crosshall_subject"] for place, claims in received.places().items()} == dict.fromkeys(
                received.places(), subject
            )
        assert new.introspection["username"] == subject
        assert old.id_token["sub"] != new.id_token["sub"]  # what design §5 would not build on
    assert apply_realm(demo.settings, load_windows(demo.settings.node.state)).writes == 0
    assert plan(demo.settings, load_windows(demo.settings.node.state)).changes == ()
    page = sign_in(new_browser(demo.pki, LI), demo.addresses)
    assert LI.name in page.text
