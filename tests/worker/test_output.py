"""What is written while somebody takes it comes whole and in order."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nbdist.worker import output
from nbdist.worker.output import Capture


@pytest.fixture
def capture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Capture]:
    """A capture whose two descriptors are files of the test's."""
    handles = [os.open(tmp_path / str(number), os.O_RDWR | os.O_CREAT | os.O_APPEND) for number in range(3)]
    make = output._File
    monkeypatch.setattr(output, "_File", lambda descriptor, position: make(handles[descriptor], position))
    yield Capture([0])
    for handle in handles:
        os.close(handle)


def test_nothing_is_lost_while_another_thread_takes(capture: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "SLICE_BYTES", 1 << 30)
    capture.begin_slice("job")
    taken: list[bytes] = []
    is_over = threading.Event()

    def take() -> None:
        while not is_over.is_set():
            taken.extend(text.data for text in capture.take())

    taker = threading.Thread(target=take)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        taker.start()
        for number in range(20_000):
            capture._stdout.write(f"line {number}\n")
    finally:
        is_over.set()
        taker.join()
        sys.setswitchinterval(interval)
    taken += [text.data for text in capture.take()]
    assert b"".join(taken).decode().splitlines() == [f"line {number}" for number in range(20_000)]


def test_a_line_that_is_written_in_pieces_comes_whole(capture: Capture) -> None:
    capture._stdout.write("one\ntw")
    assert [text.data for text in capture.take()] == [b"one\n"]
    capture._stdout.write("o\nthr")
    assert [text.data for text in capture.take()] == [b"two\n"]
    assert [text.data for text in capture.take()] == [b"thr"]  # it does not wait for long
    capture._stdout.write("ee")
    assert capture.take() == []
    assert [text.data for text in capture.take(is_last=True)] == [b"ee"]


def test_what_is_held_back_stays_its_items(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handle = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT | os.O_APPEND)
    make = output._File
    monkeypatch.setattr(output, "_File", lambda descriptor, position: make(handle, position))
    position = [4]
    capture = Capture(position)
    capture._stdout.write("of four")
    assert capture.take() == []
    position[0] = 5
    capture._stdout.write("of five")
    assert [(text.item, text.data) for text in capture.take()] == [(4, b"of four")]
    assert [(text.item, text.data) for text in capture.take(is_last=True)] == [(5, b"of five")]
    os.close(handle)


def test_a_progress_bar_comes_while_it_moves(capture: Capture) -> None:
    came = []
    for percent in range(5):
        capture._stdout.write(f"\r{percent} %")
        came.append(b"".join(text.data for text in capture.take()))
    came.append(b"".join(text.data for text in capture.take()))
    assert came == [b"\r", b"0 %\r", b"1 %\r", b"2 %\r", b"3 %\r", b"4 %"]


def test_all_that_is_left_out_is_counted(capture: Capture) -> None:
    line = b"x" * 99 + b"\n"
    texts = []
    for _ in range(3):
        for _ in range(5_000):  # half a megabyte, far over what is kept between two looks
            capture._stdout.buffer.write(line)
        texts += capture.take()
    texts += capture.take(is_last=True)
    assert sum(len(text.data) for text in texts) == output.SLICE_BYTES
    assert sum(text.cut_bytes for text in texts) == 1_500_000 - output.SLICE_BYTES
    assert sum(text.cut_bytes > 0 for text in texts) == 2  # a mark at once, and one at the end


def test_what_a_job_left_behind_does_not_write_for_the_next(capture: Capture) -> None:
    said = threading.Event()
    goes_on = threading.Event()

    def leftover() -> None:
        capture._stdout.write("late\n")
        capture._stderr.write("late\n")
        said.set()
        assert goes_on.wait(60)
        capture._stdout.write("later\n")
        capture._stdout.buffer.write(b"later\n")
        capture._stderr.write("later\n")

    capture.begin_slice("first")
    thread = threading.Thread(target=leftover)
    thread.start()
    assert said.wait(60)
    capture.begin_slice("second")
    goes_on.set()
    thread.join()
    another = threading.Thread(target=capture._stdout.write, args=("mine\n",))
    another.start()
    another.join()
    assert [(text.stream, text.data) for text in capture.take(is_last=True)] == [("stdout", b"mine\n")]


def test_what_a_job_writes_between_two_of_its_slices_is_its_own(capture: Capture) -> None:
    capture.begin_slice("job")
    capture._stdout.write("between\n")
    capture.begin_slice("job")
    assert [text.data for text in capture.take()] == [b"between\n"]


def test_what_a_process_wrote_is_its_items_also_if_it_is_taken_later(tmp_path: Path, monkeypatch: Any) -> None:
    handle = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT | os.O_APPEND)
    make = output._File
    monkeypatch.setattr(output, "_File", lambda descriptor, position: make(handle, position))
    position = [0]
    capture = Capture(position)
    capture._stderr.write("before\n")
    capture.take()
    os.write(handle, b"a process\n")
    capture._stderr.write("after\n")
    position[0] = 1
    capture._stderr.write("next\n")
    texts = [(text.item, text.data) for text in capture.take() if text.stream == "stderr"]
    assert texts == [(0, b"a process\n"), (0, b"after\n"), (1, b"next\n")]
    os.close(handle)
