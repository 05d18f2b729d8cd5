"""A job's life, as its notebook sees it."""

from __future__ import annotations

import re

import pytest

from nbdist.scheduler.orders import STORES, BlobsReady, Disconnect, DropItems, PeerClosed, ReleaseJob
from nbdist.scheduler.policy import Policy
from nbdist.wire import messages as m


def test_one_job_from_end_to_end(hand):
    hand.worker()
    hand.job()
    assert hand.one(m.PrepareJob, "w").job == "job"
    assert not hand.take(m.RunSlice)
    hand.ready()
    hand.finish()
    results = hand.take(m.Result, STORES)
    assert next((r.start, r.stop) for r in results) == (0, 1)
    assert sum(r.stop - r.start for r in results) == 10
    assert [r.seq for r in results] == list(range(1, len(results) + 1))
    finished = hand.one(m.JobFinished, "notebook")
    assert (finished.outcome, finished.last_seq, finished.total) == ("done", len(results), 10)
    assert hand.one(m.ForgetJob, "w").job == "job"


def test_nothing_runs_before_its_blobs_are_here(hand):
    hand.worker()
    hand.say(
        "notebook",
        m.SubmitJob(
            "job", "job", m.Machine("h", "linux", "x", "3.11.7", "cpython", "0"), m.JobOptions(), ranges=((0, 5, 1),)
        ),
    )
    assert not hand.take(m.PrepareJob)
    hand.say(STORES, BlobsReady("job"))
    assert hand.take(m.PrepareJob)


def test_an_empty_job_is_done_at_once(hand):
    hand.job(total=0)
    assert hand.one(m.JobFinished).outcome == "done"


def test_the_same_submission_again_changes_nothing_and_an_ended_job_is_reported_again(hand):
    hand.worker()
    hand.job()
    hand.job()
    assert len(hand.take(m.PrepareJob)) == 1
    hand.ready()
    hand.finish()
    assert len(hand.take(m.JobFinished)) == 1
    hand.job()
    assert hand.one(m.JobFinished).outcome == "done"


def test_items_that_arrive_later_and_their_credit(hand):
    hand.worker()
    hand.job(total=None)
    hand.ready()
    hand.say("notebook", m.AddItems("job", 0, 3), 1000)
    hand.say("notebook", m.AddItems("job", 3, 2), 500)
    hand.finish()
    assert {(d.start, d.stop) for d in hand.take(DropItems, STORES)} == {(0, 3), (3, 5)}
    assert not hand.take(m.GrantItems)
    hand.wait(0.3)
    assert hand.one(m.GrantItems).more_bytes == 1500
    assert not hand.take(m.JobFinished)
    hand.say("notebook", m.CloseItems("job", 5))
    assert hand.one(m.JobFinished).total == 5


def test_a_slice_touches_no_more_blocks_than_fit_a_frame(make_hand):
    hand = make_hand(Policy(slice_bytes=1000))
    hand.notebook()
    hand.worker()
    hand.job(total=None)
    hand.ready()
    for start in range(0, 100, 10):
        hand.say("notebook", m.AddItems("job", start, 10), 400)
    seen = []
    while runs := hand.take(m.RunSlice):
        for run in runs:
            seen.append(run)
            hand.part("w", run, seconds=1e-6)
    assert max(run.stop - run.start for run in seen) > 10
    for run in seen:
        blocks = (run.stop - 1) // 10 - run.start // 10 + 1
        assert blocks * 400 <= 1000


