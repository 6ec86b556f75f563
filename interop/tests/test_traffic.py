"""Many messages, large messages, no bytes at all, and metadata."""

import pytest
from peers import OURS, UPSTREAM

PAIRS = [(OURS, UPSTREAM), (UPSTREAM, OURS)]
BURST = 300


def pair(world, kinds, node_kind=OURS):
    node = world.node(node_kind)
    alice, bob = (world.peer(kind, last, node) for kind, last in zip(kinds, ["alice", "bob"], strict=True))
    return alice, bob


@pytest.mark.parametrize("node", [OURS, UPSTREAM], ids=lambda node: f"node={node}")
@pytest.mark.parametrize("kinds", PAIRS, ids="+".join)
def test_bursts_from_everybody_arrive_in_order_and_once(world, kinds, node):
    alice, bob = pair(world, kinds, node)
    carol = world.peer(kinds[1], "carol", world.node(node))
    a = alice.open("group", world.name("channel"))
    sessions = [a, a.invite(bob), a.invite(carol)]
    requests = [
        (session.peer, session.peer.begin("burst", session=session.number, text=session.peer.name, count=BURST))
        for session in sessions
    ]
    for peer, request in requests:
        peer.answer(request, deadline=60)
    for receiver in sessions:
        for sender in sessions:
            if sender is receiver:
                continue
            receiver.peer.wait_for("message", session=receiver.number, text=f"{sender.peer.name} {BURST - 1}")
            got = [text for text in receiver.texts() if text.startswith(f"{sender.peer.name} ")]
            assert got == [f"{sender.peer.name} {number}" for number in range(BURST)]
    assert world.complaints() == []


@pytest.mark.parametrize("node", [OURS, UPSTREAM], ids=lambda node: f"node={node}")
@pytest.mark.parametrize("kinds", PAIRS, ids="+".join)
def test_payloads_of_every_size_pass_both_ways(world, kinds, node):
    alice, bob = pair(world, kinds, node)
    a = alice.open("point_to_point", bob.name)
    b = bob.joined()
    for size in [0, 1, 1000, 100_000, 1_000_000, 3_000_000]:
        payload = "x" * size
        for sender, receiver in [(a, b), (b, a)]:
            sender.publish(payload)
            receiver.expect(payload, sender.peer)
    assert world.complaints() == []
