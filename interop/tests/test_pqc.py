"""Post-quantum key exchange on links, with TLS and without, between the two implementations."""

import json

import pytest
from credentials import Ca
from peers import OURS, UPSTREAM, PeerError

BOTH = [OURS, UPSTREAM]
NODES = pytest.mark.parametrize("node", BOTH, ids=lambda node: f"node={node}")
TLS = pytest.mark.parametrize("with_tls", [False, True], ids=lambda with_tls: f"tls={with_tls}")


class Quantum:
    """A node that takes post-quantum links only, and applications with such links."""

    def __init__(self, world, own_nodes, folder, node, with_tls):
        self.world, self.folder = world, folder
        self.tls = {"insecure": True}
        server = {}
        if with_tls:
            ca = Ca(folder)
            server = {"tls": {"source": ca.server().source()}}
            self.tls = {"ca_source": ca.source(), "include_system_ca_certs_pool": False}
        self.node = own_nodes.start(node, enforce_pqc=True, **server)

    def ours(self, last, **identity):
        settings = {"tls": self.tls, "enforce_pqc": True}
        return self.world.peer(OURS, last, self.node, settings=settings, **identity)

    def theirs(self, last):
        """Its applications have such a link only if the configuration file asks for it."""
        client = {"endpoint": self.node.endpoint, "tls": self.tls}
        dataplane = {"enforce_pqc": True, "servers": [], "clients": [client]}
        file = self.folder / f"{last}.yaml"
        file.write_text(json.dumps({"services": {"slim/0": {"dataplane": dataplane}}}))
        return self.world.peer(UPSTREAM, last, self.node, environment={"PEER_CONFIG": str(file)}, configured=True)


@NODES
@TLS
def test_both_meet_over_post_quantum_links(world, own_nodes, tmp_path, node, with_tls):
    quantum = Quantum(world, own_nodes, tmp_path, node, with_tls)
    peers = {OURS: quantum.ours("ours"), UPSTREAM: quantum.theirs("theirs")}
    for moderator, member in (BOTH, BOTH[::-1]):
        alice, bob = peers[moderator], peers[member]
        # Without encryption: see the next but one test.
        a = alice.open("group", world.name(f"channel-of-{moderator}"), mls=False)
        b = a.invite(bob)
        for session, sender, receiver in ((a, bob, b), (b, alice, a)):
            receiver.publish(f"to {session.peer.name}")
            session.expect(f"to {session.peer.name}", receiver.peer)
            assert receiver.peer is sender
        a.close()
        b.expect_closed()
    assert world.complaints() == []


@NODES
@pytest.mark.parametrize("kind", BOTH, ids=lambda kind: f"app={kind}")
def test_a_classical_link_is_refused_where_post_quantum_ones_are_demanded(world, own_nodes, tmp_path, node, kind):
    quantum = Quantum(world, own_nodes, tmp_path, node, with_tls=False)
    settings = {"tls": quantum.tls, "backoff": {"type": "fixed_interval", "interval": "10ms", "max_attempts": 1}}
    with pytest.raises(PeerError):
        world.peer(kind, "classical", quantum.node, settings=settings)


@NODES
def test_a_post_quantum_group_of_ours_passes_either_node(world, own_nodes, tmp_path, node):
    quantum = Quantum(world, own_nodes, tmp_path, node, with_tls=False)
    alice, bob = quantum.ours("alice", pqc=True), quantum.ours("bob", pqc=True)
    a = alice.open("group", world.name("channel"))
    b = a.invite(bob)
    a.publish("hello")
    b.expect("hello", alice)
    b.publish("answer")
    a.expect("answer", bob)


def test_the_published_package_makes_no_encrypted_group_where_post_quantum_links_are_demanded(
    world, own_nodes, tmp_path
):
    """A gap of its own: it demands the post-quantum suite then, and its applications have no key for it."""
    quantum = Quantum(world, own_nodes, tmp_path, UPSTREAM, with_tls=False)
    alice, bob = quantum.theirs("alice"), quantum.theirs("bob")
    a = alice.open("group", world.name("channel"))
    with pytest.raises(PeerError, match="InvalidKeyData"):
        a.peer.ask("invite", session=a.number, name=bob.name)
