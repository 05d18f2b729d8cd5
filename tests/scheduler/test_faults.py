"""Crashes, losses, failures and lies."""

from __future__ import annotations

import pytest

from nbdist.scheduler.orders import STORES, BytesCame, Disconnect, PeerClosed
from nbdist.wire import messages as m


def test_a_crash_is_held_against_its_item_alone(hand):
    hand.worker()
    hand.job(options={"on_error": "keep", "task_size": 10})
    hand.ready()
    (run,) = hand.take(m.RunSlice)
    hand.part("w", run, stop=4, final=False)
    hand.say("w", m.SlotCrashed(run.attempt, 4, "killed by SIGSEGV", "stderr's end"))
    for attempt in (2, 3):
        runs = hand.take(m.RunSlice)
        alone = next(run for run in runs if run.start == 4)
        assert (alone.start, alone.stop) == (4, 5)
        hand.say("w", m.SlotCrashed(alone.attempt, 4, f"crash {attempt}", "stderr's end"))
        rest = [run for run in runs if run.start != 4]
        for run in rest:
            hand.part("w", run)
    hand.finish()
    faults = [r.fault for r in hand.take(m.Result) if r.fault]
    assert [(f.item, f.kind, f.attempts, f.reason, f.stderr) for f in faults] == [
        (4, "crashed", 3, "crash 3", "stderr's end")
    ]
    assert hand.one(m.JobFinished).outcome == "done"


def test_an_item_that_takes_too_long_fails_at_once_and_costs_the_others_nothing(hand):
    hand.worker()
    hand.job(options={"on_error": "keep", "task_size": 10, "time_limit": 0.5})
    hand.ready()
    run = hand.one(m.RunSlice)
    hand.part("w", run, stop=4, final=False)
    hand.say("w", m.SlotCrashed(run.attempt, 4, "0.5 s", "stderr's end", kind="timeout"))
    hand.finish()
    faults = [r.fault for r in hand.take(m.Result) if r.fault]
    assert faults == [m.ItemFault(4, "timeout", "0.5 s", "w", 1, "stderr's end")]
    assert hand.one(m.JobFinished).outcome == "done"


def test_an_item_that_takes_too_long_is_retried_elsewhere_as_often_as_the_job_says(hand):
    hand.worker("a", slots=2)
    hand.worker("b", slots=2)
    hand.job(total=1, options={"retries": 3, "time_limit": 0.5, "speculate": False})
    hand.ready("a")
    ran = ["a"]
    run = hand.one(m.RunSlice, "a")
    hand.ready("b")
    for _ in range(3):
        hand.say(ran[-1], m.SlotCrashed(run.attempt, 0, "0.5 s", kind="timeout"))
        ran.append("b" if ran[-1] == "a" else "a")
        run = hand.one(m.RunSlice, ran[-1])
    assert not hand.take(m.JobFinished)
    hand.say(ran[-1], m.SlotCrashed(run.attempt, 0, "0.5 s", kind="timeout"))
    assert hand.one(m.Result).fault == m.ItemFault(0, "timeout", "0.5 s", "b", 4)
    finished = hand.one(m.JobFinished)
    assert (finished.outcome, finished.reason) == ("failed", "item 0 timeout on b")


def test_crashes_and_time_outs_are_counted_apart(hand):
    hand.worker()
    hand.job(total=1, options={"retries": 1, "time_limit": 0.5})
    hand.ready()
    for kind in ("crashed", "timeout", "crashed"):
        hand.say("w", m.SlotCrashed(hand.one(m.RunSlice).attempt, 0, "?", kind=kind))
    hand.part("w", hand.one(m.RunSlice))
    assert hand.one(m.JobFinished).outcome == "done"


