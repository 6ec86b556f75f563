"""The page on the Python package is true: its programs run as they are printed, but for the port."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import pytest
from support import ROOT, Node, Process, free_port, python

PAGE = (ROOT / "docs" / "python.md").read_text()
PORT = "127.0.0.1:46357"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_blocks_of_the_page_run_one_after_the_other(node: Node) -> None:
    program = "\n".join(blocks("python")).replace(PORT, f"127.0.0.1:{node.port}")
    assert program.count("asyncio.run(") == 6
    with python("-c", program + "\nprint('all blocks ran')") as process:
        assert process.wait() == 0, process.output
        assert process.lines[-1] == "all blocks ran"


@pytest.fixture
def commands() -> Iterator[list[list[str]]]:
    """The commands of the page at a port of their own, as arguments of the program."""
    address = f"127.0.0.1:{free_port()}"
    lines = "".join(blocks("sh")).replace(PORT, address).splitlines()
    found = [shlex.split(line.split("slim-examples ", 1)[1]) for line in lines]
    # Those that name no node mean the one of the page.
    yield [arguments if "-s" in arguments else [*arguments, "--slim", f"http://{address}"] for arguments in found]


def example(arguments: list[str], stdin: bool = False) -> Process:
    return python("-m", "slim_bindings.examples", *arguments, stdin=stdin)


def test_the_commands_of_the_page_do_what_it_says(commands: list[list[str]]) -> None:
    server, receive, send, chat = commands
    with example(server) as node, example([*receive, "--iterations", "1"]) as bob:
        node.wait_for_line("a node listens on")
        bob.wait_for_line("waits for messages")
        with example(send) as alice:
            assert alice.wait() == 0, alice.output
            assert "hello from org/demo/bob" in alice.output
        bob.wait_for_line("received from org/demo/alice")
        bob.close()
        with example(["pubsub", *receive[1:]], stdin=True) as member:
            member.wait_for_line("waits for an invitation")
            with example(chat, stdin=True) as moderator:
                # What the page's printf writes.
                for line in ("hello", "members"):
                    moderator.write(line)
                assert moderator._process.stdin is not None
                moderator._process.stdin.close()
                assert moderator.wait() == 0, moderator.output
                assert "(moderator, you)" in moderator.output
            member.wait_for_line(": hello")
            member.wait_for_line("* the group is over")
