"""Slices, fairness, and work for idle slots."""

from __future__ import annotations

from nbdist.scheduler.policy import Policy
from nbdist.wire import messages as m


def test_one_item_until_the_speed_is_known_then_at_most_half_a_second_and_half_of_the_share(hand):
    hand.worker(slots=2)
    hand.job(total=10_000)
    hand.ready()
    first, second = hand.take(m.RunSlice)
    assert (first.stop - first.start, second.stop - second.start) == (1, 1)
    hand.part("w", first, seconds=0.001)
    running, waiting = hand.take(m.RunSlice)
    assert running.stop - running.start == 500
    assert waiting.stop - waiting.start == 500
    hand.part("w", second, seconds=0.00002)
    halves = hand.take(m.RunSlice)
    assert 1000 < halves[0].stop - halves[0].start <= 10_000 / 4 + 1


def test_a_slice_waits_only_behind_short_ones(hand):
    hand.worker()
    hand.job(total=100)
    hand.ready()
    hand.part("w", hand.one(m.RunSlice), seconds=2.0)
    assert hand.one(m.RunSlice).stop == 2


def test_a_fixed_size_is_kept_and_aligned(hand):
    hand.worker()
    hand.job(total=25, options={"task_size": 10})
    hand.ready()
    seen = []
    while runs := hand.take(m.RunSlice):
        seen += [(run.start, run.stop) for run in runs]
        for run in runs:
            hand.part("w", run, seconds=0.001)
    assert sorted(seen) == [(0, 10), (10, 20), (20, 25)]


def test_jobs_share_the_pool_by_slot_seconds_not_by_slices(hand):
    hand.worker(slots=4)
    hand.notebook("other")
    hand.job("long", total=1000, options={"task_size": 1})
    hand.ready(job="long")
    hand.job("short", total=1000, notebook="other", options={"task_size": 1})
    hand.ready(job="short")
    seconds = {"long": 0.0, "short": 0.0}
    cost = {"long": 0.8, "short": 0.6}
    for _ in range(400):
        for run in hand.take(m.RunSlice):
            seconds[run.job] += cost[run.job]
            hand.part("w", run, seconds=cost[run.job])
    assert 0.9 < seconds["long"] / seconds["short"] < 1.1


def test_a_new_job_does_not_claim_the_past(hand):
    hand.worker()
    hand.job("first", total=1000, options={"task_size": 1})
    hand.ready(job="first")
    for _ in range(50):
        hand.part("w", hand.one(m.RunSlice), seconds=1.0)
    hand.job("second", total=1000, options={"task_size": 1})
    hand.ready(job="second")
    jobs = []
    for _ in range(20):
        run = hand.one(m.RunSlice)
        jobs.append(run.job)
        hand.part("w", run, seconds=1.0)
    assert 8 <= jobs.count("second") <= 12


def start_pair(hand, total: int) -> m.RunSlice:
    """Worker `a` is busy with all there is, worker `b` has just become ready for it."""
    hand.worker("a")
    hand.job(total=total, options={})
    hand.ready("a")
    hand.part("a", hand.one(m.RunSlice), seconds=0.0001)
    return hand.take(m.RunSlice, "a")


def test_idle_slots_recall_what_waits_and_trim_what_runs(hand):
    runs = start_pair(hand, 400)
    assert sum(run.stop - run.start for run in runs) < 400
    hand.worker("b")
    hand.ready("b")
    while more := hand.take(m.RunSlice, "b"):
        for run in more:
            hand.part("b", run, seconds=(run.stop - run.start) * 0.0001)
    hand.now += 0.001
    hand.wait(0.2)
    trims = hand.take(m.TrimSlice, "a")
    assert {trim.attempt for trim in trims} <= {run.attempt for run in runs}
    assert trims[0].give == 1.0
    recalled = next(run for run in runs if run.attempt == trims[0].attempt)
    hand.say("a", m.SliceCut(recalled.attempt, recalled.start))
    story = hand.scheduler.explain("job", recalled.start, hand.now)
    assert f"recalled [{recalled.start}, {recalled.stop}) a/0" in story


