"""The page on stubs is true: its command makes stubs of its file, and its program runs with them, but for the port."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

from support import ROOT, Node, node_binary, python

PAGE = (ROOT / "docs" / "stubs.md").read_text()
PORT = "127.0.0.1:46357"


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return str(found)


def test_the_program_of_the_page_greets(node: Node, tmp_path: Path) -> None:
    (tmp_path / "greeter.proto").write_text(block("proto"))
    (command,) = [line for line in block("sh").splitlines() if "--language python" in line]
    name, *arguments = shlex.split(command)
    assert name == "slim"
    subprocess.run([str(node_binary()), *arguments], cwd=tmp_path, check=True)
    program = tmp_path / "program.py"
    program.write_text(block("python").replace(PORT, f"127.0.0.1:{node.port}"))
    with python(str(program), environment={"PYTHONPATH": str(tmp_path)}) as process:
        assert process.wait() == 0, process.output
        assert process.lines[-3:] == ["Hello, Ada!", "Hello, Grace!", "Hello, Barbara!"]
