"""Members that go offline and come back, processes that stop, nodes that restart, and credentials that differ."""

import time

import pytest
from peers import OURS, UPSTREAM, PeerError
from restarted_node import OurNodeOfOneTest

PAIRS = [(OURS, UPSTREAM), (UPSTREAM, OURS)]
# Three silent heartbeat periods of ten seconds, and some.
OFFLINE_AFTER = 50.0


def everybody_hears(sender, receivers, text):
    sender.publish(text)
    for receiver in receivers:
        receiver.expect(text, sender.peer)


@pytest.mark.parametrize("epoch_changes", [False, True], ids=lambda changes: f"epoch_changes={changes}")
@pytest.mark.parametrize("kinds", PAIRS, ids="+".join)
def test_a_member_goes_offline_and_comes_back(world, kinds, epoch_changes):
    node = world.node(OURS)
    alice, bob = (world.peer(kind, last, node) for kind, last in zip(kinds, ["alice", "bob"], strict=True))
    carol = world.peer(kinds[0], "carol", node)
    # After coming back, 3.3.8 waits for the acknowledgement of a member that was removed meanwhile: retries matter.
    a = alice.open("group", world.name("channel"), interval_ms=300, retries=5)
    b, c = a.invite(bob), a.invite(carol)
    everybody_hears(a, [b, c], "all here")
    bob.ask("go_offline", session=b.number)
    a.publish("bob is away")
    c.expect("bob is away", alice)
    if epoch_changes:
        a.remove(carol)
        c.expect_closed()
    bob.ask("go_online", session=b.number)
    others = [] if epoch_changes else [c]
    everybody_hears(a, [b, *others], "bob is back")
    everybody_hears(b, [a, *others], "I am back")
    # A moderator of upstream is not stuck after the rejoin, as it is when its own kind rejoins.
    d = a.invite(world.peer(kinds[1], "dave", node))
    everybody_hears(a, [b, d, *others], "dave is here")
    # Upstream starts anew when it comes back; ours goes on where it stopped and asks for what it missed.
    expected = ["bob is away"] if bob.kind == OURS else []
    assert b.texts() == ["all here", *expected, "bob is back", "dave is here"]


def await_presence(session, member, online):
    """There is no event for it at upstream, so this asks again and again."""
    end = time.monotonic() + OFFLINE_AFTER
    while (member.full_name in session.member_names()) != online:
        assert time.monotonic() < end, f"{session.peer.title} does not see that {member.title} is online={online}"
        time.sleep(0.25)


def test_a_process_that_stops_for_long_is_offline_and_comes_back_without_duplicates(world):
    """Both directions at once, since this takes half a minute."""
    node = world.node(OURS)
    groups = []
    for number, kinds in enumerate(PAIRS):
        alice, bob = (world.peer(kind, f"{last}{number}", node) for kind, last in zip(kinds, ["alice", "bob"], strict=True))
        a = alice.open("group", world.name(f"channel{number}"))
        b = a.invite(bob)
        everybody_hears(b, [a], "before 1")
        everybody_hears(a, [b], "before 2")
        groups.append((a, b))
    for _, b in groups:
        b.peer.pause()
    for a, b in groups:
        await_presence(a, b.peer, online=False)
    for _, b in groups:
        b.peer.resume()
    for a, b in groups:
        await_presence(a, b.peer, online=True)
        everybody_hears(b, [a], "after 1")
        everybody_hears(a, [b], "after 2")
        assert a.texts() == ["before 1", "after 1"]
        assert b.texts() == ["before 2", "after 2"]


@pytest.mark.parametrize("kinds", PAIRS, ids="+".join)
def test_sessions_survive_a_restart_of_our_node(world, kinds, tmp_path):
    with OurNodeOfOneTest(world, tmp_path) as node:
        alice, bob = (world.peer(kind, last, node) for kind, last in zip(kinds, ["alice", "bob"], strict=True))
        a = alice.open("group", world.name("channel"), interval_ms=1000, retries=30)
        b = a.invite(bob)
        everybody_hears(a, [b], "before")
        ours, upstream = (a, b) if alice.kind == OURS else (b, a)
        node.stop()
        # 3.3.8 loses what it publishes while its link is down, says that it succeeded, and serves it from its
        # buffer when the next message shows the gap.
        upstream.publish("3.3.8, link down")
        request = ours.peer.begin("publish", session=ours.number, text="ours, link down")
        node.start()
        ours.peer.answer(request, deadline=30)
        upstream.expect("ours, link down", ours.peer)
        everybody_hears(upstream, [ours], "3.3.8, link up")
        everybody_hears(ours, [upstream], "ours, link up")
        assert ours.texts()[-2:] == ["3.3.8, link down", "3.3.8, link up"]
        assert upstream.texts()[-2:] == ["ours, link down", "ours, link up"]


@pytest.mark.parametrize("kinds", PAIRS, ids="+".join)
def test_an_application_with_another_secret_is_refused_and_the_group_goes_on(world, kinds):
    node = world.node(OURS)
    alice, bob = (world.peer(kind, last, node) for kind, last in zip(kinds, ["alice", "bob"], strict=True))
    mallory = world.peer(kinds[1], "mallory", node, secret="some other secret, of more than 32 bytes too")
    a = alice.open("group", world.name("channel"), interval_ms=300, retries=2)
    b = a.invite(bob)
    with pytest.raises(PeerError, match="failed to add participant"):
        alice.ask("invite", session=a.number, name=mallory.name)
    everybody_hears(a, [b], "without mallory")
    assert mallory.events_of("session") == []
    if mallory.kind == OURS:
        assert mallory.ask("counters")["identity_refused"] > 0
    else:
        # This is also the proof that a refusal shows in the log which the other tests search.
        assert any(mallory.title in complaint for complaint in world.complaints())
