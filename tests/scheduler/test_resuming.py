"""What a job takes over from the one that it resumes, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from nbdist.scheduler import resuming
from nbdist.scheduler.intervals import Intervals
from nbdist.scheduler.kept import Kept
from nbdist.scheduler.machine import Scheduler
from nbdist.scheduler.orders import (
    STORES,
    BlobsReady,
    DropItems,
    ItemsClosed,
    ItemsTaken,
    JobEnded,
    JobTaken,
    ReleaseJob,
    ResultsDropped,
    Resumption,
)
from nbdist.scheduler.policy import Policy
from nbdist.wire import messages as m

HOST = m.Machine("host", "linux", "x86_64", "3.11.7", "cpython", "0.1.0", cores=2)
KEEP = {"on_error": "keep"}


def old_job(hand: Any, total: int = 10, *, failed: tuple[int, ...] = (), stop: int = 6, **options: Any) -> None:
    """A job that was cancelled when its items up to `stop` had one result, in which some failed."""
    hand.job("old", total, options={"task_size": total, **KEEP, **options})
    hand.ready(job="old")
    run = hand.one(m.RunSlice, "w")
    hand.part("w", run, stop=stop, failed=failed, final=False)
    cancel(hand, run)


def cancel(hand: Any, *runs: m.RunSlice) -> None:
    hand.say("notebook", m.CancelJob(runs[0].job, "user"))
    for run in runs:
        hand.say("w", m.SliceEnded(run.attempt))
    assert hand.one(m.JobFinished).outcome == "cancelled"


def resume(hand: Any, job: str = "new", total: int = 10, **fields: Any) -> None:
    options = m.JobOptions(**{**KEEP, **fields.pop("options", {})})
    ranges = fields.pop("ranges", ((0, total, 1),))
    known = {"lost": fields.pop("lost", ()), "problem": fields.pop("problem", "")}
    spec = m.SubmitJob(job, job, HOST, options, ranges=ranges, resumes=fields.pop("resumes", "old"), **fields)
    hand.say("notebook", Resumption(spec, **known))
    hand.say(STORES, BlobsReady(job))


def items_run(hand: Any) -> list[int]:
    """Runs everything that is pending; gives the items."""
    items: list[int] = []
    while runs := hand.take(m.RunSlice, "w"):
        for run in runs:
            items += range(run.start, run.stop)
            hand.part("w", run)
    return items


@pytest.mark.parametrize(
    ("options", "failed", "lost", "expected"),
    [
        ({}, (), (), [6, 7, 8, 9]),
        ({}, (1, 4), (), [1, 4, 6, 7, 8, 9]),
        ({"reduce": True}, (1,), (), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ({"reduce": True}, (), (), [6, 7, 8, 9]),
        ({}, (4,), ((0, 3),), [0, 1, 2, 4, 6, 7, 8, 9]),
        ({"task_size": 4}, (1,), (), [1, 6, 7, 8, 9]),
    ],
)
def test_only_what_is_missing_runs(
    hand: Any, options: dict[str, Any], failed: tuple[int, ...], lost: Any, expected: list[int]
) -> None:
    hand.worker()
    old_job(hand, failed=failed, **{name: value for name, value in options.items() if name != "task_size"})
    hand.take(m.Result)
    resume(hand, lost=lost, options=options)
    hand.ready(job="new")
    progress = hand.scheduler.describe(hand.now)["jobs"][0]
    assert (progress["done"], progress["left"]) == (10 - len(expected), len(expected))
    assert sorted(items_run(hand)) == expected
    finished = hand.one(m.JobFinished)
    assert (finished.job, finished.outcome, finished.total) == ("new", "done", 10)
    assert sum(result.stop - result.start for result in hand.take(m.Result)) == len(expected)


def test_a_fault_is_run_again_and_a_failure_of_the_new_job_too(hand: Any) -> None:
    hand.worker()
    hand.job("old", 3, options=KEEP)
    hand.ready(job="old")
    for _ in range(3):
        for run in hand.take(m.RunSlice, "w"):
            hand.say("w", m.SlotCrashed(run.attempt, run.start, "signal 11"))
    items_run(hand)
    assert hand.one(m.JobFinished).outcome == "done"
    resume(hand, total=3)
    hand.ready(job="new")
    (run,) = hand.take(m.RunSlice, "w")
    assert (run.start, run.stop) == (0, 1)
    hand.part("w", run, failed=(0,))
    assert hand.one(m.JobFinished).job == "new"
    resume(hand, "newer", total=3, resumes="new")
    hand.ready(job="newer")
    assert items_run(hand) == [0]


def test_blocks_whose_items_are_all_done_are_dropped_at_once_and_make_room(hand: Any) -> None:
    hand.worker()
    hand.job("old", None, options={"task_size": 6, **KEEP})
    hand.say("notebook", m.AddItems("old", 0, 6), 100)
    hand.ready(job="old")
    run = hand.one(m.RunSlice, "w")
    hand.part("w", run, failed=(5,))
    hand.say("notebook", m.CancelJob("old", "user"))
    hand.take(m.JobFinished)
    hand.take(DropItems)
    hand.take(m.GrantItems)
    resume(hand, ranges=())
    hand.ready(job="new")
    hand.say("notebook", m.AddItems("new", 0, 4), 2_000_000)
    assert (hand.one(DropItems).start, hand.one(m.GrantItems).more_bytes) == (0, 2_000_000)
    assert hand.take(m.RunSlice) == []
    assert hand.scheduler.describe(hand.now)["jobs"][0]["done"] == 5
    hand.say("notebook", m.AddItems("new", 4, 3), 1000)
    assert hand.take(DropItems) == []
    assert items_run(hand) == [5, 6]
    hand.say("notebook", m.AddItems("new", 7, 1), 1000)
    assert items_run(hand) == [7]
    hand.say("notebook", m.CloseItems("new", 8))
    assert (hand.one(m.JobFinished).outcome, hand.scheduler.state.jobs["new"].total) == ("done", 8)


def test_a_list_whose_last_items_are_done_ends_with_them(hand: Any) -> None:
    hand.worker()
    hand.say("notebook", m.SubmitJob("old", "old", HOST, m.JobOptions(**KEEP), total=4))
    hand.say(STORES, BlobsReady("old"))
    hand.say("notebook", m.AddItems("old", 0, 4), 100)
    hand.ready(job="old")
    run = hand.one(m.RunSlice, "w")
    hand.part("w", run, failed=(0,))
    items_run(hand)
    hand.say("notebook", m.CloseItems("old", 4))
    assert hand.one(m.JobFinished).outcome == "done"
    resume(hand, ranges=(), total=4)
    hand.say(STORES, BlobsReady("new"))
    spec = m.SubmitJob("newer", "newer", HOST, m.JobOptions(**KEEP), total=4, resumes="old")
    hand.say("notebook", Resumption(spec))
    hand.say(STORES, BlobsReady("newer"))
    hand.ready(job="newer")
    hand.say("notebook", m.AddItems("newer", 0, 2), 100)
    assert items_run(hand) == [0]
    hand.say("notebook", m.AddItems("newer", 2, 2), 100)
    assert hand.one(m.JobFinished).outcome == "done"
    hand.say("notebook", m.CloseItems("newer", 4))


@pytest.mark.parametrize(
    ("closed", "blocks", "reason"),
    [
        (True, [4, 5], "had 8 items, and now 9 or more came"),
        (True, [4, 1], "had 8 items, and now 5 came"),
        (False, [4, 1], "had 6 items or more, and now 5 came"),
    ],
)
def test_other_items_of_a_generator_end_the_job_with_the_reason(
    hand: Any, closed: bool, blocks: list[int], reason: str
) -> None:
    hand.worker()
    hand.job("old", None, options={"task_size": 6, **KEEP})
    hand.say("notebook", m.AddItems("old", 0, 8), 100)
    if closed:
        hand.say("notebook", m.CloseItems("old", 8))
    hand.ready(job="old")
    hand.part("w", hand.one(m.RunSlice, "w"))
    hand.say("notebook", m.CancelJob("old", "user"))
    for run in hand.take(m.RunSlice, "w"):
        hand.say("w", m.SliceEnded(run.attempt))
    hand.take(m.JobFinished)
    resume(hand, ranges=())
    hand.ready(job="new")
    hand.wait(0.3)
    assert {progress.total for progress in hand.take(m.JobProgress) if progress.job == "new"} <= {8 if closed else None}
    start = 0
    for count in blocks:
        hand.say("notebook", m.AddItems("new", start, count), 100)
        start += count
    hand.say("notebook", m.CloseItems("new", start))
    for run in hand.take(m.RunSlice, "w"):
        hand.say("w", m.SliceEnded(run.attempt))
    finished = hand.one(m.JobFinished)
    assert finished.outcome == "cancelled"
    assert f"job old, which it resumes, {reason}" in finished.reason
    assert "run it anew, without --resume" in finished.reason


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"resumes": "nothing"}, "no job 'nothing' is known here"),
        ({"problem": "it is another's"}, "it is another's"),
        ({"total": 11}, r"ran over range(0, 10), this one runs over range(0, 11)"),
        ({"ranges": ((0, 2, 1), (0, 5, 1))}, "this one runs over range(0, 2) x range(0, 5)"),
        ({"ranges": ()}, "this one runs over items that are no range"),
        ({"ranges": (), "each": "slot"}, "a job for each machine or slot cannot be resumed"),
        ({"options": {"reduce": True}}, "this one has reduce and job old has not"),
        ({"options": {"stop_when": True}}, "this one has stop_when and job old has not"),
    ],
)
def test_what_does_not_go_together_is_refused(hand: Any, fields: dict[str, Any], reason: str) -> None:
    hand.worker()
    old_job(hand)
    resume(hand, **fields)
    finished = hand.one(m.JobFinished)
    assert finished.outcome == "refused"
    assert reason in finished.reason
    (taken,) = [taken for taken in hand.take(JobTaken) if taken.spec.job == "new"]
    assert taken.spec.resumes == "", "nothing is kept for it"


def test_a_job_that_runs_is_whole_or_has_met_its_condition_is_not_resumed(hand: Any) -> None:
    hand.worker()
    hand.job("old", 1)
    resume(hand, total=1)
    assert "job old still runs: `%distribute attach old`" in hand.one(m.JobFinished).reason
    hand.ready(job="old")
    assert items_run(hand) == [0]
    assert hand.one(m.JobFinished).outcome == "done"
    resume(hand, "again", total=1)
    assert "job old is finished, it has nothing left to do" in hand.one(m.JobFinished).reason
    resume(hand, "lost", total=1, lost=((0, 1),))
    hand.ready(job="lost")
    assert items_run(hand) == [0]
    hand.take(m.JobFinished)
    hand.job("met", 9, options={"stop_when": True, "task_size": 9})
    hand.ready(job="met")
    run = hand.one(m.RunSlice, "w")
    hand.part("w", run, stop=3, stopped_at=2)
    assert hand.one(m.JobFinished).outcome == "stopped"
    resume(hand, "looks", total=9, resumes="met", options={"stop_when": True})
    assert "has found the value that met its stop_when" in hand.one(m.JobFinished).reason


def test_too_many_separate_failures_are_not_remembered(monkeypatch: pytest.MonkeyPatch, hand: Any) -> None:
    monkeypatch.setattr(resuming, "MAX_AGAIN_RUNS", 3)
    hand.worker()
    old_job(hand, total=20, stop=12, failed=(1, 3, 5, 7, 9))
    assert list(hand.scheduler.state.jobs["old"].taken.again) == [(1, 2), (3, 4), (5, 6), (7, 8), (9, 10)]
    resume(hand, total=20)
    assert "job old has more than 3 failures" in hand.one(m.JobFinished).reason


def test_a_job_can_be_resumed_although_the_one_that_it_resumes_is_forgotten_here(make_hand: Any) -> None:
    hand = make_hand(Policy(kept_jobs=1))
    hand.notebook()
    hand.worker()
    old_job(hand)
    resume(hand, options={"task_size": 1})
    hand.ready(job="new")
    run = hand.one(m.RunSlice, "w")
    hand.part("w", run)
    cancel(hand, *hand.take(m.RunSlice, "w"))
    assert set(hand.scheduler.state.jobs) == {"new"}
    assert hand.take(ReleaseJob) == [ReleaseJob("old")]
    resume(hand, "newer", resumes="new")
    hand.ready(job="newer")
    assert items_run(hand) == [7, 8, 9]


def test_a_chain_comes_back_from_the_journal_with_what_is_kept_of_it() -> None:
    kept = Kept()
    spec = m.SubmitJob("a", "a", HOST, m.JobOptions(**KEEP))
    later = m.SubmitJob("b", "b", HOST, m.JobOptions(**KEEP), resumes="a")
    for record in (
        JobTaken("n", spec),
        ItemsTaken("a", 0, 9, 10),
        ItemsClosed("a", 9),
        ResultsDropped("a", 1, ((0, 2),), 0, None),
        m.Result("a", 2, 2, 6, "w", failed=(3,)),
        JobEnded(m.JobFinished("a", "cancelled", 2, 9)),
        JobTaken("n", later),
        ItemsTaken("b", 0, 3, 10),
        ItemsTaken("b", 3, 4, 10),
        m.Result("b", 1, 0, 1, "w"),
    ):
        kept.add(record)
    a, b = kept.jobs()
    assert (a.done, a.again) == (((0, 6),), ((3, 4),))
    assert (b.done, b.ahead, b.resumed_total) == (((0, 1), (2, 3)), ((4, 6),), 9)
    assert [(block.start, block.stop) for block in b.blocks] == [(0, 3), (3, 4)]
    scheduler = Scheduler(2)
    for message in (a, b):
        scheduler.receive(STORES, message, 1.0)
    job = scheduler.state.jobs["b"]
    assert (list(job.pending), list(job.taken.ahead), job.taken.total) == ([(1, 2), (3, 4)], [(4, 6)], 9)
    assert not scheduler.state.jobs["a"].alive


def test_sets_less_others_and_parts_of_them() -> None:
    some = Intervals([(0, 5), (8, 12)])
    assert some.within(3, 10) == [(3, 5), (8, 10)]
    assert some.within(5, 8) == []
    assert list(some.without([(2, 3), (9, 20)])) == [(0, 2), (3, 5), (8, 9)]
    assert list(some) == [(0, 5), (8, 12)]
