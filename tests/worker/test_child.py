"""Real slots: what user code can do to them, and what comes back."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nbdist.packing import unpack_part
from nbdist.wire import frames
from nbdist.wire import messages as m
from nbdist.worker.child import Slot
from nbdist.worker.orders import SlotDied
from nbdist.worker.output import Capture

pytestmark = pytest.mark.real

Pack = Callable[..., bytes]
OnSlot = Callable[[Any], None]


def test_a_million_items(slot: OnSlot, packed: Pack) -> None:
    async def test(bench: Any) -> None:
        bench.run(packed(lambda x: x), 0, 1_000_000)
        assert await bench.to_end() == list(range(1_000_000))
        assert all(len(payload) <= 256 * 1024 for _, payload in bench.passed)

    slot(test)


def test_a_segmentation_fault_ends_the_process_and_is_named(slot: OnSlot, packed: Pack) -> None:
    def function(item: int) -> int:
        if item == 5:
            import ctypes

            ctypes.string_at(0)
        return item

    async def test(bench: Any) -> None:
        bench.run(packed(function), 0, 10)
        died = await bench.until(SlotDied)
        assert died.item == 5
        assert died.reason == "killed by SIGSEGV"
        assert "Segmentation fault" in died.stderr
        await bench.host.start()
        await bench.until(m.SlotReady)
        bench.run(packed(lambda x: x), 6, 10, attempt=(1, 2))
        bench.passed.clear()
        assert await bench.to_end() == [6, 7, 8, 9]

    slot(test)


def test_an_exit_is_named_with_the_last_words(slot: OnSlot, packed: Pack) -> None:
    def function(item: int) -> None:
        import os

        print("no memory for this", file=sys.stderr)
        os._exit(3)

    async def test(bench: Any) -> None:
        bench.run(packed(function), 3, 4)
        assert await bench.until(SlotDied) == SlotDied(0, 3, "exit code 3", "no memory for this")

    slot(test)


def test_output_comes_back_with_the_item_that_wrote_it(slot: OnSlot, packed: Pack) -> None:
    def function(item: int) -> None:
        import subprocess
        import sys

        print("out", item)
        print("err", item, file=sys.stderr)
        if item == 2:
            subprocess.run([sys.executable, "-c", "print('from a process')"], check=True)

    async def test(bench: Any) -> None:
        bench.run(packed(function), 0, 3)
        await bench.to_end()
        assert bench.text("stderr") == {i: f"err {i}\n" for i in range(3)}
        assert bench.text("stdout") == {0: "out 0\n", 1: "out 1\n", 2: "out 2\nfrom a process\n"}

    slot(test)


def test_bytes_text_and_what_comes_from_elsewhere_arrive_in_order(slot: OnSlot, packed: Pack) -> None:
    def function(item: int) -> None:
        import os
        import subprocess
        import sys

        for stream in (sys.stdout, sys.stderr):
            print("text", file=stream)
            stream.buffer.write(b"bytes\n")
            stream.buffer.write(memoryview(b"\xe2\x82"))
            stream.buffer.flush()
            stream.buffer.write(bytearray(b"\xac\n"))
            print("before", file=stream)
            subprocess.run([sys.executable, "-c", "print('a process')"], stdout=stream, check=True)
            print("between", file=stream)
            os.write(stream.fileno(), b"descriptor\n")
            print("after", file=stream, flush=True)

    async def test(bench: Any) -> None:
        bench.run(packed(function), 0, 2)
        await bench.to_end()
        wanted = "text\nbytes\n€\nbefore\na process\nbetween\ndescriptor\nafter\n"
        assert bench.text("stdout") == {0: wanted, 1: wanted}
        assert bench.text("stderr") == {0: wanted, 1: wanted}

    slot(test)


def test_a_late_tick_does_not_send_what_the_next_slice_writes_under_the_name_of_the_last() -> None:
    sent: list[tuple[str, bytes]] = []

    class Link:
        def send(self, message: Any, payload: bytes = b"") -> None:
            sent.append((message.job, payload))

    capture = Capture([0])
    slot = Slot(Link(), None, capture, "")  # type: ignore[arg-type]
    last, following = (m.RunSlice(job, (1, number), 0, 0, 1) for number, job in enumerate(("last", "following")))
    slot._begin_output(last)
    capture._stdout.write("one\n")
    slot._end_output(last)
    slot._begin_output(following)
    capture._stdout.write("two\n")
    slot._send_output(last)
    slot._end_output(following)
    assert sent == [("last", b"one\n"), ("following", b"two\n")]


def test_a_character_in_two_halves_arrives_whole_and_what_is_none_is_marked(slot: OnSlot, packed: Pack) -> None:
    def function(item: int) -> None:
        import sys
        import time

        sys.stdout.buffer.write(b"\xe2\x82")
        time.sleep(0.2)  # longer than output waits
        sys.stdout.buffer.write(b"\xac\xff!")

    async def test(bench: Any) -> None:
        bench.run(packed(function), 0, 1)
        await bench.to_end()
        assert bench.text("stdout") == {0: "€\ufffd!"}

    slot(test)


def test_streams_have_what_libraries_ask_of_them(slot: OnSlot, packed: Pack) -> None:
    def function(item: int) -> list[Any]:
        import contextlib
        import faulthandler
        import io
        import logging
        import sys

        facts = []
        for number, stream in ((1, sys.stdout), (2, sys.stderr)):
            assert stream.fileno() == stream.buffer.fileno() == number
            assert not stream.isatty()
            assert not stream.buffer.isatty()
            assert stream.encoding == "utf-8"
            assert stream.errors in ("replace", "backslashreplace")
            assert stream.writable()
            assert not stream.readable()
            stream.reconfigure(encoding="utf-8", errors="strict", line_buffering=True, write_through=False)
            wrapped = io.TextIOWrapper(stream.buffer, encoding="utf-8", write_through=True)
            wrapped.write("wrapped\n")
            wrapped.close()
            stream.close()
            print("open", file=stream)
            facts.append((stream.closed, stream.buffer.closed, stream.name, stream.buffer.mode))
        faulthandler.dump_traceback(file=sys.stderr, all_threads=False)
        logging.StreamHandler().emit(logging.makeLogRecord({"msg": "logged"}))
        with contextlib.suppress(TypeError):
            sys.stdout.buffer.write("text")
        with contextlib.suppress(TypeError):
            sys.stdout.write(b"bytes")
        return facts

    async def test(bench: Any) -> None:
        bench.run(packed(function), 0, 1)
        assert await bench.to_end() == [[(False, False, "<stdout>", "wb"), (False, False, "<stderr>", "wb")]]
        assert bench.text("stdout") == {0: "wrapped\nopen\n"}
        assert bench.text("stderr")[0].startswith("wrapped\nopen\n")
        assert "in function" in bench.text("stderr")[0]
        assert "logged" in bench.text("stderr")[0]

    slot(test)


def test_output_comes_while_an_item_still_runs(slot: OnSlot, packed: Pack) -> None:
    def function(item: int) -> None:
        import time

        print("begun")
        time.sleep(60)

    async def test(bench: Any) -> None:
        bench.run(packed(function), 0, 1)
        await bench.until(m.Output)
        assert bench.text("stdout") == {0: "begun\n"}

    slot(test)


def test_output_has_a_bound_and_a_mark(slot: OnSlot, packed: Pack) -> None:
    async def test(bench: Any) -> None:
        bench.run(packed(lambda x: print("x" * 10_000)), 0, 30)
        await bench.to_end()
        heads = [message for message, _ in bench.passed if isinstance(message, m.Output)]
        assert sum(len(payload) for message, payload in bench.passed if isinstance(message, m.Output)) <= 64 * 1024
        assert heads[-1].cut_bytes > 0

    slot(test)


def test_input_says_that_nobody_is_there(slot: OnSlot, packed: Pack) -> None:
    async def test(bench: Any) -> None:
        bench.run(packed(lambda x: input("? ")), 0, 1)
        await bench.to_end()
        (failure,) = [
            failure
            for message, data in bench.passed
            if isinstance(message, m.Part)
            for run in unpack_part(data)
            for failure in run.failures
        ]
        assert failure.message.startswith("input() cannot be used in an item")

    slot(test)


def test_a_value_that_cannot_travel_fails_its_item_alone(slot: OnSlot, packed: Pack) -> None:
    async def test(bench: Any) -> None:
        bench.run(packed(lambda x: (i for i in ()) if x == 3 else x), 0, 6, on_error="keep")
        assert await bench.to_end() == [0, 1, 2, 4, 5]
        (part,) = [message for message, _ in bench.passed if isinstance(message, m.Part)]
        assert part.failed == (3,)

    slot(test)


@pytest.mark.parametrize("code", ["import time; time.sleep(60)", "while True: pass"])
def test_an_interrupt_ends_the_item_and_keeps_what_was_done(slot: OnSlot, packed: Pack, code: str) -> None:
    def function(item: int) -> int:
        if item == 4:
            print("there")
            exec(code)
        return item

    async def test(bench: Any) -> None:
        bench.run(packed(function), 0, 10)
        await bench.until(m.Output)
        bench.host.interrupt((9, 9))  # another attempt: nothing happens
        bench.host.interrupt((1, 1))
        ended = await bench.until(m.SliceEnded)
        assert ended == m.SliceEnded((1, 1), "cancelled")
        parts = [message for message, _ in bench.passed if isinstance(message, m.Part)]
        assert [(part.start, part.final) for part in parts][:1] == [(0, False)]
        assert parts[-1].stop == 4
        bench.again(5, 8, (1, 2))
        bench.passed.clear()
        assert await bench.to_end() == [5, 6, 7]

    slot(test)


def test_a_slice_that_is_cut_ends_at_the_cut(slot: OnSlot, packed: Pack) -> None:
    def function(item: int) -> int:
        import time

        print(item)
        time.sleep(0.1)
        return item

    async def test(bench: Any) -> None:
        bench.run(packed(function), 0, 1000)
        await bench.until(m.Output)
        stop = bench.host.cut((1, 1), 1.0)
        assert stop is not None
        assert stop < 200  # soon behind where it was
        assert await bench.to_end() == list(range(stop))

    slot(test)


def test_a_task_that_cannot_be_loaded_is_refused_with_the_line_to_type(slot: OnSlot, packed: Pack) -> None:
    async def test(bench: Any) -> None:
        task = packed(len).replace(b"builtins", b"builtonz")
        bench.run(task, 0, 1)
        refused = await bench.until(m.TaskRefused)
        assert "builtonz" in refused.reason
        assert refused.todo == f"{sys.executable} -m pip install builtonz"

    slot(test)


@pytest.mark.parametrize(("error", "is_own"), [(ValueError, True), (OSError, False), (AttributeError, False)])
def test_what_fails_when_it_is_unpacked_may_be_the_tasks_own_fault(
    slot: OnSlot, packed: Pack, error: type[Exception], is_own: bool
) -> None:
    class Model:
        def __init__(self) -> None:
            self.size = 3

        def __setstate__(self, state: Any) -> None:
            raise error("not like this")

    model = Model()

    async def test(bench: Any) -> None:
        bench.run(packed(lambda x: model), 0, 1)
        refused = await bench.until(m.TaskRefused)
        assert refused.reason.endswith(f"cannot be loaded: {error.__name__}: not like this (in Model.__setstate__)")
        assert refused.setup is is_own

    slot(test)


def test_why_a_task_cannot_be_loaded_fits_a_frame_however_long_it_is(slot: OnSlot, packed: Pack) -> None:
    class Unloadable:
        def __reduce__(self) -> Any:
            return exec, (f"raise ValueError({'🦆' * 100_000!r} + 'end')",)

    async def test(bench: Any) -> None:
        bench.run(packed(Unloadable()), 0, 1)
        refused = await bench.until(m.TaskRefused)
        assert refused.reason.startswith("the function cannot be loaded: ValueError: 🦆")
        assert "characters left out" in refused.reason
        assert refused.reason.endswith("🦆end")
        assert len(frames.encode(m.JobRefused("j" * 100, refused.reason, refused.todo))) < frames.MAX_HEADER_BYTES

    slot(test)


def test_numeric_libraries_are_held_to_their_threads(slot: OnSlot, packed: Pack) -> None:
    async def test(bench: Any) -> None:
        bench.run(packed(lambda x: __import__("os").environ["OMP_NUM_THREADS"]), 0, 1)
        assert await bench.to_end() == ["1"]

    slot(test)


def test_items_can_start_processes_of_their_own(slot: OnSlot, packed: Pack) -> None:
    def function(item: int) -> list[int]:
        import multiprocessing

        with multiprocessing.get_context("fork").Pool(1) as pool:
            return pool.map(abs, [-1, -2])

    if sys.platform != "linux":
        pytest.skip("forks")

    async def test(bench: Any) -> None:
        bench.run(packed(function), 0, 1)
        assert await bench.to_end() == [[1, 2]]

    slot(test)


def test_a_long_item_does_not_hold_back_what_was_done_before_it(slot: OnSlot, packed: Pack) -> None:
    def function(item: int) -> int:
        import time

        if item == 3:
            time.sleep(60)
        return item

    async def test(bench: Any) -> None:
        bench.run(packed(function), 0, 5)
        part = await bench.until(m.Part)
        assert (part.start, part.final) == (0, False)

    slot(test)


def test_a_death_is_noticed_although_a_process_of_the_items_lives_on(slot: OnSlot, packed: Pack) -> None:
    def function(item: int) -> None:
        import os
        import time

        if os.fork() == 0:
            time.sleep(60)
        os._exit(3)

    async def test(bench: Any) -> None:
        bench.run(packed(function), 0, 1)
        assert (await bench.until(SlotDied)).reason == "exit code 3"

    slot(test)


def test_a_result_that_was_being_written_is_removed_with_its_slot(slot: OnSlot, packed: Pack, tmp_path: Path) -> None:
    def function(item: int) -> None:
        import os

        from nbdist.worker.outbox import draft_prefix

        open(os.path.join(folder, draft_prefix(os.getpid()) + "x"), "wb").close()
        os._exit(3)

    folder = str(tmp_path)

    async def test(bench: Any) -> None:
        bench.run(packed(function), 0, 1)
        await bench.until(SlotDied)
        assert not [name for name in os.listdir(folder) if name.startswith("draft-")]

    slot(test)


# --- time limits ---


def failures_of(bench: Any) -> dict[int, str]:
    parts = [payload for message, payload in bench.passed if isinstance(message, m.Part)]
    return {f.index: f.message for part in parts for run in unpack_part(part) for f in run.failures}


def test_items_that_take_too_long_fail_and_the_others_of_their_slice_have_their_values(
    slot: OnSlot, packed: Pack
) -> None:
    def function(item: int) -> int:
        import time

        if item == 2:
            time.sleep(60)
        while item == 4:
            pass
        return item

    async def test(bench: Any) -> None:
        bench.run(packed(function), 0, 7, time_limit=1, on_error="keep")
        assert await bench.to_end() == [0, 1, 3, 5, 6]
        assert failures_of(bench) == dict.fromkeys((2, 4), "took longer than its time limit of 1 s")
        assert bench.host.where().began == 0

    slot(test)


def test_an_item_is_published_with_its_beginning_while_it_runs(slot: OnSlot, packed: Pack) -> None:
    def function(item: int) -> None:
        import time

        print("here", flush=True)
        time.sleep(60)

    async def test(bench: Any) -> None:
        before = time.monotonic()
        bench.run(packed(function), 3, 5, time_limit=50)
        await bench.until(m.Output)
        where = bench.host.where()
        assert (where.attempt, where.item) == ((1, 1), 3)
        assert before <= where.began <= time.monotonic()
        bench.host.interrupt((1, 1))
        await bench.until(m.SliceEnded)
        async with asyncio.timeout(60):
            while bench.host.where().began:  # noqa: ASYNC110 - shared memory tells nobody; the word of the end comes first
                await asyncio.sleep(0.01)

    slot(test)


def test_no_interrupt_hits_the_item_behind_the_one_that_it_was_meant_for(slot: OnSlot, packed: Pack) -> None:
    """10,000 items of about their limit: each that was struck had really used its time, since the one before ended."""

    def function(item: int) -> Any:
        import builtins
        import time

        facts = builtins.__dict__.setdefault("facts", {"ended": time.monotonic(), "struck": 0, "wrong": []})
        try:
            until = time.monotonic() + (item % 4 == 0) * (item % 5) * 0.0005
            while item % 200 == 0 or time.monotonic() < until:
                pass
        except KeyboardInterrupt:
            facts["struck"] += 1
            if time.monotonic() - facts["ended"] < 0.001:
                facts["wrong"].append(item)
            raise
        finally:
            facts["ended"] = time.monotonic()
        return item

    async def nudge(bench: Any) -> None:
        while True:
            bench.host.nudge()
            await asyncio.sleep(0.0005)

    async def test(bench: Any) -> None:
        bench.run(packed(function), 0, 10_000, time_limit=0.001, on_error="keep")
        nudging = asyncio.ensure_future(nudge(bench))
        assert sorted([*await bench.to_end(), *failures_of(bench)]) == list(range(10_000))
        nudging.cancel()
        assert set(failures_of(bench)) >= set(range(0, 10_000, 200))
        bench.passed.clear()
        bench.run(packed(lambda item: (facts["wrong"], facts["struck"] > 0)), 0, 1, (1, 2))  # type: ignore[name-defined]  # noqa: F821
        assert await bench.to_end() == [([], True)]

    slot(test)
