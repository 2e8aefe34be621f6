"""Large CRLs travel as filters: the same verdicts at a county as at the province, and the CRL is brought on a hit."""

from __future__ import annotations

import copy
import hashlib
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from ca_bridge.errors import FederationError
from ca_bridge.fetch.whole import WANTED
from ca_bridge.trust import filter as compact
from ca_bridge.trust.bundle import read_bundle
from ca_bridge.verdict.currency import currencies
from ca_bridge.verdict.evidence import Evidence
from ca_bridge.verdict.snapshot import compile_bundle
from nodes.carry import export, verify
from nodes.files import unpack
from nodes.filters import SMALL, filter_path, fits, with_filters
from nodes.metadata import digest
from nodes.sync import Agent, AgentSettings
from tests import pki
from tests.unit.nodes.test_agent import Machine
from tests.unit.nodes.web import Web, plain
from tests.unit.nodes.world import NOW, World

REVOKED, GOOD = 77, 78
MANY = range(10_000, 10_200)
PATH, FILTER = "crls/gz-public.crl", "filters/gz-public.gcs"
_ENDS = NOW + timedelta(days=300)


def crl(world: World, serials: Iterable[int] = (REVOKED,), **more: Any) -> bytes:
    """A large CRL of the city's CA."""
    wishes = {"until": _ENDS, "reason": x509.ReasonFlags.key_compromise, **more}
    return pki.der(world.trust.authorities["gz-public"].crl([*serials, *MANY], **wishes))


def status(world: World, **changes: bytes) -> None:
    """Publish status data: the source bundle's with these changes."""
    files = {path: data for path, data in world.publisher.online.status_files().items() if path.startswith("crls/")}
    world.clock.pass_(minutes=1)
    world.publisher.status({**files, **{path.replace("__", "/") + ".crl": data for path, data in changes.items()}})


@pytest.fixture
def large(world: World) -> bytes:
    """The city's CA has a large CRL, published."""
    data = crl(world)
    status(world, **{"crls__gz-public": data})
    return data


class County:
    """A county over a line, with its agent."""

    def __init__(self, world: World, folder: Path, source: str, **more: Any) -> None:
        self.world, self.folder, self.machine = world, folder, Machine()
        settings = AgentSettings("gd/guangzhou/conghua", folder / "state", folder / "bundle", (source,), **more)
        self.agent = Agent(settings, machine=self.machine, chance=lambda: 0.5)
        self.agent._client.folder.start(world.root)

    def judge(self, serial: int) -> str:
        """The code of a verdict by the bundle as it lies there."""
        return judge(self.world, self.folder / "bundle", serial)

    def wish(self, data: bytes) -> None:
        """What the bridge does on a hit."""
        folder = self.folder / "state" / WANTED
        folder.mkdir(parents=True, exist_ok=True)
        (folder / hashlib.sha256(data).hexdigest()).touch()

    def wishes(self) -> list[str]:
        return [path.name for path in (self.folder / "state" / WANTED).glob("*")]

    def files(self) -> set[str]:
        """Revocation data in the bundle."""
        bundle = self.folder / "bundle"
        return {p.relative_to(bundle).as_posix() for f in ("crls", "filters") for p in (bundle / f).glob("*")}


def judge(world: World, bundle: Path, serial: int) -> str:
    """The code of a verdict of a leaf of the city's CA."""
    name = [("C", "CN"), ("O", "Test"), ("CN", "x")]
    leaf = world.trust.authorities["gz-public"].issue(name, serial=serial, extensions=[pki.usage("digital_signature")])
    return compile_bundle(read_bundle(bundle)).judge(pki.der(leaf), NOW).code


@contextmanager
def line(public: Path) -> Iterator[Web]:
    """A published folder over HTTP."""

    def find(path: str) -> bytes | None:
        return (public / path).read_bytes() if (public / path).is_file() else None

    with Web(plain(find)) as web:
        yield web


@pytest.fixture
def web(world: World) -> Iterator[Web]:
    """The province's folder over HTTP."""
    with line(world.public) as found:
        yield found


