"""`crosshall node promote`, `shadow`, `differences` and the status page, as the province's operator types them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ca_bridge.crypto.between import BOX_FILE, SIGN_FILE, NodeKeys
from ca_bridge.errors import ConfigError, CrosshallError
from ca_bridge.settings import load_settings
from ca_bridge.types import utc_now
from crosshall.agents import shadow_of, write_page
from crosshall.nodes import app
from nodes.roster import read_roster
from nodes.tally import Tally
from tests.pki import der
from tests.unit.crosshall.settings import write_settings
from tests.unit.verdict.conftest import Federation
from tests.unit.web.federation import CITY, OTHER, PROVINCE, new_key, roster_of

WANTED = {"sign_ins": 2, "corpus": 3, "days": 1.0, "equal_percent": 80.0, "accepted_alone": 0}


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """A province with a city in pilot and one that is live."""
    federation = Federation(tmp_path / "node" / "bundle")
    keys = {name: NodeKeys(new_key(), new_key()) for name in (PROVINCE, CITY, OTHER)}
    made = roster_of(keys, gd_guangzhou="pilot").model_dump(mode="json")
    federation.write("roster.json", json.dumps(made))
    path = write_settings(tmp_path / "node", sections={"pilot": WANTED}, name=PROVINCE, role="province")
    for name, key in ((SIGN_FILE, keys[PROVINCE].sign), (BOX_FILE, keys[PROVINCE].box)):
        file = path.parent / "state" / "keys" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(key.as_pem(private=True))
        file.chmod(0o600)
    (path.parent / "leaf.der").write_bytes(der(federation.leaf()))
    return path


def run(settings: Path, *arguments: str) -> tuple[int, str]:
    """Exit code and what the command says."""
    done = CliRunner().invoke(app, [*arguments, "--settings", str(settings)], catch_exceptions=False)
    return done.exit_code, done.output


def reached(settings: Path, **changes: int) -> None:
    """The city has reached every number, but for `changes`."""
    row = read_roster(settings.parent / "bundle").find(CITY)
    assert row is not None
    good = Tally(utc_now() - timedelta(days=2), sign_ins=2, compared=2, equal=2, corpus=3, corpus_equal=3)
    shadow_of(load_settings(settings))._write(row, replace(good, **changes))


def stage(settings: Path) -> str:
    """Of the city."""
    row = read_roster(settings.parent / "bundle").find(CITY)
    assert row is not None
    return row.stage


def promote(settings: Path) -> tuple[int, str]:
    """Promote the city."""
    return run(settings, "promote", CITY, "--home", str(settings.parent / "federation"))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"sign_ins": 1}, "sign-ins: 1 of 2"),
        ({"corpus": 2, "corpus_equal": 2}, "corpus: 2 of 3"),
        ({"equal": 1, "corpus_equal": 2, "refused_alone": 1}, "equal verdicts: 3 of 5"),
        ({"equal": 1, "alone": 1}, "accepted by the node alone: 1, at most 0"),
    ],
)
def test_a_number_short_refuses(settings: Path, changes: dict[str, int], told: str):
    """By the settings of this province; the stage stays, and `show` tells the same."""
    reached(settings, **changes)
    with pytest.raises(CrosshallError, match=r"node\.pilot_short") as caught:
        promote(settings)
    assert told in caught.value.detail
    assert stage(settings) == "pilot"
    code, text = run(settings, "shadow", "show", CITY)
    assert (code, told in text) == (1, True)


def test_a_day_short_refuses(settings: Path):
    """Numbers alone are not enough."""
    reached(settings)
    run(settings, "shadow", "restart", CITY)
    with pytest.raises(CrosshallError, match=r"days: 0\.00 of 1"):
        promote(settings)


def test_every_number_reached_is_live(settings: Path, monkeypatch: pytest.MonkeyPatch):
    """The roster says so, and the drafts to be signed are named."""
    reached(settings)
    assert run(settings, "shadow", "show", CITY)[0] == 0
    monkeypatch.setattr("crosshall.pilot.Publisher.publish", lambda _self, _bundle: (Path("drafts/2.targets.json"),))
    code, text = promote(settings)
    assert code == 0
    assert "to be signed: drafts/2.targets.json" in text
    assert stage(settings) == "live"
    with pytest.raises(CrosshallError, match=r"node\.not_pilot"):
        promote(settings)


@pytest.mark.parametrize(("name", "code"), [(OTHER, "node.not_pilot"), ("gd/nowhere", "node.unknown"), (PROVINCE, "")])
def test_who_cannot_be_promoted(settings: Path, name: str, code: str):
    """One that is live, one that is not there, the province itself."""
    with pytest.raises(CrosshallError) as caught:
        run(settings, "promote", name, "--home", str(settings.parent))
    assert caught.value.code == (code or "node.unknown")


def test_only_the_province_counts(settings: Path, tmp_path: Path):
    """A city cannot make itself live."""
    city = write_settings(tmp_path / "city", name=CITY, role="city", parent=PROVINCE)
    for words in (("promote", CITY), ("shadow", "show", CITY), ("differences", CITY), ("shadow", "restart", CITY)):
        with pytest.raises(ConfigError, match=r"config\.invalid"):
            run(city, *words)


def test_the_corpus_is_sealed(settings: Path, tmp_path: Path):
    """What is carried holds no certificate in clear, and only its owner reads it."""
    leaf = settings.parent / "leaf.der"
    out = tmp_path / "corpus.jwe"
    code, text = run(settings, "shadow", "ask", CITY, str(leaf), str(leaf), "--out", str(out))
    assert (code, "1 different certificates" in text) == (0, True)
    assert leaf.read_bytes() not in out.read_bytes()
    assert out.stat().st_mode & 0o777 == 0o600


def test_no_differences(settings: Path):
    """Nothing recorded."""
    code, text = run(settings, "differences", CITY)
    assert code == 0
    assert text.startswith("0 differences")


def test_the_status_page(settings: Path, tmp_path: Path):
    """Written for this machine's operators alone, never below what is published."""
    found = load_settings(settings)
    write_page(found, read_roster(found.node.bundle))
    for name in ("nodes.html", "nodes.json"):
        file = found.node.state / "pages" / name
        assert file.stat().st_mode & 0o777 == 0o600
    assert run(settings, "list", "--html", str(tmp_path / "page.html"))[0] == 0
    assert "node.silent" in (tmp_path / "page.html").read_text()
    table = json.loads(run(settings, "list", "--json")[1])
    assert table["red"] == 2


def test_no_epoch_is_counted_where_nothing_can_be_published(settings: Path) -> None:
    """No federation lives here: told, and the roster is as before."""
    before = (settings.parent / "bundle" / "roster.json").read_bytes()
    with pytest.raises(CrosshallError):
        run(settings, "epoch", CITY, "--home", str(settings.parent / "federation"))
    assert (settings.parent / "bundle" / "roster.json").read_bytes() == before


@pytest.mark.parametrize("name", ["gd/nobody", PROVINCE])
def test_no_epoch_for_who_is_no_node_below(settings: Path, name: str) -> None:
    """An unknown name, and the province itself, change nothing."""
    with pytest.raises(CrosshallError) as caught:
        run(settings, "epoch", name, "--home", str(settings.parent / "federation"))
    assert caught.value.code == "node.unknown"
    assert all(row.epoch == 1 for row in read_roster(settings.parent / "bundle").nodes)
