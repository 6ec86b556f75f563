"""Fixtures."""

from __future__ import annotations

import collections
import gc
import signal
import sys
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from slim_bindings import _functions as functions
from slim_bindings._service import PyService, _services
from support import ROOT, Node

# Certificates and keys are made the same way for the tests with other software.
sys.path.append(str(ROOT / "interop" / "tests"))


# A run in the background of a shell ignores SIGINT, and so would the programs that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

#: Endpoints to which a test may leave its link.
shared: set[str] = set()


@pytest.fixture(autouse=True)
def nothing_stays(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """All applications of a process share its links and servers: what one test leaves behind changes those after it.

    They also meet each other, so applications go with their test as far as the collector can do it.
    """
    before = weakref.WeakSet(_services)
    links: collections.Counter[str] = collections.Counter()
    endpoints: dict[int, str] = {}
    servers: set[str] = set()
    real = {name: getattr(functions, name) for name in ("connect", "disconnect", "run_server", "stop_server")}

    async def connect(service: PyService, config: dict[str, Any]) -> int:
        link: int = await real["connect"](service, config)
        endpoints[link] = config["endpoint"]
        links[config["endpoint"]] += 1
        return link

    async def disconnect(service: PyService, link: int) -> None:
        await real["disconnect"](service, link)
        links[endpoints[link]] -= 1

    async def run_server(service: PyService, config: dict[str, Any]) -> str:
        address: str = await real["run_server"](service, config)
        servers.add(address)
        return address

    async def stop_server(service: PyService, address: str) -> None:
        await real["stop_server"](service, address)
        servers.discard(address)

    for wrapped in (connect, disconnect, run_server, stop_server):
        monkeypatch.setattr(functions, wrapped.__name__, wrapped)
    yield
    left = {endpoint for endpoint, users in links.items() if users > 0} - shared
    assert not left, f"the test leaves links to {', '.join(left)}: disconnect from them"
    assert not servers, f"the test leaves servers at {', '.join(servers)}: stop them"
    if _services - before:
        # An exception that was caught holds the frames that it passed, and these their applications.
        gc.collect()


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """One node for all tests that only need one. Links to it are shared and stay."""
    with Node(tmp_path_factory.mktemp("node")) as running:
        shared.add(running.endpoint)
        yield running


@pytest.fixture
def endpoint(node: Node) -> str:
    return node.endpoint
