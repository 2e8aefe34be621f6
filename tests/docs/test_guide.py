"""The operators' guide can be typed: blocks parse, commands and options exist; `make guide` types it."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from crosshall.main import app
from scripts.blocks import MACHINES, Step, missing, read

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guide-operators.md"
TEXT = GUIDE.read_text("utf-8")
STEPS = read(TEXT)
BLOCKS = [step for step in STEPS if not step.act]
ACTS = {"no": 1, "carry": 2, "pull": 1, "plug": 1, "sign-in": 2}


def commands(step: Step) -> Iterator[list[str]]:
    """Each `crosshall …` of a block, as words."""
    for line in step.words.replace("\\\n", " ").splitlines():
        if re.match(r"crosshall\s", line):
            yield shlex.split(line)


COMMANDS = {" ".join(words): (step, words) for step in BLOCKS for words in commands(step)}


def check(words: list[str]) -> str:
    """What is wrong with a command line; empty: nothing. It is parsed as the CLI does, and not run."""
    command, rest = typer.main.get_command(app), words[1:]
    while hasattr(command, "get_command"):
        found = command.get_command(None, rest[0]) if rest else None
        if found is None:
            return f"no such command: {rest[:1]}"
        command, rest = found, rest[1:]
    for parameter in command.params:
        if getattr(parameter, "prompt", None):  # asked for at the keyboard, not here
            parameter.prompt, parameter.required = None, False
    try:
        command.make_context(command.name, rest)
    except Exception as error:
        return str(error) or type(error).__name__
    return ""


def test_no_block_is_overlooked() -> None:
    """Every block that begins with `sh` is a step: none is typed by people alone."""
    assert len(BLOCKS) == len(re.findall(r"^```sh", TEXT, re.MULTILINE))
    assert len(STEPS) - len(BLOCKS) == TEXT.count("<!-- guide:")
    assert len(BLOCKS) > 25


def test_every_screen_belongs_to_a_block() -> None:
    """What one sees stands directly below the block that shows it; nothing is promised that nobody looks for."""
    assert sum(bool(block.seen) for block in BLOCKS) == len(re.findall(r"^```text", TEXT, re.MULTILINE))


@pytest.mark.parametrize("step", BLOCKS, ids=lambda step: f"line-{step.line}")
def test_a_block_parses(step: Step) -> None:
    """A shell takes it whole: quotes and here-documents are closed."""
    done = subprocess.run(["bash", "-n", "-c", step.words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_can_be_given(line: str) -> None:
    """Command, options and arguments are those of the CLI."""
    assert check(COMMANDS[line][1]) == ""


@pytest.mark.parametrize(
    "line",
    [
        "crosshall node request gd/guangzhou",
        "crosshall node nothing",
        "crosshall node join a.jws --finger x",
        "crosshall federation key",
        "crosshall federation init gd --root-threshold two",
        "crosshall nothing",
        "crosshall node list surplus",
    ],
)
def test_a_wrong_command_is_found(line: str) -> None:
    """The check can fail."""
    assert check(shlex.split(line))


def test_the_commands_run_as_the_nodes_user() -> None:
    """Keys and state belong to `crosshall`: root never makes a file among them."""
    assert not [step.line for step, _ in COMMANDS.values() if step.root]


def test_the_acts_are_known() -> None:
    """`scripts/guide.py` knows each, with as many words."""
    for step in STEPS:
        if step.act:
            what, *more = step.act.split()
            assert len(more) == ACTS[what], step.act
            assert what not in ("pull", "plug") or more[0] in MACHINES


@pytest.mark.parametrize(
    "tags", ["province user", "county", "province exit=x", "province root=1", "both soon", "city within=a", "city a=b"]
)
def test_a_tag_that_means_nothing(tags: str) -> None:
    """A block for nobody, or under a condition that nobody keeps, is an error and not passed over."""
    with pytest.raises(ValueError, match=r"line|invalid literal|could not convert"):
        read(f"# A\n```sh {tags}\ntrue\n```\n")


@pytest.mark.parametrize(
    ("seen", "told", "lacking"),
    [
        (("a", "b"), "x a\ny b\n", ""),
        (("b", "a"), "a\nb\n", "a"),
        (("a … c",), "a 1 c", ""),
        (("a … c",), "a 1\nc", "a … c"),
        (("age … s", "rung"), "age 3 s", "rung"),
        (("a.c",), "abc", "a.c"),
        ((), "", ""),
    ],
)
def test_what_is_looked_for(seen: tuple[str, ...], told: str, lacking: str) -> None:
    """Lines in their order; `…` is anything within a line, everything else is itself."""
    assert missing(seen, told) == lacking