@pytest.mark.parametrize(
    ("total", "message", "reason"),
    [
        (None, m.AddItems("job", 5, 3), r"items \[5, 8\) came for a job that has 4"),
        (None, m.AddItems("job", 4, 0), r"items \[4, 4\) came for a job that has 4"),
        (None, m.AddItems("job", 4, -2), r"items \[4, 2\) came for a job that has 4"),
        (None, m.AddItems("job", 2, 0), r"items \[2, 2\)"),
        (None, m.AddItems("job", 3, 2), r"items \[3, 5\)"),
        (5, m.AddItems("job", 4, 3), "more items came than the 5"),
        (None, m.CloseItems("job", 3), "a job with 4 items was closed at 3"),
        (None, m.CloseItems("job", 10**9), "was closed at 1000000000"),
        (None, m.CloseItems("job", -1), "was closed at -1"),
    ],
)
def test_items_that_make_no_sense_end_their_job_and_nothing_else(hand, total, message, reason):
    hand.worker()
    hand.job("other")
    host = hand.scheduler.state.workers["w"].hello.machine
    hand.say("notebook", m.SubmitJob("job", "job", host, m.JobOptions(), total=total))
    hand.say(STORES, BlobsReady("job"))
    hand.say("notebook", m.AddItems("job", 0, 4), 1000)
    hand.ready("w", "job")
    (run,) = hand.take(m.RunSlice)[:1]
    hand.say("notebook", message, 1000)
    hand.say("notebook", message, 1000)
    assert hand.take(m.CancelAttempt)
    hand.say("w", m.SliceEnded(run.attempt, "cancelled"))
    hand.wait(5)
    finished = hand.one(m.JobFinished)
    assert finished.outcome == "cancelled"
    assert re.search(f"its notebook broke the protocol: .*{reason}", finished.reason)
    assert not hand.take(Disconnect)
    assert not hand.take(m.GrantItems)
    assert list(hand.scheduler.state.active) == ["other"]


def test_a_job_of_a_range_takes_no_items_and_is_not_closed(hand):
    for message in (m.AddItems("job", 10, 3), m.CloseItems("job", 10)):
        hand.job()
        hand.say("notebook", message, 10)
        assert hand.one(m.JobFinished).outcome == "cancelled"
        hand.say("notebook", m.ForgetJob("job"))
        hand.scheduler.state.jobs.clear()


def test_cancel_is_confirmed_once_nothing_runs(hand):
    hand.worker()
    hand.job()
    hand.ready()
    (run,) = hand.take(m.RunSlice)
    hand.say("notebook", m.CancelJob("job", "user"))
    assert hand.one(m.CancelAttempt).attempt == run.attempt
    assert not hand.take(m.JobFinished)
    hand.say("w", m.SliceEnded(run.attempt))
    assert hand.one(m.JobFinished).outcome == "cancelled"


def test_results_that_were_finished_before_the_stop_are_kept(hand):
    hand.worker()
    hand.job(options={"task_size": 5})
    hand.ready()
    (run,) = hand.take(m.RunSlice)
    hand.say("notebook", m.CancelJob("job"))
    hand.part("w", run, stop=3, final=False)
    hand.say("w", m.SliceEnded(run.attempt))
    assert hand.one(m.Result).stop == 3
    assert hand.one(m.JobFinished).last_seq == 1


def test_a_worker_that_does_not_confirm_holds_up_the_cancel_for_three_seconds(hand):
    hand.worker()
    hand.job()
    hand.ready()
    hand.say("notebook", m.CancelJob("job", "user"))
    hand.wait(2.9)
    assert not hand.take(m.JobFinished)
    hand.wait(0.2)
    assert "not confirmed yet by w" in hand.one(m.JobFinished).reason


def test_the_first_failure_ends_the_job_and_the_second_changes_nothing(hand):
    hand.worker(slots=2)
    hand.job()
    hand.ready()
    first, second = hand.take(m.RunSlice)
    hand.part("w", first, failed=(first.start,))
    finished = hand.one(m.JobFinished)
    assert (finished.outcome, finished.last_seq) == ("failed", 1)
    assert hand.one(m.CancelAttempt).attempt == second.attempt
    hand.part("w", second, failed=(second.start,))
    assert not hand.take(m.JobFinished)


def test_failures_that_are_kept_do_not_end_the_job(hand):
    hand.worker()
    hand.job(options={"on_error": "keep"})
    hand.ready()
    (run,) = hand.take(m.RunSlice)
    hand.part("w", run, failed=(0,))
    hand.finish()
    assert hand.one(m.JobFinished).outcome == "done"
    assert hand.take(m.JobProgress)[-1].failed == 1


