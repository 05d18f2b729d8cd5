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
