"""What a scheduler makes of the journal of the one before it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nbdist.scheduler.kept import Kept
from nbdist.scheduler.machine import Scheduler
from nbdist.scheduler.orders import (
    STORES,
    ItemsClosed,
    ItemsTaken,
    ItemTried,
    JobEnded,
    JobStopping,
    JobTaken,
    KeptJob,
    OwnerChanged,
    ResultsSealed,
)
from nbdist.wire import messages as m

MACHINE = m.Machine("host", "linux", "x86_64", "3.11.7", "cpython", "0.1.0")


def spec(total: int = 10, **options: object) -> m.SubmitJob:
    return m.SubmitJob("job", "", MACHINE, m.JobOptions(**options), ranges=((0, total, 1),))  # type: ignore[arg-type]


def taken_up(*records: m.Message) -> tuple[Scheduler, list[m.JobFinished]]:
    """A scheduler that was given what these records come to, and the ends of jobs that it speaks of."""
    kept = Kept()
    for record in records:
        kept.add(record)
    scheduler = Scheduler(2)
    said = [send for job in kept.jobs() for send in scheduler.receive(STORES, job, 1.0)]
    return scheduler, [send.message.finished for send in said if isinstance(send.message, JobEnded)]


@pytest.mark.parametrize(
    ("options", "records", "outcome"),
    [
        ({}, [m.Result("job", 1, 0, 10, "w")], "done"),
        ({}, [m.Result("job", 1, 0, 3, "w", failed=(2,))], "failed"),
        ({"on_error": "keep"}, [m.Result("job", 1, 0, 3, "w", failed=(2,))], None),
        ({}, [m.Result("job", 1, 2, 3, "w", fault=m.ItemFault(2, "crashed", "", "w", 3))], "failed"),
        ({"stop_when": True}, [m.Result("job", 1, 0, 3, "w", stopped_at=2)], "stopped"),
        ({}, [JobStopping("job", "interrupted")], "cancelled"),
        ({}, [m.Result("job", 1, 0, 9, "w")], None),
    ],
)
def test_what_ended_the_job_ends_it_although_the_word_of_the_end_was_lost(
    options: dict[str, object], records: list[m.Message], outcome: str | None
) -> None:
    _, ended = taken_up(JobTaken("notebook", spec(**options)), *records)
    assert [finished.outcome for finished in ended] == ([] if outcome is None else [outcome])


def test_an_open_job_goes_on_with_the_items_that_had_come() -> None:
    open_job = m.SubmitJob("job", "", MACHINE, m.JobOptions())
    scheduler, _ = taken_up(
        JobTaken("notebook", open_job),
        ItemsTaken("job", 0, 4, 100),
        ItemsTaken("job", 4, 6, 50),
        m.Result("job", 1, 0, 4, "w"),
    )
    job = scheduler.state.jobs["job"]
    assert (job.total, job.available, tuple(job.pending), tuple(job.done)) == (None, 6, ((4, 6),), ((0, 4),))
    scheduler.receive("notebook", m.Hello("notebook", 1, 1, MACHINE, "notebook"), 1.0)
    scheduler.receive("notebook", m.CloseItems("job", 6), 1.0)
    assert scheduler.state.jobs["job"].total == 6


def test_an_ended_job_is_reported_to_its_notebook_and_nothing_else_happens_to_it() -> None:
    finished = m.JobFinished("job", "done", 1, 10)
    scheduler, ended = taken_up(JobTaken("notebook", spec()), m.Result("job", 1, 0, 10, "w"), JobEnded(finished))
    assert ended == []
    scheduler.receive("notebook", m.Hello("notebook", 1, 1, MACHINE, "notebook"), 1.0)
    said = scheduler.receive("notebook", spec(), 2.0)
    assert [send.message for send in said] == [finished]


def test_a_job_belongs_to_who_took_it_over() -> None:
    scheduler, _ = taken_up(JobTaken("notebook", spec()))
    scheduler.receive("another", m.Hello("notebook", 1, 1, MACHINE, "another"), 1.0)
    said = scheduler.receive(STORES, OwnerChanged("job", "another"), 2.0)
    assert [send.message for send in said if send.peer == STORES] == [OwnerChanged("job", "another")]
    scheduler.receive("another", m.CancelJob("job", "enough"), 3.0)
    ended = scheduler.tick(10.0)
    kept = Kept()
    for record in (JobTaken("notebook", spec()), OwnerChanged("job", "another")):
        kept.add(record)
    assert kept.jobs()[0].owner == "another"
    assert scheduler.state.jobs["job"].orphaned_at is None
    assert all(send.peer != "notebook" for send in ended)


def test_a_forgotten_job_is_gone() -> None:
    kept = Kept()
    for record in (JobTaken("notebook", spec()), m.Result("job", 1, 0, 10, "w"), m.ForgetJob("job")):
        kept.add(record)
    assert kept.jobs() == []


def test_a_product_of_ranges_and_a_closed_open_job_have_their_total() -> None:
    kept = Kept()
    product = m.SubmitJob("a", "", MACHINE, m.JobOptions(), ranges=((0, 3, 1), (10, 0, -2)))
    kept.add(JobTaken("notebook", product))
    kept.add(JobTaken("notebook", m.SubmitJob("b", "", MACHINE, m.JobOptions())))
    kept.add(ItemsTaken("b", 0, 7, 10))
    kept.add(ItemsClosed("b", 7))
    totals = [(job.total, job.available) for job in kept.jobs()]
    assert totals == [(15, 15), (7, 7)]
    assert isinstance(kept.jobs()[0], KeptJob)


def test_a_job_is_as_old_as_it_is_after_a_restart_too() -> None:
    kept = Kept()
    ended = JobEnded(m.JobFinished("job", "done", 1, 10))
    for record in (JobTaken("notebook", spec()), m.Result("job", 1, 0, 10, "w"), ended):
        kept.add(record)
    (over,) = kept.jobs()
    kept = Kept()
    kept.add(JobTaken("notebook", replace(spec(), job="other")))
    (running,) = kept.jobs()
    scheduler = Scheduler(2)
    scheduler.receive(STORES, replace(over, age_seconds=100.0, ended_seconds=30.0), 1.0)
    scheduler.receive(STORES, replace(running, age_seconds=50.0), 1.0)
    rows = {row["id"]: row for row in scheduler.describe(11.0)["jobs"]}
    assert (rows["job"]["elapsed_seconds"], rows["job"]["submitted_seconds"]) == (70.0, 110.0)
    assert (rows["other"]["elapsed_seconds"], rows["other"]["submitted_seconds"]) == (60.0, 60.0)
    assert scheduler.state.timers["notice"] > 1.0, "it is given time before it says that it waits"


@pytest.mark.parametrize(
    ("options", "told", "outcome"),
    [
        ({}, {}, None),
        ({}, {"failed_items": 1, "first_failed": 3}, "failed"),
        ({"stop_when": True}, {"stopped_at": 5}, "stopped"),
    ],
)
def test_what_is_known_of_a_file_of_results_counts_as_they_do(
    options: dict[str, object], told: dict[str, object], outcome: str | None
) -> None:
    sealed = ResultsSealed("job", 0, 100, 100, 4, ((0, 3), (3, 6)), **told)  # type: ignore[arg-type]
    records = [
        JobTaken("notebook", spec(**options)),
        ItemTried("job", 2, 1, 0, 0),
        ItemTried("job", 7, 1, 0, 0),
        sealed,
    ]
    scheduler, ended = taken_up(*records)
    assert [finished.outcome for finished in ended] == ([] if outcome is None else [outcome])
    job = scheduler.state.jobs["job"]
    assert (job.seq, tuple(job.done), job.failed_items) == (4, ((0, 6),), told.get("failed_items", 0))
    assert job.crashes == {7: 1}
