"""A file that is beside the notebook, but not where an item looked for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nbdist.client.failures import from_failure
from nbdist.client.hints import missing_file
from nbdist.packing import Failure
from nbdist.packing.failures import pack_failure


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_text("1")
    return tmp_path


def not_found(path: Any) -> FileNotFoundError:
    return FileNotFoundError(2, "No such file or directory", path)


def test_a_file_beside_the_notebook_is_suggested(folder: Path) -> None:
    told = missing_file(not_found("data/a.csv"), "lab-2")
    assert told.startswith("data/a.csv is beside the notebook but not on lab-2: use nbdist.file('data/a.csv')")
    assert missing_file(not_found(b"data/a.csv"), "lab-2") == told
    whole = str(folder / "data" / "a.csv")
    assert missing_file(not_found(whole), "lab-2").startswith(f"{whole} is on the notebook's machine but not on lab-2")
    assert "for each of its files" in missing_file(not_found("data"), "lab-2")


@pytest.mark.parametrize(
    "error",
    [not_found("b.csv"), not_found(""), not_found(7), not_found("a\0b"), FileNotFoundError("data"), ValueError("data")],
    ids=repr,
)
def test_nothing_else_is(error: Exception) -> None:
    assert missing_file(error, "lab-2") == ""


def test_it_is_a_note_of_the_exception_that_is_shown() -> None:
    failure = from_failure(Failure(*pack_failure(3, not_found("data/a.csv"))), 3, "lab-2")
    assert any("nbdist.file('data/a.csv')" in note for note in failure.error.__notes__)
