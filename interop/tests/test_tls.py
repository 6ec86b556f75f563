"""Links under TLS between the two implementations, both ways, and what each refuses of the other."""

import pytest
from credentials import EXPIRED, Ca
from peers import OURS, UPSTREAM, PeerError

BOTH = [OURS, UPSTREAM]
#: Application on one, node on the other, and groups of both on either.
NODES = pytest.mark.parametrize("node", BOTH, ids=lambda node: f"node={node}")
KINDS = pytest.mark.parametrize("kind", BOTH, ids=lambda kind: f"app={kind}")


@pytest.fixture
def ca(tmp_path):
    return Ca(tmp_path)


def trusting(ca, source=None, version="tls1.3"):
    """The settings of a client that believes this CA alone."""
    tls = {"ca_source": ca.source(), "include_system_ca_certs_pool": False, "tls_version": version}
    if source:
        tls["source"] = source.source()
    return {"tls": tls}


def serving(ca, with_client_ca=False, version="tls1.3", source=None):
    """The `tls` block of a listener."""
    tls = {"source": (source or ca.server()).source(), "tls_version": version}
    if with_client_ca:
        tls["client_ca"] = ca.source()
    return tls


def group_of_both(world, node, settings):
    """A moderator of either kind, a member of the other, each with its own settings, talk through the node."""
    kinds = {OURS: world.peer(OURS, "ours", node, settings=settings("ours"))}
    kinds[UPSTREAM] = world.peer(UPSTREAM, "theirs", node, settings=settings("theirs"))
    for moderator, member in (BOTH, BOTH[::-1]):
        alice, bob = kinds[moderator], kinds[member]
        a = alice.open("group", world.name(f"channel-of-{moderator}"))
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
@pytest.mark.parametrize("version", ["tls1.2", "tls1.3"])
def test_a_group_of_both_over_tls(world, own_nodes, ca, node, version):
    node = own_nodes.start(node, tls=serving(ca, version=version))
    group_of_both(world, node, lambda _name: trusting(ca, version=version))


@NODES
def test_a_group_of_both_with_client_certificates(world, own_nodes, ca, node):
    node = own_nodes.start(node, tls=serving(ca, with_client_ca=True))
    group_of_both(world, node, lambda name: trusting(ca, ca.client(name)))


REFUSED = {
    "unknown CA": ({}, lambda ca, other: trusting(other), "signed by no CA that is trusted here"),
    "another CA of the same name": (
        {"other": "ca"},
        lambda ca, other: trusting(other),
        "signed by no CA that is trusted here",
    ),
    "wrong host": (
        {"names": ("node.example",)},
        lambda ca, _: trusting(ca),
        "its certificate is for node.example, not for 127.0.0.1",
    ),
    "expired": ({"validity": EXPIRED}, lambda ca, _: trusting(ca), "its certificate expired"),
    "no client certificate": (
        {"with_client_ca": True},
        lambda ca, _: trusting(ca),
        "it demands a client certificate and none was shown",
    ),
    "client certificate of another CA": (
        {"with_client_ca": True},
        lambda ca, other: trusting(ca, other.client("stranger")),
        "it refused the client certificate",
    ),
    "client certificate of another CA of the same name": (
        {"with_client_ca": True, "other": "ca"},
        lambda ca, other: trusting(ca, other.client("stranger")),
        "it refused the client certificate",
    ),
    "TLS 1.2 where 1.3 is required": (
        {"version": "tls1.2"},
        lambda ca, _: trusting(ca, version="tls1.3"),
        "does not speak tls1.3",
    ),
}


@NODES
@KINDS
@pytest.mark.parametrize("case", REFUSED)
def test_a_refused_link_says_why(world, own_nodes, tmp_path, kind, node, case):
    server, client, reason = REFUSED[case]
    (tmp_path / "other").mkdir()
    ca, other = Ca(tmp_path), Ca(tmp_path / "other", server.get("other", "other"))
    names, validity = server.get("names", ()), server.get("validity")
    pair = ca.server(*names, **({"validity": validity} if validity else {}))
    version = server.get("version", "tls1.3")
    node = own_nodes.start(node, tls=serving(ca, server.get("with_client_ca", False), version, pair))
    settings = client(ca, other) | {"backoff": {"type": "fixed_interval", "interval": "10ms", "max_attempts": 1}}
    with pytest.raises(PeerError) as refused:
        world.peer(kind, "stranger", node, settings=settings)
    if kind == OURS:
        assert reason in str(refused.value)