@pytest.fixture
def county(world: World, large: bytes, web: Web, tmp_path: Path) -> County:
    """It has fetched once."""
    county = County(world, tmp_path / "county", web.url)
    assert county.agent.round().codes == {}
    return county


def test_a_county_fetches_the_filter_and_not_the_crl(county: County, large: bytes, web: Web) -> None:
    """Small CRLs come whole, the large one as a filter; who is not revoked signs in, who may be does not."""
    assert county.files() == {"crls/root.crl", "crls/gd-public.crl", "crls/mo-public.crl", FILTER}
    assert not any(digest(large) in path for path in web.paths)
    assert (county.judge(GOOD), county.judge(REVOKED)) == ("ok", "revocation.unknown")


def test_a_wish_brings_the_crl_which_takes_the_filters_place(county: County, large: bytes) -> None:
    """The exact answer with the CRL's own bytes; the wish is gone, and nothing is fetched a second time."""
    assert not county.agent.look_up()
    county.wish(large)
    assert county.agent.look_up()
    assert county.files() == {"crls/root.crl", "crls/gd-public.crl", "crls/mo-public.crl", PATH}
    assert (county.folder / "bundle" / PATH).read_bytes() == large
    assert (county.judge(GOOD), county.judge(REVOKED)) == ("ok", "revocation.revoked")
    assert county.wishes() == []
    assert not county.agent.look_up()


def test_the_crl_stays_until_the_next_one_and_then_a_filter_stands_again(
    world: World, county: County, large: bytes
) -> None:
    """Rounds without news keep it; with the next CRL the old one leaves the disk."""
    county.wish(large)
    county.agent.round()
    assert county.judge(REVOKED) == "revocation.revoked"
    county.agent.round()
    assert county.judge(REVOKED) == "revocation.revoked"
    status(world, **{"crls__gz-public": crl(world, [], issued=NOW, number=2)})
    county.agent.round()
    assert FILTER in county.files()
    assert county.judge(REVOKED) == "ok"
    assert county.agent._client.folder.get(digest(large)) is None


def test_off_line_a_hit_stays_unknown_and_is_asked_for_again(
    world: World, county: County, large: bytes, tmp_path: Path
) -> None:
    """Fail closed; nobody else is touched; the wish waits for the line."""
    shutil.move(world.public, tmp_path / "away")
    county.wish(large)
    assert not county.agent.look_up()
    county.agent.round()
    assert (county.judge(GOOD), county.judge(REVOKED)) == ("ok", "revocation.unknown")
    assert county.wishes() == [digest(large)]
    shutil.move(tmp_path / "away", world.public)
    county.agent.round()
    assert county.judge(REVOKED) == "revocation.revoked"


@pytest.mark.parametrize("name", ["0" * 64, "x", "..."])
def test_a_wish_for_what_is_not_listed_brings_nothing(county: County, web: Web, name: str) -> None:
    """Only CRLs of the metadata in force are fetched; the wish is thrown away."""
    folder = county.folder / "state" / WANTED
    folder.mkdir(parents=True)
    (folder / name).touch()
    before = len(web.paths)
    assert not county.agent.look_up()
    assert (len(web.paths), county.wishes()) == (before, [])


def test_a_crl_that_is_replaced_while_it_is_asked_for_comes_with_the_next_round(
    world: World, county: County, large: bytes
) -> None:
    """The source holds the new one only: the old wish brings nothing, the next round brings the new filter."""
    newer = crl(world, [REVOKED, GOOD], issued=NOW, number=2)
    status(world, **{"crls__gz-public": newer})
    for path in (world.public / "targets" / "crls").glob(f"{digest(large)}.*"):
        path.unlink()
    county.wish(large)
    assert not county.agent.look_up()
    assert county.judge(GOOD) == "ok"
    county.agent.round()
    assert county.wishes() == []
    assert county.judge(GOOD) == "revocation.unknown"
    county.wish(newer)
    assert county.agent.look_up()
    assert county.judge(GOOD) == "revocation.revoked"