def test_a_crash_that_ends_the_job_names_the_item(hand):
    hand.worker()
    hand.job(total=1)
    hand.ready()
    for _ in range(3):
        hand.say("w", m.SlotCrashed(hand.one(m.RunSlice).attempt, 0, "exit code 3"))
    finished = hand.one(m.JobFinished)
    assert finished.outcome == "failed"
    assert "item 0 crashed on w" in finished.reason


def test_a_lost_worker_gives_back_what_it_had_without_blame(hand):
    hand.worker("a")
    hand.job(options={"task_size": 5})
    hand.ready("a")
    run = hand.one(m.RunSlice)
    hand.part("a", run, stop=2, final=False)
    hand.say("a", PeerClosed())
    hand.worker("b")
    hand.ready("b")
    again = hand.take(m.RunSlice, "b")
    assert (again[0].start, again[0].stop) == (2, 5)
    hand.part("b", again[0])
    hand.finish("b")
    assert not [r for r in hand.take(m.Result) if r.fault]
    assert hand.one(m.JobFinished).outcome == "done"


def test_an_item_that_is_there_whenever_machines_vanish_runs_alone_and_then_fails(hand):
    hand.job(total=4, options={"on_error": "keep", "task_size": 4})
    extents = []
    for number in range(5):
        name = f"w{number}"
        hand.worker(name)
        hand.ready(name)
        runs = hand.take(m.RunSlice, name)
        run = next(run for run in runs if run.start <= 1 < run.stop)
        if run.start == 0:
            hand.part(name, run, stop=1, final=False)
        extents.append((run.start, run.stop))
        hand.say(name, m.Heartbeat((m.RunningItem(0, run.attempt, 1),)))
        hand.say(name, PeerClosed("gone"))
    assert extents == [(0, 4), (1, 4), (1, 4), (1, 2), (1, 2)]
    faults = [r.fault for r in hand.take(m.Result) if r.fault]
    assert [(f.item, f.kind, f.attempts) for f in faults] == [(1, "lost", 5)]


def test_silence_of_eight_seconds_is_a_loss_and_heartbeats_prevent_it(hand):
    hand.worker("quiet")
    hand.worker("lively")
    for _ in range(5):
        hand.wait(2)
        hand.say("lively", m.Heartbeat())
    assert list(hand.scheduler.state.workers) == ["lively"]
    assert "no sign of life" in hand.one(Disconnect, "quiet").reason


@pytest.mark.parametrize("wakes_with", ["the timer", "a message"])
def test_a_hub_that_stood_still_gives_every_worker_its_whole_silence_again(hand, wakes_with):
    hand.worker("a")
    hand.worker("b")
    hand.wait(1.9)
    hand.now += 20.0  # nobody asks the scheduler
    if wakes_with == "the timer":
        hand.wait(0.0)
    else:
        hand.say("a", m.Heartbeat())
    hand.wait(7.9)
    assert len(hand.scheduler.state.workers) == 2
    hand.wait(0.2)
    assert not hand.scheduler.state.workers, "the silence after it counts as ever"


def test_a_hub_that_stood_still_waits_again_for_word_that_a_job_has_stopped(hand):
    hand.worker("a")
    hand.job()
    hand.ready("a")
    run = hand.one(m.RunSlice, "a")
    hand.say("notebook", m.CancelJob("job", "enough"))
    hand.now += 20.0
    hand.wait(1.0)
    assert not hand.take(m.JobFinished)
    hand.say("a", m.SliceEnded(run.attempt, "cancelled"))
    assert hand.one(m.JobFinished).reason == "enough"


def test_retries_run_an_item_again_and_elsewhere(hand):
    hand.worker("a")
    hand.worker("b")
    hand.job(total=2, options={"retries": 2})
    hand.ready("a")
    run = hand.one(m.RunSlice, "a")
    hand.ready("b")
    other = hand.one(m.RunSlice, "b")
    hand.part("a", run, failed=(run.start,))
    assert not hand.take(m.RunSlice, "a")
    hand.part("b", other)
    again = hand.one(m.RunSlice, "b")
    assert again.start == run.start
    hand.part("b", again, failed=(run.start,))
    last = hand.one(m.RunSlice, "a")
    hand.part("a", last, failed=(run.start,))
    assert hand.one(m.JobFinished).outcome == "failed"
    assert hand.take(m.Result, STORES)[-1].failed == (run.start,)


