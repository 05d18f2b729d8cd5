"""A job and its events: out of order, twice, after it was dropped."""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from nbdist.client import inbox, state
from nbdist.client.inbox import MAX_WAITING_OUTPUT_BYTES, sweep
from nbdist.client.items import RangeItems, StreamItems
from nbdist.client.job import Job
from nbdist.client.options import Reduction, make_options
from nbdist.client.parts import job_name
from nbdist.engines.base import Block, JobSpec, PackedTask
from nbdist.errors import JobCancelledError, JobRefusedError, NbdistError, PackingError, WorkerCrashedError
from nbdist.execution.run import Run as FinishedRun
from nbdist.execution.task import Task
from nbdist.packing import pack_part, pack_run
from nbdist.wire.messages import ItemFault, JobFinished, JobProgress, Notice, Output, Result


class Script:
    """A run whose events the test delivers; while it is waited for it delivers what is prepared."""

    sending_seconds = 0.0

    def __init__(self) -> None:
        self.prepared: list[Callable[[], None]] = []
        self.consumed_seq = 0
        self.cancelled = ""
        self.forgotten = 0

    def wait(self, timeout: float | None) -> None:
        if self.prepared:
            self.prepared.pop(0)()

    def consumed(self, seq: int) -> None:
        self.consumed_seq = seq

    def add(self, values: Sequence[Any], block: Callable[[], Block]) -> None: ...

    def close_items(self) -> None: ...

    def cancel(self, reason: str) -> None:
        self.cancelled = reason

    def forget(self) -> None:
        self.forgotten += 1


def payload(*runs: FinishedRun) -> bytes:
    return b"".join(pack_part([pack_run(run) for run in runs]))


class World:
    def __init__(self, count: int = 10, *, reduce: Any = None, items: Any = None, **options: Any) -> None:
        reduction = Reduction.of(reduce)
        rules = make_options(
            reduce=reduce is not None, filters=False, stop_when=bool(options.pop("stop_when", False)), **options
        )
        spec = JobSpec("j", "squares", rules, Task(abs), lambda: PackedTask([]), total=count)
        self.items = items or RangeItems([range(100, 100 + count)])
        self.job = Job(spec, self.items, reduction)
        self.run = Script()
        self.job.inbox.run = self.run
        self.deliver = self.job.inbox.deliver
        self.seq = 0

    def result(self, start: int, stop: int, values: list[Any] | None = None, **more: Any) -> None:
        self.seq += 1
        made = [i * i for i in range(start, stop)] if values is None else values
        run = FinishedRun(start, stop, 1.0, made, **more)
        self.deliver(Result("j", self.seq, start, stop, "m", stopped_at=run.stopped_at), payload(run))

    def finish(self, outcome: Any = "done", reason: str = "") -> None:
        self.deliver(JobFinished("j", outcome, self.seq, 10, reason), b"")


def test_results_in_any_order_and_twice() -> None:
    world = World()
    for start, stop in ((5, 10), (0, 3), (0, 3), (2, 5), (3, 5)):
        world.result(start, stop)
    world.finish()
    assert world.job.result(0) == [i * i for i in range(10)]
    assert world.run.consumed_seq == world.seq
    assert sorted(world.job.as_completed()) == [(i, i * i) for i in range(10)]


def test_the_end_may_come_before_the_results() -> None:
    world = World()
    world.seq = 2
    world.finish()
    world.seq = 0
    assert world.job.outcome is None
    assert not world.job.wait(0)
    world.run.prepared = [lambda: world.result(0, 5), lambda: world.result(5, 10)]
    assert world.job.result(5) == [i * i for i in range(10)]


def test_iteration_waits_for_what_comes() -> None:
    world = World()
    world.run.prepared = [
        lambda: world.result(5, 10),
        lambda: world.result(0, 2),
        lambda: world.result(2, 5),
        world.finish,
    ]
    iterator = iter(world.job)
    assert next(iterator) == 0
    assert len(world.run.prepared) == 2
    assert list(iterator) == [i * i for i in range(1, 10)]


def test_an_interrupt_cancels_and_waits_for_the_end() -> None:
    world = World()

    def interrupt() -> None:
        raise KeyboardInterrupt

    world.result(0, 3)
    world.run.prepared = [interrupt, lambda: world.finish("cancelled")]
    with pytest.raises(KeyboardInterrupt):
        world.job.result()
    assert world.run.cancelled == "interrupted"
    assert world.job.outcome == "cancelled"
    assert world.job.values == [0, 1, 4]


