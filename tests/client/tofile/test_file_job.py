"""Results that go to a file: in order whatever comes first, once whatever breaks off, and nothing of it in memory."""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
from collections import namedtuple
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nbdist.client.items import Items, RangeItems, SequenceItems
from nbdist.client.options import make_options
from nbdist.client.tofile import job as jobs
from nbdist.client.tofile import state as states
from nbdist.client.tofile.job import FileJob
from nbdist.client.tofile.opened import ResultFile
from nbdist.client.tofile.target import checked_target, target_for
from nbdist.engines.base import Block, JobSpec, PackedTask
from nbdist.errors import JobCancelledError, JobError, NbdistError
from nbdist.execution.run import Run as FinishedRun
from nbdist.execution.task import Task
from nbdist.packing import pack_part, pack_run
from nbdist.wire.messages import ItemFault, JobFinished, Result

COUNT = 40
Pair = namedtuple("Pair", "left right")


@dataclass
class Point:
    x: int
    y: float


class Killed(BaseException):
    """The process ends here."""


class Script:
    """A run whose events the test delivers."""

    sending_seconds = 0.0

    def __init__(self) -> None:
        self.consumed_seq = 0
        self.cancelled = ""

    def wait(self, timeout: float | None) -> None: ...

    def consumed(self, seq: int) -> None:
        self.consumed_seq = seq

    def add(self, values: Sequence[Any], block: Callable[[], Block]) -> None: ...

    def close_items(self) -> None: ...

    def cancel(self, reason: str) -> None:
        self.cancelled = reason

    def forget(self) -> None: ...


Events = list[tuple[Result, bytes]]


def make(
    path: Path, *, items: Items | None = None, loop_names: tuple[str, ...] = (), job: str = "j", **options: Any
) -> FileJob:
    rules = make_options(reduce=False, filters=False, stop_when=False, **options)
    items = items or RangeItems([range(100, 100 + COUNT)])
    target = checked_target(path)
    assert target is not None
    spec = JobSpec(job, "squares", rules, Task(abs), lambda: PackedTask([]), total=COUNT)
    made = FileJob(spec, items, target, loop_names=loop_names)
    made.inbox.run = Script()
    return made


def events(values: Sequence[Any], cuts: Sequence[int] = (), order: Sequence[int] | None = None) -> Events:
    """Results of these values, cut and in this order. An exception is a failed item; Ellipsis one that is left out."""
    bounds = list(itertools.pairwise([0, *cuts, len(values)]))
    found: Events = []
    for seq, at in enumerate(order or range(len(bounds)), 1):
        start, stop = bounds[at]
        good = {
            i: values[i] for i in range(start, stop) if not isinstance(values[i], Exception) and values[i] is not ...
        }
        failures = [(i, values[i]) for i in range(start, stop) if isinstance(values[i], Exception)]
        kept = None if len(good) == stop - start else list(good)
        run = FinishedRun(start, stop, 1.0, list(good.values()), kept, failures)
        failed = tuple(i for i, _ in failures)
        found.append((Result("j", seq, start, stop, "m", failed=failed), b"".join(pack_part([pack_run(run)]))))
    return found


def play(job: FileJob, what: Events, outcome: Any = "done", total: int | None = COUNT) -> Any:
    for event in what:
        job.inbox.deliver(*event)
    job.inbox.deliver(JobFinished("j", outcome, what[-1][0].seq if what else 0, total), b"")
    return job.result(0)


def text(path: Path, values: Sequence[Any], **options: Any) -> list[str]:
    """The lines of the file of these values."""
    cuts = options.pop("cuts", (7, 20))
    result = play(make(path, **options), events(values, cuts, (2, 0, 1) if len(cuts) == 2 else None), total=len(values))
    assert isinstance(result, ResultFile)
    assert sorted(file.name for file in path.parent.iterdir()) == [path.name]
    return path.read_text().splitlines()


# --- what is in a file ------------------------------------------------------------------------------------------------


