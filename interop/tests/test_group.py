"""Groups whose members run different implementations, through the node of either."""

import pytest
from peers import OURS, UPSTREAM, PeerError, everybody_hears_everybody

MIXED = [
    # moderator, two participants
    (OURS, UPSTREAM, OURS),
    (OURS, UPSTREAM, UPSTREAM),
    (UPSTREAM, OURS, UPSTREAM),
    (UPSTREAM, OURS, OURS),
]


def whole_life(world, node, kinds, mls, reliable, binding):
    """Invite, publish, publish_to, remove, re-invite, leave, close."""
    alice, bob, carol = (
        world.peer(kind, last, node, binding) for kind, last in zip(kinds, ["alice", "bob", "carol"], strict=True)
    )
    a = alice.open("group", world.name("channel"), mls, reliable)
    b = a.invite(bob)
    c = a.invite(carol)
    for session in (b, c):
        event = session.peer.events_of("session")[-1]
        assert (event["kind"], event["mls"], event["reliable"]) == ("group", mls, reliable)
    everybody_hears_everybody([a, b, c], "first round")
    assert a.member_names() == b.member_names() == c.member_names() == {p.full_name for p in (alice, bob, carol)}

    # Directly: bob answers alice, and carol does not see it.
    b.publish("for alice only", to=alice)
    a.expect("for alice only", bob, direct=True)
    a.publish("for bob only", to=bob)
    b.expect("for bob only", alice, direct=True)

    a.remove(carol)
    c.expect_closed()
    everybody_hears_everybody([a, b], "without carol")
    seen_by_carol = c.texts()
    assert "for alice only" not in seen_by_carol and "for bob only" not in seen_by_carol
    assert not any("without carol" in text for text in seen_by_carol)

    carol_events = carol.position()
    c = a.invite(carol)
    everybody_hears_everybody([a, b, c], "carol again")

    # bob leaves; alice learns of it and the others go on.
    alice_events = alice.position()
    b.close()
    b.expect_closed()
    if alice.kind == OURS:
        alice.wait_for("member", after=alice_events, member=bob.full_name, change="left")
    else:
        notice = alice.wait_for("notice", after=alice_events, session=a.number)
        assert "participant disconnected" in notice["text"]
    everybody_hears_everybody([a, c], "without bob")
    assert a.member_names() == c.member_names() == {alice.full_name, carol.full_name}

    a.close()
    c.expect_closed(after=carol_events)
    for session in (a, b, c):
        texts = session.texts()
        assert len(texts) == len(set(texts)), "a message was delivered twice"
    assert world.complaints() == []


@pytest.mark.parametrize("node", [OURS, UPSTREAM], ids=lambda node: f"node={node}")
@pytest.mark.parametrize("kinds", MIXED, ids=lambda kinds: "+".join(kinds))
def test_encrypted_reliable_group(world, node, kinds):
    whole_life(world, world.node(node), kinds, mls=True, reliable=True, binding="warn")


@pytest.mark.parametrize("node", [OURS, UPSTREAM], ids=lambda node: f"node={node}")
@pytest.mark.parametrize("kinds", [MIXED[0], MIXED[2]], ids=lambda kinds: "+".join(kinds))
def test_members_that_enforce_identity_binding_drop_nothing(world, node, kinds):
    whole_life(world, world.node(node), kinds, mls=True, reliable=True, binding="enforce")


@pytest.mark.parametrize("mls, reliable", [(False, True), (True, False), (False, False)])
@pytest.mark.parametrize("kinds", [MIXED[0], MIXED[2]], ids=lambda kinds: "+".join(kinds))
def test_group_without_encryption_or_acknowledgements(world, kinds, mls, reliable):
    whole_life(world, world.node(OURS), kinds, mls, reliable, binding="enforce")


@pytest.mark.parametrize("mls", [True, False], ids=lambda mls: f"mls={mls}")
def test_our_node_alone_carries_a_group_of_upstream(world, mls):
    whole_life(world, world.node(OURS), (UPSTREAM,) * 3, mls, reliable=True, binding="warn")


@pytest.mark.parametrize("mls", [True, False], ids=lambda mls: f"mls={mls}")
def test_upstream_node_carries_a_group_of_ours(world, mls):
    whole_life(world, world.node(UPSTREAM), (OURS,) * 3, mls, reliable=True, binding="warn")


@pytest.mark.parametrize("kinds", [(OURS, UPSTREAM), (UPSTREAM, OURS)], ids=lambda kinds: "+".join(kinds))
def test_inviting_a_member_again_is_refused(world, kinds):
    node = world.node(OURS)
    alice, bob = (world.peer(kind, last, node) for kind, last in zip(kinds, ["alice", "bob"], strict=True))
    session = alice.open("group", world.name("channel"), interval_ms=300, retries=2)
    member = session.invite(bob)
    with pytest.raises(PeerError, match="participant already in group"):
        alice.ask("invite", session=session.number, name=bob.name)
    everybody_hears_everybody([session, member], "still there")


def test_two_upstream_instances_of_one_name_join_our_group(world):
    """An invitation by name reaches any instance; one that is in the group already is silent, so we ask again."""
    node = world.node(OURS)
    alice = world.peer(OURS, "alice", node)
    workers = [world.peer(UPSTREAM, "worker", node) for _ in range(2)]
    session = alice.open("group", world.name("channel"), interval_ms=300, retries=10)
    for _ in workers:
        alice.ask("invite", session=session.number, name=world.name("worker"))
    everybody_hears_everybody([session, *(worker.joined() for worker in workers)], "both workers")
    assert session.member_names() == {peer.full_name for peer in (alice, *workers)}