def test_a_damaged_crl_from_a_source_does_not_count(world: World, county: County, large: bytes, tmp_path: Path) -> None:
    """Another content under its name is refused by hash and length; the wish stays."""
    (place,) = (world.public / "targets" / "crls").glob(f"{digest(large)}.*")
    for wrong in (large[:-1] + b"x", large[:-1], large + b"x", crl(world, [])):
        place.write_bytes(wrong)
        county.wish(large)
        county.agent.round()
        assert county.judge(REVOKED) == "revocation.unknown"
        assert county.wishes() == [digest(large)]


def _lie(world: World, made: bytes | None, **more: bytes) -> None:
    """The online role publishes what it should not."""
    files = {**world.publisher.online.status_files(), **more}
    if made is not None:
        files[FILTER] = made
    world.publisher.online.write(files, suspended=False)
    world.clock.pass_(minutes=1)
    world.publisher.online.snapshot()


def _other(world: World) -> bytes:
    """A filter of another CRL of the same CA, in which nobody is listed."""
    return build(world, pki.der(world.trust.authorities["gz-public"].crl(until=_ENDS)))


def build(world: World, data: bytes, key: str = "") -> bytes:
    """A filter of any CRL, by the word of any key."""
    return compact.build(compact.parse_crl(data), key or world.trust.key("gz-public"), "1234567812345678")


@pytest.mark.parametrize("fault", ["other", "cut", "longer", "empty", "noise"])
def test_a_filter_that_is_not_the_crls_own_is_passed_over(
    world: World, large: bytes, web: Web, tmp_path: Path, fault: str
) -> None:
    """The CRL is brought in the same update, and judges alone."""
    good = world.publisher.online.status_files()[FILTER]
    wrong = {"other": _other(world), "cut": good[:-1], "longer": good + b"\0", "empty": b"", "noise": b"\xff" * 500}
    _lie(world, wrong[fault])
    county = County(world, tmp_path / "county", web.url)
    assert county.agent.round().codes == {}
    assert PATH in county.files()
    assert FILTER not in county.files()
    assert (county.judge(GOOD), county.judge(REVOKED)) == ("ok", "revocation.revoked")


def test_a_filter_by_the_wrong_key_passes_nobody(world: World, large: bytes, web: Web, tmp_path: Path) -> None:
    """A filter that fits the CRL and names another signer: no status, for nobody."""
    _lie(world, build(world, large, "0" * 64))
    county = County(world, tmp_path / "county", web.url)
    county.agent.round()
    assert (county.judge(GOOD), county.judge(REVOKED)) == ("revocation.unknown", "revocation.unknown")


def test_a_filter_larger_than_any_file_is_not_published(world: World, large: bytes) -> None:
    """The publisher's own cap, which nodes hold metadata against too."""
    with pytest.raises(FederationError) as caught:
        _lie(world, b"x" * (1 << 21))
    assert caught.value.code == "federation.size"


@pytest.mark.parametrize("fault", ["longer", "shorter", "changed", "absent"])
def test_a_source_that_gives_another_filter_than_is_listed_changes_nothing(
    world: World, county: County, fault: str
) -> None:
    """What is not of the listed length and hash refuses the update; what was in force stays."""
    status(world, **{"crls__gz-public": crl(world, [REVOKED, GOOD], issued=NOW, number=2)})
    sha = digest(world.publisher.online.status_files()[FILTER])
    (place,) = (world.public / "targets" / "filters").glob(f"{sha}.*")
    data = place.read_bytes()
    if fault == "absent":
        place.unlink()
    else:
        wrong = {"longer": data + b"x" * (1 << 21), "shorter": data[:-9], "changed": data[:-1] + b"x"}
        place.write_bytes(wrong[fault])
    codes = {"longer": "size", "shorter": "length", "changed": "hash", "absent": "absent"}
    done = county.agent.round()
    assert set(done.codes.values()) == {f"federation.{codes[fault]}"}
    assert (county.judge(GOOD), county.judge(REVOKED)) == ("ok", "revocation.unknown")


