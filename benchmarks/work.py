"""What the benchmarks compute: plain functions of a module, so that every peer can import them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

PI_PIECE_SAMPLES = 16_384
"""Two arrays of so many numbers fit into a core's own cache."""
SLOW_SLOT_FILE = "NBDIST_BENCH_SLOW"
"""Environment variable: a file that the first process to come creates, and is slow from then on."""
GO_ON = "go-on"
_is_slow: bool | None = None


def nothing(x: Any) -> Any:
    """Costs nothing."""
    return x


def growing(n: int) -> int:
    """Pure Python whose cost grows with n."""
    total = 0
    for i in range(n):
        total += i * i % 7
    return total


def pi_piece(samples: int, piece: int, seed: int) -> int:
    """Samples within the quarter circle, drawn `piece` at a time."""
    import numpy

    generator = numpy.random.default_rng(seed)
    inside = 0
    for start in range(0, samples, piece):
        some = min(piece, samples - start)
        x, y = generator.random(some), generator.random(some)
        inside += int(numpy.count_nonzero(x * x + y * y <= 1.0))
    return inside


def pi_small(seed: int) -> int:
    """10^6 samples in pieces that fit the cache."""
    return pi_piece(1_000_000, PI_PIECE_SAMPLES, seed)


def pi_large(seed: int) -> int:
    """10^6 samples at once: bound by memory."""
    return pi_piece(1_000_000, 1_000_000, seed)


def nap_of_4(seconds: float) -> float:
    """Sleeps; in one of the processes four times as long."""
    time.sleep(seconds * slowness(4))
    return seconds


def nap_of_8(seconds: float) -> float:
    """Sleeps; in one of the processes eight times as long."""
    time.sleep(seconds * slowness(8))
    return seconds


def slowness(factor: int) -> int:
    """`factor` in the process that asks first, 1 in all others."""
    global _is_slow
    if _is_slow is None:
        try:
            os.close(os.open(os.environ[SLOW_SLOT_FILE], os.O_CREAT | os.O_EXCL))
            _is_slow = True
        except FileExistsError:
            _is_slow = False
    return factor if _is_slow else 1


def total_of(array: Any, row: int) -> float:
    """Touches a captured array."""
    return float(array[row % len(array)])


def hold_array(array: Any, folder: str) -> float:
    """Reads a captured array from end to end, says so, and keeps it until it is told to go on."""
    total = float(array.sum())
    with open(os.path.join(folder, f"{os.getpid()}-{time.monotonic_ns()}"), "wb"):
        pass
    while not os.path.exists(os.path.join(folder, GO_ON)):
        time.sleep(0.01)
    return total


@contextmanager
def one_slow_slot(folder: str) -> Iterator[None]:
    """Processes that are started inside have one slow one among them."""
    os.environ[SLOW_SLOT_FILE] = os.path.join(folder, f"slow-{time.monotonic_ns()}")
    try:
        yield
    finally:
        del os.environ[SLOW_SLOT_FILE]


def beat(folder: str) -> None:
    """Python code without end, which writes down again and again that it still runs, and in which process."""
    with open(os.path.join(folder, f"{os.getpid()}-{time.monotonic_ns()}"), "wb", buffering=0) as file:
        while True:
            file.seek(0)
            file.write(b"%20d" % time.monotonic_ns())


def hold(folder: str) -> None:
    """C code without end, which no signal interrupts."""
    import hashlib

    with open(os.path.join(folder, f"{os.getpid()}-{time.monotonic_ns()}"), "wb") as file:
        file.write(b"%20d" % time.monotonic_ns())
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)


def wait_for_word(item: tuple[str, int]) -> None:
    """Leaves word that this item has begun in this process, and waits for a file with the process's number."""
    folder, number = item
    open(os.path.join(folder, f"begun-{number}-{os.getpid()}"), "w").close()
    while not os.path.exists(os.path.join(folder, f"go-{os.getpid()}")):
        time.sleep(0.001)