def test_stop_when_ends_the_job_with_the_item(hand):
    hand.worker(slots=2)
    hand.job(options={"stop_when": True})
    hand.ready()
    first, _ = hand.take(m.RunSlice)
    hand.part("w", first, stopped_at=first.stop - 1)
    finished = hand.one(m.JobFinished)
    assert (finished.outcome, finished.stopped_at) == ("stopped", first.stop - 1)


def test_a_job_for_each_machine_and_each_slot(hand):
    hand.worker("a", slots=2)
    hand.worker("b", slots=1)
    hand.job("machines", total=None, each="machine")
    for worker in "ab":
        hand.ready(worker, "machines")
    runs = hand.take(m.RunSlice)
    assert len(runs) == 2
    for worker, run in zip("ab", sorted(runs, key=lambda run: run.start), strict=True):
        hand.part(worker, run)
    assert {r.worker for r in hand.take(m.Result)} == {"a", "b"}
    assert hand.one(m.JobFinished).total == 2
    hand.job("slots", total=None, each="slot")
    hand.ready("a", "slots")
    hand.ready("b", "slots")
    assert len(hand.take(m.RunSlice)) == 3


def test_a_machine_that_goes_fails_its_own_item_of_a_job_for_each_machine(hand):
    hand.worker("a")
    hand.worker("b")
    hand.job(total=None, each="machine", options={"on_error": "keep"})
    hand.ready("a")
    hand.ready("b")
    runs = {run.start: run for run in hand.take(m.RunSlice)}
    hand.say("b", PeerClosed())
    hand.part("a", runs[0])
    faults = [r.fault for r in hand.take(m.Result) if r.fault]
    assert [(f.item, f.kind, f.worker) for f in faults] == [(1, "lost", "b")]
    assert hand.one(m.JobFinished).outcome == "done"


def test_a_job_for_each_machine_of_an_empty_pool_waits_for_the_first(hand):
    hand.job(total=None, each="machine")
    hand.wait(10.1)
    assert "no machine has joined" in hand.one(m.Notice).text
    hand.worker("first")
    hand.ready("first")
    hand.finish("first")
    finished = hand.one(m.JobFinished)
    assert (finished.outcome, finished.total) == ("done", 1)


def test_a_job_that_cannot_begin_says_why(hand):
    hand.job()
    hand.wait(10.1)
    assert "no machine has joined" in hand.one(m.Notice).text
    hand.worker("old", machine=m.Machine("h", "linux", "x", "3.12.1", "cpython", "0"))
    hand.wait(5)
    hand.say("old", m.Heartbeat())
    hand.wait(5)
    notice = hand.take(m.Notice)[-1].text
    assert "old: the notebook packs its code for another version of Python" in notice
    assert not hand.take(m.PrepareJob)


def test_more_jobs_than_allowed_are_refused(make_hand):
    hand = make_hand(Policy(max_jobs=2))
    hand.notebook()
    for number in range(3):
        hand.job(f"job{number}")
    assert [(f.job, f.outcome) for f in hand.take(m.JobFinished)] == [("job2", "refused")]


def test_ended_jobs_are_forgotten_in_the_end(make_hand):
    hand = make_hand(Policy(kept_jobs=3))
    hand.notebook()
    for number in range(10):
        hand.job(f"job{number}", total=0)
    assert list(hand.scheduler.state.jobs) == ["job7", "job8", "job9"]
    assert [r.job for r in hand.take(ReleaseJob, STORES)] == [f"job{n}" for n in range(7)]


def test_a_job_outlives_its_notebook_for_a_day(hand):
    hand.worker()
    hand.job()
    hand.say("notebook", PeerClosed())
    hand.scheduler.state.policy = Policy(silence_seconds=1e9)
    hand.wait(86_000)
    assert hand.scheduler.state.active
    hand.wait(1_000)
    assert not hand.scheduler.state.active


