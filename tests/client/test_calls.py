"""Calls gather into bursts, in order, for the function as it was when they were made."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, wait
from typing import Any

import pytest

from nbdist.client import bursts
from nbdist.client.calls import MAX_OPEN, Calls, _are_same, _Captured
from nbdist.engines.base import Block, Deliver, PackedTask
from nbdist.errors import JobCancelledError, NbdistError, PackingError
from nbdist.execution.run import Run as FinishedRun
from nbdist.execution.task import Task
from nbdist.packing import load_task, pack_part, pack_run, unpack_chunk
from nbdist.wire import blocks
from nbdist.wire.messages import ItemFault, JobFinished, Result


class OpenJob:
    """An open job that answers when it is told to, with the task and the items as they were packed."""

    def __init__(self, task: Task, packed: Callable[[], PackedTask], deliver: Deliver) -> None:
        self.task = load_task(b"".join(packed().pieces), {})
        self.blobs = packed().blobs
        self.deliver = deliver
        self.items: list[Any] = []
        self.blocks: list[int] = []
        self.large: list[int] = []
        self.answered = self.seq = self.consumed_seq = 0
        self.is_closed = self.is_forgotten = False

    def wait(self, timeout: float | None) -> None: ...

    def consumed(self, seq: int) -> None:
        self.consumed_seq = seq

    def add(self, values: Any, block: Callable[[], Block]) -> None:
        made = block()
        files = {f"{number:064x}": data for number, data in enumerate(made.large)}
        data = made.data if made.finish is None else made.finish(list(files))
        items = [item for chunk in blocks.split(data, 0) for item in unpack_chunk(chunk.data, files.__getitem__)]
        self.large += [len(data) // 1_000_000 * 1_000_000 for data in made.large]
        assert len(items) == made.count == len(values)
        self.items += items
        self.blocks.append(len(items))

    def close_items(self) -> None:
        self.is_closed = True

    def cancel(self, reason: str) -> None: ...

    def forget(self) -> None:
        self.is_forgotten = True

    def answer(self) -> None:
        """Runs all items that are here."""
        for index in range(self.answered, len(self.items)):
            run = FinishedRun(index, index + 1, 0.0)
            try:
                run.values = [self.task.function(*self.items[index])]
            except Exception as error:  # noqa: BLE001 - the item's failure
                run.failures, run.kept = [(index, error)], []
            self.seq += 1
            self.deliver(Result("j", self.seq, index, index + 1, "m"), b"".join(pack_part([pack_run(run)])))
        self.answered = len(self.items)


class World:
    """An engine of open jobs."""

    def __init__(self) -> None:
        self.jobs: list[OpenJob] = []
        self.refusal: NbdistError | None = None
        self.calls = Calls(self.open)

    def open(self, task: Task, packed: Callable[[], PackedTask], deliver: Deliver) -> OpenJob:
        if self.refusal is not None:
            raise self.refusal
        self.jobs.append(OpenJob(task, packed, deliver))
        return self.jobs[-1]

    def submit(self, function: Any, *arguments: Any, **keywords: Any) -> Future[Any]:
        return self.calls.submit(function, arguments, keywords)

    def settle(self) -> None:
        """Waits for the sending thread: everything that was submitted is at a job."""
        for line in self.calls._lines.values():
            line.flush()
        for job in self.jobs:
            job.answer()


class Watched(list[Any]):
    """Tells when something is added."""

    def __init__(self, values: list[Any], added: threading.Event) -> None:
        super().__init__(values)
        self._added = added

    def append(self, value: Any) -> None:
        super().append(value)
        self._added.set()


@pytest.fixture
def world() -> Any:
    made = World()
    yield made
    made.calls.close()


def square(x: int) -> int:
    return x * x


def test_a_single_call_is_sent_at_once(world: World) -> None:
    future = world.submit(square, 5)
    assert world.jobs[0].items == [(5,)]
    world.jobs[0].answer()
    assert future.result(0) == 25
    assert world.jobs[0].consumed_seq == 1


def test_calls_that_find_others_under_way_gather(world: World) -> None:
    futures = [world.submit(square, i) for i in range(1_000)]
    world.settle()
    assert [future.result(60) for future in futures] == [i * i for i in range(1_000)]
    assert len(world.jobs) == 1
    assert world.jobs[0].items == [(i,) for i in range(1_000)]
    assert len(world.jobs[0].blocks) < 500


def test_a_function_whose_names_are_bound_anew_is_another_one(world: World) -> None:
    offset = 0

    def add(x: int) -> int:
        return x + offset

    futures = []
    for offset in (1, 1, 2, 3):  # noqa: B007 - add() reads it
        futures.append(world.submit(add, 10))
    world.settle()
    assert [future.result(60) for future in futures] == [11, 11, 12, 13]
    assert len(world.jobs) == 3
    assert [job.is_closed for job in world.jobs] == [True, True, False]


def test_a_captured_list_that_has_changed_is_packed_anew(world: World) -> None:
    seen = [1]

    def total() -> int:
        return sum(seen)

    first = world.submit(total)
    world.settle()
    seen.append(5)
    second = world.submit(total)
    world.settle()
    assert (first.result(0), second.result(0)) == (1, 6)


def test_failures_reach_their_calls(world: World) -> None:
    good, bad = world.submit(int, "5"), world.submit(int, "x")
    world.settle()
    assert good.result(0) == 5
    with pytest.raises(ValueError, match="'x'"):
        bad.result(0)


def test_arguments_that_cannot_be_packed_fail_alone(world: World) -> None:
    futures = [world.submit(str, value) for value in (1, threading.Lock(), 3)]
    world.settle()
    assert (futures[0].result(0), futures[2].result(0)) == ("1", "3")
    with pytest.raises(PackingError, match=r"argument 0 of the arguments of the call .*lock"):
        futures[1].result(0)


def test_a_function_that_cannot_be_packed_is_refused_at_once(world: World) -> None:
    guard = threading.Lock()
    with pytest.raises(PackingError, match="'guard'"):
        world.submit(lambda: guard)
    with pytest.raises(TypeError, match="cannot be called"):
        world.submit(5)


def test_large_arguments_are_large_items_of_the_same_job(world: World) -> None:
    calls = [world.submit(len, bytes(size)) for size in (2, 2_000_000, 3, 1_000_000)]
    world.settle()
    assert [call.result(0) for call in calls] == [2, 2_000_000, 3, 1_000_000]
    assert len(world.jobs) == 1
    assert world.jobs[0].large == [2_000_000, 1_000_000]


def test_arguments_over_the_bound_are_refused_and_others_are_not(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nbdist.client.feed.MAX_ITEM_BYTES", 1_500_000)
    large, small = world.submit(len, bytes(2_000_000)), world.submit(len, b"12")
    world.settle()
    assert small.result(0) == 2
    with pytest.raises(PackingError, match=r"the arguments of the call have 2\.0 MB packed, more than 1\.5 MB"):
        large.result(0)


def test_keywords(world: World) -> None:
    future = world.submit(int, "11", base=3)
    world.settle()
    assert future.result(0) == 4


def test_a_call_that_is_lost_says_why(world: World) -> None:
    future = world.submit(square, 1)
    fault = ItemFault(0, "crashed", "exit code 3", "m", 3)
    world.jobs[0].deliver(Result("j", 1, 0, 1, "m", fault=fault), b"")
    with pytest.raises(NbdistError, match="exit code 3"):
        future.result(0)


def test_the_end_of_a_job_ends_its_calls_and_the_next_call_opens_another(world: World) -> None:
    future = world.submit(square, 1)
    world.jobs[0].deliver(JobFinished("j", "cancelled", 0, None, "cleared"), b"")
    with pytest.raises(JobCancelledError, match="cleared"):
        future.result(0)
    assert world.jobs[0].is_forgotten
    again = world.submit(square, 3)
    world.settle()
    assert again.result(0) == 9
    assert len(world.jobs) == 2


def test_an_engine_that_refuses_fails_the_call(world: World) -> None:
    world.refusal = NbdistError("closed")
    with pytest.raises(NbdistError, match="closed"):
        world.submit(square, 1).result(0)


def test_an_idle_function_opens_a_new_job(world: World) -> None:
    future = world.submit(square, 1)
    (line,) = world.calls._lines.values()
    line.rest()
    assert not world.jobs[0].is_closed
    world.settle()
    assert future.result(0) == 1
    line.rest()
    assert world.jobs[0].is_closed
    again = world.submit(square, 2)
    world.settle()
    assert again.result(0) == 4


def test_functions_that_were_not_called_for_long_make_room(world: World) -> None:
    functions = [eval(f"lambda x: x + {number}") for number in range(MAX_OPEN + 5)]
    futures = [world.submit(function, 1) for function in functions]
    world.settle()
    assert [future.result(0) for future in futures] == [1 + number for number in range(MAX_OPEN + 5)]
    assert sum(not job.is_closed for job in world.jobs) == MAX_OPEN


def test_many_threads(world: World) -> None:
    found: list[tuple[int, Future[Any]]] = []

    def work(base: int) -> None:
        found.extend([(number, world.submit(square, number)) for number in range(base, base + 200)])

    threads = [threading.Thread(target=work, args=(base,)) for base in (0, 1_000, 2_000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    world.settle()
    assert len(found) == 600
    assert all(future.result(60) == number * number for number, future in found)


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> World:
    """Three jobs at once; the next one begins when the test says so, not the sending thread."""
    monkeypatch.setattr(bursts, "MAX_UNFINISHED", 3)
    world = World()
    world.calls._gate._wake = lambda: None
    return world


def submit_functions(world: World, count: int) -> list[Future[Any]]:
    """A call of each of so many functions, all of which are closed: other functions have taken their places."""
    futures = [world.submit(eval(f"lambda x: x + {number}"), 1) for number in range(count)]
    for line in list(world.calls._lines.values()):
        line.close()
    return futures


def test_only_so_many_jobs_are_at_the_pool_and_the_others_follow_in_order(narrow: World) -> None:
    futures = submit_functions(narrow, 3 * MAX_OPEN)
    for number, future in enumerate(futures):
        unfinished = [job for job in narrow.jobs if not job.is_forgotten]
        assert len(unfinished) <= 3
        narrow.calls._gate.admit()
        job = narrow.jobs[number]
        job.answer()
        assert job.is_closed
        job.deliver(JobFinished("j", "done", job.seq, 1, ""), b"")
        assert future.result(0) == 1 + number
    narrow.calls.close()


def test_the_sending_thread_begins_what_waits(narrow: World) -> None:
    narrow.calls._gate._wake = narrow.calls._wake
    submit_functions(narrow, 4)
    began = threading.Event()
    narrow.jobs = Watched(narrow.jobs, began)
    assert len(narrow.jobs) == 3
    narrow.jobs[0].deliver(JobFinished("j", "done", 0, 1, ""), b"")
    assert began.wait(60)
    assert len(narrow.jobs) == 4
    narrow.calls.close()


def test_a_call_that_waits_for_its_turn_can_be_cancelled(narrow: World) -> None:
    futures = submit_functions(narrow, 5)
    assert not futures[0].cancel()  # it is at the pool
    assert futures[3].cancel()
    for job in narrow.jobs[:3]:
        job.answer()
        job.deliver(JobFinished("j", "done", job.seq, 1, ""), b"")
    narrow.calls._gate.admit()
    narrow.settle()
    assert futures[4].result(60) == 5
    assert len(narrow.jobs) == 4  # none for the call that was cancelled
    assert wait(futures, 10).not_done == set()
    narrow.calls.close()


def test_a_gathered_call_can_be_cancelled(world: World) -> None:
    first, second, third = (world.submit(square, number) for number in (1, 2, 3))
    assert not first.cancel()
    is_cancelled = second.cancel()  # unless the sending thread was faster
    world.settle()
    assert third.result(60) == 9
    assert second.cancelled() if is_cancelled else second.result(60) == 4
    assert world.jobs[0].items == ([(1,), (3,)] if is_cancelled else [(1,), (2,), (3,)])


def test_the_end_cancels_calls_that_wait(narrow: World) -> None:
    futures = submit_functions(narrow, 6)
    narrow.calls.close()
    assert [future.cancelled() for future in futures] == [False] * 3 + [True] * 3
    with pytest.raises(CancelledError):
        futures[5].result(0)
    assert wait(futures[3:], 10).not_done == set()


def test_after_the_end_nothing_is_taken(world: World) -> None:
    world.calls.close()
    with pytest.raises(NbdistError, match="closed"):
        world.submit(square, 1)


def test_another_value_at_the_address_of_one_that_is_gone_is_another_one() -> None:
    box: Any = None
    captured = _Captured(lambda: box)
    box = [1.0]
    before = captured.snapshot()
    for number in range(100):  # CPython gives the memory of the last one to the next
        box = None
        box = [number]
        assert not _are_same(captured.snapshot(), before)
        before = captured.snapshot()


def test_a_callable_that_cannot_be_hashed(world: World) -> None:
    @dataclasses.dataclass(frozen=True)
    class Add:
        values: list[int]

        def __call__(self, x: int) -> int:
            return sum(self.values) + x

    future = world.submit(Add([1, 2]), 3)
    world.settle()
    assert future.result(60) == 6


def test_a_callback_may_call_the_same_function_again(world: World) -> None:
    again: list[Future[Any]] = []
    first = world.submit(square, 5)
    failing = world.submit(square, threading.Lock())
    failing.add_done_callback(lambda _: again.append(world.submit(square, 6)))
    world.jobs[0].answer()
    assert first.result(60) == 25
    flushing = threading.Thread(target=world.settle, daemon=True)
    flushing.start()
    with pytest.raises(PackingError):
        failing.result(60)
    flushing.join(10)
    assert not flushing.is_alive()
    world.settle()
    assert again[0].result(60) == 36
