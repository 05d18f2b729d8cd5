"""`python -m benchmarks.load [--workers N] [--seconds S]`: a thousand workers on one real hub.

The workers are websockets of one process that answer as real ones do: they get ready, "run" each slice for a moment
and send its part. What is measured is the hub: slices per second, memory per connection, its share of a core, and
whether it declares anybody lost who is there.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil
from websockets.asyncio.client import ClientConnection, connect

import nbdist
from nbdist.execution.run import Run
from nbdist.packing import pack_part, pack_run
from nbdist.wire import frames, local
from nbdist.wire import messages as m
from nbdist.wire.address import Address
from nbdist.worker import transfer

HEARTBEAT_SECONDS = 2.0
ITEM_SECONDS = 0.01
DIAL_AT_ONCE = 50
LIMIT_SECONDS = 120.0
"""Beside the time that the work itself may take."""


class Worker:
    """A worker as the hub sees it."""

    def __init__(self, number: int, counts: dict[str, int]) -> None:
        self._name = f"w{number}"
        self._counts = counts
        self._busy = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._running: m.RunSlice | None = None

    async def work(self, address: Address, welcomed: Callable[[], None]) -> None:
        """Joins and works until the connection ends."""
        key = await asyncio.to_thread(self._trade, address)
        headers = {"Authorization": f"Bearer {key}"}
        async with connect(
            address.socket_url, additional_headers=headers, compression=None, proxy=None, ping_interval=None
        ) as socket:
            machine = local.this_machine(1)
            hello = m.Hello("worker", m.PROTOCOL_MIN, m.PROTOCOL_MAX, machine, self._name, self._name, 1)
            await socket.send(frames.encode(hello))
            welcome, _ = frames.decode(await socket.recv(decode=False))
            assert isinstance(welcome, m.Welcome), welcome
            await socket.send(frames.encode(m.WorkerFacts()))
            welcomed()
            self._start(self._beat(socket))
            try:
                async for frame in socket:
                    assert isinstance(frame, bytes)
                    await self._answer(socket, frames.decode(frame)[0])
            finally:
                for task in self._tasks:
                    task.cancel()

    def _trade(self, invite: Address) -> str:
        """A credential for the invite."""
        body = json.dumps({"name": self._name, "peer": self._name}).encode()
        hub = transfer.Hub(invite)
        status, answer = transfer.request(hub, "POST", "/join", body, **{"Content-Type": "application/json"})
        assert status == 200, answer
        return str(json.loads(answer)["key"])

    async def _answer(self, socket: ClientConnection, message: m.Message) -> None:
        self._counts[type(message).__name__] = self._counts.get(type(message).__name__, 0) + 1
        if isinstance(message, m.PrepareJob):
            await socket.send(frames.encode(m.JobReady(message.job)))
        elif isinstance(message, m.RunSlice):
            self._start(self._run(socket, message))
        elif isinstance(message, m.TrimSlice):  # it has claimed everything
            await socket.send(frames.encode(m.SliceCut(message.attempt, 2**62)))

    async def _run(self, socket: ClientConnection, message: m.RunSlice) -> None:
        async with self._busy:
            self._running = message
            count = message.stop - message.start
            await asyncio.sleep(ITEM_SECONDS * count)
            self._running = None
            run = Run(message.start, message.stop, ITEM_SECONDS * count, list(range(message.start, message.stop)))
            payload = b"".join(pack_part([pack_run(run)]))
            part = m.Part(message.job, message.attempt, message.start, message.stop, run.seconds, final=True)
            await socket.send(frames.encode(part, payload))

    async def _beat(self, socket: ClientConnection) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            now = self._running
            running = () if now is None else (m.RunningItem(now.slot, now.attempt, now.start),)
            await socket.send(frames.encode(m.Heartbeat(running)))

    def _start(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def load(workers: int, seconds: float) -> bool:
    """Runs the whole thing and prints what was found; whether nobody was lost."""
    with tempfile.TemporaryDirectory() as folder:
        hub = _start_hub(Path(folder))
        assert hub.stdout is not None
        try:
            connect_url, invite = (hub.stdout.readline().split()[1] for _ in range(2))
            return await _measure(psutil.Process(hub.pid), connect_url, Address.parse(invite), workers, seconds)
        finally:
            hub.terminate()
            hub.wait(10)
            hub.stdout.close()


def _start_hub(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-P", "-m", "nbdist", "hub", "--state", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(Path(nbdist.__file__).parents[1])}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


async def _measure(hub: psutil.Process, connect_url: str, invite: Address, workers: int, seconds: float) -> bool:
    before = hub.memory_info().rss
    counts: dict[str, int] = {}
    tasks = await _join(invite, workers, counts)
    joined = hub.memory_info().rss
    with nbdist.connect(connect_url) as pool:
        await asyncio.to_thread(pool.wait, workers=workers)
        items = int(workers * seconds / ITEM_SECONDS)
        cpu, start = sum(hub.cpu_times()[:2]), time.monotonic()
        job = pool.map(abs, range(items))
        values = await asyncio.to_thread(job.result, 20 * seconds + LIMIT_SECONDS)
        took, cpu = time.monotonic() - start, sum(hub.cpu_times()[:2]) - cpu
        assert list(values) == list(range(items))
        lost = workers - len(pool.workers)  # who is lost and comes back has a new connection: one has ended then
    ended = [task for task in tasks if task.done()]
    print(f"{workers} workers joined, {len(ended)} connections ended, {lost} declared lost")
    print(f"memory per connection  {(joined - before) / workers / 1024:8.1f} KiB")
    print(f"hub RSS                {hub.memory_info().rss / 2**20:8.1f} MiB ({before / 2**20:.1f} without workers)")
    print(f"slices per second      {counts.get('RunSlice', 0) / took:8.0f}")
    print(f"items per second       {items / took:8.0f} of {workers / ITEM_SECONDS:.0f} that there could be")
    print(f"hub CPU                {100 * cpu / took:8.0f} % of a core")
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return not lost and not ended


async def _join(invite: Address, workers: int, counts: dict[str, int]) -> list[asyncio.Task[None]]:
    """All workers, once they are welcome."""
    gate = asyncio.Semaphore(DIAL_AT_ONCE)
    tasks: list[asyncio.Task[None]] = []

    async def one(number: int) -> None:
        await gate.acquire()
        welcome = asyncio.Event()
        task = asyncio.create_task(Worker(number, counts).work(invite, welcome.set))
        tasks.append(task)
        done, _ = await asyncio.wait(
            (task, waiter := asyncio.create_task(welcome.wait())), return_when=asyncio.FIRST_COMPLETED
        )
        waiter.cancel()
        if task in done:
            task.result()
        gate.release()

    await asyncio.gather(*(one(number) for number in range(workers)))
    return tasks


def main() -> int:
    """0: nobody was lost."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=10.0, help="how much work there is for each worker")
    options = parser.parse_args()
    return 0 if asyncio.run(load(options.workers, options.seconds)) else 1


if __name__ == "__main__":
    sys.exit(main())
