"""From `day` down nobody from across the border signs in; on `closed` nobody at all (design §6)."""

from __future__ import annotations

import pytest

from ca_bridge.errors import PathError, PolicyDenied
from ca_bridge.policy.rungs import Rung, admit
from ca_bridge.trust.rules import Offline, parse_policy
from ca_bridge.types import Verdict
from tests.parts.bridge import START


def verdict(domain: str, engine: str = "path") -> Verdict:
    """An accepted certificate of `domain`."""
    return Verdict(True, "ok", "", "", START, "0" * 64, engine=engine, domain=domain, level=4)


@pytest.mark.parametrize("rung", [Rung.DAY, Rung.DAYS])
@pytest.mark.parametrize(("domain", "engine"), [("hk", "path"), ("mo", "path"), ("gd", "list"), ("gdx", "path")])
def test_across_the_border_is_refused_from_day_down(rung: Rung, domain: str, engine: str):
    """By domain or by trust list; a name that merely begins alike is another domain."""
    with pytest.raises(PolicyDenied) as caught:
        admit(verdict(domain, engine), rung, Offline(), "gd")
    assert caught.value.code == "policy.offline_border"


@pytest.mark.parametrize("domain", ["gd", "gd/guangzhou", "gd/guangzhou/conghua"])
def test_the_federation_itself_goes_on(domain: str):
    """Its own domains sign in on every rung but `closed`."""
    for rung in (Rung.FRESH, Rung.NEAR, Rung.DAY, Rung.DAYS):
        admit(verdict(domain), rung, Offline(), "gd")


def test_fresh_and_near_let_everybody_in():
    """The ladder allows all there."""
    for rung in (Rung.FRESH, Rung.NEAR):
        admit(verdict("hk", "list"), rung, Offline(), "gd")


def test_closed_is_closed():
    """Nobody, whoever they are."""
    with pytest.raises(PolicyDenied) as caught:
        admit(verdict("gd"), Rung.CLOSED, Offline(), "gd")
    assert caught.value.code == "policy.offline"


def test_the_province_says_what_home_is_and_may_be_stricter():
    """policy.toml: `home` names the federation's domains in place of the node's root, `border` a better rung."""
    policy = parse_policy(b'[offline]\nhome = ["gd", "gx"]\nborder = "fresh"\n')
    admit(verdict("gx/nanning"), Rung.DAY, policy.offline, "gd")
    with pytest.raises(PolicyDenied):
        admit(verdict("hk"), Rung.NEAR, policy.offline, "gd")


@pytest.mark.parametrize("text", [b'[offline]\nborder = "day"\n', b'[offline]\nhome = ["GD"]\n', b"[offline]\nx = 1\n"])
def test_the_ladder_cannot_be_loosened(text: bytes):
    """No table lets the border stay open from `day` down; an unknown key is no rule that nobody follows."""
    with pytest.raises(PathError, match=r"trust\.policy"):
        parse_policy(text)


def test_an_unknown_rung_is_no_rung():
    """A fault of ours, never a pass."""
    with pytest.raises(ValueError, match="unknown"):
        admit(verdict("gd"), "unknown", Offline(), "gd")