def test_an_interrupt_in_the_middle_of_an_event_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(reduce=sum)
    world.result(0, 5, [10])
    world.result(5, 10, [35])
    world.finish()
    apply = world.job._state.progress.received
    calls = iter([True])

    def interrupted(done: int, failed: int) -> None:
        if next(calls, False):
            raise KeyboardInterrupt
        apply(done, failed)

    monkeypatch.setattr(world.job._state.progress, "received", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _ = world.job.progress
    assert world.job.result(0) == 45


def test_faults_and_refusals() -> None:
    world = World(on_error="keep")
    fault = ItemFault(4, "crashed", "killed by SIGSEGV", "m", 3, "last words")
    world.result(0, 4)
    world.seq += 1
    world.deliver(Result("j", world.seq, 4, 5, "m", fault=fault), b"")
    world.result(5, 10)
    world.finish()
    failure = world.job.result(0)[4]
    assert isinstance(failure.error, WorkerCrashedError)
    assert "item 4 = 104" in str(failure.error)
    assert "SIGSEGV" in str(failure.error)
    assert "last words" in str(failure.error)
    refused = World()
    refused.finish("refused", "no module named 'pandas' on m")
    with pytest.raises(JobRefusedError, match="pandas"):
        refused.job.result(0)


def test_the_lowest_item_that_met_stop_when_counts() -> None:
    world = World(stop_when=True)
    world.result(6, 8, stopped_at=7)
    world.result(2, 4, stopped_at=3)
    world.finish("stopped")
    assert world.job.result(0) == [9]
    assert tuple(world.job.stopped_by or ()) == (3, 103, 9)


def test_the_item_that_met_stop_when_is_known_although_items_of_a_generator_are_forgotten() -> None:
    world = World(stop_when=True, items=StreamItems([iter(range(100, 110))], star=False, total=None))
    assert len(list(world.items.read())) == 10
    world.result(2, 4, stopped_at=3)
    world.result(0, 2)
    world.finish("stopped")
    assert tuple(world.job.stopped_by or ()) == (3, 103, 9)
    with pytest.raises(NbdistError, match="no longer known"):
        world.job.item(3)


def given_before(error: type[Exception], values: Iterator[Any]) -> list[Any]:
    """What an iterator gives before it raises."""
    given: list[Any] = []
    with pytest.raises(error):
        deque(map(given.append, values))
    return given


def test_iterating_gives_no_value_behind_a_gap_before_it_raises() -> None:
    world = World()
    world.result(0, 3)
    world.result(5, 10)
    world.finish("cancelled")
    assert given_before(JobCancelledError, iter(world.job)) == [0, 1, 4]
    assert len(given_before(JobCancelledError, world.job.as_completed())) == 8
    assert len(world.job.values) == 8


def test_iterating_gives_no_value_behind_the_failure_that_it_raises() -> None:
    world = World()
    world.result(4, 10)
    world.result(3, 4, [], failures=[(3, ZeroDivisionError("3"))], kept=[])
    world.result(0, 3)
    world.run.prepared = [lambda: world.finish("failed")]
    assert given_before(ZeroDivisionError, iter(world.job)) == [0, 1, 4]


def test_the_machines_of_a_fold_are_counted_although_its_ranges_are_joined() -> None:
    world = World(reduce=sum)
    for start in (4, 6, 0, 2, 8):
        world.result(start, start + 2, [start])
    world.finish()
    assert world.job.result(0) == 20
    assert [(segment.start, segment.stop, segment.seconds) for segment in world.job.segments] == [(0, 10, 5.0)]
    machine = world.job.stats["machines"].pop("m")
    assert (machine["items"], machine["busy_seconds"]) == (10, 5.0)


def test_results_that_cannot_be_unpacked_here() -> None:
    world = World()
    world.seq = 1
    world.deliver(Result("j", 1, 0, 10, "m"), b"garbage")
    world.finish()
    with pytest.raises(PackingError, match=r"items 0 to 9 from m"):
        world.job.result(0)


def test_a_reduce_function_that_raises_on_this_side() -> None:
    def join(a: Any, b: Any) -> Any:
        raise ZeroDivisionError("join")

    world = World(reduce=join)
    world.result(0, 5, [1])
    world.result(5, 10, [2])
    world.finish()
    with pytest.raises(ZeroDivisionError, match="join"):
        world.job.result(0)


def test_output_is_given_once() -> None:
    world = World()
    world.deliver(Output("j", (1, 1), 3, "stdout", "m"), "grüß".encode())
    assert [(text.item, text.text) for text in world.job.take_output()] == [(3, "grüß")]
    assert world.job.take_output() == []
    assert len(world.job.output) == 1


def test_many_short_texts_are_bounded_as_few_long_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "MAX_OUTPUT_CHARS", 50 * state.OUTPUT_CHARS)
    world = World()
    for number in range(200):
        world.deliver(Output("j", (1, 1), number, "stdout", "m"), b"")
        if number % 10 == 9:
            assert [text.item for text in world.job.take_output()] == list(range(number - 9, number + 1))
    assert [text.item for text in world.job.output] == list(range(150, 200))


