"""Identities of a SPIFFE agent: applications of both kinds in one group, and links that either kind of node checks."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from peers import OURS, PEER, UPSTREAM, PeerError, everybody_hears_everybody

AGENT = os.environ.get("SLIM_SPIFFE_AGENT", str(Path(PEER).with_name("spiffe_agent")))
DOMAIN = "example.org"
PLAIN = {"tls": {"insecure": True}}
ONCE = {"backoff": {"type": "fixed_interval", "interval": "10ms", "max_attempts": 1}}


class Agent:
    """The agent of our tests, as a process; one for all applications of a test."""

    def __init__(self, folder: Path, *names: str, life: int = 300) -> None:
        self.socket = folder / "agent.sock"
        ids = [self.id(name) for name in names]
        self.child = subprocess.Popen(
            [AGENT, str(self.socket), DOMAIN, str(life), *ids],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.child.stdout.readline() == "ready\n"

    @staticmethod
    def id(name: str) -> str:
        return f"spiffe://{DOMAIN}/{name}"

    def tell(self, command: str) -> list[str]:
        self.child.stdin.write(command + "\n")
        self.child.stdin.flush()
        return [line.rstrip() for line in iter(self.child.stdout.readline, "done\n")]

    def identity(self, name: str, audience: str = "slim") -> dict:
        """What an application needs; the published package takes the socket as a URI only."""
        return {
            "socket_path": f"unix://{self.socket}",
            "target_spiffe_id": self.id(name),
            "audiences": [audience],
            "trust_domains": [DOMAIN],
        }

    def auth(self, name: str | None, audience: str = "slim") -> dict:
        """The `auth` block of a node or of an application."""
        block = {"type": "spire", "socket_path": f"unix://{self.socket}", "jwt_audiences": [audience]}
        return block | ({"target_spiffe_id": self.id(name)} if name else {})

    def stop(self) -> None:
        self.child.stdin.close()
        self.child.wait(10)


@pytest.fixture
def agent(tmp_path):
    agent = Agent(tmp_path, "alice", "bob", "carol", "node")
    yield agent
    agent.stop()


@pytest.mark.parametrize("kinds", [(OURS, UPSTREAM, OURS), (UPSTREAM, OURS, UPSTREAM)], ids="+".join)
def test_a_group_of_both_with_identities_of_an_agent(world, agent, kinds):
    alice, bob, carol = (
        world.peer(kind, last, world.node(OURS), spire=agent.identity(last))
        for kind, last in zip(kinds, ["alice", "bob", "carol"], strict=True)
    )
    a = alice.open("group", world.name("channel"))
    b, c = a.invite(bob), a.invite(carol)
    everybody_hears_everybody([a, b, c], "first round")
    for kind, session in zip(kinds, [a, b, c], strict=True):
        if kind == OURS:
            assert session.peer.events_of("message")[0]["subject"].startswith(f"spiffe://{DOMAIN}/")
    # Tokens are signed with another key from now on; each side learns of it from the agent.
    agent.tell("rotate-jwt-key")
    a.remove(carol)
    c.expect_closed()
    everybody_hears_everybody([a, b], "without carol")
    a.close()
    b.expect_closed()
    assert world.complaints() == []


@pytest.mark.parametrize("kinds", [(OURS, UPSTREAM), (UPSTREAM, OURS)], ids="+".join)
def test_a_member_for_another_audience_stays_out(world, agent, kinds):
    alice, bob = (
        world.peer(kind, last, world.node(OURS), spire=agent.identity(last, audience))
        for kind, last, audience in zip(kinds, ["alice", "bob"], ["slim", "else"], strict=True)
    )
    a = alice.open("group", world.name("channel"), interval_ms=300, retries=2)
    with pytest.raises(PeerError):
        a.peer.ask("invite", session=a.number, name=bob.name)
    assert bob.events_of("session") == []


@pytest.mark.parametrize("node", [OURS, UPSTREAM], ids=lambda node: f"node={node}")
@pytest.mark.parametrize("kind", [OURS, UPSTREAM])
def test_a_link_with_a_token_of_the_agent(world, own_nodes, agent, kind, node):
    node = own_nodes.start(node, auth=agent.auth("node", "links"))
    world.peer(kind, "alice", node, settings=PLAIN | {"auth": agent.auth("alice", "links")})
    with pytest.raises(PeerError):
        world.peer(kind, "bob", node, settings=PLAIN | ONCE | {"auth": agent.auth("bob", "else")})


def test_what_may_be_an_identity_opens_no_link_at_our_node(world, own_nodes, agent):
    """Links of the published package show a token with a key, as identities have: with one audience for both, whoever
    receives a message could dial as its sender."""
    node = own_nodes.start(OURS, auth=agent.auth("node"))
    world.peer(OURS, "alice", node, settings=PLAIN | {"auth": agent.auth("alice")})
    with pytest.raises(PeerError):
        world.peer(UPSTREAM, "bob", node, settings=PLAIN | ONCE | {"auth": agent.auth("bob")})
    node.wait_for_line("identity, which its peers")
