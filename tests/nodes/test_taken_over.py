"""A county that was taken over: with its keys and its disk it makes nobody, and no trust, at any other hall.

Then it is cut off by one command, and what came from it is listed. The tests stand in the order of the story.
"""

from __future__ import annotations

import json
import secrets
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import tomli_w
from tuf.api.metadata import Metadata, MetaFile, Snapshot, TargetFile, Targets, Timestamp

from ca_bridge.ceremony import abroad, journal
from ca_bridge.crypto import between
from ca_bridge.files import write_atomically
from ca_bridge.trust.bundle import read_bundle
from ca_bridge.types import utc_now
from demo.personas import persona
from nodes import roles
from nodes.keys import load_key
from nodes.metadata import ISSUED, digest, time_text
from nodes.own_role import OwnRole
from nodes.repository import Repository
from tests.live.citizen import Citizen
from tests.nodes.country import PLACES, Country, Place, status_of, wait
from tests.nodes.forged import FORGED, HELPER, Forge, own
from tests.nodes.people import MINUTE, citizen, signs_in
from tests.nodes.taken import Claims, Taken

pytestmark = pytest.mark.live
GD, GZ, FS, CH = PLACES
HALLS = (GD, GZ, FS)
VICTIM = "gd-zhang"
ROLE = roles.domain_role(CH.domain)
FALSE_KEY = f"{'0' * 64}:1"
LONG_AGO = (datetime.now(UTC) - timedelta(hours=1)).isoformat()


@pytest.fixture(scope="module", name="taken")
def _taken(country: Country) -> Taken:
    return Taken(country, HELPER)


@pytest.fixture(scope="module", name="victim")
def _victim(country: Country) -> Citizen:
    """Somebody who signed in at the county's hall, by their token: all that is on its disk."""
    person = citizen(country, VICTIM)
    assert person.at_window(CH.domain, person.by_token(CH.domain))
    return person


@pytest.mark.parametrize("here", HALLS, ids=lambda place: place.name)
@pytest.mark.parametrize(("forge", "code"), FORGED, ids=lambda value: getattr(value, "__name__", ""))
def test_forged_evidence(taken: Taken, victim: Citizen, here: Place, forge: Forge, code: str) -> None:
    """Whatever the county signs is checked against the person's and the browser's own signatures; nobody is let in."""
    asked = taken.asked(here)
    page = taken.hands_in(asked, forge(taken, asked, victim))
    assert code in page.text, (page.status, page.url, page.text[:2000])
    assert not asked.person.known(here.domain)
    assert victim.known(CH.domain)


@pytest.mark.parametrize(
    ("who", "code"),
    [
        ("rogue-wu", "path.unknown_issuer"),
        ("gz-outside", "path.name_constraints"),
        ("gd-revoked", "revocation.revoked"),
        ("gd-expired", "path.expired"),
        ("gd-server", "path.extended_key_usage"),
        ("gd-bad-number", "identity.check_digit"),
    ],
)
def test_people_that_the_county_lets_in(taken: Taken, who: str, code: str) -> None:
    """Its hall judges nobody any more; every other hall judges afresh: forged, foreign and revoked ones stay out."""
    for here in HALLS:
        asked = taken.asked(here)
        page = taken.hands_in(asked, taken.sealed(taken.evidence(asked, taken.signs(who, asked.person)), here))
        assert code in page.text, (here.name, page.status, page.url, page.text[:2000])
        assert not asked.person.known(here.domain)


def test_evidence_counts_once(taken: Taken) -> None:
    """Good evidence lets the person in; the same again, in whatever browser, opens nothing."""
    asked = taken.asked(GD)
    sealed = taken.sealed(own(taken, asked), GD)
    assert asked.person.at_window(GD.domain, taken.hands_in(asked, sealed))
    again = taken.asked(GD)
    page = taken.hands_in(again, sealed)
    assert "abroad.nonce" in page.text
    assert not again.person.known(GD.domain)


