"""A job whose results wait for its notebook in too large a number begins nothing new until these were taken."""

from __future__ import annotations

import pytest

from nbdist.scheduler.orders import STORES, PeerClosed, ResultsWait
from nbdist.scheduler.policy import Policy
from nbdist.wire import messages as m

GB = 10**9
FREE = 100 * GB
LIMIT = Policy().results_bytes


def running(hand, job="job", total=100, **fields):
    """A job of single items with as many at work as there are slots."""
    hand.job(job, total=total, options={"task_size": 1}, **fields)
    hand.ready(job=job)


def test_a_paused_job_is_given_no_more_and_what_runs_of_it_counts(hand):
    hand.worker(slots=2)
    running(hand)
    runs = hand.take(m.RunSlice)
    assert len(runs) >= 2
    hand.say(STORES, ResultsWait("job", LIMIT + 1, FREE))
    for run in runs:
        hand.part("w", run)
    hand.wait(20)
    assert not hand.take(m.RunSlice)
    assert len(hand.take(m.Result)) == len(runs)
    notice = hand.one(m.Notice, "notebook")
    todo = "take them, or raise the hub's --results-limit"
    assert notice.text == f"job job is paused: 4.0 GB of results wait for its notebook; {todo}"
    (row,) = hand.scheduler.describe(hand.now)["jobs"]
    assert (row["state"], row["reason"]) == ("paused", f"4.0 GB of results wait for its notebook; {todo}")
    assert "queued; 4.0 GB of results wait" in hand.scheduler.explain("job", 99, hand.now)


def test_it_goes_on_once_a_good_part_of_them_was_taken(hand):
    hand.worker()
    running(hand)
    hand.say(STORES, ResultsWait("job", LIMIT + 1, FREE))
    hand.finish()
    hand.say(STORES, ResultsWait("job", LIMIT - 1, FREE))
    assert not hand.take(m.RunSlice)
    assert len(hand.take(m.Notice)) == 1
    hand.say(STORES, ResultsWait("job", int(LIMIT * 0.75), FREE))
    hand.finish()
    assert "goes on" in hand.one(m.Notice).text
    assert hand.one(m.JobFinished).outcome == "done"


def test_others_run_on_meanwhile_and_are_not_put_behind_it_afterwards(hand):
    hand.worker()
    running(hand, "full")
    running(hand, "other")
    hand.say(STORES, ResultsWait("full", LIMIT + 1, FREE))
    given = []
    for _ in range(20):
        given += (runs := hand.take(m.RunSlice))
        for run in runs:
            hand.part("w", run, seconds=5.0)
    assert {run.job for run in given[2:]} == {"other"}
    full, other = (hand.scheduler.state.jobs[name] for name in ("full", "other"))
    now = hand.now
    before = full.usage(now)
    hand.say(STORES, ResultsWait("full", 0, FREE))
    assert before < other.usage(now) - 50.0
    assert full.usage(now) >= other.usage(now) - 10.0
    hand.finish()
    assert sorted(done.job for done in hand.take(m.JobFinished)) == ["full", "other"]


def test_an_idle_slot_is_not_woken_for_a_paused_job(hand):
    hand.worker(slots=4)
    running(hand, total=10)
    hand.say(STORES, ResultsWait("job", LIMIT + 1, FREE))
    for run in hand.take(m.RunSlice):
        hand.part("w", run)
    state = hand.scheduler.state
    assert 0 < state.jobs["job"].remaining < 8, "so few are left to fast slots for a while"
    hand.wait(1.0)
    assert state.timers.get("balance") is None
    assert not hand.take(m.RunSlice)


@pytest.mark.parametrize(
    ("waiting", "free", "paused"),
    [
        (2 * GB, 3 * GB, False),
        (2 * GB, GB, True),
        (60_000_000, 0, False),
        (70_000_000, 0, True),
        (LIMIT, FREE, False),
    ],
)
def test_a_small_disk_is_shared(hand, waiting, free, paused):
    hand.worker()
    running(hand)
    hand.say(STORES, ResultsWait("job", waiting, free))
    assert hand.scheduler.state.jobs["job"].paused is paused
    notices = hand.take(m.Notice)
    assert ["make room where the hub keeps them" in notice.text for notice in notices] == [True] * paused


def test_a_notebook_that_comes_back_hears_of_it(hand):
    hand.worker()
    running(hand)
    hand.say("notebook", PeerClosed())
    hand.say(STORES, ResultsWait("job", LIMIT + 1, FREE))
    hand.take(m.Notice)
    hand.notebook()
    hand.say("notebook", hand.scheduler.state.jobs["job"].spec)
    assert "is paused" in hand.one(m.Notice, "notebook").text


def test_a_paused_job_can_be_cancelled_and_what_is_said_of_it_later_changes_nothing(hand):
    hand.worker()
    running(hand)
    hand.say(STORES, ResultsWait("job", LIMIT + 1, FREE))
    hand.say("notebook", m.CancelJob("job"))
    for run in hand.take(m.RunSlice):
        hand.say("w", m.SliceEnded(run.attempt, "cancelled"))
    assert hand.one(m.JobFinished).outcome == "cancelled"
    hand.say(STORES, ResultsWait("job", 0, FREE))
    hand.say(STORES, ResultsWait("unknown", 0, FREE))
    assert not hand.take(m.RunSlice)
