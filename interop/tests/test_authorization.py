"""Our node with rules about names, which the published package does not have: its applications keep to them too."""

import pytest
from credentials import Ca
from peers import OURS, UPSTREAM, PeerError, everybody_hears_everybody

KINDS = pytest.mark.parametrize("kind", [OURS, UPSTREAM], ids=lambda kind: f"app={kind}")


class RuledNode:
    """A node that knows applications by their certificates. Everybody has its own name and the channel; alice invites."""

    def __init__(self, world, own_nodes, folder) -> None:
        self.world, self.ca = world, Ca(folder)
        self.client_ca = self.ca.source()
        rules = [self.rule(who) for who in ("alice", "bob", "carol")]
        rules[0]["invite"] = [world.name("*")]
        self.node = own_nodes.start(
            OURS,
            tls={"source": self.ca.server().source(), "client_ca": self.client_ca},
            authorization={"rules": rules},
        )

    def rule(self, who: str) -> dict:
        return {
            "match": {"method": ["certificate"], "subject": f"CN={who}"},
            "subscribe": [self.world.name(who), self.world.name("channel")],
            "publish": [self.world.name("channel")],
            "invite": [],
        }

    def peer(self, kind: str, name: str, certificate: str | None = None):
        tls = {
            "ca_source": self.client_ca,
            "include_system_ca_certs_pool": False,
            "source": self.ca.client(certificate or name).source(),
        }
        return self.world.peer(kind, name, self.node, settings={"tls": tls})


@pytest.fixture
def ruled(world, own_nodes, tmp_path):
    return RuledNode(world, own_nodes, tmp_path)


@pytest.mark.parametrize(
    "kinds",
    [(OURS, UPSTREAM, OURS), (UPSTREAM, OURS, UPSTREAM), (UPSTREAM, UPSTREAM, UPSTREAM)],
    ids=lambda kinds: "-".join(kinds),
)
def test_a_group_works_under_rules_that_name_only_itself(world, ruled, kinds):
    alice, bob, carol = (ruled.peer(kind, name) for kind, name in zip(kinds, ["alice", "bob", "carol"], strict=True))
    a = alice.open("group", world.name("channel"))
    b = a.invite(bob)
    c = a.invite(carol)
    everybody_hears_everybody([a, b, c], "first")
    c.publish("for bob only", to=bob)
    b.expect("for bob only", carol, direct=True)
    a.remove(carol)
    c.expect_closed()
    everybody_hears_everybody([a, b], "second")
    a.close()
    b.expect_closed()
    assert not any("refused by the authorization rules" in line for line in ruled.node.log)
    assert world.complaints() == []


@KINDS
@pytest.mark.parametrize("thief", [OURS, UPSTREAM], ids=lambda kind: f"thief={kind}")
def test_a_stolen_name_is_refused_with_the_reason_and_gets_nothing(world, ruled, kind, thief):
    alice, carol = ruled.peer(kind, "alice"), ruled.peer(OURS, "carol")
    with pytest.raises(PeerError) as refusal:
        ruled.peer(thief, "carol", certificate="bob")
    stolen = world.name("carol")
    # The published package keeps the reason to itself; it is in the node's log too.
    reason = {OURS: f'"CN=bob" may not subscribe to "{stolen}"', UPSTREAM: "ack rejected by datapath"}
    assert reason[thief] in str(refusal.value)
    ruled.node.wait_for_line(f'may not subscribe to "{stolen}"')
    a = alice.open("group", world.name("channel"))
    c = a.invite(carol)
    everybody_hears_everybody([a, c], "without the thief")


@KINDS
def test_who_may_not_invite_sees_a_timeout_and_the_log_says_why(world, ruled, kind):
    ruled.peer(OURS, "alice")
    bob = ruled.peer(kind, "bob")
    session = bob.open("group", world.name("channel"), interval_ms=200, retries=2)
    with pytest.raises(PeerError):
        bob.ask("invite", session=session.number, name=world.name("alice"), deadline=30)
    ruled.node.wait_for_line(f'"CN=bob" may not invite "{world.name("alice")}"')
