"""What is written while somebody takes it comes whole and in order."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

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
    capture.begin_slice()
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