def test_output_that_nobody_asks_for_is_counted_when_it_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "MAX_WAITING_OUTPUT_BYTES", 10 * (inbox.OUTPUT_BYTES + 6))
    world = World()
    for number in range(100):
        world.deliver(Output("j", (1, 1), number, "stdout", "m", 1), b"twelve")
    texts = world.job.take_output()
    assert [(text.item, text.text, text.cut_bytes) for text in texts[:2]] == [(89, "", 90 * 7), (90, "twelve", 1)]
    assert len(texts) == 11
    assert world.job.take_output() == []


def test_a_timeout_says_why_nothing_happens() -> None:
    world = World()
    with pytest.raises(TimeoutError, match=r"not done after 0 s: 0 of 10, 0 items/s$"):
        world.job.result(0)
    world.deliver(Notice("j", "warning", "no machine can run it. vm: No module named 'machines'"), b"")
    with pytest.warns(RuntimeWarning), pytest.raises(TimeoutError, match=r"0 items/s; no machine can run it\. vm: No"):
        world.job.result(0)
    world.deliver(JobProgress("j", 2.0, 10, 4, 0, 6, 2, 2.0), b"")  # slots are at it
    with pytest.raises(TimeoutError, match=r"2 items/s, 3 s left$"):
        world.job.result(0)


def test_stats_and_progress() -> None:
    world = World()
    world.result(0, 4)
    world.deliver(JobProgress("j", 2.0, 10, 4, 0, 6, 2, 2.0), b"")
    assert (world.job.progress.done, world.job.progress.queued) == (4, 6)
    machine = world.job.stats["machines"].pop("m")
    assert (machine["items"], machine["busy_seconds"]) == (4, 1.0)
    assert "4 of 10" in repr(world.job)


def test_items_that_do_not_exist() -> None:
    with pytest.raises(NbdistError, match="no longer known"):
        World().job.item(99)


def test_a_dropped_job_runs_to_its_end_and_leaves_nothing() -> None:
    world = World()
    inbox, run = world.job.inbox, world.run
    world.result(0, 5)
    del world.job
    gc.collect()
    sweep()
    assert (len(inbox.events), run.consumed_seq) == (0, 1)
    world.result(5, 10)
    world.finish()
    assert (len(inbox.events), run.consumed_seq, run.forgotten) == (0, 2, 0)
    inbox.release()
    assert run.forgotten == 1


def test_a_job_is_forgotten_once_it_is_over_and_released() -> None:
    world = World()
    world.job.inbox.release()
    world.result(0, 10)
    world.finish()
    assert world.run.forgotten == 0
    world.job.result(0)
    world.job.inbox.release()
    assert world.run.forgotten == 1


def test_what_waits_for_a_job_that_nobody_looks_at_is_bounded() -> None:
    world = World()
    for number in range(1000):
        world.deliver(JobProgress("j", number * 0.25, 10, 0, 0, 10, 1, 0.0), b"")
        world.deliver(Output("j", (1, number), 0, "stdout", "m"), bytes(64 * 1024))
    inbox = world.job.inbox
    assert sum(len(text) for _, text in inbox.take_reports()) <= MAX_WAITING_OUTPUT_BYTES
    assert not inbox.events


def test_a_fold_that_was_interrupted_is_no_result() -> None:
    def add(a: int, b: int) -> int:
        if b == 7:
            raise KeyboardInterrupt
        return a + b

    world = World(reduce=add)
    world.result(0, 5, [1])
    world.result(5, 10, [7])
    world.finish()
    with pytest.raises(KeyboardInterrupt):
        world.job.result(0)
    with pytest.raises(JobCancelledError, match="interrupted"):
        world.job.result(0)


def test_a_job_whose_results_cannot_be_used_is_ended() -> None:
    world = World()
    world.seq = 1
    world.deliver(Result("j", 1, 0, 5, "m"), b"garbage")
    assert world.job.outcome is None
    assert "PackingError" in world.run.cancelled


@pytest.mark.parametrize(
    ("name", "text"), [(None, "abs"), ("a\ud800b", "a?b"), (5, "5"), ("x" * 500, "x" * 100), ("", "abs")]
)
def test_a_job_is_called_by_text_that_can_be_sent(name: object, text: str) -> None:
    assert job_name(name, Task(abs)) == text


def test_at_the_end_the_run_hears_once_more_what_was_consumed() -> None:
    world = World(2)
    world.result(0, 2)
    assert world.job.progress.done is not None
    assert world.run.consumed_seq == 1
    world.run.consumed_seq = 0
    world.finish()
    assert world.job.result() == [0, 1]
    assert world.run.consumed_seq == 1
