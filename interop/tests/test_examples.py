"""The example applications that come with the published package, unchanged, through our node and with our peers."""

import pytest
from peers import OURS, SECRET

ACCESS = ["--shared-secret", SECRET, "--enable-mls"]


def test_remote_procedure_calls_between_examples_go_through_our_node(world):
    node = world.node(OURS)
    server = world.program("slim-bindings-simple-rpc-server", "--server", node.endpoint)
    server.wait_for_line("client connected")
    client = world.program("slim-bindings-simple-rpc-client", "--server", node.endpoint)
    client.wait_for_line("Stream Stream completed")
    assert client.child.wait(20) == 0


def test_the_point_to_point_example_answers_us(world):
    node = world.node(OURS)
    name = world.name("example")
    example = world.program("slim-bindings-p2p", "--local", name, "--slim", node.endpoint, *ACCESS)
    example.wait_for_line("waiting for new session")
    alice = world.peer(OURS, "alice", node)
    session = alice.open("point_to_point", name)
    session.publish("ping")
    answer = alice.wait_for("message", session=session.number)
    assert answer["text"].startswith("ping from ")
    example.wait_for_line("received: ping")


def test_the_point_to_point_example_talks_to_us(world):
    node = world.node(OURS)
    alice = world.peer(OURS, "alice", node)
    arguments = ["--remote", alice.name, "--message", "hello", "--iterations", "2"]
    example = world.program(
        "slim-bindings-p2p", "--local", world.name("example"), "--slim", node.endpoint, *ACCESS, *arguments
    )
    session = alice.joined()
    for number in range(1, 3):
        example.wait_for_line(f"Sent message hello - {number}/2")
        alice.wait_for("message", session=session.number, text="hello")
        session.publish(f"answer {number}")
        example.wait_for_line(f"answer {number}")
    assert len(session.texts()) == 2


@pytest.mark.parametrize("moderator", ["us", "example"])
def test_the_group_example_is_in_a_group_with_us(world, moderator):
    node = world.node(OURS)
    alice = world.peer(OURS, "alice", node)
    name, channel = world.name("example"), world.name("channel")
    arguments = ["--local", name, "--slim", node.endpoint, *ACCESS]
    if moderator == "example":
        arguments += ["--remote", channel, "--invites", alice.name]
    example = world.program("slim-bindings-group", *arguments)
    if moderator == "us":
        example.wait_for_line("client connected")
        session = alice.open("group", channel)
        alice.ask("invite", session=session.number, name=name)
    else:
        session = alice.joined()
    session.publish("good morning")
    example.wait_for_line("good morning")
    # It confirms what it receives, and sends what is typed.
    alice.wait_for("message", session=session.number, text=f"message received by {name}")
    example.type("typed by a person")
    alice.wait_for("message", session=session.number, text="typed by a person")
