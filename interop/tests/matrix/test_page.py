"""docs/interop.md says what the last run of the whole matrix found, of the cells that there are."""

import json

from cells import CELLS
from report import PAGE, RESULTS, page


def test_every_cell_has_a_result_and_no_result_lacks_its_cell():
    results = json.loads(RESULTS.read_text())
    assert set(results["cells"]) == {cell.id for cell in CELLS}, "run `cargo xtask interop --all`"


def test_the_page_is_what_the_results_say():
    results = json.loads(RESULTS.read_text())
    text = PAGE.read_text()
    assert page(results, text) == text, "written by hand between the markers, or run `cargo xtask interop --all`"


def test_cells_have_names_of_their_own_and_every_row_a_sample():
    assert len({cell.id for cell in CELLS}) == len(CELLS)
    sampled = {cell.row for cell in CELLS if cell.sample}
    assert sampled == {cell.row for cell in CELLS}
