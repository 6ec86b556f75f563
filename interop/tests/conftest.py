"""Fixtures: one node of each kind for the whole run, fresh applications for each test, logs when a test fails."""

import itertools
import re

import pytest
from peers import OURS, SECRET, UPSTREAM, V220, OurNode, Peer, Program, UpstreamNode

# What the published package writes at WARN or ERROR although nothing is wrong, with the reason.
HARMLESS = [
    # A participant whose session was ended by the moderator; the same between two of upstream.
    r"requested to delete unknown session",
    # Some tests of credentials do without TLS.
    r"Auth is enabled without TLS",
]

numbers = itertools.count(1)


@pytest.fixture(scope="session")
def nodes(tmp_path_factory):
    running = {}

    def node(kind: str):
        if kind not in running:
            folder = tmp_path_factory.mktemp("node")
            running[kind] = OurNode(folder) if kind == OURS else UpstreamNode(folder)
        return running[kind]

    yield node
    for process in running.values():
        process.stop()


class World:
    """The applications of one test. Names are the test's own, so tests can share a node."""

    def __init__(self, nodes) -> None:
        self.number = next(numbers)
        self.nodes = nodes
        self.peers: list[Peer | Program] = []
        self.used_nodes = []

    def node(self, kind: str):
        node = self.nodes(kind)
        if node not in self.used_nodes:
            self.used_nodes.append(node)
        return node

    def name(self, last: str) -> str:
        return f"org/test-{self.number}/{last}"

    def peer(
        self,
        kind: str,
        last: str,
        node,
        binding: str = "warn",
        secret: str = SECRET,
        settings: dict | None = None,
        environment: dict[str, str] | None = None,
        **identity: object,
    ) -> Peer:
        peer = Peer(kind, self.name(last), {"SLIM_IDENTITY_BINDING": binding, **(environment or {})})
        self.peers.append(peer)
        return peer.start(node.endpoint, secret, settings, **identity)

    def unconnected(self, kind: str, last: str) -> Peer:
        """An application that has not tried to connect yet."""
        peer = Peer(kind, self.name(last))
        self.peers.append(peer)
        return peer.start(None)

    def program(self, script: str, *arguments: str) -> Program:
        """An example application of the published package."""
        program = Program(script, *arguments)
        self.peers.append(program)
        return program

    def report(self) -> str:
        return "\n".join(process.report() for process in [*self.peers, *self.used_nodes])

    def complaints(self) -> list[str]:
        """Lines of the published package's logs that say something is wrong."""
        return [
            f"{peer.title}: {line}"
            for peer in self.peers
            if isinstance(peer, Peer) and peer.kind == UPSTREAM
            for line in peer.log
            if re.search(r"\b(WARN|ERROR|panicked)\b", line)
            and not any(re.search(known, line) for known in HARMLESS)
            and not self.is_about_unsigned_payloads(line)
        ]

    def is_about_unsigned_payloads(self, line: str) -> bool:
        """2.2.0 does not sign the payloads of its commands; from anybody else that is worth a complaint."""
        sources = [peer.name for peer in self.peers if isinstance(peer, Peer) and peer.kind == V220]
        return "whose payload isn't signed" in line and any(source in line for source in sources)


class NodesOfOneTest:
    """Nodes with settings of their own, of either kind."""

    def __init__(self, world: World, folder) -> None:
        self.world, self.folder = world, folder
        self.nodes: list[OurNode | UpstreamNode] = []

    def start(self, kind: str, **settings: object) -> OurNode | UpstreamNode:
        node = (OurNode if kind == OURS else UpstreamNode)(self.folder, **settings)
        self.nodes.append(node)
        self.world.used_nodes.append(node)
        return node


@pytest.fixture
def own_nodes(world, tmp_path):
    nodes = NodesOfOneTest(world, tmp_path)
    yield nodes
    for node in nodes.nodes:
        node.stop()


@pytest.fixture
def world(nodes, request):
    world = World(nodes)
    request.node.world = world
    yield world
    for peer in world.peers:
        peer.stop()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    world = getattr(item, "world", None)
    if report.failed and world:
        report.sections.append(("processes", world.report()))