def test_csv_has_index_item_and_value_in_order(tmp_path: Path) -> None:
    lines = text(tmp_path / "a.csv", [i * i for i in range(COUNT)])
    assert lines == ["index,item,value", *(f"{i},{100 + i},{i * i}" for i in range(COUNT))]


@pytest.mark.parametrize(
    ("values", "header", "row"),
    [
        ([None] * 30 + [Point(i, 0.5) for i in range(30, COUNT)], "x,y", ","),
        ([{"a": i, "b": None} for i in range(COUNT)], "a,b", "3,"),
        ([{"a": i} if i % 2 else {"a": i, "b": "x,y"} for i in range(COUNT)], "a,b", "3,"),
        ([Pair(i, "ä\n") for i in range(COUNT)], "left,right", '3,"ä'),
        ([(i, i / 2) for i in range(COUNT)], "value_0,value_1", "3,1.5"),
        ([Point(i, float("nan")) for i in range(COUNT)], "x,y", "3,nan"),
        ([None] * 3 + [Point(i, 0.5) for i in range(3, COUNT)], "x,y", "3,0.5"),
        ([np.float32(i) for i in range(COUNT)], "value", "3.0"),
        ([[i, None] for i in range(COUNT)], "value", '"[3, null]"'),
        ([True, *range(1, COUNT)], "value", "3"),
    ],
)
def test_fields_of_values_are_columns(tmp_path: Path, values: list[Any], header: str, row: str) -> None:
    lines = text(tmp_path / "a.csv", values)
    assert lines[0] == f"index,item,{header}"
    assert f"3,103,{row}" in lines


def test_loop_names_and_items_of_a_list(tmp_path: Path) -> None:
    pairs = SequenceItems([[(name, [i]) for i, name in enumerate("x" * COUNT)]], star=False)
    lines = text(tmp_path / "a.csv", list(range(COUNT)), items=pairs, loop_names=("a", "b"))
    assert (lines[0], lines[3]) == ("index,a,b,value", "2,x,[2],2")
    unnamed = text(tmp_path / "a.csv", list(range(COUNT)), items=pairs)
    assert (unnamed[0], unnamed[3]) == ("index,item,value", "2,\"('x', [2])\",2")


def test_failures_that_are_kept_have_a_column_and_items_without_a_value_no_row(tmp_path: Path) -> None:
    values: list[Any] = [ValueError("a, b"), ..., *range(2, COUNT)]
    lines = text(tmp_path / "a.csv", values, on_error="keep")
    assert lines[:3] == ["index,item,value,error", '0,100,,"ValueError: a, b"', "2,102,2,"]
    (tmp_path / "a.csv").unlink()
    lines = text(tmp_path / "a.jsonl", values, on_error="keep")
    assert json.loads(lines[0]) == {"index": 0, "item": 100, "error": "ValueError: a, b"}
    assert json.loads(lines[1]) == {"index": 2, "item": 102, "value": 2}
    assert len(lines) == COUNT - 1


def test_jsonl_keeps_what_values_are_made_of(tmp_path: Path) -> None:
    values = [{"n": i, "of": [None, "ü", np.arange(2)]} if i else Point(1, 0.5) for i in range(COUNT)]
    lines = [json.loads(line) for line in text(tmp_path / "a.jsonl", values, loop_names=("n",))]
    assert lines[0] == {"index": 0, "n": 100, "value": {"x": 1, "y": 0.5}}
    assert lines[9] == {"index": 9, "n": 109, "value": {"n": 9, "of": [None, "ü", [0, 1]]}}
    whole = [json.loads(line) for line in text(tmp_path / "a.jsonl", list(range(COUNT)), loop_names=("n",))]
    assert whole == [{"index": i, "n": 100 + i, "value": i} for i in range(COUNT)]