def test_a_nonce_of_another_hall(taken: Taken) -> None:
    """What the province asked of the city the county cannot answer."""
    asked = taken.asked(GD, GZ)
    page = taken.hands_in(asked, taken.sealed(own(taken, asked), GD))
    assert "abroad.nonce" in page.text
    assert not asked.person.known(GD.domain)


@pytest.mark.parametrize(
    ("changed", "kid", "code"),
    [
        ({"iss": GZ.domain}, CH, "abroad.request"),
        ({"iss": GZ.domain}, GZ, "crypto.jws"),
        ({"return": "https://evil.example/sign-in/" + "x" * 43}, CH, "abroad.request"),
        ({"return": GZ.url("hall") + "/sign-in/" + "x" * 43}, CH, "abroad.request"),
        ({"iat": 1, "exp": 2}, CH, "abroad.request"),
        ({"aud": FS.domain}, CH, "abroad.request"),
    ],
    ids=["name", "key", "outside", "elsewhere", "old", "audience"],
)
def test_asks_for_evidence_that_is_not_its_own(
    taken: Taken, country: Country, changed: Claims, kid: Place, code: str
) -> None:
    """A hall gives a person's evidence to the hall that asks, at its own address, and to no other."""
    person = citizen(country, VICTIM)
    person.by_token(GD.domain)
    now = int(time.time())
    claims = {"iss": CH.domain, "aud": GD.domain, "nonce": secrets.token_urlsafe(32), "iat": now, "exp": now + 60}
    claims |= {"return": f"{CH.url('hall')}/sign-in/{'x' * 43}"}
    request = between.sign(taken.keys.sign, taken.kid(kid), abroad.REQUEST_TYP, {**claims, **changed})
    page = person.browser.get(f"{GD.url('hall')}/abroad?request={request}")
    assert code in page.text
    assert "data-travel" not in page.text


@pytest.mark.parametrize(
    ("iss", "kid", "code"),
    [(CH, CH, ""), (GZ, CH, "abroad.logout"), (GZ, GZ, "crypto.jws")],
    ids=["own", "name", "key"],
)
def test_signs_out_nobody_elsewhere(taken: Taken, country: Country, iss: Place, kid: Place, code: str) -> None:
    """A sign-out counts for the sender's own links; handles that it guesses, or another's name, end nothing."""
    person = citizen(country, VICTIM)
    person.by_token(GZ.domain)
    page = person.travels(GZ.domain, person.comes(GD.domain, GZ.domain))
    assert person.at_window(GD.domain, page)
    claims = {"iss": iss.domain, "aud": GD.domain, "iat": int(time.time()), "jti": secrets.token_hex(16)}
    claims |= {"handles": [secrets.token_urlsafe(32)]}
    token = between.sign(taken.keys.sign, taken.kid(kid), "crosshall-logout+jwt", claims)
    answer = person.browser.post(f"{GD.url('hall')}/abroad/logout", {"logout": token})
    assert (answer.status, code in answer.text) == (403 if code else 204, True), answer.text
    assert person.known(GD.domain)


def test_a_roster_of_its_own(taken: Taken, country: Country) -> None:
    """Roster, snapshot and time signed by the county's key: no node takes them, whatever way they come."""
    forged = country.root / "forged"
    shutil.copytree(taken.folder / "federation" / "public", forged, dirs_exist_ok=True)
    repository, signer = Repository(forged), load_key(taken.folder / "state" / "keys" / "role-1.pem", None)

    def resign(metadata: Metadata[Targets] | Metadata[Snapshot] | Metadata[Timestamp]) -> bytes:
        metadata.signatures.clear()
        metadata.sign(signer)
        return metadata.to_bytes()

    targets = repository.metadata(roles.TARGETS, Targets)
    roster = json.loads(repository.file(targets.signed.targets["roster.json"]))
    roster["nodes"] = [{**row, "stage": "live", "sign": _key_of(roster)} for row in roster["nodes"]]
    file = repository.put_file("roster.json", json.dumps(roster).encode())
    targets.signed.targets["roster.json"], targets.signed.version = file, targets.signed.version + 1
    data = resign(targets)
    repository.put_metadata(roles.TARGETS, targets.signed.version, data)
    snapshot = repository.metadata(roles.SNAPSHOT, Snapshot)
    snapshot.signed.version += 1
    snapshot.signed.meta["targets.json"] = MetaFile(targets.signed.version, len(data), {"sha256": digest(data)})
    data = resign(snapshot)
    repository.put_metadata(roles.SNAPSHOT, snapshot.signed.version, data)
    now = datetime.now(UTC)
    meta = MetaFile(snapshot.signed.version, len(data), {"sha256": digest(data)})
    stamp = Timestamp(int(now.timestamp()) + 60, None, now.replace(microsecond=0) + timedelta(days=6), meta)
    stamp.unrecognized_fields[ISSUED] = time_text(now)
    repository.put_timestamp(resign(Metadata(stamp)))
    before = {place.name: _roster(country, place) for place in (GZ, FS)}
    for place in (GZ, FS):
        told = country.run(place, "node", "sync", "--once", "--source", f"file:{forged}", fails=True)
        assert "federation.threshold" in told
        assert _roster(country, place) == before[place.name]


