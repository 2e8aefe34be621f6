"""A federation per test, copied from one that is made once."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path

import pytest

from tests.unit.nodes.scene import Scene, make_scene
from tests.unit.nodes.world import World


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A published federation; not to be changed."""
    return World(tmp_path_factory.mktemp("federation"))


@pytest.fixture
def world(made: World, tmp_path: Path) -> World:
    """A federation of the test's own."""
    own = copy.copy(made)
    shutil.copytree(made.folder, tmp_path / "world")
    own.move(tmp_path / "world")
    return own


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """Made once; not to be changed."""
    return make_scene(World(tmp_path_factory.mktemp("scene") / "world"))


@pytest.fixture
def scene(original: Scene, tmp_path: Path) -> Scene:
    """A scene of the test's own."""
    return original.copied(tmp_path / "world")
