"""What the client makes of an earlier job's results: each value once, failures not at all, the count told."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbdist.client.items import RangeItems, StreamItems
from nbdist.client.job import Job
from nbdist.client.options import Reduction, make_options
from nbdist.client.progress import ProgressTracker
from nbdist.client.resuming import Resumed, code_of, continuing, story, without
from nbdist.engines.base import Buffer, Earlier, JobSpec, PackedTask
from nbdist.errors import JobError, NbdistError, PackingError
from nbdist.execution.run import Run as FinishedRun
from nbdist.execution.task import Task
from nbdist.packing import pack_part, pack_run
from nbdist.wire.messages import ItemFault, JobFinished, JobProgress, Result

COUNT = 10


def spec(
    job: str = "new", *, reduce: Any = None, total: int | None = COUNT, code: str = "new-", **options: Any
) -> JobSpec:
    rules = make_options(reduce=reduce is not None, filters=False, stop_when=options.pop("stop_when", False), **options)
    return JobSpec(job, "squares", rules, Task(abs), lambda: PackedTask([]), total=total, code=code)


def earlier(
    *results: tuple[Result, Buffer], codes: tuple[str, ...] = ("old-",), outcome: str = "failed", **more: Any
) -> Earlier:
    def read(_: object) -> Iterator[tuple[Result, Buffer]]:
        yield from results

    return Earlier(spec("old", **more), 0, outcome, 3, codes, read)


def result(*runs: FinishedRun, failed: tuple[int, ...] = ()) -> tuple[Result, bytes]:
    found = failed or tuple(index for run in runs for index, _ in run.failures)
    payload = b"".join(pack_part([pack_run(run) for run in runs]))
    return Result("old", 1, runs[0].start, runs[-1].stop, "m", failed=found), payload


def squares(start: int, stop: int, *bad: int, fold: bool = False) -> FinishedRun:
    kept = [i for i in range(start, stop) if i not in bad]
    values = [i * i for i in kept]
    failures: list[tuple[int, BaseException]] = [(i, ValueError(i)) for i in bad]
    if fold:
        return FinishedRun(start, stop, 1.0, [sum(values)], None, failures)
    return FinishedRun(start, stop, 1.0, values, kept if bad else None, failures)


def job_with(found: Earlier, **options: Any) -> Job:
    job = Job(spec(**options), RangeItems([range(100, 100 + COUNT)]), Reduction.of(options.get("reduce")))
    job.take_over(found, "new-")
    return job


def finish(job: Job, *missing: FinishedRun, outcome: Any = "done") -> Job:
    for seq, run in enumerate(missing, 1):
        message, payload = result(run)
        job.inbox.deliver(Result("new", seq, message.start, message.stop, "n", failed=message.failed), payload)
    job.inbox.deliver(JobFinished("new", outcome, len(missing), COUNT), b"")
    return job


def test_values_but_for_failures_are_there_before_anything_runs() -> None:
    fault = (Result("old", 2, 9, 10, "m", fault=ItemFault(9, "crashed", "", "m", 3)), b"")
    job = job_with(earlier(result(squares(0, 4, 2), squares(4, 6)), fault), on_error="keep")
    assert job.resumed == Resumed("old", 5, is_older_code=True)
    assert job.values == [0, 1]
    assert (job.progress.done, job.progress.taken, job.failures) == (5, 5, [])
    finish(job, squares(6, 10, 8), squares(2, 3))
    values = job.result(0)
    assert values[:8] == [0, 1, 4, 9, 16, 25, 36, 49]
    assert [failure.index for failure in job.failures] == [8]
    assert sorted(index for index, _ in job.as_completed()) == list(range(COUNT))
    assert values.dict()[103] == 9
    machines = job.stats["machines"]
    assert [(name, row["items"], row["busy_seconds"]) for name, row in machines.items()] == [("n", 5, 2.0)]
    assert [notice.text for notice in job.progress.notices] == [
        "5 of 10 values are new; 5 came from job old and the older code"
    ]


def test_a_fold_with_a_failure_inside_is_not_taken() -> None:
    job = job_with(
        earlier(result(squares(0, 4, 1, fold=True)), result(squares(4, 7, fold=True))), reduce=sum, on_error="keep"
    )
    assert job.resumed is not None
    assert job.resumed.items == 3
    finish(job, squares(0, 4, fold=True), squares(7, 10, fold=True))
    assert job.result(0) == sum(i * i for i in range(COUNT))
    assert "7 of 10 items are new; 3 came from job old" in job.progress.notices[0].text


@given(st.integers(0, 2**32))
def test_any_cuts_and_failures_give_each_value_once(seed: int) -> None:
    rng = random.Random(seed)
    cuts = sorted({0, COUNT, *(rng.randrange(COUNT) for _ in range(rng.randint(0, 4)))})
    bad = {item for item in range(COUNT) if rng.random() < 0.3}
    dropped = {item for item in range(COUNT) if rng.random() < 0.2}  # by keep_if
    runs = []
    for start, stop in pairwise(cuts):
        kept = [i for i in range(start, stop) if i not in bad | dropped]
        failures: list[tuple[int, BaseException]] = [(i, ValueError(i)) for i in range(start, stop) if i in bad]
        runs.append(FinishedRun(start, stop, 1.0, [i * i for i in kept], kept, failures))
    some = [result(run) for run in runs if rng.random() < 0.8]
    there = {i for message, _ in some for i in range(message.start, message.stop)} - bad
    job = job_with(earlier(*some), on_error="keep")
    assert job.resumed is not None
    assert job.resumed.items == len(there)
    finish(job, *(FinishedRun(i, i + 1, 1.0, [i * i]) for i in range(COUNT) if i not in there))
    assert job.result(0) == [i * i for i in range(COUNT) if i not in there & dropped]
    assert list(job.result(0).indices()) == [i for i in range(COUNT) if i not in there & dropped]


def test_what_the_hub_has_lost_since_is_told_instead_of_a_list_with_gaps() -> None:
    job = finish(job_with(earlier(result(squares(0, 4)))), squares(6, 10))
    with pytest.raises(JobError, match="the results of 2 items are no longer at the hub, from job old: run it anew"):
        job.result(0)


def test_results_that_cannot_be_unpacked_end_the_job() -> None:
    message, payload = result(squares(0, 4))
    job = finish(job_with(earlier((message, payload[:20]))), squares(4, 10))
    with pytest.raises(PackingError, match="the results of items 0 to 3"):
        job.result(0)


def test_one_that_ends_early_too_says_what_it_has() -> None:
    job = finish(job_with(earlier(result(squares(0, 4)), codes=("new-",))), squares(4, 5), outcome="cancelled")
    assert job.values == [0, 1, 4, 9, 16]
    assert [notice.text for notice in job.progress.notices] == ["1 of 5 values is new; 4 came from job old"]


def test_the_earlier_seed_is_taken_unless_one_is_given() -> None:
    found = earlier(seed=7)
    assert continuing(spec(), found, has_seed=False).options.seed == 7
    assert continuing(spec(), found, has_seed=False).options.seeded
    assert continuing(spec(seed=8), found, has_seed=True).options.seed == 8
    assert continuing(spec(), found, has_seed=False).resumes == "old"


@pytest.mark.parametrize(
    ("new", "old", "reason"),
    [
        ({}, {"outcome": ""}, "job old still runs: `%distribute attach old`"),
        ({}, {"outcome": "stopping"}, "job old still runs"),
        ({}, {"outcome": "stopped"}, "has found the value that met its stop_when"),
        ({"total": 11}, {}, "job old had 10 items, this one has 11"),
        ({"reduce": max}, {}, "this one has reduce and job old has not"),
        ({}, {"stop_when": True}, "job old has stop_when and this one has not"),
        (
            {"reduce": max, "code": "x-max"},
            {"reduce": sum, "codes": ("x-sum",)},
            "folded with sum, this one is with max",
        ),
    ],
)
def test_what_does_not_go_together_is_refused_before_anything_is_sent(new: Any, old: Any, reason: str) -> None:
    with pytest.raises(NbdistError, match=reason):
        continuing(spec(**new), earlier(**old), has_seed=False)


def test_speed_and_estimate_are_of_new_items_alone() -> None:
    tracker = ProgressTracker(1_000)
    tracker.taken_over(800)
    for second in range(1, 11):
        tracker.reported(JobProgress("j", second, 1_000, 800 + 10 * second, 0, 0, 2, 10.0))
    assert tracker.now.eta_seconds == pytest.approx(10.0)
    tracker.finished(JobFinished("j", "done", 1, 1_000), 20.0)
    assert (tracker.now.done, tracker.now.taken, tracker.now.items_per_second) == (1_000, 800, 10.0)


def test_the_story() -> None:
    old = Resumed("3f2a", 983, is_older_code=True)
    assert story(1_000, old, "values") == "17 of 1,000 values are new; 983 came from job 3f2a and the older code"


def test_ranges_less_others() -> None:
    assert without(2, 9, [(0, 3), (5, 6), (8, 20)]) == [(3, 5), (6, 8)]
    assert without(2, 4, [(2, 4)]) == []


def helper(x: int) -> int:
    return x + 1


def test_code_is_known_by_what_it_does_not_by_where_it_stands() -> None:
    def made(text: str, name: str = "f") -> Any:
        scope: dict[str, Any] = {"__name__": "__main__"}
        exec(compile(text, "<cell>", "exec"), scope)
        return Task(scope[name])

    one = "def g(x):\n    return x in {'a', 'b', 'c'}\ndef f(x):\n    return g(x)\n"
    assert code_of(made(one)) == code_of(made("\n\n# moved\n" + one))
    assert code_of(made(one)) != code_of(made(one.replace("'a'", "'z'"))), "a function that it calls"
    assert code_of(made("k = 1\n" + one)) == code_of(made("k = 2\n" + one))
    assert code_of(Task(helper, reduce=sum)).endswith("-sum")
    assert code_of(Task(helper, reduce=lambda a, b: a)).endswith("-a function")
    assert code_of(Task(helper)) != code_of(Task(abs)) != code_of(Task(len))


def test_items_of_a_generator_that_are_done_already_are_not_remembered() -> None:
    items = StreamItems([iter(range(10))], star=False, total=None)
    items.finished(6)
    assert list(items.read()) == list(range(10))
    assert items.at(6) == 6
    with pytest.raises(LookupError):
        items.at(5)
