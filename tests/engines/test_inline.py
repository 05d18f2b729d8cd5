"""What only the engine of this process promises: the items run in the thread that waits, and nowhere else."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

import pytest

import nbdist
from nbdist.engines.alarm import CAN_RING
from nbdist.errors import AddressError, ItemTimeoutError, JobCancelledError, JobRefusedError, NbdistError


@pytest.fixture
def pool() -> Iterator[nbdist.Pool]:
    with nbdist.connect("inline") as pool:
        yield pool


def test_items_run_in_this_process_and_thread(pool: nbdist.Pool, capsys: pytest.CaptureFixture[str]) -> None:
    def where(x: int) -> tuple[int, int]:
        print("item", x)
        return os.getpid(), threading.get_ident()

    job = pool.map(where, range(2))
    assert capsys.readouterr().out == ""
    assert set(job.result()) == {(os.getpid(), threading.get_ident())}
    assert capsys.readouterr().out == "item 0\nitem 1\n"


def test_a_generator_is_read_item_by_item(pool: nbdist.Pool) -> None:
    seen: list[str] = []

    def items() -> Iterator[int]:
        for number in range(3):
            seen.append(f"made {number}")
            yield number

    pool.map(lambda x: seen.append(f"ran {x}"), items()).result()
    assert seen == ["made 0", "ran 0", "made 1", "ran 1", "made 2", "ran 2"]


def test_an_interrupt_comes_out_and_ends_the_job(pool: nbdist.Pool) -> None:
    def interrupt_at_three(x: int) -> int:
        if x == 3:
            raise KeyboardInterrupt
        return x

    job = pool.map(interrupt_at_three, range(10))
    with pytest.raises(KeyboardInterrupt):
        job.result()
    assert job.outcome == "cancelled"
    assert job.values == [0, 1, 2]


def test_it_says_what_it_is(pool: nbdist.Pool) -> None:
    assert pool.address == "inline"
    assert [(worker.name, worker.slots) for worker in pool.workers] == [("inline", 1)]
    job = pool.map(abs, range(3))
    assert "item 2 runs after the 2 before it" in pool.explain(job, 2)
    job.result()
    assert "is done" in pool.explain(job, 2)
    assert [(row.state, row.done) for row in pool.jobs] == [("done", 3)]
    with pytest.raises(NbdistError, match="this process alone"):
        pool.invite()
    with pytest.raises(AddressError, match="no workers"):
        nbdist.connect("inline", workers=2)


def test_needs_that_this_process_does_not_meet_are_refused(pool: nbdist.Pool) -> None:
    assert pool.map(abs, [-1], needs="cores>=1, worker=inline").result() == [1]
    with pytest.raises(JobRefusedError, match="inline: this is inline, the job needs worker=other"):
        pool.map(abs, [-1], needs="worker=other")


def test_the_variable_names_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBDIST_POOL", "inline")
    with nbdist.connect() as pool:
        assert pool.address == "inline"
    with pytest.raises(ValueError, match="workers"):
        nbdist.connect(workers=0)


def test_the_last_job_is_known(pool: nbdist.Pool) -> None:
    job = pool.map(abs, range(3))
    assert nbdist.last_job is job


def test_a_wait_that_is_interrupted_can_be_taken_up_again(pool: nbdist.Pool) -> None:
    seen: list[int] = []

    def interrupt_once_at_three(x: int) -> int:
        seen.append(x)
        if seen == [0, 1, 2, 3]:
            raise KeyboardInterrupt
        return x

    job = pool.map(interrupt_once_at_three, range(10))
    with pytest.raises(KeyboardInterrupt):
        job.wait()
    assert job.result() == list(range(10))


def test_an_item_that_cancels_its_job_ends_it_and_keeps_what_is_done(pool: nbdist.Pool) -> None:
    jobs: list[nbdist.Job] = []

    def cancel_at_three(x: int) -> int:
        if x == 3:
            jobs[0].cancel("enough")
        return x

    jobs.append(pool.map(cancel_at_three, range(1000), task_size=1))
    with pytest.raises(JobCancelledError, match="enough"):
        jobs[0].result()
    assert jobs[0].values[:4] == [0, 1, 2, 3]
    assert len(jobs[0].values) < 1000


def test_jobs_that_several_threads_wait_for_run_one_after_another(pool: nbdist.Pool) -> None:
    inside: list[int] = []
    most: list[int] = []

    def note(x: int) -> None:
        inside.append(x)
        threading.Event().wait(0.001)  # lets the other thread in, if anything does
        most.append(len(inside))
        inside.pop()

    jobs = [pool.map(note, range(20)) for _ in range(2)]
    threads = [threading.Thread(target=job.wait) for job in (*jobs, *jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert [job.outcome for job in jobs] == ["done", "done"]
    assert max(most) == 1


# --- time limits ---


def test_an_item_in_another_thread_ends_by_itself_and_then_fails(pool: nbdist.Pool) -> None:
    def nap(x: int) -> int:
        time.sleep(x / 2)
        ended.append(x)
        return x

    ended: list[int] = []
    job = pool.map(nap, [0, 2, 0], time_limit=0.5, on_error="keep")
    thread = threading.Thread(target=job.wait)
    thread.start()
    thread.join()
    assert ended == [0, 2, 0]
    assert [(failure.index, type(failure.error)) for failure in job.failures] == [(1, ItemTimeoutError)]


@pytest.mark.skipif(not CAN_RING, reason="this operating system has no timer")
def test_the_process_s_timer_is_again_what_it_was(pool: nbdist.Pool) -> None:
    def inner(x: int) -> int:
        if not x:
            time.sleep(60)
        with nbdist.connect("inline") as another:
            return int(another.map(abs, [x], time_limit=50).result()[0])

    def handler(number: int, frame: FrameType | None) -> None:
        raise AssertionError

    previous = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 1_000)
    try:
        values = pool.map(inner, [1, 0, 2], time_limit=0.5, on_error="keep").result()
        assert (values[0], type(values[1].error), values[2]) == (1, ItemTimeoutError, 2)
        assert signal.getsignal(signal.SIGALRM) is handler
        assert 900 < signal.getitimer(signal.ITIMER_REAL)[0] <= 1_000
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def test_an_interrupt_of_a_job_with_a_time_limit_comes_out(pool: nbdist.Pool) -> None:
    def interrupt_at_three(x: int) -> int:
        if x == 3:
            raise KeyboardInterrupt
        return x

    job = pool.map(interrupt_at_three, range(10), time_limit=50)
    with pytest.raises(KeyboardInterrupt):
        job.result()
    assert (job.outcome, job.values) == ("cancelled", [0, 1, 2])
