"""The tutorial's two scripts, as printed, in two processes against a node with the tutorial's configuration.

The copies in tutorial/ are byte for byte those of the tutorial. The scripts define `main` and never call it, so that
is what the tests do. Each run is a cold start of everything.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest
from support import ROOT, TESTS, Node, Process, python

TUTORIAL = TESTS / "tutorial"
#: The tutorial's own port.
PORT = 46357
RUNS = int(os.environ.get("SLIM_TUTORIAL_RUNS", "5"))


def script(folder: Path, name: str) -> Process:
    """Runs `main()` of a script."""
    return python("-c", f"import sys; sys.path.insert(0, {str(folder)!r}); import {name}; {name}.main()")


def start_node(folder: Path) -> Node:
    return Node(folder, (TUTORIAL / "config.yaml").read_text(), PORT)


def check(moderator: Process, participant: Process) -> None:
    assert moderator.wait() == 0, moderator.output
    assert participant.wait() == 0, participant.output
    for line in (
        "Session created: ",
        "Inviting agntcy/namespace/participant1",
        "Received message from participant: Hello group! from participant",
    ):
        assert line in moderator.output, moderator.output
    for line in ("Listening for sessions - locator: agntcy/namespace/participant1", "Received session: "):
        assert line in participant.output, participant.output
    assert "Received: Hello group!" in participant.lines, participant.output
    for process in (moderator, participant):
        assert "Traceback" not in process.output, process.output


def without_sleeps(folder: Path) -> Path:
    """The scripts with every sleep removed."""
    for name in ("moderator.py", "participant.py"):
        text = (TUTORIAL / name).read_text()
        shortened, removed = re.subn(r"^ *await asyncio\.sleep\(\d+\)\n", "", text, flags=re.MULTILINE)
        assert removed == 1
        assert "sleep" not in shortened
        (folder / name).write_text(shortened)
    return folder


@pytest.mark.parametrize("attempt", range(RUNS))
def test_s30_s38_s41_s42_s43_s44_s46_s49_participant_first_works_as_printed(tmp_path: Path, attempt: int) -> None:
    with start_node(tmp_path), script(TUTORIAL, "participant") as participant:
        participant.wait_for_line("Listening for sessions")
        with script(TUTORIAL, "moderator") as moderator:
            check(moderator, participant)


@pytest.mark.parametrize("attempt", range(RUNS))
def test_s46_participant_first_works_without_any_sleep(tmp_path: Path, attempt: int) -> None:
    folder = without_sleeps(tmp_path)
    with start_node(tmp_path), script(folder, "participant") as participant:
        participant.wait_for_line("Listening for sessions")
        with script(folder, "moderator") as moderator:
            check(moderator, participant)


@pytest.mark.parametrize("attempt", range(RUNS))
def test_s47_moderator_first_works_as_printed(tmp_path: Path, attempt: int) -> None:
    with start_node(tmp_path), script(TUTORIAL, "moderator") as moderator:
        moderator.wait_for_line("Inviting")
        with script(TUTORIAL, "participant") as participant:
            check(moderator, participant)


@pytest.mark.parametrize("name", ["moderator", "participant"])
def test_s48_a_script_as_printed_defines_main_and_does_nothing(name: str) -> None:
    with python(str(TUTORIAL / f"{name}.py")) as process:
        assert process.wait() == 0
        assert process.output == ""


@pytest.mark.parametrize("name", ["moderator.py", "participant.py", "config.yaml"])
def test_s01_s44_the_copies_are_those_of_the_tutorial(name: str) -> None:
    copy = (TUTORIAL / name).read_bytes()
    assert copy
    # The originals lie beside the repository where it is developed, and nowhere else.
    original = ROOT.parent / "shared" / "seed" / name
    if original.exists():
        assert copy == original.read_bytes()


def test_s32_the_weak_secret_of_the_tutorial_is_called_weak_once(tmp_path: Path) -> None:
    shutil.copy(TUTORIAL / "participant.py", tmp_path)
    code = (
        f"import sys, asyncio; sys.path.insert(0, {str(tmp_path)!r}); import participant as p\n"
        "async def twice():\n"
        "    for _ in range(2):\n"
        "        name = p.PyName('a', 'b', 'c')\n"
        "        await p.Slim.new(name, *p.shared_secret_identity(f'{name}', 'shared_secret'))\n"
        "asyncio.run(twice())\n"
    )
    with python("-c", code) as process:
        assert process.wait() == 0
        assert process.output.count("the shared secret has fewer than 32 bytes") == 1, process.output
