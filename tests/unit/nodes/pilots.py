"""A city in pilot and its province, each in its own folders; what one publishes the other reads from the disk."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from ca_bridge.ceremony.journal import INBOX, OUTBOX, Journal
from ca_bridge.crypto.between import NodeKeys
from ca_bridge.settings import Pilot
from ca_bridge.trust.roster import Roster, RosterNode
from nodes.desk import Desk
from nodes.outbox import Outbox
from nodes.shadow import Shadow
from nodes.tally import Tally
from nodes.transport import FileSource
from tests.pki import der
from tests.unit.nodes.world import Clock
from tests.unit.verdict.conftest import NOW, Federation
from tests.unit.web.federation import CITY, COUNTY, OTHER, PROVINCE, new_key, roster_of

DEADLINE = float("inf")


class Ticks:
    """Seconds that only tests move."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Line:
    """Everybody's folders below `folder`, and the line between them."""

    folder: Path
    trust: Federation
    stage: str = "pilot"
    clock: Clock = field(default_factory=lambda: Clock(NOW))
    ticks: Ticks = field(default_factory=Ticks)
    keys: dict[str, NodeKeys] = field(
        default_factory=lambda: {name: NodeKeys(new_key(), new_key()) for name in (PROVINCE, CITY, OTHER, COUNTY)}
    )

    def __post_init__(self) -> None:
        self.shadow = self.new_shadow()
        self.desk = self.new_desk()

    def new_shadow(self, bounds: Pilot | None = None) -> Shadow:
        """As another process, or the same after a crash, has it."""
        state = self.folder / "gd" / "state"
        return Shadow(state, self.trust.folder, clock=self.clock, random=secrets.token_bytes, bounds=bounds)

    def new_desk(self) -> Desk:
        """A desk that remembers nothing but what is on the disk."""
        return Desk(
            self.folder / "gd" / "state" / INBOX,
            self.public(PROVINCE),
            keys=lambda: self.keys[PROVINCE],
            shadow=self.shadow,
            clock=self.clock,
        )

    @property
    def roster(self) -> Roster:
        """As it is now."""
        made = roster_of(self.keys, gd_guangzhou=self.stage)
        rows = [node.model_copy(update={"since": NOW - timedelta(days=1)}) for node in made.nodes]
        return Roster(nodes=tuple(rows))

    def row(self, name: str = CITY) -> RosterNode:
        """A node's row."""
        found = self.roster.find(name)
        assert found is not None
        return found

    def state(self, name: str = CITY) -> Path:
        """A node's state."""
        return self.folder / name.replace("/", "-") / "state"

    def public(self, name: str = CITY) -> Path:
        """What a node publishes."""
        return self.folder / name.replace("/", "-") / "public"

    def waiting(self, name: str = CITY) -> list[str]:
        """Copies still in the outbox."""
        return sorted(path.name for path in (self.state(name) / OUTBOX).glob("*.jwe"))

    def journal(self, name: str = CITY) -> Journal:
        """A node's journal."""
        return Journal(
            self.state(name) / OUTBOX,
            name,
            keys=lambda: self.keys[name],
            roster=lambda: self.roster,
            clock=self.clock,
            random=secrets.token_bytes,
        )

    def sign_in(self, name: str = CITY, at: datetime | None = None, source: str = "") -> None:
        """One more."""
        when = (at or self.clock()).isoformat()
        self.journal(name)(
            {"at": when, "certificate_key": f"{'0' * 64}:1", "way": "token", "level": 4, "source": source}
        )

    def decide(self, leaf: bytes | None = None, trust: Federation | None = None) -> bytes:
        """The city judges a certificate, by default a good one, by its own trust data or the province's."""
        chosen = der(self.trust.leaf()) if leaf is None else leaf
        snapshot = (trust or self.trust).snapshot()
        self.journal().verdict(snapshot, chosen, snapshot.judge(chosen, self.clock()))
        return chosen

    def outbox(self, name: str = CITY, *sources: str) -> None:
        """A round of a node's sync agent."""
        box = self.boxes.setdefault(
            name,
            Outbox(self.state(name), self.public(name), name, roster=lambda: self.roster, ticks=self.ticks),
        )
        box.round(tuple(FileSource(self.public(source), ticks=self.ticks) for source in sources or (PROVINCE,)))

    boxes: dict[str, Outbox] = field(default_factory=dict)

    def fetch(self, name: str = CITY, place: str = "") -> int:
        """A round of the office, for one node: how many copies were taken."""
        self.desk.open(self.roster)
        arrived = self.desk.fetch(FileSource(self.public(place or name)), self.row(name), DEADLINE)
        return 0 if arrived is None else self.desk.take(self.roster, self.row(name), arrived)

    def there_and_back(self) -> int:
        """Put out, taken, acknowledged."""
        self.outbox()
        taken = self.fetch()
        self.outbox()
        return taken

    def names_out(self) -> list[str]:
        """Names in the batch that is out."""
        raw = json.loads((self.state() / OUTBOX / "batch.json").read_bytes())
        return list(raw["names"])


def begun(folder: Path) -> Line:
    """A city in pilot; what is in force has been so for an hour."""
    made = Line(folder / "line", Federation(folder / "bundle"))
    made.clock.pass_(hours=-1)
    made.desk.open(made.roster)
    made.clock.pass_(hours=1)
    return made


def tally(line: Line) -> Tally:
    """The city's numbers."""
    return line.shadow.tally(line.row())
