"""Results that go to a file are the same on every engine."""

from __future__ import annotations

import gc
import itertools
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nbdist
from nbdist.errors import JobCancelledError, NbdistError

LIMIT_SECONDS = 30


@pytest.mark.parametrize("count", [0, 1, 5_000])
def test_values_go_to_a_file_in_order(pool: nbdist.Pool, tmp_path: Path, count: int) -> None:
    job = pool.map(lambda x: x * x, range(count), to=tmp_path / "a.csv", stats=True)
    result = job.result(LIMIT_SECONDS)
    assert isinstance(result, nbdist.ResultFile)
    assert (len(result), len(job.values), job.outcome) == (count, 0, "done")
    rows = "".join(f"{i},{i},{i * i}\n" for i in range(count))
    assert (tmp_path / "a.csv").read_text() == f"index,item,value\n{rows}"
    stats = json.loads((tmp_path / "a.stats.json").read_text())
    assert (stats["items"], stats["failed"], stats["outcome"]) == (count, 0, "done")
    assert sum(row["items"] for row in stats["machines"].values()) == count
    parts = [stats[f"{doing}_seconds"] for doing in ("running", "sending", "waiting")]
    assert math.isclose(sum(parts), stats["overall_seconds"])
    assert min(parts) >= 0
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.csv", "a.stats.json"]


def test_the_file_that_was_there_stays_until_the_new_one_is_whole(pool: nbdist.Pool, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("old\n")
    job = pool.map(lambda x: x, itertools.count(), to=path)
    while not job.progress.done:
        job.wait(0.05)
    job.cancel("enough")
    with pytest.raises(JobCancelledError, match=r"enough; what it had is in a\.csv\.part"):
        job.result(LIMIT_SECONDS)
    assert path.read_text() == "old\n"
    assert pool.map(lambda x: -x, range(3), to=path).result(LIMIT_SECONDS).rows == 3
    assert path.read_text() == "index,item,value\n0,0,0\n1,1,-1\n2,2,-2\n"
    assert list(tmp_path.iterdir()) == [path]


def test_generators_filters_and_failures(pool: nbdist.Pool, tmp_path: Path) -> None:
    pool.map(lambda x: {"x": x}, iter("abc"), to=tmp_path / "a.csv").result(LIMIT_SECONDS)
    assert (tmp_path / "a.csv").read_text() == "index,x\n0,a\n1,b\n2,c\n"
    even = pool.map(abs, [-3, -2, -1, 0], keep_if=lambda x: x % 2 == 0, to=tmp_path / "b.csv").result(LIMIT_SECONDS)
    assert (tmp_path / "b.csv").read_text() == "index,item,value\n1,-2,2\n3,0,0\n"
    assert even.rows == 2
    job = pool.map(lambda x: 6 // x, range(-1, 2), on_error="keep", to=tmp_path / "c.csv")
    assert job.result(LIMIT_SECONDS).rows == 3
    failed = "1,0,,ZeroDivisionError: integer division or modulo by zero"
    assert (tmp_path / "c.csv").read_text() == f"index,item,value,error\n0,-1,-6,\n{failed}\n2,1,6,\n"
    assert [failure.index for failure in job.failures] == [1]
    assert job.stats["failed"] == 1
    with pytest.raises(ZeroDivisionError):
        pool.map(lambda x: 6 // x, range(-1, 2), to=tmp_path / "d.csv").result(LIMIT_SECONDS)


def test_arrays_and_several_iterables(pool: nbdist.Pool, tmp_path: Path) -> None:
    def work(a: int, b: str) -> Any:
        import numpy as np

        return np.full(3, a + len(b))

    result = pool.map(work, range(100), ["x"] * 100, to=tmp_path / "a.npy").result(LIMIT_SECONDS)
    np.testing.assert_array_equal(result.array(), [[i + 1] * 3 for i in range(100)])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"to": "a.txt"}, "its ending says the format"),
        ({"to": "nowhere/a.csv"}, "there is no folder"),
        ({"to": "a.csv", "reduce": sum}, "reduce and to exclude each other"),
        ({"to": "a.csv", "stop_when": bool}, "stop_when and to exclude each other"),
        ({"stats": True}, "stats=True writes figures beside the file of to="),
    ],
)
def test_what_is_refused_before_anything_runs(
    pool: nbdist.Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        pool.map(abs, range(3), **options)
    assert not list(tmp_path.iterdir())


def test_a_job_that_nobody_holds_is_written_all_the_same(parallel_pool: nbdist.Pool, tmp_path: Path) -> None:
    parallel_pool.map(abs, range(100), to=tmp_path / "a.csv")
    nbdist.client.pool.last_job = None  # type: ignore[attr-defined]
    gc.collect()
    deadline = time.monotonic() + LIMIT_SECONDS
    while not (tmp_path / "a.csv").exists():
        assert time.monotonic() < deadline
        parallel_pool.map(abs, range(10)).result(LIMIT_SECONDS)
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 101


def test_a_result_larger_than_the_rest_of_the_window(parallel_pool: nbdist.Pool, tmp_path: Path) -> None:
    def work(x: int) -> str:
        return "x" * (1_000_000 if x % 12 < 11 else 9_000_000)

    result = parallel_pool.map(work, range(36), to=tmp_path / "a.jsonl", task_size=1).result(LIMIT_SECONDS)
    lines = (tmp_path / "a.jsonl").read_text().splitlines()
    assert [json.loads(line)["index"] for line in lines] == list(range(36))
    assert result.rows == 36


def test_a_resumed_job_writes_all_of_the_file(parallel_pool: nbdist.Pool, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"

    def work(x: int) -> int:
        if x in (5, 70):
            raise ValueError(x)
        return -x

    failed = parallel_pool.map(work, range(100), to=path, on_error="keep", task_size=7)
    assert len(failed.result(LIMIT_SECONDS)) == 100
    job = parallel_pool.map(lambda x: -x, range(100), to=path, resume=failed)
    assert job.result(LIMIT_SECONDS).rows == 100
    assert (job.resumed.items, job.outcome) == (98, "done")
    assert path.read_text() == "index,item,value\n" + "".join(f"{i},{i},{-i}\n" for i in range(100))
    with pytest.raises(NbdistError, match=r"go to a\.csv and not into memory"):
        iter(job)
