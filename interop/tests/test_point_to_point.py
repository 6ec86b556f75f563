"""Sessions of two applications of different implementations."""

import itertools

import pytest
from peers import OURS, UPSTREAM

PAIRS = [(OURS, UPSTREAM), (UPSTREAM, OURS)]


def talk(world, node, kinds, mls, reliable, closer, binding="warn"):
    alice, bob = (world.peer(kind, last, node, binding) for kind, last in zip(kinds, ["alice", "bob"], strict=True))
    a = alice.open("point_to_point", bob.name, mls, reliable)
    b = bob.joined()
    event = bob.events_of("session")[-1]
    assert (event["kind"], event["mls"], event["reliable"]) == ("point_to_point", mls, reliable)
    assert event["destination"] == alice.full_name
    for number in range(5):
        a.publish(f"to bob {number}", metadata={"number": str(number)})
        assert b.expect(f"to bob {number}", alice)["metadata"]["number"] == str(number)
        b.publish(f"to alice {number}")
        a.expect(f"to alice {number}", bob)
    first, second = (a, b) if closer == "initiator" else (b, a)
    first.close()
    second.expect_closed()
    assert a.texts() == [f"to alice {number}" for number in range(5)]
    assert b.texts() == [f"to bob {number}" for number in range(5)]
    assert world.complaints() == []


@pytest.mark.parametrize("kinds", PAIRS, ids=lambda kinds: "+".join(kinds))
@pytest.mark.parametrize("mls, reliable", list(itertools.product([True, False], repeat=2)))
@pytest.mark.parametrize("closer", ["initiator", "invitee"])
def test_through_our_node(world, kinds, mls, reliable, closer):
    talk(world, world.node(OURS), kinds, mls, reliable, closer)


@pytest.mark.parametrize("kinds", PAIRS, ids=lambda kinds: "+".join(kinds))
@pytest.mark.parametrize("mls, reliable", [(True, True), (False, False)])
def test_through_the_node_of_upstream(world, kinds, mls, reliable):
    talk(world, world.node(UPSTREAM), kinds, mls, reliable, closer="initiator")


@pytest.mark.parametrize("kinds", PAIRS, ids=lambda kinds: "+".join(kinds))
@pytest.mark.parametrize("closer", ["initiator", "invitee"])
def test_members_that_enforce_identity_binding_drop_nothing(world, kinds, closer):
    talk(world, world.node(OURS), kinds, mls=True, reliable=True, closer=closer, binding="enforce")


def test_our_node_alone_carries_two_of_upstream(world):
    talk(world, world.node(OURS), (UPSTREAM, UPSTREAM), mls=True, reliable=True, closer="initiator")