def test_a_worker_that_comes_back_goes_on_where_it_was(hand):
    hand.worker("a")
    hand.job(options={"task_size": 10})
    hand.ready("a")
    run = hand.one(m.RunSlice)
    hand.say("a", PeerClosed())
    hand.say("a", m.Hello("worker", 1, 1, m.Machine("h", "linux", "x", "3.11.7", "cpython", "0"), "a", "a", 1))
    hand.say("a", m.WorkerFacts((m.HeldAttempt("job", run.attempt, 0, 0, 10, True),), ("job",)))
    assert not hand.take(m.RunSlice)
    assert not hand.take(m.PrepareJob)[1:]
    hand.part("a", run)
    assert hand.one(m.JobFinished).outcome == "done"


def test_what_somebody_else_has_meanwhile_is_cancelled_and_its_finished_part_counts(hand):
    hand.worker("a")
    hand.job(options={"task_size": 10})
    hand.ready("a")
    run = hand.one(m.RunSlice)
    hand.say("a", PeerClosed())
    hand.worker("b")
    hand.ready("b")
    other = hand.one(m.RunSlice, "b")
    hand.say("a", m.Hello("worker", 1, 1, m.Machine("h", "linux", "x", "3.11.7", "cpython", "0"), "a", "a", 1))
    hand.say("a", m.WorkerFacts((m.HeldAttempt("job", run.attempt, 0, 0, 10, True),), ("job",)))
    assert hand.one(m.CancelAttempt, "a").attempt == run.attempt
    hand.part("a", run, stop=6, final=False)
    assert hand.one(m.Result).stop == 6
    assert hand.one(m.CancelAttempt, "b").attempt == other.attempt
    hand.say("a", m.SliceEnded(run.attempt))
    hand.say("b", m.SliceEnded(other.attempt))
    runs = hand.take(m.RunSlice)
    assert [(r.start, r.stop) for r in runs] == [(6, 10)]


def lies(run: m.RunSlice) -> dict[str, m.Message]:
    part = {"job": run.job, "attempt": run.attempt, "start": run.start, "stop": run.stop, "seconds": 0.1, "final": True}
    return {
        "a range beyond the job": m.Part(**{**part, "stop": 99}),
        "an empty range": m.Part(**{**part, "stop": run.start}),
        "negative time": m.Part(**{**part, "seconds": -1.0}),
        "an attempt that was never made": m.Part(**{**part, "attempt": (1, 99)}),
        "a later epoch": m.Part(**{**part, "attempt": (2, 1)}),
        "another job": m.Part(**{**part, "job": "other"}),
        "a gap": m.Part(**{**part, "start": run.start + 1, "stop": run.stop + 1}),
        "a failed item elsewhere": m.Part(**{**part, "failed": (9,)}),
        "going on after stop_when": m.Part(**{**part, "stop": run.stop + 1, "stopped_at": run.start}),
        "facts twice": m.WorkerFacts(),
        "a crash elsewhere": m.SlotCrashed(run.attempt, 9, "?"),
        "a notebook's message": m.CancelJob(run.job),
    }


@pytest.mark.parametrize("lie", lies(m.RunSlice("j", (1, 1), 0, 0, 1)))
def test_a_worker_that_lies_is_thrown_out_and_nothing_is_lost(hand, lie):
    hand.worker("honest")
    hand.worker("liar")
    hand.job("other")
    hand.job()
    hand.ready("liar")
    run = hand.one(m.RunSlice, "liar")
    hand.say("liar", lies(run)[lie])
    assert hand.one(Disconnect, "liar").code == "protocol"
    assert "liar" not in hand.scheduler.state.workers
    hand.ready("honest")
    hand.finish("honest")
    hand.ready("honest", "other")
    hand.finish("honest")
    assert {f.outcome for f in hand.take(m.JobFinished)} == {"done"}
    results = [r for r in hand.take(m.Result) if r.job == "job"]
    assert sorted(i for r in results for i in range(r.start, r.stop)) == list(range(10))


