"""The program of the package's README runs as it is printed, but for the port."""

from __future__ import annotations

import re

from support import ROOT, Node, python

README = ROOT / "bindings" / "python" / "README.md"
PORT = "127.0.0.1:46357"


def test_the_program_of_the_readme_greets_and_is_answered(node: Node) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert PORT in program
    (secret,) = re.findall(r'SECRET = "(.*)"', program)
    participant = python(
        str(ROOT / "examples" / "python" / "participant.py"),
        *("--endpoint", node.endpoint, "--secret", secret, "--name", "org/namespace/participant"),
    )
    with participant:
        participant.wait_for_line("waits for an invitation")
        with python("-c", program.replace(PORT, f"127.0.0.1:{node.port}")) as moderator:
            assert moderator.wait() == 0, moderator.output
            assert moderator.output == "Hello group! to you too"
        participant.wait_for_line("moderator: Hello group!")
        # The moderator's application ended with its program, and with it the group.
        assert participant.wait() == 0, participant.output
        assert "closed by its moderator" in participant.output, participant.output
