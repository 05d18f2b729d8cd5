"""A cable that loses and delays packets: a process that passes them between two TAP devices of its own.

It is for kernels without netem. The devices vanish with the process, and the process with whoever has started it.
`python cables.py NEAR FAR SEED` makes the devices, says `ready`, and takes lines `LOSS_PERCENT DELAY_SECONDS`.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import heapq
import itertools
import os
import random
import select
import struct
import subprocess
import sys
import time
from collections.abc import Iterator

TUN_FILE = "/dev/net/tun"
TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
MAX_FRAME_BYTES = 65_536
MAX_UNDER_WAY = 10_000
"""Packets: what comes on top is lost, as at a switch."""
LOSS_PERCENT = 20.0
DELAY_SECONDS = 0.2
LIMIT_SECONDS = 10.0


class Cable:
    """One cable with two ends, network devices of this machine; it passes everything until it is spoiled."""

    def __init__(self, name: str, seed: int = 0) -> None:
        self.near, self.far = name, f"{name}f"
        words = [sys.executable, __file__, self.near, self.far, str(seed)]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._hear("ready")

    def spoil(self, loss_percent: float = LOSS_PERCENT, delay_seconds: float = DELAY_SECONDS) -> None:
        """From now on, in both directions, so many packets are lost, and the others come so much later."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{loss_percent} {delay_seconds}\n")
        self._process.stdin.flush()
        self._hear("so be it")

    def mend(self) -> None:
        """Nothing is lost any more."""
        self.spoil(0.0, 0.0)

    @contextlib.contextmanager
    def spoiled(self, loss_percent: float = LOSS_PERCENT, delay_seconds: float = DELAY_SECONDS) -> Iterator[None]:
        """Like `spoil`, inside."""
        self.spoil(loss_percent, delay_seconds)
        try:
            yield
        finally:
            self.mend()

    def close(self) -> None:
        """The devices are gone behind this."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        try:
            process.wait(LIMIT_SECONDS)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()

    def _hear(self, text: str) -> None:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if line != text:
            self._process.kill()
            raise OSError(f"no cable: {line or 'its process has ended'}")


# --- the process ------------------------------------------------------------------------------------------------------


def open_tap(name: str) -> int:
    """A new TAP device."""
    device = os.open(TUN_FILE, os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TAP | IFF_NO_PI))
    return device


class Forwarder:
    """Takes packets from either end and gives them to the other."""

    def __init__(self, ends: tuple[int, int], seed: int) -> None:
        self._other = {ends[0]: ends[1], ends[1]: ends[0]}
        self._chance = random.Random(seed)
        self._under_way: list[tuple[float, int, int, bytes]] = []
        """When it arrives, its number, where, and the packet."""
        self._numbers = itertools.count()
        self._loss, self._delay_seconds = 0.0, 0.0

    def run(self) -> None:
        """Until standard input ends."""
        watched = select.poll()
        for end in (sys.stdin.fileno(), *self._other):
            watched.register(end, select.POLLIN)
        while True:
            for end, _ in watched.poll(self._pause_milliseconds()):
                if end in self._other:
                    self._take(end)
                elif not self._hear():
                    return
            self._deliver()

    def _hear(self) -> bool:
        words = os.read(sys.stdin.fileno(), 4096).split()
        if words:
            self._loss, self._delay_seconds = float(words[0]) / 100, float(words[1])
            print("so be it", flush=True)
        return bool(words)

    def _take(self, end: int) -> None:
        with contextlib.suppress(BlockingIOError):
            while packet := os.read(end, MAX_FRAME_BYTES):
                is_lost = self._chance.random() < self._loss or len(self._under_way) >= MAX_UNDER_WAY
                if not is_lost:
                    at = time.monotonic() + self._delay_seconds
                    heapq.heappush(self._under_way, (at, next(self._numbers), self._other[end], packet))

    def _deliver(self) -> None:
        while self._under_way and self._under_way[0][0] <= time.monotonic():
            _, _, end, packet = heapq.heappop(self._under_way)
            try:
                os.write(end, packet)
            except OSError as error:
                if error.errno not in (errno.EIO, errno.EAGAIN, errno.ENOBUFS):  # the device is down, or full: lost
                    raise

    def _pause_milliseconds(self) -> float | None:
        if not self._under_way:
            return None
        return max(0.0, 1e3 * (self._under_way[0][0] - time.monotonic()))


def main(near: str, far: str, seed: str) -> None:
    try:
        ends = (open_tap(near), open_tap(far))
    except OSError as error:
        print(f"{TUN_FILE}: {error}", flush=True)
        return
    print("ready", flush=True)
    Forwarder(ends, int(seed)).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
