"""This version beside the previous release, each node by its own code: nobody's sign-in fails while nodes are upgraded.

First a province of the previous release with a city of this version; then the province is upgraded in place, and takes
in a city of the previous release.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.personas import persona
from tests.nodes.country import PLACES, Country, Place, wait
from tests.nodes.people import MINUTE, RECHECKED, arrives, at, citizen, received, refused, signs_in
from tests.nodes.standing import standing
from tests.parts.previous import Tree, build

pytestmark = pytest.mark.live
GD, GZ, FS, _ = PLACES
WHO = "gd-zhang"


@pytest.fixture(scope="module", name="tree")
def _tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    return build(tmp_path_factory.mktemp("previous") / "tree")


@pytest.fixture(scope="module", name="old_province")
def _old_province(tree: Tree) -> Iterator[Country]:
    with standing(GZ, trees={GD.name: tree}, logs="previous-logs") as country:
        yield country


@pytest.fixture(scope="module", name="new_province")
def _new_province(old_province: Country, tree: Tree) -> Country:
    country = old_province
    country.stop(GD)
    del country.trees[GD.name]
    country.launch(GD)
    country.ready(GD)
    country.trees[FS.name] = tree
    country.bring_in(FS)
    country.ready(FS)
    return country


def crosses(country: Country, there: Place, here: Place) -> None:
    """Signed in there, known here as the same human as by this hall's own ceremony, signed out at both."""
    person = citizen(country, WHO)
    page = person.by_token(there.domain)
    assert person.at_window(there.domain, page), (page.status, page.url, page.text[:2000])
    arrives(person, here, there)
    came = received(person.window(here.domain), "subject")
    own = citizen(country, WHO)
    assert received(own.by_token(here.domain), "subject") == came
    person.sign_out(there.domain)
    wait(RECHECKED, lambda: not person.known(here.domain))


def runs(country: Country, place: Place) -> str:
    """The version that the node says it runs, as the province knows it."""
    rows = {line.split("\t")[0]: line.split("\t") for line in country.desk(GD, "node", "list").splitlines()}
    said = rows[place.domain][-1].split()
    return said[1] if len(said) > 1 else ""


def revoked(country: Country, who: str, place: Place) -> None:
    """A CRL put into the province's bundle is in force at the place within a minute."""
    signs_in(country, place, who)
    country.revoke(persona(who))
    wait(MINUTE, lambda: not at(country.sign_in(place, country.browser(persona(who))), place))
    refused(country, place, who, "revocation.revoked")


def alike(country: Country, place: Place) -> bool:
    """Whether the province has judged sign-ins of the node's pilot again, all with the same verdict."""
    shown = country.desk(GD, "node", "shadow", "show", place.domain, code=1)  # numbers of a pilot are short in a test
    told = re.search(r"verdicts compared (\d+), equal (\d+)", shown)
    assert told
    return int(told[1]) == int(told[2]) > 0


@pytest.mark.parametrize(("there", "here"), [(GZ, GD), (GD, GZ)], ids=lambda place: place.name)
def test_a_province_of_the_previous_release(old_province: Country, there: Place, here: Place) -> None:
    """It admitted a city of this version, and each takes the other's sign-ins and sign-outs."""
    crosses(old_province, there, here)


def test_its_refusals_count_at_a_city_of_this_version(old_province: Country) -> None:
    """A bundle that the previous release publishes is read by this version, news too."""
    revoked(old_province, "gz-li", GZ)


def test_it_hears_from_a_city_of_this_version(old_province: Country, tree: Tree) -> None:
    """Report and copies of sign-ins are read there; both versions judge alike."""
    wait(MINUTE, lambda: runs(old_province, GZ) not in ("", tree.version))
    wait(MINUTE, lambda: alike(old_province, GZ))


@pytest.mark.parametrize(
    ("there", "here"), [(GZ, GD), (GD, GZ), (FS, GD), (GD, FS), (GZ, FS), (FS, GZ)], ids=lambda place: place.name
)
def test_the_province_is_upgraded_in_place(new_province: Country, there: Place, here: Place) -> None:
    """What the previous release left in its folder goes on; it admitted a city of that release."""
    crosses(new_province, there, here)


def test_its_refusals_count_at_a_city_of_the_previous_release(new_province: Country) -> None:
    """A bundle that this version publishes is read by the previous release, news too."""
    revoked(new_province, "gd-zhang-file", FS)


def test_it_hears_from_a_city_of_the_previous_release(new_province: Country, tree: Tree) -> None:
    """Report and copies of sign-ins are read, the version is told; both judge alike."""
    wait(MINUTE, lambda: runs(new_province, FS) == tree.version)
    wait(MINUTE, lambda: alike(new_province, FS))


def test_no_part_of_either_version_failed(new_province: Country) -> None:
    """No exception in any log of all this."""
    logs = [path for place in (GD, GZ, FS) for path in _logs(new_province.folder(place))]
    assert len(logs) >= 12
    assert not [path for path in logs if "Traceback" in path.read_text("utf-8", "replace")]


def _logs(folder: Path) -> list[Path]:
    return sorted((folder / "run" / "logs").glob("*.log"))
