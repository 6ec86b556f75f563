"""The page on calls is true: its programs run as they are printed, but for the port."""

from __future__ import annotations

import inspect
import re

import slim_bindings
from support import ROOT, Node, python

PAGE = (ROOT / "docs" / "rpc.md").read_text()
PORT = "127.0.0.1:46357"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_blocks_of_the_page_run_one_after_the_other(node: Node) -> None:
    program = "\n".join(blocks("python")).replace(PORT, f"127.0.0.1:{node.port}")
    assert program.count("asyncio.run(") == 2
    with python("-c", program + "\nprint('all blocks ran')") as process:
        assert process.wait() == 0, process.output
        assert process.lines[-1] == "all blocks ran"


def test_the_surface_of_the_page_is_the_one_of_the_package() -> None:
    (surface,) = [block for block in blocks("text") if block.startswith("class Channel")]
    classes = {name for line in re.findall(r"^class ([\w, ]+)[:(]", surface, re.MULTILINE) for name in line.split(", ")}
    assert {"Channel", "Server", "Context", "RpcCode", "RpcError", "MulticastBidiStreamHandler"} <= classes
    for name in classes:
        assert inspect.isclass(getattr(slim_bindings, name)), name
    block = None
    for line in surface.splitlines():
        if found := re.match(r"class (\w+)", line):
            block = getattr(slim_bindings, found.group(1))
        elif block is not None and (found := re.match(r"    (async )?([a-z_]+)\(", line)):
            method = getattr(block, found.group(2))
            assert inspect.iscoroutinefunction(method) == bool(found.group(1)), line


def test_every_coroutine_has_a_blocking_twin() -> None:
    classes = [
        slim_bindings.Channel,
        slim_bindings.Server,
        slim_bindings.ResponseStreamReader,
        slim_bindings.MulticastResponseReader,
        slim_bindings.RequestStreamWriter,
        slim_bindings.BidiStreamHandler,
        slim_bindings.MulticastBidiStreamHandler,
        slim_bindings.RequestStream,
        slim_bindings.ResponseSink,
    ]
    others = {"finalize": "finalize_stream"}
    for kind in classes:
        for name in [name for name in dir(kind) if name.endswith("_async")]:
            short = name.removesuffix("_async")
            twins = {short, f"{short}_blocking", others.get(short, short)}
            assert any(callable(getattr(kind, twin, None)) for twin in twins), f"{kind.__name__}.{name}"
