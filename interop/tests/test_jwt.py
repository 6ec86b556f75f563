"""Groups and pairs whose members sign tokens with keys of their own, and know the others' keys from a key set."""

import pytest
from credentials import TokenKey, key_set
from peers import INTERVAL_MS, OURS, RETRIES, UPSTREAM, PeerError, everybody_hears_everybody

MIXED = [(OURS, UPSTREAM, OURS), (UPSTREAM, OURS, UPSTREAM)]


class Issuer:
    """The keys of everybody in a test, and what each of them needs."""

    def __init__(self, world, *lasts, issuer="https://issuer.example", audiences=("group",)):
        self.world = world
        self.issuer, self.audiences = issuer, list(audiences)
        self.keys = {last: TokenKey(world.name(last)) for last in lasts}

    def identity(self, last, **other):
        key = self.keys[last]
        return {
            "algorithm": key.algorithm,
            "private_key": key.private_pem,
            "keys": key_set(*self.keys.values()),
            "issuer": self.issuer,
            "audiences": self.audiences,
            "subject": key.name,
        } | other

    def peer(self, kind, last, node, binding="warn", **other):
        return self.world.peer(kind, last, node, binding, jwt=self.identity(last, **other))


@pytest.mark.parametrize("binding", ["warn", "enforce"])
@pytest.mark.parametrize("node", [OURS, UPSTREAM], ids=lambda node: f"node={node}")
@pytest.mark.parametrize("kinds", MIXED, ids="+".join)
def test_s74_a_group_of_both_with_keys_of_their_own(world, kinds, node, binding):
    issuer = Issuer(world, "alice", "bob", "carol")
    alice, bob, carol = (
        issuer.peer(kind, last, world.node(node), binding)
        for kind, last in zip(kinds, ["alice", "bob", "carol"], strict=True)
    )
    a = alice.open("group", world.name("channel"))
    b, c = a.invite(bob), a.invite(carol)
    everybody_hears_everybody([a, b, c], "first round")
    for kind, session in zip(kinds, [a, b, c], strict=True):
        if kind == OURS:
            event = session.peer.events_of("message")[0]
            assert event["subject"] in {world.name(last) for last in ("alice", "bob", "carol")}
    a.remove(carol)
    c.expect_closed()
    everybody_hears_everybody([a, b], "without carol")
    carol_events = carol.position()
    c = a.invite(carol)
    everybody_hears_everybody([a, b, c], "carol again")
    a.close()
    b.expect_closed()
    c.expect_closed(after=carol_events)
    assert world.complaints() == []


@pytest.mark.parametrize("kinds", [(OURS, UPSTREAM), (UPSTREAM, OURS)], ids="+".join)
def test_s74_s78_a_pair_of_both_with_keys_of_their_own(world, kinds):
    issuer = Issuer(world, "alice", "bob")
    alice, bob = (issuer.peer(kind, last, world.node(OURS)) for kind, last in zip(kinds, issuer.keys, strict=True))
    a = alice.open("point_to_point", bob.name)
    b = bob.joined()
    everybody_hears_everybody([a, b], "a round")
    a.close()
    b.expect_closed()
    assert world.complaints() == []


REFUSED = {
    "a key that nobody knows": lambda issuer: {"private_key": TokenKey("stranger").private_pem},
    "another issuer": lambda issuer: {"issuer": "https://other.example"},
    "another audience": lambda issuer: {"audiences": ["another group"]},
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("kinds", MIXED, ids="+".join)
def test_s64_s74_a_member_with_a_wrong_token_stays_out_and_the_group_goes_on(world, kinds, case):
    issuer = Issuer(world, "alice", "bob", "carol")
    node = world.node(OURS)
    alice, bob = (issuer.peer(kind, last, node) for kind, last in zip(kinds, ["alice", "bob"], strict=False))
    # Carol's program is of the other kind than the moderator.
    carol = issuer.peer(UPSTREAM if kinds[0] == OURS else OURS, "carol", node, **REFUSED[case](issuer))
    a = alice.open("group", world.name("channel"), interval_ms=INTERVAL_MS // 2, retries=min(RETRIES, 2))
    b = a.invite(bob)
    everybody_hears_everybody([a, b], "before")
    with pytest.raises(PeerError):
        a.peer.ask("invite", session=a.number, name=carol.name)
    assert carol.events_of("session") == []
    everybody_hears_everybody([a, b], "after")
    assert a.member_names() == b.member_names() == {alice.full_name, bob.full_name}
    a.close()
    b.expect_closed()
