"""Machines that prepare a job: shown with what they are at, given nothing, and never slow for it."""

from __future__ import annotations

from nbdist.scheduler.shares import MAX_DOING_CHARACTERS
from nbdist.wire import messages as m


def rows(hand):
    return {row.name: row for row in hand.take(m.JobProgress)[-1].workers}


def test_the_notebook_sees_who_is_at_what(hand):
    hand.worker("a")
    hand.worker("b")
    hand.job()
    hand.ready("a")
    hand.say("b", m.Preparing("job", "fetching 412 MB of 1.2 GB"))
    hand.wait(1.0)
    found = rows(hand)
    assert (found["b"].state, found["b"].reason) == ("preparing", "fetching 412 MB of 1.2 GB")
    assert (found["a"].state, found["a"].reason) == ("ready", "")
    hand.ready("b")
    hand.say("b", m.Preparing("job", "late"))
    hand.part("a", hand.take(m.RunSlice, "a")[0])
    hand.wait(1.0)
    assert (rows(hand)["b"].state, rows_reason(hand, "b")) == ("ready", "")


def rows_reason(hand, name):
    job = hand.scheduler.state.jobs["job"]
    return job.shares[name].reason


def test_what_it_says_is_bounded_and_of_other_jobs_ignored(hand):
    hand.worker()
    hand.job()
    hand.say("w", m.Preparing("job", "x" * 10_000))
    hand.say("w", m.Preparing("nothing", "x"))
    hand.wait(1.0)
    assert len(rows(hand)["w"].reason) == MAX_DOING_CHARACTERS


def test_a_job_that_waits_for_all_says_what_they_are_at(hand):
    hand.worker("a")
    hand.worker("b")
    hand.job()
    hand.say("b", m.Preparing("job", "installing pandas 2.3.3"))
    for _ in range(20):
        hand.wait(1.0)
        hand.say("a", m.Heartbeat())
        hand.say("b", m.Heartbeat())
    notice = hand.take(m.Notice)[-1]
    assert notice.text == "job job waits: a: getting its data; b: installing pandas 2.3.3"


def test_preparing_for_long_makes_nobody_slow(hand):
    """`b` gets its data for a minute: from then on its items come as fast as a's, and so do its slices."""
    for name in ("a", "b"):
        hand.worker(name)
    hand.job(total=100_000)
    hand.ready("a")
    for _ in range(60):
        hand.wait(1.0)
        for run in hand.take(m.RunSlice, "a"):
            hand.part("a", run, seconds=(run.stop - run.start) * 0.01)
        hand.say("a", m.Heartbeat())
        hand.say("b", m.Heartbeat())
    assert not hand.take(m.RunSlice, "b")
    hand.ready("b")
    for _ in range(8):
        for run in hand.take(m.RunSlice, "b"):
            hand.part("b", run, seconds=(run.stop - run.start) * 0.01)
    shares = hand.scheduler.state.jobs["job"].shares
    assert shares["b"].speed == shares["a"].speed
