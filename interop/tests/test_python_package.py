"""Our Python package, with the names of the 0.4 generation, in groups with the published package 3.3.8."""

import pytest
from peers import OUR_PACKAGE, OURS, UPSTREAM


@pytest.mark.parametrize("mls", [True, False], ids=lambda mls: f"mls={mls}")
@pytest.mark.parametrize("kinds", [(OUR_PACKAGE, UPSTREAM), (UPSTREAM, OUR_PACKAGE)], ids="+".join)
def test_a_group_of_both_packages(world, kinds, mls):
    node = world.node(OURS)
    alice, bob = (world.peer(kind, last, node) for kind, last in zip(kinds, ["alice", "bob"], strict=True))
    a = alice.open("group", world.name("channel"), mls)
    alice.ask("invite", session=a.number, name=bob.name)
    # Our package announces a session with its first message.
    a.publish("welcome")
    b = bob.joined()
    b.expect("welcome", alice)
    for number in range(3):
        b.publish(f"to alice {number}")
        a.publish(f"to bob {number}")
    for number in range(3):
        a.expect(f"to alice {number}", bob)
        b.expect(f"to bob {number}", alice)
    a.close()
    b.expect_closed()
    assert b.texts() == ["welcome", "to bob 0", "to bob 1", "to bob 2"]
    assert world.complaints() == []
