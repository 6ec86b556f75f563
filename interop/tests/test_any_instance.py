"""1:1 messages of the 0.4 generation, as our Python package sends them, with applications of the published package."""

import subprocess

import pytest
from peers import OUR_PYTHON, OURS, SECRET, UPSTREAM, Process

SWITCHES = ["", "--sticky", "--enable-mls"]


def ours(world, *arguments: str) -> Process:
    """A program of `slim-examples`; the output is the log."""
    command = [OUR_PYTHON, "-m", "slim_bindings.examples", *arguments]
    process = Process(" ".join(arguments), command, {"SLIM_SHARED_SECRET": SECRET}, subprocess.DEVNULL, one_stream=True)
    world.peers.append(process)
    return process


def received(worker) -> list[dict]:
    return worker.events_of("message")


@pytest.mark.parametrize("switch", SWITCHES, ids=lambda switch: switch or "in turn")
@pytest.mark.parametrize("kind", [OURS, UPSTREAM], ids=["our node", "their node"])
def test_instances_of_the_published_package_are_requested_in_turn_or_one_of_them(world, kind, switch):
    node = world.node(kind)
    workers = [world.peer(UPSTREAM, "worker", node) for _ in range(2)]
    options = ("--iterations", "8", *([switch] if switch else []))
    names = ("--local", world.name("client"), "--remote", workers[0].name, "--slim", node.endpoint)
    client = ours(world, "rr", *names, "--message", "hello", *options)
    served = [0, 0]
    for request in range(8):
        client.wait_for_line("request to", request + 1)
        while sum(len(received(worker)) for worker in workers) == request:
            assert client.child.poll() is None, "the client ended early"
        (busy,) = [n for n, worker in enumerate(workers) if len(received(worker)) > served[n]]
        served[busy] += 1
        event = received(workers[busy])[-1]
        assert event["text"] == "hello"
        answer = {"session": event["session"], "text": f"answer {request}", "to": event["source"]}
        workers[busy].ask("publish", **answer)
        client.wait_for_line(f"answer {request}")
    assert client.child.wait(20) == 0
    if switch:
        assert sorted(served) == [0, 8]
    elif kind == OURS:
        assert served == [4, 4]
    else:
        # Their node chooses at random; who waits longer is preferred among those that answer.
        assert min(served) >= 2
    assert all(len({event["session"] for event in received(worker)}) <= 1 for worker in workers)
    assert world.complaints() == []


@pytest.mark.parametrize("mls", [True, False], ids=lambda mls: f"mls={mls}")
@pytest.mark.parametrize("reliable", [True, False], ids=lambda reliable: f"reliable={reliable}")
def test_a_pair_that_the_published_package_opens_is_answered(world, mls, reliable):
    node = world.node(OURS)
    alice = world.peer(UPSTREAM, "alice", node)
    name = world.name("bob")
    bob = ours(world, "ff", "--local", name, "--slim", node.endpoint)
    bob.wait_for_line("waits for messages")
    session = alice.open("point_to_point", name, mls, reliable)
    for number in range(3):
        position = alice.position()
        session.publish(f"question {number}")
        event = alice.wait_for("message", after=position)
        assert event["text"].startswith(f"question {number} from {name}/")
    session.close()
    assert world.complaints() == []
