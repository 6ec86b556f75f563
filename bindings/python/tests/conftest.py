"""Fixtures."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from support import ROOT, Node

# Certificates and keys are made the same way for the tests with other software.
sys.path.append(str(ROOT / "interop" / "tests"))


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """One node for all tests that only need one."""
    with Node(tmp_path_factory.mktemp("node")) as running:
        yield running


@pytest.fixture
def endpoint(node: Node) -> str:
    return node.endpoint