@pytest.mark.parametrize(
    "values",
    [
        list(range(COUNT)),
        [i if i < 25 else i / 2 for i in range(COUNT)],
        [bool(i) for i in range(10)] + list(range(10, 20)) + [0.5] * 10 + [1j] * 10,
        [np.full((2, 3), i, "f4") for i in range(COUNT)],
        [],
    ],
)
def test_npy_is_what_numpy_makes_of_the_values(tmp_path: Path, values: list[Any]) -> None:
    result = play(make(tmp_path / "a.npy"), events(values, (7, 20), (2, 0, 1)) if values else [], total=len(values))
    array = result.array()
    assert isinstance(array, np.memmap)
    assert array.dtype == np.array(values).dtype
    np.testing.assert_array_equal(array, np.array(values))
    assert len(result) == len(values)


def test_parquet_has_columns_with_types_or_says_what_to_install(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        with pytest.raises(ValueError, match="needs pyarrow here: python -m pip install pyarrow"):
            make(path)
        assert not list(tmp_path.iterdir())
        return
    values = [None, *({"a": i if i < 25 else i / 2, "b": "x"} for i in range(1, COUNT))]
    play(make(path), events(values, (7, 20), (2, 0, 1)))
    table = parquet.read_table(path).to_pydict()
    assert list(table) == ["index", "item", "a", "b"]
    assert table["a"] == [None, *(i if i < 25 else i / 2 for i in range(1, COUNT))]
    assert table["item"] == list(range(100, 100 + COUNT))
    with pytest.raises(JobError, match="item 30, of type 'str', has no place"):
        play(make(path), events([*range(30), "x", *range(31, COUNT)], (7, 20)))


def test_no_values_and_nothing_but_none(tmp_path: Path) -> None:
    assert play(make(tmp_path / "a.csv"), [], total=0).rows == 0
    assert (tmp_path / "a.csv").read_text() == "index,item,value\n"
    assert text(tmp_path / "a.csv", [None] * COUNT)[1] == "0,100,"


def test_the_result_says_what_it_is_and_opens_lazily(tmp_path: Path) -> None:
    result = play(make(tmp_path / "a.csv"), events([i * i for i in range(COUNT)]))
    assert repr(result) == "<ResultFile: 40 rows in a.csv (441 bytes)>"
    assert (result.rows, result.format, result.path) == (COUNT, "csv", tmp_path / "a.csv")
    assert result.frame()["value"].tolist() == result.array().tolist() == [i * i for i in range(COUNT)]
    with result.open() as file, open(result) as other:
        assert file.readline() == other.readline() == "index,item,value\n"


# --- what cannot be ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.xlsx", r"its ending says the format: \.csv, \.jsonl, \.npy or \.parquet"),
        ("none/a.csv", "there is no folder .*none': make it first"),
        ("folder.csv", "is a folder: name a file in it"),
    ],
)
def test_files_that_cannot_be_are_refused_before_anything_runs(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(ValueError, match=message):
        checked_target(tmp_path / name)
    with pytest.raises(TypeError, match=r'such as "values\.csv"'):
        checked_target(7)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("a.csv", {"reduce": True}, "reduce and to exclude each other"),
        ("a.csv", {"stop_when": True}, "stop_when and to exclude each other"),
        ("a.npy", {"on_error": "keep"}, r"no place for failures; use \.csv"),
    ],
)
def test_options_that_make_no_sense_with_a_file(tmp_path: Path, name: str, options: Any, message: str) -> None:
    rules = make_options(**{"reduce": False, "filters": False, "stop_when": False, **options})
    with pytest.raises(ValueError, match=message):
        target_for(rules, tmp_path / name, stats=False, each="")
    with pytest.raises(ValueError, match="stats=True writes figures beside the file"):
        target_for(rules, None, stats=True, each="")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("a.jsonl", {1, 2}, "the value of item 30, of type 'set', is no JSON .*pick .csv"),
        pytest.param("a.jsonl", 10**5000, r"values cannot be written to a\.jsonl: Exceeds the limit", id="digits"),
        pytest.param(
            "a.csv", 10**5000, "the values of items 20 to 39 are no text: Exceeds the limit", id="digits, csv"
        ),
        ("a.jsonl", float("nan"), "the value of item 30, of type 'float', is no JSON"),
        ("a.csv", np.arange(3), "the value of item 30 is of type 'ndarray', .*npy takes arrays"),
        ("a.csv", object(), "the value of item 30 is of type 'object'"),
        ("a.npy", "x", "the value of item 30, of type 'str', is no number"),
        ("a.npy", [1, 2], r"the value of item 30, of type 'list', does not have the shape"),
    ],
)
def test_a_value_that_has_no_place_is_named_and_ends_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: Any, message: str
) -> None:
    monkeypatch.setattr(jobs, "CHECKPOINT_BYTES", 1)
    job = make(tmp_path / name)
    for event in events([*range(30), value, *range(31, COUNT)], (10, 20)):
        job.inbox.deliver(*event)
    assert job.outcome is None
    run: Any = job.inbox.run
    assert "cannot be used" in run.cancelled
    assert run.consumed_seq == 2  # what is behind is still at the hub
    job.inbox.deliver(JobFinished("j", "cancelled", 3, COUNT), b"")
    with pytest.raises(JobError, match=message):
        job.result(0)
    assert [notice.text for notice in job.progress.notices] == [f"the first 20 rows are in {tmp_path / name}.part"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([{"a": 1}] * 30 + [{"b": 1}] * 10, "item 30 has 'b', which the first value of the file does not have"),
        ([(1, 2)] * 30 + [(1, 2, 3)] * 10, "item 30 is of type 'tuple' and does not have the columns"),
    ],
)
def test_values_with_other_fields_than_the_first(tmp_path: Path, values: list[Any], message: str) -> None:
    with pytest.raises(JobError, match=message):
        play(make(tmp_path / "a.csv"), events(values, (7, 20)))
    assert not list(tmp_path.iterdir())  # nothing had been told to be done: all of it is at the hub