def _key_of(roster: dict[str, list[dict[str, object]]]) -> object:
    return next(row["sign"] for row in roster["nodes"] if row["name"] == CH.domain)


def _roster(country: Country, place: Place) -> bytes:
    return (country.folder(place) / "bundle" / "roster.json").read_bytes()


@pytest.fixture(scope="module", name="copy", autouse=True)
def _copy(taken: Taken, country: Country) -> int:
    """Told to the province when the story begins, so that nobody waits: another node's sign-in, in that node's name."""
    province = taken.roster.province()
    assert province is not None
    now = datetime.now(UTC)
    claims = {"iss": FS.domain, "at": now.isoformat(), "certificate_key": FALSE_KEY, "way": "token"}
    text = between.sign(taken.keys.sign, taken.kid(), journal.COPY_TYP, {**claims, "level": 4, "source": ""})
    name = f"{int(now.timestamp() * 1e6):020d}-{secrets.token_hex(8)}.jwe"
    folder = taken.folder / "state" / journal.OUTBOX
    folder.mkdir(exist_ok=True)
    write_atomically(folder / name, between.seal(text, province.box, journal.SEALED_TYP).encode())
    return _office_log(country).stat().st_size


def _office_said(country: Country, since: int) -> list[dict[str, object]]:
    text = _office_log(country).read_text("utf-8", "replace")[since:]
    return [json.loads(line) for line in text.splitlines() if line.startswith("{") and line.endswith("}")]


def _office_log(country: Country) -> Path:
    return country.folder(GD) / "run" / "logs" / "office.log"


@pytest.fixture(name="lane")
def _lane(taken: Taken) -> Iterator[Repository]:
    """The county's published folder; what an attack leaves in its lane is taken away again."""
    public = taken.folder / "federation" / "public"
    kept = public.with_name("kept-lane")
    shutil.copytree(public / "lane", kept)
    yield Repository(public)
    shutil.rmtree(public / "lane")
    kept.rename(public / "lane")


@pytest.mark.parametrize(
    "attack",
    [
        {
            ROLE: (f"refusals/{FS.domain}/x.toml", "federation.namespace"),
            roles.domain_role(FS.domain): (f"refusals/{FS.domain}/x.toml", "federation.threshold"),
            roles.domain_role(GZ.domain): (f"refusals/{GZ.domain}/x.toml", "federation.threshold"),
        },
        {ROLE: ("roster.json", "federation.namespace")},
    ],
    ids=["refusals", "roster"],
)
def test_a_word_that_is_not_its_to_give(
    taken: Taken, country: Country, lane: Repository, attack: dict[str, tuple[str, str]]
) -> None:
    """Outside the county's namespace, or in another's role: the province passes it over, with the code."""
    since = _office_log(country).stat().st_size
    now = datetime.now(UTC).replace(microsecond=0)
    for role, (path, _) in attack.items():
        file = lane.put_file(path, b'[[deny]]\nwhy = "x"\ndomain = "gd"\n')
        made = Metadata(Targets(99, None, now + timedelta(days=30), {path: TargetFile(file.length, file.hashes, path)}))
        made.sign(load_key(taken.folder / "state" / "keys" / "role-1.pem", None))
        lane.put_metadata(role, 99, made.to_bytes(), lane=True)
    lane.put_lane_index()
    told = {(role, code) for role, (_, code) in attack.items()}
    wait(MINUTE, lambda: told <= {(row.get("role"), row.get("code")) for row in _office_said(country, since)})
    provinces = Repository(country.folder(GD) / "federation" / "public")
    assert all(provinces.newest(role) < 99 for role in attack)


