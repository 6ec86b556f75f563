"""What the lives of groups in the matrix leave out: invitations of those who are in, and of several of one name."""

import pytest
from peers import OURS, UPSTREAM, PeerError, everybody_hears_everybody


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