def test_word_of_an_attempt_that_is_over_is_no_lie(hand):
    hand.worker()
    hand.job(total=1)
    hand.ready()
    run = hand.one(m.RunSlice)
    hand.part("w", run)
    for message in (m.SliceCut(run.attempt, 0), m.SliceEnded(run.attempt), m.SlotCrashed(run.attempt, 0, "?")):
        hand.say("w", message)
    hand.part("w", run)
    assert not hand.take(Disconnect)
    assert len(hand.take(m.Result)) == 1


def test_parts_that_were_on_their_way_when_their_attempt_was_cancelled_are_no_lies(hand):
    hand.worker()
    hand.job(options={"task_size": 10})
    hand.ready()
    run = hand.one(m.RunSlice)
    hand.say("notebook", m.CancelJob("job"))
    hand.wait(5)
    assert hand.one(m.JobFinished).outcome == "cancelled"
    for start in range(3):
        hand.part("w", run, start=start, stop=start + 1, final=False)
    hand.say("w", m.SliceEnded(run.attempt, "cancelled"))
    assert not hand.take(Disconnect)


def test_parts_are_acknowledged_soon_and_dropped_ones_too(hand):
    hand.worker()
    hand.job(options={"task_size": 10})
    hand.ready()
    run = hand.one(m.RunSlice)
    hand.part("w", run, stop=3, final=False)
    hand.part("w", run, stop=3, final=False)
    assert not hand.take(m.Acknowledge)
    hand.wait(0.25)
    assert hand.one(m.Acknowledge).parts == ((run.attempt, 3),)


def test_a_worker_that_leaves_or_reconnects_is_not_held_against_its_items(hand):
    hand.job(total=1)
    for number in range(6):
        name = f"w{number}"
        hand.worker(name)
        hand.ready(name)
        run = hand.one(m.RunSlice, name)
        if number % 2:
            hand.say(name, m.Leaving("user"))
            hand.say(name, PeerClosed())
        else:
            hand.worker(name)
            hand.say(name, PeerClosed())
        assert run.start == 0
    assert not hand.scheduler.state.jobs["job"].losses
    assert hand.scheduler.state.jobs["job"].alive


def test_an_attempt_that_was_cancelled_is_not_counted_when_its_worker_vanishes(hand):
    hand.worker("slow")
    hand.worker("fast")
    hand.job(total=12)
    hand.ready("slow")
    hand.part("slow", hand.one(m.RunSlice, "slow"), seconds=1.0)
    hand.ready("fast")
    while runs := hand.take(m.RunSlice, "fast"):
        for run in runs[:1] if hand.scheduler.state.jobs["job"].done.count == 10 else runs:
            hand.part("fast", run, seconds=0.01 * (run.stop - run.start))
    assert hand.scheduler.state.jobs["job"].unfinished
    hand.say("notebook", m.CancelJob("job"))
    hand.say("slow", PeerClosed())
    assert not hand.scheduler.state.jobs["job"].losses


def test_a_worker_whose_message_is_long_on_its_way_is_not_silent(hand):
    hand.worker()
    for _ in range(5):
        hand.wait(7.0)
        hand.say("w", BytesCame())
    assert not hand.take(Disconnect)
    hand.wait(9.0)
    assert "no sign of life" in hand.one(Disconnect, "w").reason
    hand.say("w", BytesCame())  # of one that is lost, or a notebook, it means nothing
    assert not hand.take(Disconnect)