def test_two_jobs_do_not_write_one_file_and_a_new_one_takes_the_place_of_one_that_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("mine\n")
    job = make(path)
    with pytest.raises(NbdistError, match="is being written by a job that is not over"):
        make(path, job="other")
    with pytest.raises(JobCancelledError, match=r"what it had is in a\.csv\.part"):
        play(job, events(list(range(10)))[:1], "cancelled")
    assert path.read_text() == "mine\n"
    assert len((tmp_path / "a.csv.part").read_text().splitlines()) == 11
    play(make(path, job="other"), events(list(range(COUNT))))
    assert len(path.read_text().splitlines()) == COUNT + 1
    assert list(tmp_path.iterdir()) == [path]


def test_values_cannot_be_had_from_the_job(tmp_path: Path) -> None:
    job = make(tmp_path / "a.csv")
    for ask in (lambda: iter(job), job.as_completed):
        with pytest.raises(NbdistError, match=r"go to a\.csv and not into memory: job\.result\(\) is that file"):
            ask()


def test_a_failure_is_raised_although_items_before_it_are_missing(tmp_path: Path) -> None:
    values: list[Any] = [*range(20), ValueError("boom"), *range(21, COUNT)]
    with pytest.raises(ValueError, match="boom"):
        play(make(tmp_path / "a.csv"), events(values, (10, 20, 21))[2:3], "failed")
    fault = ItemFault(5, "crashed", "signal 9", "m", 3)
    job = make(tmp_path / "b.csv")
    job.inbox.deliver(Result("j", 1, 5, 6, "m", fault=fault), b"")
    job.inbox.deliver(JobFinished("j", "failed", 1, COUNT), b"")
    with pytest.raises(NbdistError, match="signal 9"):
        job.result(0)


