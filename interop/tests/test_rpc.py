"""SlimRPC with the published package: it and both of ours call and serve, one to one and in a group."""

import itertools
import json
import os
import subprocess
import threading

import pytest
from peers import (
    EARLIER_PYTHON,
    OUR_PACKAGE,
    OUR_PYTHON,
    OURS,
    ROOT,
    SECRET,
    TARGET,
    UPSTREAM,
    UPSTREAM_PYTHON,
    V141,
    Process,
    require_earlier,
)

RPC = os.environ.get("SLIM_RPC_EXAMPLE", str(TARGET / "debug/examples/rpc"))
COMMANDS = {
    OURS: [RPC],
    OUR_PACKAGE: [OUR_PYTHON, str(ROOT / "interop/rpc_package.py")],
    UPSTREAM: [UPSTREAM_PYTHON, str(ROOT / "interop/rpc_338.py")],
    V141: [EARLIER_PYTHON[V141], str(ROOT / "interop/rpc_338.py")],
}

# What a call of each kind gives, whoever asks and whoever answers.
EXPECTED = [
    {"unary": "hello"},
    {"server_streaming": ["1", "2", "3", "4", "5"]},
    {"client_streaming": "abc"},
    {"bidirectional": ["X", "Y"], "more": False},
    {"refused": [3, "nothing to echo"]},
    {"unknown": [12, "Method not found: demo.Calls/Nothing"]},
    {"late": 4},
]

numbers = itertools.count(1)


class RpcProgram(Process):
    """A caller or a server of either implementation; it prints JSON lines."""

    def __init__(self, kind: str, node, mode: str, *names: str) -> None:
        endpoint = node.endpoint.removeprefix("http://")
        settings = {"SLIM_ENDPOINT": endpoint, "SLIM_SECRET": SECRET, "RUST_LOG": os.environ.get("PEER_LOG", "info")}
        if kind in EARLIER_PYTHON:
            require_earlier(kind)
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


@pytest.fixture
def programs(world):
    """Starts servers and callers; their names are the test's own."""
    prefix = f"org/rpc-{next(numbers)}"

    class Programs:
        def serve(self, kind: str, node, name: str) -> RpcProgram:
            program = RpcProgram(kind, node, "serve", f"{prefix}/{name}")
            world.peers.append(program)
            program.wait_for_line('"serving"')
            return program

        def call(self, kind: str, node, *servers: str) -> list[dict]:
            program = RpcProgram(kind, node, "call", f"{prefix}/caller", *(f"{prefix}/{name}" for name in servers))
            world.peers.append(program)
            assert program.child.wait(60) == 0, program.report()
            for reader in program.readers:
                reader.join()
            return program.lines

    return Programs(), prefix


@pytest.mark.parametrize("node", [OURS, UPSTREAM], ids=lambda node: f"node {node}")
@pytest.mark.parametrize(
    ("caller", "server"),
    [
        (OURS, UPSTREAM),
        (UPSTREAM, OURS),
        (OURS, OURS),
        (OUR_PACKAGE, UPSTREAM),
        (UPSTREAM, OUR_PACKAGE),
        (OUR_PACKAGE, OURS),
        (OURS, OUR_PACKAGE),
    ],
    ids=lambda kind: kind,
)
def test_every_kind_of_call_and_every_way_to_fail(world, programs, caller, server, node):
    programs, prefix = programs
    node = world.node(node)
    serving = programs.serve(server, node, "server")
    assert programs.call(caller, node, "server") == EXPECTED
    (called,) = [line for line in serving.lines if "caller" in line]
    assert called["caller"].startswith(f"{prefix}/caller_")
    assert called["metadata"].get("trace") == "42"


@pytest.mark.parametrize(
    ("caller", "servers"),
    [
        (OURS, (UPSTREAM, OURS)),
        (UPSTREAM, (OURS, OURS)),
        (UPSTREAM, (OURS, UPSTREAM)),
        (OUR_PACKAGE, (UPSTREAM, OUR_PACKAGE, OURS)),
        (UPSTREAM, (OUR_PACKAGE, UPSTREAM)),
    ],
    ids=lambda kinds: kinds if isinstance(kinds, str) else "+".join(kinds),
)
def test_a_group_of_servers_answers_one_caller(world, programs, caller, servers):
    programs, prefix = programs
    node = world.node(OURS)
    names = []
    for number, kind in enumerate(servers):
        names.append(f"server-{number}")
        programs.serve(kind, node, names[-1])
    answers = {f"{prefix}/{name}": "hello" for name in names}
    assert programs.call(caller, node, *names) == [{"group": answers}]


def test_applications_of_1x_call_each_other_through_our_node(world, programs):
    """1.4.1; 1.0.1 has no calls."""
    programs, prefix = programs
    node = world.node(OURS)
    serving = [programs.serve(V141, node, name) for name in ("server-0", "server-1")]
    assert programs.call(V141, node, "server-0") == EXPECTED
    (called,) = [line for line in serving[0].lines if "caller" in line]
    assert called["metadata"].get("trace") == "42"
    answers = {f"{prefix}/{name}": "hello" for name in ("server-0", "server-1")}
    assert programs.call(V141, node, "server-0", "server-1") == [{"group": answers}]
