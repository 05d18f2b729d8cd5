"""What the scheduler tells about itself."""

from __future__ import annotations

import json

from nbdist.scheduler.policy import Policy
from nbdist.wire import frames
from nbdist.wire import messages as m


def test_describe_is_plain_data(hand):
    hand.worker("a", slots=2)
    hand.job()
    hand.ready("a")
    hand.take(m.RunSlice)
    pool = json.loads(json.dumps(hand.scheduler.describe(hand.now)))
    (worker,) = pool["workers"]
    assert (worker["name"], worker["slots"], worker["busy"], worker["state"]) == ("a", 2, 2, "busy")
    assert worker["machine"]["python"] == "3.11.7"
    (job,) = pool["jobs"]
    assert (job["id"], job["state"], job["total"], job["running"], job["queued"]) == ("job", "running", 10, 2, 8)
    assert pool["hub"]["slots"] == 2


def test_why_is_item_314_not_done(hand):
    explain = lambda item: hand.scheduler.explain("job", item, hand.now)  # noqa: E731
    assert "No job job" in explain(314)
    hand.job(total=400, options={"task_size": 100, "on_error": "keep"})
    assert "queued; no machine has joined" in explain(314)
    hand.worker("laptop")
    assert "laptop: getting its data" in explain(314)
    hand.ready("laptop")
    assert "with laptop, slot 0" in explain(14)
    assert "its turn has not come" in explain(314)
    run = hand.one(m.RunSlice)
    hand.part("laptop", run, stop=14, final=False)
    hand.say("laptop", m.SlotCrashed(run.attempt, 14, "killed by SIGKILL"))
    assert "waiting at laptop" in explain(14)
    assert "crashed: killed by SIGKILL [14, 15) laptop/0" in explain(14)
    assert "crashed" not in explain(314)
    assert "no such item" in explain(400)
    hand.finish("laptop")
    assert "done" in explain(314)


def test_history_is_bounded(make_hand):
    hand = make_hand(Policy(history_events=50))
    hand.notebook()
    hand.worker()
    hand.job(total=1000, options={"task_size": 1})
    hand.ready()
    hand.finish()
    job = hand.scheduler.state.jobs["job"]
    assert len(job.history) == 50
    assert len(job.done._starts) == 1
    assert not (job.crashes)
    assert not (job.losses)
    assert not (job.failures)
    assert not (job.avoid)
    assert not (job.alone)


def test_progress_is_sent_four_times_a_second_and_only_when_something_changed(hand):
    hand.worker()
    hand.job(total=100, options={"task_size": 1})
    hand.ready()
    for _ in range(40):
        hand.wait(0.05)
        for run in hand.take(m.RunSlice):
            hand.part("w", run, seconds=1.0)
    assert 6 <= len(hand.take(m.JobProgress)) <= 9
    hand.wait(3)
    assert len(hand.take(m.JobProgress)) <= 1


def test_progress_of_many_machines_fits_a_frame(hand):
    for number in range(80):
        hand.worker(f"machine-with-a-rather-long-name-{number}", slots=2)
    hand.job(total=100_000)
    for number in range(80):
        hand.ready(f"machine-with-a-rather-long-name-{number}")
    hand.say("notebook", m.CancelJob("job"))
    for run in hand.take(m.RunSlice):
        worker = hand.scheduler.state.attempts[run.attempt].worker.id
        hand.say(worker, m.SliceEnded(run.attempt))
    progress = hand.take(m.JobProgress)[-1]
    assert len(progress.workers) == 64
    assert progress.more_workers == 16
    assert frames.decode(frames.encode(progress))[0] == progress


def test_left_out_machines_are_in_the_progress_with_what_to_type(hand):
    hand.worker("laptop")
    hand.worker("other")
    hand.job()
    hand.say("laptop", m.JobRefused("job", "no module named 'pandas'", "python -m pip install pandas"))
    hand.wait(0.3)
    row = next(row for row in hand.take(m.JobProgress)[-1].workers if row.name == "laptop")
    assert row.state == "refused"
    assert "pip install pandas" in row.reason
    hand.ready("other")
    hand.finish("other")
    assert hand.one(m.JobFinished).outcome == "done"


def test_one_job_is_described_as_among_all(hand):
    hand.job(total=7)
    hand.job("open", total=None)
    rows = {row["id"]: row for row in hand.scheduler.describe(hand.now)["jobs"]}
    assert {job: hand.scheduler.row(job, hand.now) for job in ("job", "open")} == rows
    assert [rows[job]["total"] for job in ("job", "open")] == [7, None]
    assert hand.scheduler.row("unknown", hand.now) == {}


def test_what_a_worker_says_at_length_is_cut_and_can_be_passed_on(hand):
    for number in range(12):
        hand.worker(f"w{number}")
    hand.job()
    for number in range(12):
        hand.say(f"w{number}", m.JobRefused("job", "🦆" * 4_000, "🦆" * 1_000))
    for _ in range(4):
        hand.wait(3)
        for number in range(12):
            hand.say(f"w{number}", m.Heartbeat())
    notices = hand.take(m.Notice)
    assert "no machine can run it" in notices[0].text
    assert all(len(frames.encode(notice)) < frames.MAX_HEADER_BYTES for notice in notices)
    assert "🦆 … (cut)" in hand.scheduler.explain("job", 0, hand.now)


def test_a_job_for_each_machine_says_in_a_frame_why_one_is_left_out(hand):
    hand.worker()
    hand.job(total=None, each="machine", options={"on_error": "keep"})
    hand.say("w", m.JobRefused("job", "🦆" * 4_000, "🦆" * 1_000))
    assert len(frames.encode(hand.one(m.Result))) < frames.MAX_HEADER_BYTES
