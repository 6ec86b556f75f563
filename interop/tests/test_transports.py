"""WebSocket and Unix sockets: applications of both implementations through the node of either, and what is refused."""

from pathlib import Path

import pytest
from credentials import Ca
from peers import OURS, UPSTREAM, PeerError

BOTH = [OURS, UPSTREAM]
NODES = pytest.mark.parametrize("node", BOTH, ids=lambda node: f"node={node}")
KINDS = pytest.mark.parametrize("kind", BOTH, ids=lambda kind: f"app={kind}")
PASSWORD = {"type": "basic", "username": "alice", "password": "a password of the link"}
ONE_ATTEMPT = {"backoff": {"type": "fixed_interval", "interval": "10ms", "max_attempts": 1}}


def group_of_both(world, node, settings):
    """A moderator of either kind and a member of the other talk; messages are larger than one read."""
    ours = world.peer(OURS, "ours", node, settings=settings)
    theirs = world.peer(UPSTREAM, "theirs", node, settings=settings)
    for alice, bob in ((ours, theirs), (theirs, ours)):
        a = alice.open("group", world.name(f"channel-of-{alice.kind}"))
        b = a.invite(bob)
        for number in range(3):
            text = f"{number} " + "x" * 100_000
            a.publish(text)
            b.expect(text, alice)
            b.publish(text)
            a.expect(text, bob)
        a.close()
        b.expect_closed()
    assert world.complaints() == []


@NODES
@pytest.mark.parametrize("transport", ["ws", "unix"])
def test_a_group_of_both_over_another_transport(world, own_nodes, node, transport):
    serving = own_nodes.start(node, transport=transport)
    group_of_both(world, serving, {"tls": {"insecure": True}})
    serving.stop()
    # The other implementation leaves its file behind.
    if transport == "unix" and node == UPSTREAM:
        Path(serving.endpoint.removeprefix("unix://")).unlink(missing_ok=True)


@NODES
def test_a_group_of_both_over_websocket_and_tls_with_client_certificates(world, own_nodes, tmp_path, node):
    ca = Ca(tmp_path)
    serving = {"source": ca.server().source(), "client_ca": ca.source()}
    trusting = {
        "ca_source": ca.source(),
        "include_system_ca_certs_pool": False,
        "source": ca.client("alice").source(),
    }
    group_of_both(world, own_nodes.start(node, transport="wss", tls=serving), {"tls": trusting})


@NODES
@KINDS
def test_a_password_opens_a_websocket_and_a_wrong_one_does_not(world, own_nodes, node, kind):
    serving = own_nodes.start(node, transport="ws", auth=PASSWORD)
    plain = {"tls": {"insecure": True}} | ONE_ATTEMPT
    world.peer(kind, "alice", serving, settings=plain | {"auth": PASSWORD})
    for refused in ({}, {"auth": PASSWORD | {"password": "another one"}}):
        with pytest.raises(PeerError) as error:
            world.peer(kind, "stranger", serving, settings=plain | refused)
        if kind == OURS:
            assert "(401)" in str(error.value)


@NODES
@KINDS
def test_another_path_is_refused(world, own_nodes, node, kind):
    serving = own_nodes.start(node, transport="ws")
    serving.endpoint += "/elsewhere"
    with pytest.raises(PeerError) as error:
        world.peer(kind, "stranger", serving, settings={"tls": {"insecure": True}} | ONE_ATTEMPT)
    if kind == OURS:
        assert "there is no WebSocket at this path (404)" in str(error.value)
