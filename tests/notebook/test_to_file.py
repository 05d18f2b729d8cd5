"""`--to FILE` and `--stats` under a cell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nbdist.errors import CellError


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_cells_value_is_the_file(notebook: Any, tmp_path: Path) -> None:
    notebook.run("%%distribute a in range(2) for b in [5, 6] --to ab.csv --stats -> products\na * b")
    assert repr(notebook["products"]) == "<ResultFile: 4 rows in ab.csv (48 bytes)>"
    assert (tmp_path / "ab.csv").read_text() == "index,a,b,value\n0,0,5,0\n1,0,6,0\n2,1,5,5\n3,1,6,6\n"
    assert json.loads((tmp_path / "ab.stats.json").read_text())["items"] == 4
    notebook.run("%%distribute a in (n for n in range(2)) --to a.csv\na")  # nobody knows how many there are
    assert (tmp_path / "a.csv").read_text() == "index,value\n0,0\n1,1\n"
    assert notebook.run("products.frame()['b'].sum()") == 22
    shown = notebook.run("%%distribute n in range(3) --to 'my values.jsonl'\n{'n': n}")
    assert (shown.rows, shown.path) == (3, tmp_path / "my values.jsonl")


def test_of_an_expression_and_in_the_background(notebook: Any) -> None:
    for text in ("[n for n in range(3)]", "{n for n in range(3)}", "(n for n in range(3))", "{n: n for n in range(3)}"):
        assert notebook.run(f"rows = %distribute {text} --to a.csv", "rows").rows == 3
    notebook.run("%%distribute n in range(3) --to a.npy --background -> job\nn")
    assert notebook["job"].result(30).array().tolist() == [0, 1, 2]


def test_a_rehearsal_writes_no_file(notebook: Any, tmp_path: Path) -> None:
    notebook.run("%%distribute n in range(3) --to a.csv --stats --try 2\nn")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ("n in range(3) --to a.txt", r"--to='a.txt': its ending says the format: \.csv, \.jsonl, \.npy or \.parquet"),
        ("n in range(3) --to no/a.csv", "there is no folder"),
        ("n in range(3) --stats", "--stats goes with --to"),
        ("n in range(3) --to", "--to needs FILE"),
        ("n in range(3) --to a.csv --reduce sum", "--reduce and --to do not go together"),
        ("n in range(3) --to a.csv --stop-when _", "--stop-when and --to do not go together"),
        ("n in range(3) --to a.csv --plot", "--plot and --to do not go together"),
        ("--to a.csv", "--to needs items, and there is no head"),
    ],
)
def test_what_is_refused(notebook: Any, tmp_path: Path, head: str, message: str) -> None:
    notebook.run("n = 1")
    error = notebook.fail(f"%%distribute {head}\nn")
    assert isinstance(error, CellError)
    with pytest.raises(CellError, match=message):
        raise error
    assert not list(tmp_path.iterdir())


def test_a_value_that_has_no_place_ends_the_cell_with_one_message(notebook: Any) -> None:
    error = notebook.fail("%%distribute n in range(5) --to a.jsonl\n{n} if n == 3 else n")
    assert "the value of item 3, of type 'set', is no JSON" in str(error)
    assert notebook.run("%%distribute n in range(5) --to a.jsonl\nn").rows == 5
