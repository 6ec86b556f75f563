"""The page of the matrix: several runs become one file of results, and that becomes the tables of docs/interop.md.

    python interop/tests/matrix/report.py show RUN...    prints the table of these runs
    python interop/tests/matrix/report.py write RUN...   writes interop/results.json and the page as well

Runs are files that `conftest.py` writes. What stands on the page outside of the markers is written by hand.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # when run as a program

from cells import CELLS, COLUMNS, GROUP, Cell  # noqa: E402
from peers import OURS, ROOT, V041  # noqa: E402

RESULTS = ROOT / "interop/results.json"
PAGE = ROOT / "docs/interop.md"
BEGIN = "<!-- matrix: begin (cargo xtask interop) -->"
END = "<!-- matrix: end -->"


def merge(runs: list[dict]) -> dict:
    """What became of each cell in all of these runs."""
    cells = {}
    for cell in CELLS:
        seen = [run["cells"][cell.id] for run in runs if cell.id in run["cells"]]
        errors = [outcome["error"] for outcome in seen if outcome["error"]]
        if seen:
            last = next((outcome for outcome in seen if outcome["error"]), seen[-1])
            cells[cell.id] = {
                "runs": len(seen),
                "failed": len(errors),
                "steps": last["steps"],
                "error": errors[0] if errors else None,
            }
    return {
        "command": runs[-1]["called"],
        "runs": [{"started": run["started"], "seconds": run["seconds"]} for run in runs],
        "packages": runs[-1]["packages"],
        "cells": cells,
    }


def page(results: dict, text: str) -> str:
    """The page with the tables of these results between its markers."""
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{tables(results)}\n{END}{after}"


def tables(results: dict) -> str:
    runs = results["runs"]
    packages = "slim-bindings " + ", ".join(results["packages"])
    started = ", ".join(f"{run['started']} ({run['seconds']} s)" for run in runs)
    cells = results["cells"].values()
    done = sum(cell["failed"] == 0 for cell in cells)
    lines = [
        f"`{results['command']}`, begun at {started}, with {packages}: {done} of {len(cells)} cells as the tables say, "
        "in every run.",
        "",
    ]
    for kind, title, first in [(GROUP, "Groups", "moderator"), ("point_to_point", "Pairs", "initiator")]:
        rows = rows_of(kind)
        lines += [
            f"### {title}",
            "",
            f"| {first} | {'members' if kind == GROUP else 'peer'} | node | {' | '.join(COLUMNS)} |",
            "|---|---|---|" + "---|" * len(COLUMNS),
        ]
        lines += [table_line(row, results) for row in rows]
        lines += [""]
        lines += reasons(rows)
    return "\n".join(lines)


def rows_of(kind: str) -> list[list[Cell]]:
    rows: dict[str, list[Cell]] = {}
    for cell in CELLS:
        if cell.kind == kind:
            rows.setdefault(cell.row, []).append(cell)
    return list(rows.values())


def table_line(row: list[Cell], results: dict) -> str:
    cell = row[0]
    notes = []
    if cell.binding != "warn":
        notes.append(f"`SLIM_IDENTITY_BINDING={cell.binding}` at 3.3.8")
    if cell.loses == "all":
        notes.append("all kinds lost")
    if cell.first == V041:
        notes.append("its own steps")
    by_column = {cell.column: mark(cell, results["cells"].get(cell.id)) for cell in row}
    marks = " | ".join(by_column.get(column, "") for column in COLUMNS)
    others = members(cell.others) + (f" ({', '.join(notes)})" if notes else "")
    return f"| {cell.first} | {others} | {cell.node} | {marks} |"


def members(kinds: tuple[str, ...]) -> str:
    counted = {kind: kinds.count(kind) for kind in kinds}
    if len(kinds) == 1:
        return kinds[0]
    return ", ".join(f"{count} {'of ' * (kind != OURS)}{kind}" for kind, count in counted.items())


def mark(cell: Cell, outcome: dict | None) -> str:
    if outcome is None:
        return "not run"
    runs, failed = outcome["runs"], outcome["failed"]
    if failed:
        return f"**failed** {failed} of {runs}: {outcome['steps'][-1] if outcome['steps'] else 'before it began'}"
    if cell.failure:
        return f"no: {cell.failure.step}"
    return f"yes ({runs}×)"


def reasons(rows: list[list[Cell]]) -> list[str]:
    """What does not work and why, once for each reason."""
    found: dict[tuple[str, str], list[str]] = {}
    for cell in (cell for row in rows for cell in row if cell.failure):
        where = f"{cell.first} with {members(cell.others)} ({cell.column}, node {cell.node})"
        found.setdefault((cell.failure.step, cell.failure.reason), []).append(where)
    lines = [f"- *{step}* — {'; '.join(where)}: {reason}" for (step, reason), where in found.items()]
    return [*lines, ""] if lines else []


def main(command: str, *paths: str) -> None:
    results = merge([json.loads(Path(path).read_text()) for path in paths])
    if command == "write":
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
        PAGE.write_text(page(results, PAGE.read_text()))
    print(tables(results))
    for name, outcome in results["cells"].items():
        if outcome["failed"]:
            print(f"{name}: {' > '.join(outcome['steps'])}: {outcome['error']}")


if __name__ == "__main__":
    main(*sys.argv[1:])
