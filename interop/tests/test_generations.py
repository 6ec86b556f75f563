"""Applications of all three wires on one node of ours: they never hear of each other, and the older ones can be refused."""

import pytest
from peers import OURS, UPSTREAM, V041, V101, V141, PeerError, everybody_hears_everybody
from relay import Relay
from test_wire_04 import admit

# Each moderator with a member of its generation.
GENERATIONS = [(V041, V041), (V141, V101), (OURS, UPSTREAM)]


def test_equal_names_of_all_generations_never_hear_each_other(world):
    """Every generation has an alice who invites a bob into a group, all with the same names."""
    node = world.node(OURS)
    # First everybody is there, so that each invitation could reach the wrong bob.
    couples = [(world.peer(first, "alice", node), world.peer(second, "bob", node)) for first, second in GENERATIONS]
    groups = []
    for alice, bob in couples:
        a = alice.open("group", world.name("channel"))
        groups.append([a, admit(a, bob) if alice.kind == V041 else a.invite(bob)])
    for group in groups:
        everybody_hears_everybody(group, f"to {group[0].peer.kind}")
    for group in groups:
        own = f"to {group[0].peer.kind} from"
        for session in group:
            strange = [text for text in session.texts() if not text.startswith((own, "welcome"))]
            assert strange == [], session.peer.title
            heard = {event["session"] for event in session.peer.events_of("message")}
            assert heard == {session.number}, session.peer.title
            assert session.peer.events_of("notice") == [], session.peer.title
        # One invitation each; a moderator got none.
        assert [len(session.peer.events_of("session")) for session in group] == [0, 1]
    assert world.complaints() == []


def test_a_listener_without_the_older_wires_refuses_them_without_a_storm(world, own_nodes):
    node = own_nodes.start(OURS, legacy=False)
    with Relay(node) as of_04, Relay(node) as of_1x, Relay(node) as of_current:
        # 0.4.1 tries ten times, a second apart, and gives up.
        shut_out = world.unconnected(V041, "alice")
        connecting = shut_out.begin("connect", endpoint=of_04.endpoint)

        # 1.x would come back thirty times a second if it was shut out, so it is served with silence.
        alice, bob = world.peer(V141, "alice", of_1x), world.peer(V141, "bob", of_1x)
        session = alice.open("group", world.name("channel"), interval_ms=500, retries=9)
        with pytest.raises(PeerError):
            alice.ask("invite", session=session.number, name=bob.name)
        assert bob.events == []
        assert of_1x.accepted <= 4, "a storm"

        with pytest.raises(PeerError, match="max connection retries"):
            shut_out.answer(connecting)
        assert of_04.accepted <= 12, "a storm"
        node.wait_for_line("not served")

        ours, upstream = world.peer(OURS, "alice", of_current), world.peer(UPSTREAM, "bob", of_current)
        a = ours.open("group", world.name("channel"))
        everybody_hears_everybody([a, a.invite(upstream)], "we are served")
