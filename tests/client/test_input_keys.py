"""A job that captures a file has another key once that has changed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import nbdist
from nbdist.client.analysis.files import named_in
from nbdist.client.analysis.identity import job_key
from nbdist.execution.task import Task


def test_the_key_follows_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def key() -> str | None:
        data = nbdist.file("data.csv")
        return job_key(Task(lambda i: data), (range(3),))

    Path("data.csv").write_text("old")
    os.utime("data.csv", (1, 1))
    first = key()
    assert first is not None
    assert key() == first
    Path("data.csv").write_text("newer")
    assert key() not in (None, first)


def test_a_job_whose_files_come_home_is_none_whose_files_do_not() -> None:
    task = Task(abs)
    assert job_key(task, (range(3),), files=True) != job_key(task, (range(3),))


def test_files_that_code_names_itself_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b", "c"):
        Path(name).write_text(name)

    class Zip:
        def file(self, name: str) -> str:
            return name

    def file(name: str) -> str:
        return name

    def others(zip_: Zip) -> list[str]:
        return [zip_.file("not here"), file("neither"), "nbdist.file('nor here')"]

    def work(i: int) -> list[object]:
        import nbdist as alias

        return [nbdist.file("a"), [alias.file(f"{i}") for _ in others(Zip())], lambda: nbdist.file("b")]

    def setup() -> object:
        import nbdist as nb

        return nb.file("c")

    assert set(named_in(work, setup)) == {"a", "b", "c"}
    assert named_in(others) == {}
    first = job_key(Task(work), (range(3),))
    Path("b").write_text("changed")
    assert job_key(Task(work), (range(3),)) != first
    Path("b").unlink()
    assert job_key(Task(work), (range(3),)) is None
    with pytest.raises(FileNotFoundError):
        named_in(work)