def test_a_worker_that_cannot_give_is_not_asked_for_ever(hand):
    hand.worker("a")
    hand.job(total=2, options={"speculate": False})
    hand.ready("a")
    first = hand.one(m.RunSlice, "a")
    hand.part("a", first, seconds=0.001)
    hand.worker("b")
    hand.ready("b")
    hand.take(m.RunSlice)
    hand.wait(2.0)
    assert len(hand.take(m.TrimSlice)) <= 1


def test_the_last_long_item_is_copied_to_a_faster_slot_and_the_first_result_counts(hand):
    hand.worker("slow")
    hand.worker("fast")
    hand.job(total=12)
    hand.ready("slow")
    run = hand.one(m.RunSlice, "slow")
    hand.part("slow", run, seconds=1.0)
    original = hand.one(m.RunSlice, "slow")
    hand.ready("fast")
    while runs := hand.take(m.RunSlice, "fast"):
        for other in runs:
            hand.part("fast", other, seconds=0.01 * (other.stop - other.start))
    hand.wait(0.5)
    copy = hand.one(m.RunSlice, "fast")
    assert (copy.start, copy.stop) == (original.start, original.stop)
    hand.part("fast", copy)
    assert hand.one(m.JobFinished).outcome == "done"
    assert hand.one(m.CancelAttempt, "slow").attempt == original.attempt
    hand.part("slow", original)
    assert sum(r.stop - r.start for r in hand.take(m.Result)) == 12


def test_no_copies_where_they_are_not_wanted(hand):
    hand.worker("slow")
    hand.worker("fast")
    hand.job(total=3, options={"speculate": False})
    hand.ready("slow")
    run = hand.one(m.RunSlice, "slow")
    hand.ready("fast")
    hand.part("fast", hand.one(m.RunSlice, "fast"), seconds=0.01)
    for other in hand.take(m.RunSlice, "fast"):
        hand.part("fast", other, seconds=0.01)
    hand.wait(5)
    assert not hand.take(m.RunSlice)
    hand.part("slow", run)
    assert hand.one(m.JobFinished).outcome == "done"


def test_a_slow_slot_leaves_the_last_items_to_fast_ones_but_not_for_ever(make_hand):
    hand = make_hand(Policy(silence_seconds=1e6))
    hand.notebook()
    hand.worker("slow")
    hand.worker("fast")
    hand.job(total=4, options={"speculate": False})
    hand.ready("slow")
    first = hand.one(m.RunSlice, "slow")
    hand.ready("fast")
    hand.part("fast", hand.one(m.RunSlice, "fast"), seconds=1.0)
    assert hand.one(m.RunSlice, "fast").stop == 3
    hand.part("slow", first, seconds=5.0)
    assert not hand.take(m.RunSlice, "slow")
    hand.wait(6)
    assert hand.one(m.RunSlice, "slow").stop == 4


def test_idle_slots_beside_several_jobs_of_one_long_item_each_do_not_keep_the_hub_busy(hand):
    """Found in world 163 of the simulation: each job's pause ended in the other's, and the hub ticked 50,000 times a
    second."""
    hand.worker(slots=4)
    for name in ("one", "other", "third"):
        hand.now += hand.scheduler.state.policy.balance_seconds_per_attempt / 3
        hand.job(name, total=1, options={})
        hand.ready(job=name)
    assert len(hand.take(m.RunSlice)) == 3
    hand.wait(1.0)
    end, ticks = hand.now + 1.0, 0
    while (deadline := hand.scheduler.deadline()) is not None and deadline <= end and ticks < 1_000:
        hand.now = max(hand.now, deadline)
        hand.scheduler.tick(hand.now)
        ticks += 1
    assert ticks <= 60
