"""Every adapter, on every store, at the real Keycloak with the real bridge, and at the fake provider: one contract."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from demo.stack import Demo
from tests.live.rp_sites import SITES, ZHANG, Side, Site, fake_side, real_side
from tests.parts.postgres import Cluster
from tests.parts.redis import redis_server

pytestmark = pytest.mark.live
DEEP = "/matters/7?q=1&from=letter"
_NAMES = list(SITES)
NEXT = dict(zip(_NAMES, (*_NAMES[1:], _NAMES[0]), strict=True))


@pytest.fixture(scope="module", name="stores")
def _stores(cluster: Cluster) -> Iterator[dict[str, str]]:
    """A real Redis and a real PostgreSQL, which all windows share."""
    with redis_server() as redis, cluster.database("rp_live") as database:
        yield {"redis": redis.url, "postgresql": database}


@pytest.fixture(scope="module", name="side", params=["keycloak", "fake"])
def _side(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, stores: dict[str, str]
) -> Iterator[Side]:
    """Both providers in turn, each with all adapters and stores."""
    folder = tmp_path_factory.mktemp(f"adapters-{request.param}")
    if request.param == "fake":
        with fake_side(folder, stores) as fake:
            yield fake
        return
    demo: Demo = request.getfixturevalue("demo")
    with real_side(demo, folder, stores) as real:
        yield real


@pytest.mark.parametrize("name", SITES)
def test_in_known_and_out(side: Side, name: str) -> None:
    """Deep link kept, level and subject told, known at the next adapter without a page, signed out once: at both."""
    site, other = side.sites[name], side.sites[NEXT[name]]
    browser = side.browser()
    assert browser.get(site.url("/")).text == "nobody"
    page = side.enter(browser, site.url(DEEP))
    assert (page.status, page.url, page.text) == (200, site.url(DEEP), f"7 level {side.level} ")
    assert ZHANG.name not in page.text
    person = site.sees(browser)
    assert person is not None
    assert (person.kind, person.level, person.rung) == ("citizen", side.level, "fresh")
    assert re.fullmatch(r"s1:[a-z2-7]{52}", person.subject)
    assert browser.get(site.url("/")).text == "citizen"
    assert other.sees(browser) is None
    page = browser.get(other.url(DEEP))  # a page of the provider's on the way would be where it ends
    assert (page.url, page.text) == (other.url(DEEP), f"7 level {side.level} ")
    there = other.sees(browser)
    assert there is not None
    assert there.subject != person.subject
    cookies = site.cookie(browser), other.cookie(browser)
    assert _sid(site, cookies[0]) == _sid(other, cookies[1])
    page = side.sign_out(browser, site)
    assert (page.url, page.text) == (site.url("/"), "nobody")
    assert (site.party.current(cookies[0]), other.party.current(cookies[1])) == (None, None)
    assert browser.get(other.url("/")).text == "nobody"


def _sid(site: Site, cookie: str) -> str:
    session = site.party.current(cookie)
    assert session is not None
    assert session.sid
    return session.sid


@pytest.mark.parametrize("name", SITES)
def test_what_lets_nobody_in_or_out(side: Side, name: str) -> None:
    """Another's answer signs nobody in; a forged logout token and another window's cookie change nothing."""
    site, other = side.sites[name], side.sites[NEXT[name]]
    thief, browser = side.browser(), side.browser()
    browser.stop_at = site.party.settings.redirect_uri
    answer = side.enter(browser, site.url(DEEP))
    assert answer.url.startswith(browser.stop_at)
    refused = thief.once("GET", answer.url)
    assert 400 <= refused.status < 500, refused.status
    assert "rp." in refused.text
    assert site.cookie(thief) == ""
    browser.stop_at = ""
    assert browser.get(answer.url).url == site.url(DEEP)
    session = site.party.current(site.cookie(browser))
    assert session is not None
    for token in ("", "x.y.z", session.id_token, session.access_token):
        assert site.told(token) == 400
    assert browser.get(site.url("/")).text == "citizen"
    thief.cookies[other.host] = {other.party.settings.cookie("session"): site.cookie(browser)}
    assert thief.get(other.url("/")).text == "nobody"
