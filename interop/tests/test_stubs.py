"""Stubs of `slim rpc generate`: Rust, our Python package and the published one call and serve each other.

Rust and Python are generated from the same files; both packages run the same generated Python.
"""

import itertools
import json
import os
import subprocess
import threading

import pytest
from peers import OUR_PACKAGE, OUR_PYTHON, OURS, ROOT, SECRET, TARGET, UPSTREAM, UPSTREAM_PYTHON, Process

RUST = os.environ.get("SLIM_STUBS_EXAMPLE", str(TARGET / "debug/examples/orders"))
PYTHON = str(ROOT / "interop/orders.py")
STUBS = ROOT / "shell/rpcgen/tests/golden/python"
COMMANDS = {OURS: [RUST], OUR_PACKAGE: [OUR_PYTHON, PYTHON], UPSTREAM: [UPSTREAM_PYTHON, PYTHON]}

numbers = itertools.count(1)


def expected(prefix: str) -> list[dict]:
    """What a caller prints, whoever asks and whoever answers."""
    kept = {"id": "apples-1", "state": 1, "trace": "42", "caller": f"{prefix}/caller", "shelf": "apples"}
    return [
        {"unary": kept},
        {"server_streaming": [["1", 2], ["2", 2], ["3", 2]]},
        {"client_streaming": [1200, 3]},
        {"bidirectional": [200, 400], "more": False},
        {"refused": [3, "an order without lines"]},
        {"refused in a stream": [11, "a negative price"]},
        {"unknown": [12, "Method not found: shop.v1.Shop/New"]},
    ]


class StubProgram(Process):
    """A caller or a server; it prints JSON lines."""

    def __init__(self, kind: str, node, mode: str, *names: str) -> None:
        settings = {
            "SLIM_ENDPOINT": node.endpoint.removeprefix("http://"),
            "SLIM_SECRET": SECRET,
            "PYTHONPATH": str(STUBS),
        }
        super().__init__(f"{mode} {names[0]} ({kind})", [*COMMANDS[kind], mode, *names], settings, subprocess.PIPE)
        self.lines: list[dict] = []
        self.readers.append(threading.Thread(target=self._read_lines, daemon=True))
        self.readers[-1].start()

    def stop(self) -> None:
        # A server serves until it is told to stop.
        self.child.terminate()
        super().stop()

    def _read_lines(self) -> None:
        for line in self.child.stdout:
            self.lines.append(json.loads(line))
            self._note("< " + line.rstrip("\n"))


class Shops:
    """Servers and callers; their names are the test's own."""

    def __init__(self, world) -> None:
        self.world, self.prefix = world, f"org/stubs-{next(numbers)}"
        self.node = world.node(OURS)

    def serve(self, kind: str, name: str) -> None:
        program = StubProgram(kind, self.node, "serve", f"{self.prefix}/{name}")
        self.world.peers.append(program)
        program.wait_for_line('"serving"')

    def call(self, kind: str, *servers: str) -> list[dict]:
        names = [f"{self.prefix}/{name}" for name in servers]
        program = StubProgram(kind, self.node, "call", f"{self.prefix}/caller", *names)
        self.world.peers.append(program)
        assert program.child.wait(60) == 0, program.report()
        for reader in program.readers:
            reader.join()
        return program.lines


@pytest.fixture
def shops(world):
    return Shops(world)


PAIRS = [pair for pair in itertools.product(COMMANDS, COMMANDS)]


@pytest.mark.parametrize(("caller", "server"), PAIRS, ids=[f"{caller} calls {server}" for caller, server in PAIRS])
def test_generated_clients_call_generated_servers(shops, caller, server):
    shops.serve(server, "server")
    assert shops.call(caller, "server") == expected(shops.prefix)


@pytest.mark.parametrize("caller", COMMANDS)
def test_a_generated_group_client_calls_servers_of_every_kind(shops, caller):
    names = {}
    for number, kind in enumerate(COMMANDS):
        names[f"{shops.prefix}/server-{number}"] = f"server-{number}"
        shops.serve(kind, f"server-{number}")
    assert shops.call(caller, *names.values()) == [
        {"group": names},
        # One failure of each server; none ends the call for the others.
        {"group failures": [[3, "an order without lines"]] * len(names)},
        {"group stream": {name: 100 for name in names}},
    ]
