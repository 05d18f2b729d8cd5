"""Attempts whose slots run setups, and jobs whose setups fail."""

from __future__ import annotations

import pytest

from nbdist.scheduler import history
from nbdist.scheduler.orders import Disconnect
from nbdist.wire import messages as m


@pytest.fixture
def pair(hand):
    """Two workers with a slot each, and a job of two items: `a` has begun the first, `b` is in a setup before its."""
    for name in ("a", "b"):
        hand.worker(name)
    hand.job(total=2)
    for name in ("a", "b"):
        hand.ready(name)
    (hand.at_a,), (hand.at_b,) = (hand.take(m.RunSlice, name) for name in ("a", "b"))
    for run in (hand.at_a, hand.at_b):
        hand.say("a" if run is hand.at_a else "b", m.SetupBegun(run.attempt, "model"))
    hand.say("a", m.SliceBegun(hand.at_a.attempt))
    return hand


def test_items_behind_a_setup_are_not_copied_as_slow(pair):
    pair.part("a", pair.at_a, seconds=0.01)
    pair.wait(4.0)
    assert not pair.take(m.RunSlice, "a")
    pair.say("b", m.SliceBegun(pair.at_b.attempt))
    assert "behind a setup" not in explain(pair)
    pair.part("b", pair.at_b, seconds=0.01)
    assert pair.one(m.JobFinished).outcome == "done"


def test_after_a_while_they_go_to_a_slot_that_has_its_setups_behind_it(pair):
    pair.part("a", pair.at_a, seconds=0.01)
    for _ in range(12):
        pair.wait(0.5)
        pair.say("a", m.Heartbeat())
        pair.say("b", m.Heartbeat())
    (copy,) = pair.take(m.RunSlice, "a")
    assert (copy.start, copy.stop) == (1, 2)
    pair.part("a", copy)
    assert pair.take(m.CancelAttempt, "b") == [m.CancelAttempt(pair.at_b.attempt)]
    assert pair.one(m.JobFinished).outcome == "done"


def explain(hand):
    return history.explain(hand.scheduler.state, "job", 1, hand.now)


def test_who_asks_hears_of_the_setup(pair):
    assert "behind a setup at b, slot 0" in explain(pair)


def test_a_machine_that_vanishes_in_a_setup_blames_no_item(hand):
    hand.job(total=1)
    for number in range(6):
        hand.worker(f"w{number}")
        hand.ready(f"w{number}")
        (run,) = hand.take(m.RunSlice, f"w{number}")
        hand.say(f"w{number}", m.SetupBegun(run.attempt, "model"))
        hand.wait(9.0)  # silent for too long
    job = hand.scheduler.state.jobs["job"]
    assert not job.losses
    assert job.alive


def test_another_workers_attempt_is_none_of_its_business(pair):
    pair.say("b", m.SetupBegun(pair.at_a.attempt, "model"))
    assert pair.one(Disconnect, "b").code == "protocol"


def fail(hand, worker, run, reason="setup 'model', line 3: OSError: no"):
    hand.say(worker, m.JobRefused("job", reason, setup=True))
    hand.say(worker, m.SliceEnded(run.attempt, reason))


def test_one_that_fails_on_one_machine_leaves_the_others_to_it(pair):
    fail(pair, "b", pair.at_b)
    assert not pair.take(m.JobFinished)
    pair.part("a", pair.at_a)
    pair.finish("a")
    assert pair.one(m.JobFinished).outcome == "done"


def test_one_that_fails_everywhere_ends_the_job_at_once_with_the_reason(hand):
    for name in ("a", "b"):
        hand.worker(name)
    hand.job(total=10)
    for name in ("a", "b"):
        hand.ready(name)
        (run,) = hand.take(m.RunSlice, name)
        hand.say(name, m.SetupBegun(run.attempt, "model"))
        fail(hand, name, run)
        assert bool(hand.take(m.RunSlice)) is False
    finished = hand.one(m.JobFinished)
    assert finished.outcome == "refused"
    assert finished.reason == "a, b: setup 'model', line 3: OSError: no"


def test_the_last_machine_that_works_is_waited_for_and_then_missed(pair):
    fail(pair, "b", pair.at_b)
    pair.part("a", pair.at_a)
    (run,) = pair.take(m.RunSlice, "a")
    pair.say("a", m.SlotCrashed(run.attempt, run.start, "killed"))  # its next process has to set up as well
    (run,) = pair.take(m.RunSlice, "a")
    pair.say("a", m.SetupBegun(run.attempt, "model"))
    assert not pair.take(m.JobFinished)
    fail(pair, "a", run, "setup 'model', line 9: OSError: no")
    finished = pair.one(m.JobFinished)
    assert finished.outcome == "refused"
    assert "b: setup 'model', line 3" in finished.reason
    assert "a: setup 'model', line 9" in finished.reason


def test_the_other_slots_of_that_machine_need_not_try(hand):
    hand.worker("a", slots=3)
    hand.job(total=10)
    hand.ready("a")
    runs = hand.take(m.RunSlice, "a")
    for run in runs:
        hand.say("a", m.SetupBegun(run.attempt, "model"))
    fail(hand, "a", runs[0])
    cancelled = {message.attempt for message in hand.take(m.CancelAttempt, "a")}
    assert cancelled >= {run.attempt for run in runs[1:]}
    assert hand.one(m.JobFinished).outcome == "refused"


def test_a_slot_that_got_through_goes_on_although_its_machine_is_left_out(hand):
    hand.worker("a", slots=2)
    hand.job(total=2)
    hand.ready("a")
    first, second = hand.take(m.RunSlice, "a")
    for run in (first, second):
        hand.say("a", m.SetupBegun(run.attempt, "model"))
    hand.say("a", m.SliceBegun(first.attempt))
    fail(hand, "a", second)
    assert not hand.take(m.JobFinished)
    hand.part("a", first)
    assert hand.one(m.JobFinished).outcome == "refused"


def test_while_a_machine_prepares_there_is_hope(hand):
    hand.worker("a")
    hand.job(total=10)
    hand.ready("a")
    (run,) = hand.take(m.RunSlice, "a")
    hand.worker("b")
    fail(hand, "a", run)
    assert not hand.take(m.JobFinished)
    hand.ready("b")
    hand.finish("b")
    assert hand.one(m.JobFinished).outcome == "done"


def test_without_any_machine_the_job_waits_for_one(hand):
    hand.worker("a")
    hand.job(total=10)
    hand.ready("a")
    (run,) = hand.take(m.RunSlice, "a")
    hand.worker("b")
    fail(hand, "a", run)
    hand.say("a", m.Leaving())
    hand.wait(20.0)  # both are silent for too long
    assert not hand.scheduler.state.workers
    assert not hand.take(m.JobFinished)
