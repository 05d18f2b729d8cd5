"""A real notebook in a real kernel: what is in the file after it was saved."""

from __future__ import annotations

from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

CELLS = [
    "%load_ext nbdist\nimport time\npool = __import__('nbdist').connect('inline')",
    "%%distribute n in range(8) -> squares --plot --name squares\ntime.sleep(0.1)\nprint('at', n)\nn * n",
    "%%distribute n in range(3)\nn",
    "%%distribute n in range(3)\n1 / n",
    "%%distribute n in range(3)\nbreak",
    "squares",
    "%distribute",
]


@pytest.fixture(scope="module")
def saved() -> Any:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    client = NotebookClient(notebook, timeout=60, kernel_name="python3", allow_errors=True, store_widget_state=True)
    return client.execute()


def bundles(cell: Any) -> list[dict[str, Any]]:
    return [output.data for output in cell.outputs if "data" in output]


def streams(cell: Any) -> str:
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")


def errors(cell: Any) -> list[Any]:
    return [output for output in cell.outputs if output.output_type == "error"]


@pytest.mark.real
def test_no_output_needs_a_widget(saved: Any) -> None:
    assert sum(len(bundles(cell)) for cell in saved.cells) == 7
    for cell in saved.cells:
        for bundle in bundles(cell):
            assert "application/vnd.jupyter.widget-view+json" not in bundle
            assert "text/plain" in bundle


@pytest.mark.real
def test_a_job_leaves_its_summary_its_output_and_its_plot(saved: Any) -> None:
    cell = saved.cells[1]
    assert not errors(cell)
    summary, plot = bundles(cell)
    assert "squares" in summary["text/html"]
    assert "8 items in" in summary["text/plain"]
    assert "inline" in summary["text/plain"]
    assert plot["image/png"].startswith("iVBOR")
    assert streams(cell) == "".join(f"at {n}\n" for n in range(8))
    assert bundles(saved.cells[5])[0]["text/plain"].startswith("<Values: 8 items [0, 1, 4")


@pytest.mark.real
def test_a_short_job_leaves_one_line_and_its_result(saved: Any) -> None:
    line, result = bundles(saved.cells[2])
    assert line["text/plain"].count("\n") == 0
    assert "3 items" in result["text/plain"]


@pytest.mark.real
def test_an_error_shows_the_cells_own_line(saved: Any) -> None:
    (error,) = errors(saved.cells[3])
    text = "\n".join(error.traceback)
    assert error.ename == "ZeroDivisionError"
    assert "Cell In[4], line 2" in text
    assert "1 / n" in text
    assert "item 0" in text
    assert "nbdist/" not in text
    (refused,) = errors(saved.cells[4])
    assert refused.ename == "CellError"
    assert "--stop-when" in "\n".join(refused.traceback)


@pytest.mark.real
def test_the_pool_is_a_table(saved: Any) -> None:
    (table,) = bundles(saved.cells[6])
    assert "<table" in table["text/html"]
    assert "inline" in table["text/plain"]
