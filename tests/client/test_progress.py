"""Events to a snapshot, with an estimate that can be relied on."""

from __future__ import annotations

import pytest

from nbdist.client.progress import MAX_NOTICES, Progress, ProgressTracker, seconds_text
from nbdist.engines.base import Sending
from nbdist.wire.messages import JobFinished, JobProgress, Notice, WorkerRow


def report(elapsed: float, done: int, total: int | None = 1_000) -> JobProgress:
    return JobProgress("j", elapsed, total, done, 0, 0, 2, 100.0, (WorkerRow("m", 2, "ready"),))


def test_a_steady_job_has_a_true_estimate() -> None:
    tracker = ProgressTracker(1_000)
    for quarter in range(1, 20):
        tracker.reported(report(quarter / 4, quarter * 25))
    assert tracker.now.eta_seconds == pytest.approx((1_000 - 475) / 100)
    assert tracker.now.fraction == 0.475


def test_the_estimate_is_steady_when_reports_come_in_bursts() -> None:
    tracker = ProgressTracker(10_000)
    estimates = []
    for quarter in range(1, 200):
        tracker.reported(report(quarter / 4, quarter // 4 * 100, 10_000))
        if quarter > 80:
            estimates.append((tracker.now.eta_seconds or 0) + quarter / 4)
    assert 90 < min(estimates) <= max(estimates) < 110


def test_the_estimate_follows_a_change_of_speed() -> None:
    tracker = ProgressTracker(100_000)
    for second in range(1, 61):
        tracker.reported(report(second, second * 100, 100_000))
    for second in range(61, 121):
        tracker.reported(report(second, 6_000 + (second - 60) * 400, 100_000))
    assert tracker.now.eta_seconds == pytest.approx((100_000 - 30_000) / 400, rel=0.05)


def test_nothing_is_said_where_nothing_is_known() -> None:
    tracker = ProgressTracker(None)
    tracker.reported(report(5.0, 10, None))
    assert tracker.now.eta_seconds is None
    assert tracker.now.fraction is None
    fresh = ProgressTracker(10)
    fresh.reported(report(0.1, 1))
    assert fresh.now.eta_seconds is None


def test_done_never_goes_back() -> None:
    tracker = ProgressTracker(100)
    tracker.received(50, 1)
    tracker.reported(report(1.0, 40, 100))
    assert (tracker.now.done, tracker.now.failed) == (50, 1)


def test_the_end_is_final() -> None:
    tracker = ProgressTracker(None)
    tracker.reported(report(1.0, 40, None))
    tracker.finished(JobFinished("j", "done", 3, 64), 2.0)
    tracker.reported(report(1.5, 50, None))
    assert (tracker.now.done, tracker.now.total, tracker.now.outcome) == (64, 64, "done")
    assert tracker.now.items_per_second == 32.0
    assert "64 of 64" in str(tracker.now)


def test_notices_are_kept_once_and_not_for_ever() -> None:
    tracker = ProgressTracker(None)
    for number in range(2 * MAX_NOTICES):
        tracker.noticed(Notice("j", "info", str(number)))
        tracker.noticed(Notice("j", "info", str(number)))
    assert [notice.text for notice in tracker.now.notices] == [str(i) for i in range(MAX_NOTICES, 2 * MAX_NOTICES)]


def test_an_empty_job_is_whole() -> None:
    assert Progress(total=0).fraction == 1.0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0 s"), (0.123, "0.12 s"), (9.96, "10 s"), (59.6, "1 min 00 s"), (200, "3 min 20 s"), (7_500, "2 h 05 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text


def test_data_on_its_way_is_shown_until_it_has_gone() -> None:
    tracker = ProgressTracker(10)
    tracker.sent(Sending("j", 412_000_000, 1_200_000_000, 4.0))
    assert str(tracker.now.sending) == "412 MB of 1.2 GB, 103 MB/s"
    assert "sending 412 MB of 1.2 GB" in str(tracker.now)
    tracker.sent(Sending("j", 1_200_000_000, 1_200_000_000, 9.0))
    assert tracker.now.sending is None
    tracker.sent(Sending("j", 1, 5, 0.0))
    assert str(tracker.now.sending) == "1 bytes of 5 bytes"
    tracker.finished(JobFinished("j", "cancelled", 0, 10), 9.0)
    assert tracker.now.sending is None
    tracker.sent(Sending("j", 1, 5, 1.0))  # it was under way
    assert tracker.now.sending is None