def test_a_city_brings_all_and_its_county_finds_what_it_needs(
    world: World, large: bytes, web: Web, tmp_path: Path
) -> None:
    """The city's mirror has filter and CRL; a county that docks there never needs a line to the province."""
    city = County(world, tmp_path / "city", web.url, public=tmp_path / "mirror", whole=True)
    assert city.agent.round().changed
    assert city.judge(REVOKED) == "revocation.revoked"
    with line(tmp_path / "mirror") as near:
        county = County(world, tmp_path / "county", near.url)
        county.agent.round()
        assert county.judge(REVOKED) == "revocation.unknown"
        county.wish(large)
        assert county.agent.look_up()
        assert county.judge(REVOKED) == "revocation.revoked"


def test_a_city_tells_a_filter_that_its_crl_does_not_make(world: World, large: bytes, web: Web, tmp_path: Path) -> None:
    """The online role leaves an entry out: counties believe it, a city with the CRL is red until it is put right."""
    whole, few = compact.parse_crl(large), compact.parse_crl(crl(world, []))
    lie = compact.parse_crl(compact.head_of(large))
    object.__setattr__(lie, "sha256", whole.sha256)
    object.__setattr__(lie, "entries", few.entries)
    _lie(world, compact.build(lie, world.trust.key("gz-public"), "1234567812345678"))
    county = County(world, tmp_path / "county", web.url)
    city = County(world, tmp_path / "city", web.url, whole=True)
    assert county.agent.round().failing == {}
    assert county.judge(REVOKED) == "ok"
    assert city.agent.round().failing == {"status": "revocation.filter"}
    assert city.judge(REVOKED) == "revocation.revoked"
    assert city.agent.round().failing == {"status": "revocation.filter"}
    _lie(world, build(world, large))
    assert city.agent.round().failing == {}
    county.agent.round()
    assert county.judge(REVOKED) == "revocation.unknown"


def test_a_countys_mirror_lacks_what_it_did_not_need(county: County, large: bytes, tmp_path: Path) -> None:
    """It is published all the same, whole as far as it goes."""
    county.agent._settings = AgentSettings(
        "gd/guangzhou/conghua", county.folder / "state", county.folder / "bundle",
        county.agent._settings.sources, public=tmp_path / "mirror",
    )  # fmt: skip
    assert county.agent.round().codes == {}
    names = {path.name for path in (tmp_path / "mirror" / "targets").rglob("*") if path.is_file()}
    assert any(name.endswith(".gz-public.gcs") for name in names)
    assert not any(name.startswith(digest(large)) for name in names)


def test_a_carried_disk_holds_the_crls(world: World, large: bytes, tmp_path: Path) -> None:
    """Who reads a disk may have no line: hits are judged by what it brought, before it is taken away."""
    export(world.public, world.root, tmp_path / "disk", "gd")
    trusted, composed = verify(f"file:{tmp_path / 'disk'}", world.root, None, "gd/guangzhou")
    assert [ref.path for ref in trusted.whole] == [PATH]
    assert composed.files[PATH] == large
    county = County(world, tmp_path / "county", f"file:{tmp_path / 'disk'}")
    county.agent.round()
    shutil.rmtree(tmp_path / "disk")
    county.agent.round()
    assert (county.judge(GOOD), county.judge(REVOKED)) == ("ok", "revocation.revoked")


def test_the_pack_for_a_new_node_leaves_the_crls_out(world: World, large: bytes) -> None:
    """Else a new county would fetch what it does not need."""
    world.publisher.online.snapshot(whole=True)
    (pack,) = (world.public / "packs").glob("*.pack")
    digests = {digest(data) for data in unpack(pack.read_bytes())}
    assert digest(large) not in digests
    assert digest(world.publisher.online.status_files()[FILTER]) in digests


def test_what_was_judged_by_a_filter_is_replayed_by_it(county: County, large: bytes, tmp_path: Path) -> None:
    """The archive holds what was in force: filter or CRL, and judges as it did."""
    evidence = Evidence(tmp_path / "evidence")
    first, _ = evidence.archive(county.folder / "bundle")
    county.wish(large)
    county.agent.look_up()
    second, _ = evidence.archive(county.folder / "bundle")
    leaf = pki.der(
        county.world.trust.authorities["gz-public"].issue(
            [("C", "CN"), ("O", "Test"), ("CN", "x")], serial=REVOKED, extensions=[pki.usage("digital_signature")]
        )
    )
    codes = [evidence.snapshot(name).judge(leaf, NOW).code for name in (first, second)]
    assert codes == ["revocation.unknown", "revocation.revoked"]


