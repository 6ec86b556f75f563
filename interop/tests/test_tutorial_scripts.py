"""The tutorial's scripts as printed: with the package that they were written for through our node, and with our package
through a node of 3.3.8.

That they run with our package through our node is tested in bindings/python/tests/test_tutorial.py.
"""

import fcntl
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from peers import DEADLINE, NODE, OUR_PACKAGE, OUR_PYTHON, ROOT, UPSTREAM, V041, Peer, Process, require_earlier, wait_for_port

TUTORIAL = ROOT / "bindings/python/tests/tutorial"
# Both scripts and the configuration name it.
PORT = 46357


@pytest.fixture(autouse=True)
def port_of_the_tutorial():
    """Tests that run beside this one want it as well."""
    end = time.monotonic() + 3 * DEADLINE
    with (Path(tempfile.gettempdir()) / f"port-{PORT}-of-the-tutorial").open("w") as turn:
        while not is_mine(turn):
            assert time.monotonic() < end, f"port {PORT}, the tutorial's own, is in use"
            time.sleep(0.1)
        yield


def is_mine(turn) -> bool:
    try:
        fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("0.0.0.0", PORT))
    except OSError:
        return False
    return True


def script(world, kind: str, name: str) -> Process:
    """The scripts define `main` and never call it."""
    python = OUR_PYTHON if kind == OUR_PACKAGE else require_earlier(kind)
    code = f"import sys; sys.path.insert(0, {str(TUTORIAL)!r}); import {name}; {name}.main()"
    process = Process(f"{name}.py ({kind})", [python, "-c", code], {}, subprocess.DEVNULL, one_stream=True)
    world.peers.append(process)
    return process


def our_node(world) -> Process:
    command = [NODE, "--config", str(TUTORIAL / "config.yaml")]
    node = Process("our node", command, {"RUST_LOG": "info"}, subprocess.DEVNULL, one_stream=True)
    world.peers.append(node)
    wait_for_port(PORT, node)
    return node


def node_of_upstream(world) -> Peer:
    node = Peer(UPSTREAM, "org/ns/upstream-node")
    world.peers.append(node)
    node.start(None)
    node.ask("serve", endpoint=f"0.0.0.0:{PORT}")
    wait_for_port(PORT, node)
    return node


@pytest.mark.parametrize("first", ["participant", "moderator"])
@pytest.mark.parametrize(
    ("kind", "node"), [(V041, our_node), (OUR_PACKAGE, node_of_upstream)], ids=["0.4.1 through ours", "ours through 3.3.8"]
)
def test_moderator_and_participant_talk(world, kind, node, first):
    node(world)
    started = {first: script(world, kind, first)}
    started[first].wait_for_line({"participant": "Listening for sessions", "moderator": "Inviting"}[first])
    second = "moderator" if first == "participant" else "participant"
    started[second] = script(world, kind, second)
    for process in started.values():
        process.wait_for_line("Received", deadline=2 * DEADLINE)
        assert process.child.wait(DEADLINE) == 0, process.report()
    started["moderator"].wait_for_line("Received message from participant: Hello group! from participant")
    started["participant"].wait_for_line("Received: Hello group!")
