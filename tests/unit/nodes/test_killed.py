"""A node that is killed in the middle of a round, at any moment, loses nothing and goes on."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

from ca_bridge.trust.bundle import read_bundle
from nodes import clock
from nodes.sync import Agent, AgentSettings
from tests.unit.nodes.world import World, deny

ROUNDS = 20
_CHILD = """
import sys
from pathlib import Path
from nodes.sync import Agent, AgentSettings
folder = Path(sys.argv[1])
agent = Agent(AgentSettings("gd/guangzhou", folder / "state", folder / "bundle", (sys.argv[2],),
    public=folder / "mirror"))
for line in sys.stdin:
    print("go", flush=True)
    print(",".join(agent.round().codes.values()), flush=True)
"""


def test_kill_9_at_random_moments(world: World, tmp_path: Path) -> None:
    """After each kill the bundle is whole, old or new; the next round takes the new one; a refusal is never lost."""
    folder = tmp_path / "site"
    source = f"file:{world.public}"
    settings = AgentSettings("gd/guangzhou", folder / "state", folder / "bundle", (source,), public=folder / "mirror")
    agent = Agent(settings)
    agent._client.folder.start(world.root)
    assert agent.round().codes == {}
    chance = random.Random(6)
    seen = set()
    for number in range(ROUNDS):
        world.clock.pass_(seconds=61)
        crls = world.publisher.online.status_files()
        world.publisher.status({**crls, f"denials/n{number}.toml": deny({"domain": f"mo/x{number}"})})
        with subprocess.Popen(
            [sys.executable, "-c", _CHILD, str(folder), source],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path.cwd()), *sys.path])},
        ) as child:
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdin.write(b"round\n")
            child.stdin.flush()
            assert child.stdout.readline() == b"go\n"
            threading.Event().wait(chance.uniform(0, 0.15))  # the moment at which it is killed, no wait for anything
            child.send_signal(signal.SIGKILL)
            seen.add(child.stdout.readline())
        left = read_bundle(folder / "bundle")
        assert len(left.denials) in (number, number + 1)
        clock.load(folder / "state" / clock.FILE)
        assert agent.round().codes == {}
        after = read_bundle(folder / "bundle")
        assert len(after.denials) == number + 1
        assert not list((folder / "state" / "federation" / "pending").glob("*"))
    assert b"" in seen  # some were killed before their round was over
