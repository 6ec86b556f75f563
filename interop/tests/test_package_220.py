"""Applications of 2.2.0, which speaks the current wire, in groups and pairs with 3.3.8 and ours through our node.

It does not sign the payloads of its commands. 3.3.8 says so in its log and goes on; ours refuse it unless told otherwise.
"""

import pytest
from peers import OURS, UPSTREAM, V220, PeerError, everybody_hears_everybody

encrypted_and_not = pytest.mark.parametrize("mls", [True, False], ids=lambda mls: f"mls={mls}")


def applications(world, kinds):
    node = world.node(OURS)
    return [
        world.peer(kind, last, node, **({"unsigned_payloads": True} if kind == OURS else {}))
        for kind, last in zip(kinds, ["alice", "bob", "carol"], strict=False)
    ]


@encrypted_and_not
@pytest.mark.parametrize(
    "kinds", [(OURS, V220, UPSTREAM), (V220, OURS, UPSTREAM), (UPSTREAM, V220, OURS)], ids="+".join
)
def test_a_group_of_three_implementations(world, kinds, mls):
    alice, bob, carol = applications(world, kinds)
    a = alice.open("group", world.name("channel"), mls)
    b, c = a.invite(bob), a.invite(carol)
    everybody_hears_everybody([a, b, c], "first round")
    b.publish("for alice only", to=alice)
    a.expect("for alice only", bob, direct=True)
    a.remove(carol)
    c.expect_closed()
    everybody_hears_everybody([a, b], "without carol")
    position = carol.position()
    c = a.invite(carol)
    everybody_hears_everybody([a, b, c], "carol again")
    assert a.member_names() == b.member_names() == c.member_names() == {p.full_name for p in (alice, bob, carol)}
    a.close()
    b.expect_closed()
    c.expect_closed(after=position)
    assert world.complaints() == []


@encrypted_and_not
@pytest.mark.parametrize("kinds", [(OURS, V220), (V220, OURS)], ids="+".join)
def test_a_pair_with_ours(world, kinds, mls):
    alice, bob = applications(world, kinds)
    a = alice.open("point_to_point", bob.name, mls)
    b = bob.joined()
    for number in range(3):
        a.publish(f"to bob {number}")
        b.expect(f"to bob {number}", alice)
        b.publish(f"to alice {number}")
        a.expect(f"to alice {number}", bob)
    b.close()
    a.expect_closed()
    assert world.complaints() == []


def test_ours_refuses_commands_without_a_signed_payload_unless_told_otherwise(world):
    node = world.node(OURS)
    alice, bob = world.peer(OURS, "alice", node), world.peer(V220, "bob", node)
    a = alice.open("group", world.name("channel"), interval_ms=300, retries=2)
    with pytest.raises(PeerError, match="refuses in silence"):
        alice.ask("invite", session=a.number, name=bob.name)
    alice.wait_for_line("the payload is not signed")