def test_its_own_refusals_reach_no_further(taken: Taken, country: Country) -> None:
    """It may say no to whomever it likes in its own hall; elsewhere a row about a CA that is not its own is nothing."""
    key = load_key(taken.folder / "state" / "keys" / "role-1.pem", None)
    profiles = read_bundle(country.bundle).profiles.values()
    row = {"why": "taken over", "key": next(p.keys[0] for p in profiles if p.domain == "gd")}
    role = OwnRole(taken.folder / "federation" / "public", CH.domain, [key], utc_now)
    version = role.refuse({"all.toml": tomli_w.dumps({"deny": [row]}).encode()})
    provinces = Repository(country.folder(GD) / "federation" / "public")
    wait(MINUTE, lambda: provinces.newest(ROLE) >= version)
    issued = country.published()
    for place in (GZ, FS):
        wait(MINUTE, lambda place=place: datetime.fromisoformat(str(status_of(country, place)["issued"])) >= issued)  # type: ignore[misc]
    wait(MINUTE, lambda: "trust.denied" in country.sign_in(CH, country.browser(persona(VICTIM))).text)
    for place in HALLS:
        signs_in(country, place, VICTIM)


def test_a_copy_in_anothers_name(country: Country, copy: int) -> None:
    """A sign-in that it never had a right to tell of: counted, logged, and in no list."""

    def told() -> bool:
        rows = [row for row in _office_said(country, copy) if row.get("event") == "federation.outbox"]
        return any(row.get("node") == CH.domain and row.get("refused") for row in rows)

    wait(2 * MINUTE, told)  # a county's city asks once a minute what was taken
    assert FALSE_KEY not in country.desk(GD, "node", "sign-ins", "--of", FS.domain, "--since", LONG_AGO)


def test_cut_off_by_one_command(taken: Taken, country: Country) -> None:
    """Removed at the province: its evidence and sessions on it are over everywhere in a minute; they can be listed."""
    person = citizen(country, HELPER)
    person.by_token(CH.domain)
    for here in HALLS:
        assert person.at_window(here.domain, person.travels(CH.domain, person.comes(here.domain, CH.domain)))
    listing = ("node", "sign-ins", "--of", CH.domain, "--since", LONG_AGO)
    streamed = f"at {CH.domain} by token"
    wait(2 * MINUTE, lambda: streamed in country.desk(GD, *listing))
    before = {line for line in country.desk(GD, *listing).splitlines() if streamed in line}
    asked = [taken.asked(here) for here in HALLS]
    country.office("node", "remove", CH.domain)
    country.signed()
    started = time.monotonic()
    for here in HALLS:
        wait(MINUTE, lambda here=here: not person.known(here.domain))  # type: ignore[misc]
        print(f"cut off at {here.name} after {time.monotonic() - started:.1f} s")  # noqa: T201
    assert time.monotonic() - started < MINUTE
    for one in asked:
        page = taken.hands_in(one, taken.sealed(own(taken, one), one.here))
        assert "abroad.unknown_hall" in page.text, (one.here.name, page.text[:2000])
        assert not one.person.known(one.here.domain)
        assert CH.domain not in _roster(country, one.here).decode()
    assert before <= set(country.desk(GD, *listing).splitlines()), "copies that it streamed before stay"
    serial = country.serial(persona(HELPER))
    for place in (GD, GZ):
        rows = country.desk(place, *listing).splitlines()
        assert any(f"here by {CH.domain}" in row and "ended" in row and row.endswith(f":{serial}") for row in rows)
