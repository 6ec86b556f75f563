"""Every cell of the matrix, each a test: `life.py` is what is done in it."""

import re
import zlib

import pytest
from cells import CELLS, Cell
from life import Life
from life_041 import TutorialLife
from peers import V041, PeerError


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.id)
def test_cell(world, cell: Cell, record_property):
    """A cell gets through its life, or ends exactly where and as `cells.py` says."""
    # Each cell has a loss of its own, and the same in every run.
    life = (TutorialLife if cell.first == V041 else Life)(world, cell, zlib.crc32(cell.id.encode()))
    done: list[str] = []
    record_property("cell", cell.id)
    record_property("steps", done)
    try:
        for step in life.steps():
            done.append(step)
    except (AssertionError, PeerError) as error:
        known = cell.failure
        if known is None or known.step != done[-1] or not re.search(known.observed, str(error)):
            raise
    else:
        assert cell.failure is None, f"works now, so it is no longer true that {cell.failure.reason}"