def test_another_notebooks_job_cannot_be_filled_or_forgotten(hand):
    hand.notebook("other")
    hand.job(total=None)
    hand.say("other", m.AddItems("job", 0, 1), 1)
    assert hand.one(Disconnect, "other").code == "protocol"


@pytest.mark.parametrize(
    "spec",
    [
        {"ranges": ((0, 5, 0),)},
        {"ranges": ((0, 5, 1),), "total": 6},
        {"total": -1},
        {"each": "slot", "ranges": ((0, 5, 1),)},
        {"ranges": ((0, 2**61, 1), (0, 4, 1))},
    ],
)
def test_a_job_that_makes_no_sense_breaks_the_protocol(hand, spec):
    machine = m.Machine("h", "linux", "x", "3.11.7", "cpython", "0")
    hand.say("notebook", m.SubmitJob("job", "job", machine, m.JobOptions(), **spec))
    assert hand.one(Disconnect, "notebook").code == "protocol"
    assert not hand.scheduler.state.jobs


def test_clear_forgets_jobs_and_renews_slots(hand):
    hand.worker()
    hand.job()
    hand.say("notebook", m.ClearPool(7))
    assert hand.one(m.Answer).request == 7
    assert hand.one(m.RenewSlots, "w")
    assert hand.one(m.JobFinished).outcome == "cancelled"
    assert hand.one(m.ForgetJob, STORES).job == "job"


def test_stop_workers_by_name(hand):
    hand.worker("a")
    hand.worker("b")
    hand.say("notebook", m.StopWorkers(1, ("b", "c")))
    assert hand.take(m.LeavePool, "b")
    assert not hand.take(m.LeavePool, "a")
    answer = hand.one(m.Answer)
    assert answer.text == "b"
    assert "no worker is called c" in answer.error


def test_large_finished_blocks_make_room_at_once(hand):
    hand.worker()
    hand.job(total=None, options={"task_size": 1})
    hand.ready()
    for start in range(3):
        hand.say("notebook", m.AddItems("job", start, 1), 600_000)
    hand.finish()
    assert hand.one(m.GrantItems).more_bytes == 1_200_000


def test_the_end_is_said_although_the_notebook_is_away(hand):
    hand.worker()
    hand.job(total=1)
    hand.ready()
    hand.say("notebook", PeerClosed("asleep"))
    hand.finish()
    assert hand.one(m.JobFinished).outcome == "done"


def test_a_worker_that_comes_back_with_a_job_that_is_over_is_told_to_forget_it(hand):
    hand.worker()
    hand.job(total=10)
    hand.ready()
    run = hand.take(m.RunSlice)[0]
    hand.say("w", PeerClosed("cut"))
    hand.say("notebook", m.CancelJob("job"))
    hand.say("w", m.Hello("worker", 1, 1, hand.job.__globals__["HOST"], "w", "w", 1))
    held = m.HeldAttempt("job", run.attempt, 0, run.start, run.stop, True)
    said = hand.say("w", m.WorkerFacts((held,), ("job", "another")))
    assert [send.message for send in said] == [m.CancelAttempt(run.attempt), m.ForgetJob("job"), m.ForgetJob("another")]


def test_a_range_too_long_to_count_breaks_the_protocol(hand):
    ranges = ((-(2**62), 2**62 + 5, 1),)
    said = hand.say("notebook", m.SubmitJob("j", "j", hand.job.__globals__["HOST"], m.JobOptions(), ranges=ranges))
    assert [type(send.message) for send in said] == [Disconnect, m.ForgetJob]


def test_an_item_whose_result_cannot_be_brought_home_fails_in_the_end(hand):
    hand.worker()
    hand.job(total=1)
    hand.ready()
    for _ in range(3):
        hand.say("w", m.SlotCrashed(hand.one(m.RunSlice).attempt, 0, "no room", kind="unsent"))
    fault = hand.one(m.Result, STORES).fault
    assert (fault.kind, fault.reason, fault.attempts) == ("unsent", "no room", 3)


