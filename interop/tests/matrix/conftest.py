"""Which cells run, and a file with what became of them.

Without an option only the samples run, one cell of every row: that is continuous integration. `cargo xtask interop`
gives the options; they exist only when this folder is named on the command line.
"""

import datetime
import json
import subprocess
import time
from pathlib import Path

import pytest
from cells import CELLS
from peers import EARLIER_PYTHON, UPSTREAM_PYTHON

BY_ID = {cell.id: cell for cell in CELLS}


def pytest_addoption(parser):
    group = parser.getgroup("matrix")
    group.addoption("--every-cell", action="store_true", help="run all cells, not one of every row")
    group.addoption("--row", action="append", help="run the cells whose row has this text in it")
    group.addoption("--called", default="pytest interop/tests/matrix --every-cell", help="the command, for the page")
    group.addoption("--outcomes", type=Path, help="write what became of the cells to this file")


def pytest_configure(config):
    # Workers of a parallel run report to the process that started them, which alone writes.
    if config.getoption("outcomes", None) and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Outcomes(config.getoption("outcomes"), config.getoption("called")), "outcomes")


def pytest_collection_modifyitems(config, items):
    rows, every = config.getoption("row", None), config.getoption("every_cell", False)

    def is_wanted(item) -> bool:
        cell = item.callspec.params.get("cell") if hasattr(item, "callspec") else None
        if cell is None:
            return not rows
        return any(row in cell.row for row in rows) if rows else every or cell.sample

    # Items of other folders come by as well.
    ours = [item for item in items if Path(__file__).parent in item.path.parents]
    dropped = [item for item in ours if not is_wanted(item)]
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = [item for item in items if item not in dropped]


def versions() -> set[str]:
    """What the environments of the peers really hold."""
    ask = "import importlib.metadata as m; print(m.version('slim-bindings'))"
    pythons = [python for python in [UPSTREAM_PYTHON, *EARLIER_PYTHON.values()] if Path(python).exists()]
    return {subprocess.run([p, "-c", ask], capture_output=True, text=True).stdout.strip() for p in pythons}


class Outcomes:
    """What became of each cell of one run."""

    def __init__(self, path: Path, called: str) -> None:
        self.path, self.called = path, called
        self.started = datetime.datetime.now(datetime.timezone.utc)
        self.clock = time.monotonic()
        self.cells: dict[str, dict] = {}

    def pytest_runtest_logreport(self, report) -> None:
        properties = dict(report.user_properties)
        if "cell" not in properties:
            return
        cell = self.cells.setdefault(properties["cell"], {"steps": [], "seconds": 0.0, "error": None})
        cell["seconds"] = round(cell["seconds"] + report.duration, 1)
        if report.when == "call":
            cell["steps"] = properties["steps"]
        if report.failed:
            # The assertion, without the source around it.
            cell["error"] = getattr(report.longrepr, "reprcrash", report.longrepr).message[:300]

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        run = {
            "called": self.called,
            "started": self.started.strftime("%Y-%m-%d %H:%M UTC"),
            "seconds": round(time.monotonic() - self.clock),
            "packages": sorted(versions()),
            "cells": self.cells,
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(run, indent=1) + "\n")
