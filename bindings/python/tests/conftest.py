"""Fixtures."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support import Node


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """One node for all tests that only need one."""
    with Node(tmp_path_factory.mktemp("node")) as running:
        yield running


@pytest.fixture
def endpoint(node: Node) -> str:
    return node.endpoint
