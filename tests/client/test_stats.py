"""Timings of a job, from what its engine reports."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from nbdist.client.activity import Activity
from nbdist.client.progress import Progress
from nbdist.client.stats import Stats
from nbdist.wire.messages import JobProgress, WorkerRow


def report(at: float, *rows: WorkerRow) -> JobProgress:
    return JobProgress("j", at, 10, 0, 0, 0, sum(len(row.running) for row in rows), 0.0, rows)


def stats(activity: Activity, overall: float, **more: Any) -> Stats:
    progress = Progress(done=10, elapsed_seconds=overall, outcome="done")
    given: dict[str, Any] = {"tallies": {}, "sending_seconds": 0.0, **more}
    return Stats.of(job="j", name="n", progress=progress, overall_seconds=99.0, activity=activity, **given)


def times(row: dict[str, Any]) -> tuple[float, float, float]:
    return row["running_seconds"], row["sending_seconds"], row["waiting_seconds"]


def test_what_a_job_and_its_machines_did_when() -> None:
    activity = Activity()
    activity.reported(report(1.0))
    activity.reported(report(3.0, WorkerRow("a", 2, "preparing")))
    activity.reported(report(4.0, WorkerRow("a", 2, "ready", running=(1, 2)), WorkerRow("b", 2, "preparing")))
    activity.reported(report(7.0, WorkerRow("a", 2, "ready", running=(1, 2)), WorkerRow("b", 2, "ready", running=(3,))))
    activity.reported(report(9.0, WorkerRow("a", 2, "ready"), WorkerRow("b", 2, "lost")))
    activity.reported(report(10.0, WorkerRow("a", 2, "ready")))
    activity.finished()
    found = stats(activity, 12.0, tallies={"a": [7, 9.0], "b": [3, 2.0]}, sending_seconds=0.5)
    assert times(found) == (5.0, 1.0, 6.0)
    assert found["overall_seconds"] == found["elapsed_seconds"] == sum(times(found)) == 12.0
    assert times(found["machines"]["a"]) == (5.0, 1.0, 1.0)
    assert times(found["machines"]["b"]) == (2.0, 3.0, 0.0)
    assert (found["busy_seconds"], found["machines"]["a"]["items"], found["outcome"]) == (11.0, 7, "done")


def test_a_job_that_was_over_before_the_first_report() -> None:
    found = stats(Activity(), 1.0, tallies={"a": [10, 0.25]}, sending_seconds=0.5)
    assert times(found) == (0.25, 0.5, 0.25)
    assert times(found["machines"]["a"]) == (0.25, 0.0, 0.0)


def test_saved_as_json_with_finite_numbers(tmp_path: Path) -> None:
    found = stats(Activity(), 1.0, tallies={"ä": [10, 0.25]})
    path = tmp_path / "figures.json"
    path.write_text("older")
    assert found.save(path) == path
    assert json.loads(path.read_text(encoding="utf-8")) == found
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(ValueError, match="JSON"):
        Stats(busy_seconds=math.nan).save(path)


def test_machines_that_were_left_out_are_not_there_unless_they_had_done_something() -> None:
    activity = Activity()
    rows = [WorkerRow(name, 2, "preparing") for name in ("a", "other", "had some")]
    activity.reported(report(1.0, *rows))
    activity.reported(report(2.0, *rows[:1], *(WorkerRow(row.name, 2, "refused") for row in rows[1:])))
    assert stats(activity, 3.0, tallies={"had some": [1, 0.1]})["machines"].keys() == {"a", "had some"}
    activity.reported(report(3.0, WorkerRow("other", 2, "ready")))
    assert "other" in stats(activity, 3.0)["machines"]