def test_a_stale_filter_is_told_as_a_stale_crl_is(world: World, county: County) -> None:
    """Health asks how current each CA's lists are; a filter counts as long as its CRL."""
    known = {found.ca: found for found in currencies(compile_bundle(read_bundle(county.folder / "bundle")))}
    assert not known["gz-public"].stale(NOW)
    assert known["gz-public"].issued(NOW) == NOW - pki.DAY
    assert known["gz-public"].stale(_ENDS + timedelta(seconds=1))


def test_filters_are_made_once_and_only_of_what_is_worth_one(world: World, large: bytes) -> None:
    """Small CRLs, strangers', deltas and what cannot be read stay alone; a filter that is there is used again."""
    online = world.publisher.online
    assert [path for path in online.status_files() if path.startswith("filters/")] == [FILTER]
    stranger = pki.Authority.create("Nobody")
    more = {
        "crls/stranger.crl": pki.der(stranger.crl(MANY)),
        "crls/delta.crl": crl(world, delta_of=1, number=2),
        "crls/noise.crl": b"x" * 2 * SMALL,
        "crls/small.crl": pki.der(world.trust.authorities["gd-public"].crl([1])),
        "filters/small.gcs": b"x",
        "filters/left.gcs": b"x",
    }
    made = online.with_filters({**online.status_files(), **more})
    assert {path for path in made if path.startswith("filters/")} == {FILTER}
    known = made[FILTER]
    asked: list[str] = []

    def before(path: str) -> bytes:
        asked.append(path)
        return known

    assert with_filters({PATH: large}, online._trust, before)[FILTER] is known
    assert asked == [FILTER]


def test_a_ca_that_is_published_later_gets_its_filter_then(world: World) -> None:
    """Before its key is signed for, a CRL travels whole; with the signatures comes the filter."""
    extra = world.trust.root.subordinate("late")
    trust = copy.copy(world.trust)  # the tests share one
    trust.authorities = {**world.trust.authorities, "late": extra}
    changes = {
        "crls__late_DOT_crl": pki.der(extra.crl(MANY, until=_ENDS)),
        "cross__late_DOT_pem": pki.pem(extra.certificate).encode(),
        "profiles__late_DOT_toml": trust.profile("late", "gd/guangzhou"),
    }
    trust.write(world.source, **changes)
    world.publisher.publish(world.source)
    assert "filters/late.gcs" not in world.publisher.online.status_files()
    world.sign()
    assert "filters/late.gcs" in world.publisher.online.status_files()


def test_names_of_filters_follow_their_crls() -> None:
    """One place for each, and none for what is no CRL of the status role."""
    assert filter_path("crls/a.crl") == "filters/a.gcs"
    assert [filter_path(path) for path in ("denials/a.toml", "refusals/gd/x/a.crl", "crls/a.pem", "")] == [""] * 4
    assert not fits(None, "0" * 64)


class _Stop:
    """Stands for the event that ends the loop: time passes while it is waited for, and the bridge wishes at once."""

    def __init__(self, act: Any, waits: int) -> None:
        self.now, self.act, self.left = 0.0, act, waits

    def is_set(self) -> bool:
        return self.left <= 0

    def wait(self, seconds: float) -> bool:
        self.now += seconds
        self.left -= 1
        self.act(self.left)
        return self.is_set()


def test_a_wish_is_granted_between_two_rounds(world: World, large: bytes, web: Web, tmp_path: Path) -> None:
    """Within two looks of half a second, without a check of the source: the sign-in is waiting."""
    county = County(world, tmp_path / "county", web.url)
    codes = []

    def act(left: int) -> None:
        codes.append(county.judge(REVOKED))
        if left == 3:
            county.wish(large)

    stop = _Stop(act, 4)
    county.agent._ticks = lambda: stop.now
    county.agent.run(stop)  # type: ignore[arg-type]
    assert codes == ["revocation.unknown", "revocation.revoked", "revocation.revoked", "revocation.revoked"]
    assert stop.now == 2.0
    assert web.paths.count("metadata/timestamp.json") == 1
