"""Applications of 1.4.1 and 1.0.1 through our node: the wire of 1.x, with negotiation and without."""

import pytest
from peers import OURS, V101, V141, everybody_hears_everybody
from restarted_node import OurNodeOfOneTest

GROUPS = [
    # moderator, two participants
    (V141, V141, V141),
    (V101, V101, V101),
    (V141, V101, V141),
    (V101, V141, V101),
]
encrypted_and_not = pytest.mark.parametrize("mls", [True, False], ids=lambda mls: f"mls={mls}")


def applications(world, node, kinds):
    return [world.peer(kind, last, node) for kind, last in zip(kinds, ["alice", "bob", "carol"], strict=False)]


@encrypted_and_not
@pytest.mark.parametrize("kinds", GROUPS, ids="+".join)
def test_a_group_from_its_creation_to_its_close(world, kinds, mls):
    alice, bob, carol = applications(world, world.node(OURS), kinds)
    a = alice.open("group", world.name("channel"), mls)
    b, c = a.invite(bob), a.invite(carol)
    for member in (bob, carol):
        announced = member.events_of("session")[-1]
        assert (announced["kind"], announced["mls"], announced["reliable"]) == ("group", mls, True)
    everybody_hears_everybody([a, b, c], "first round")
    assert a.member_names() == b.member_names() == c.member_names() == {p.full_name for p in (alice, bob, carol)}
    b.publish("for alice only", to=alice)
    a.expect("for alice only", bob, direct=True)

    a.remove(carol)
    c.expect_closed()
    everybody_hears_everybody([a, b], "without carol")
    assert not any("without carol" in text or "only" in text for text in c.texts())

    position = carol.position()
    c = a.invite(carol)
    everybody_hears_everybody([a, b, c], "carol again")

    left = alice.position()
    b.close()
    b.expect_closed()
    notice = alice.wait_for("notice", after=left, session=a.number)
    assert "participant disconnected" in notice["text"]
    everybody_hears_everybody([a, c], "without bob")

    a.close()
    c.expect_closed(after=position)
    for session in (a, b, c):
        assert len(session.texts()) == len(set(session.texts())), "a message was delivered twice"
    assert world.complaints() == []


@encrypted_and_not
@pytest.mark.parametrize("kinds", [(V141, V101), (V101, V141)], ids="+".join)
def test_a_pair_talks_and_is_closed_from_either_side(world, kinds, mls):
    alice, bob = applications(world, world.node(OURS), kinds)
    for closer in ("initiator", "invitee"):
        positions = {peer: peer.position() for peer in (alice, bob)}
        a = alice.open("point_to_point", bob.name, mls)
        b = bob.joined(after=positions[bob])
        for number in range(3):
            a.publish(f"to bob {number}", metadata={"number": str(number)})
            assert b.expect(f"to bob {number}", alice)["metadata"]["number"] == str(number)
            b.publish(f"to alice {number}")
            a.expect(f"to alice {number}", bob)
        first, second = (a, b) if closer == "initiator" else (b, a)
        first.close()
        second.expect_closed(after=positions[second.peer])
        assert a.texts() == [f"to alice {number}" for number in range(3)]
    assert world.complaints() == []


@pytest.mark.parametrize("kinds", [(V141, V101, V141)], ids="+".join)
def test_a_group_talks_on_after_our_node_was_restarted(world, tmp_path, kinds):
    with OurNodeOfOneTest(world, tmp_path) as node:
        alice, bob, carol = applications(world, node, kinds)
        a = alice.open("group", world.name("channel"))
        sessions = [a, a.invite(bob), a.invite(carol)]
        everybody_hears_everybody(sessions, "before")
        node.stop()
        node.start()
        for peer in (alice, bob, carol):
            # Until then a publication fails.
            peer.wait_for_line("connection re-established")
        everybody_hears_everybody(sessions, "after")


def test_two_hundred_messages_at_once_from_each_arrive_in_order(world):
    alice, bob, carol = applications(world, world.node(OURS), GROUPS[2])
    a = alice.open("group", world.name("channel"))
    sessions = [a, a.invite(bob), a.invite(carol)]
    bursts = [
        session.peer.begin("burst", session=session.number, text=session.peer.name, count=200) for session in sessions
    ]
    for session, burst in zip(sessions, bursts, strict=True):
        session.peer.answer(burst, deadline=60)
    for receiver in sessions:
        for sender in sessions:
            if receiver is not sender:
                receiver.expect(f"{sender.peer.name} 199", sender.peer)
                texts = [text for text in receiver.texts() if text.startswith(sender.peer.name)]
                assert texts == [f"{sender.peer.name} {number}" for number in range(200)]
    assert world.complaints() == []