# --- what breaks off --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(60))
def test_a_process_that_dies_anywhere_leaves_what_another_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """The folder as it is at any moment is what a process that was killed leaves: another one goes on from there."""
    rng = random.Random(seed)
    monkeypatch.setattr(jobs, "CHECKPOINT_BYTES", rng.choice([1, 2_000, 10**9]))
    monkeypatch.setattr(states, "COPIED_BYTES", rng.choice([1, 10**9]))
    name = rng.choice(["a.csv", "a.jsonl", "a.npy"])
    first = [None] * rng.choice([0, 15]) if name != "a.npy" else []
    values: list[Any] = [*first, *(i if rng.random() < 0.8 else i / 3 for i in range(len(first), COUNT))]
    if first and rng.random() < 0.5:
        values = [value if value is None else {"a": value, "b": "x"} for value in values]
    cuts = sorted(rng.sample(range(1, COUNT), 12))
    order = rng.sample(range(13), 13)
    what = events(values, cuts, order)
    (tmp_path / "whole").mkdir()
    play(make(tmp_path / "whole" / name), what)
    expected = (tmp_path / "whole" / name).read_bytes()

    folder = tmp_path / "0"
    folder.mkdir()
    for number in range(1, 8):
        job = make(folder / name)
        come = [event for event in what if event[0].seq > job.begins_after]
        for event in come[: rng.randrange(1, 4)]:
            job.inbox.deliver(*event)
            job.progress  # noqa: B018 - it deals with what has come
        assert job.inbox.run.consumed_seq <= facts_seq(job)  # type: ignore[union-attr]
        killed = tmp_path / str(number)
        shutil.copytree(folder, killed)
        job._part.close()
        folder = killed
    job = make(folder / name)
    result = play(job, [event for event in what if event[0].seq > job.begins_after] or what[-1:])
    assert (folder / name).read_bytes() == expected
    assert result.rows == COUNT
    assert [file.name for file in folder.iterdir()] == [name]


def facts_seq(job: FileJob) -> int:
    return int(job._part.facts.get("seq", 0))


@pytest.mark.parametrize("name", ["a.csv", "a.npy"])
@pytest.mark.parametrize("step", ["before", "after"])
def test_death_while_the_file_takes_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, step: str
) -> None:
    values = [i if i < 20 else i / 2 for i in range(COUNT)]
    replace = os.replace

    def die(source: Any, target: Any) -> None:
        if step == "after":
            replace(source, target)
        raise Killed

    (tmp_path / "whole").mkdir()
    play(make(tmp_path / "whole" / name), events(values))
    folder = tmp_path / "0"
    folder.mkdir()
    job = make(folder / name)
    with monkeypatch.context() as patch:
        patch.setattr("nbdist.client.tofile.part.os.replace", die)
        with pytest.raises(Killed):
            play(job, events(values))
    job._part.close()
    again = make(folder / name)
    assert again.begins_after == 1
    again.inbox.deliver(JobFinished("j", "done", 1, COUNT), b"")
    assert again.result(0).rows == COUNT
    assert (folder / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert [file.name for file in folder.iterdir()] == [name]


def test_results_are_consumed_only_once_they_are_on_the_disk(tmp_path: Path) -> None:
    job = make(tmp_path / "a.csv")
    come = events(["x" * 1_000_000] * COUNT, range(1, COUNT))
    run: Any = job.inbox.run
    consumed = []
    for event in come[:10]:
        job.inbox.deliver(*event)
        assert job.progress.done == event[0].seq
        consumed.append(run.consumed_seq)
    assert consumed == [0, 0, 0, 4, 4, 4, 4, 8, 8, 8]
    job._part.close()
    assert make(tmp_path / "a.csv").begins_after == 8


def test_an_interrupt_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = make(tmp_path / "a.csv")
    come = events(list(range(COUNT)), (7, 20))
    job.inbox.deliver(*come[0])
    assert job.progress.done == 7
    append = job._part.append

    def interrupted(data: bytes) -> None:
        append(data[:9])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(job._part, "append", interrupted)
        job.inbox.deliver(*come[1])
        with pytest.raises(KeyboardInterrupt):
            job.progress  # noqa: B018
    play(job, come[2:])
    lines = (tmp_path / "a.csv").read_text().splitlines()
    assert lines[1:] == [f"{i},{100 + i},{i}" for i in range(COUNT)]