def test_a_job_that_no_machine_can_run_says_so_at_once(hand):
    hand.worker("a")
    hand.worker("b")
    hand.job()
    hand.say("a", m.JobRefused("job", "no module named 'machines'", "pip install machines"))
    hand.wait(0.9)
    assert not hand.take(m.Notice)
    hand.say("b", m.JobRefused("job", "no room"))
    hand.wait(0.1)
    text = hand.one(m.Notice).text
    assert "no machine can run it. a: no module named 'machines' (pip install machines); b: no room" in text
    hand.wait(1)
    assert not hand.take(m.Notice)


def test_a_job_whose_function_no_machine_can_load_says_so_when_its_last_slice_is_over(hand):
    hand.worker("a")
    hand.job()
    hand.ready("a")
    run = hand.one(m.RunSlice)
    hand.say("a", m.JobRefused("job", "the function cannot be loaded: ZeroDivisionError"))
    hand.wait(1)
    assert not hand.take(m.Notice)  # it may be another slot of this machine that could not
    hand.say("a", m.SliceEnded(run.attempt, "the function cannot be loaded"))
    hand.wait(0.6)
    assert "no machine can run it. a: the function cannot be loaded: Zero" in hand.one(m.Notice).text
    hand.worker("b")
    hand.ready("b")
    hand.one(m.RunSlice, "b")
    hand.wait(5)
    assert not hand.take(m.Notice)


def test_a_machine_that_leaves_is_none_that_could_run_it(hand):
    hand.worker("a")
    hand.worker("b")
    hand.say("b", m.Leaving("enough"))
    hand.job()
    hand.say("a", m.JobRefused("job", "no room"))
    hand.wait(0.1)
    assert "no machine can run it. a: no room" in hand.one(m.Notice).text


def test_a_machine_whose_trouble_may_be_over_is_asked_again(hand):
    hand.worker()
    hand.job()
    assert hand.take(m.PrepareJob)
    for _ in range(3):
        hand.say("w", m.JobRefused("job", "slots cannot start", again_seconds=7.0))
        hand.wait(6.9)
        assert not hand.take(m.PrepareJob)
        hand.say("w", m.Heartbeat())
        hand.wait(0.2)
        hand.one(m.PrepareJob)
    hand.ready()
    hand.finish()
    assert hand.one(m.JobFinished).outcome == "done"


def test_a_machine_is_not_asked_again_too_often_and_not_when_it_cannot_help(hand):
    hand.worker()
    hand.job()
    hand.job("other")
    assert len(hand.take(m.PrepareJob)) == 2
    hand.say("w", m.JobRefused("job", "no room", again_seconds=1e-9))
    hand.say("w", m.JobRefused("other", "no module named 'x'"))
    hand.wait(4.9)
    assert not hand.take(m.PrepareJob)
    hand.say("w", m.Heartbeat())
    hand.wait(0.2)
    assert hand.one(m.PrepareJob).job == "job"
    hand.say("w", m.Heartbeat())
    hand.say("w", m.JobRefused("job", "no room", again_seconds=float("nan")))
    hand.wait(7)
    hand.say("w", m.Heartbeat())
    assert not hand.take(m.PrepareJob)


def test_what_an_installer_wrote_is_shown_once_and_the_others_go_on(hand):
    for name in ("a", "b", "c"):
        hand.worker(name)
    hand.job()
    hand.ready("c")
    reason = "pandas==9.9 could not be installed. The end of what was written:\nERROR: no such version"
    for name in ("a", "b"):
        hand.say(name, m.JobRefused("job", reason, again_seconds=300.0))
    assert [notice.text for notice in hand.take(m.Notice)] == [f"a is left out of job job: {reason}"]
    hand.finish("c")
    assert hand.one(m.JobFinished).outcome == "done"


def test_a_machine_that_goes_is_not_asked_again(hand):
    hand.worker()
    hand.job()
    hand.take(m.PrepareJob)
    hand.say("w", m.JobRefused("job", "no room", again_seconds=10.0))
    hand.say("w", PeerClosed())
    hand.wait(20)
    assert not hand.take(m.PrepareJob)
