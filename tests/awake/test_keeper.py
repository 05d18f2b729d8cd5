"""The lock against sleep: taken and given back as decided, by the right program, which ends with its process."""

from __future__ import annotations

import heapq
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from inhibitor import Inhibitor

from nbdist.awake import keeper
from nbdist.awake.holding import RELEASE_AFTER_SECONDS
from nbdist.awake.keeper import Keeper, system_lock

LIMIT_SECONDS = 60.0
ROOT = Path(__file__).resolve().parents[2]
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="systemd-inhibit is Linux's")


class World:
    """A clock with timers, a lock and some work."""

    def __init__(self) -> None:
        self.now = 0.0
        self.is_busy = False
        self.timers: list[tuple[float, int, Callable[[], None]]] = []
        self.told: list[tuple[str, float]] = []
        self.keeper = Keeper(lambda: self.is_busy, clock=lambda: self.now, call_later=self.call_later, lock=self)

    def hold(self) -> None:
        self.tell("held")

    def release(self) -> None:
        self.tell("released")

    def tell(self, what: str) -> None:
        if (self.told[-1][0] if self.told else "released") != what:
            self.told.append((what, self.now))

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Callable[[], None]:
        entry = (self.now + seconds, len(self.timers), callback)
        heapq.heappush(self.timers, entry)
        return lambda: self.timers.remove(entry)

    def run_until(self, now: float) -> None:
        while self.timers and self.timers[0][0] <= now:
            self.now, _, callback = heapq.heappop(self.timers)
            callback()
        self.now = now


def test_it_looks_only_while_there_is_work() -> None:
    world = World()
    assert not world.timers
    world.is_busy = True
    world.keeper.poke()
    world.run_until(10.0)
    world.is_busy = False
    world.run_until(60.0)
    assert [what for what, _ in world.told] == ["held", "released"]
    assert RELEASE_AFTER_SECONDS <= world.told[1][1] - 10.0 + 1.0 <= RELEASE_AFTER_SECONDS + 2.0
    assert not world.timers


def test_a_keeper_that_is_closed_lets_go() -> None:
    world = World()
    world.is_busy = True
    world.keeper.poke()
    world.run_until(10.0)
    world.keeper.close()
    assert world.told[-1][0] == "released"
    assert not world.timers
    world.keeper.poke()
    assert not world.timers


@pytest.fixture
def inhibitor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inhibitor:
    return Inhibitor(tmp_path, monkeypatch)


@linux_only
@pytest.mark.real
def test_the_program_runs_between_hold_and_release(inhibitor: Inhibitor) -> None:
    lock = system_lock("a test")
    assert lock is not None
    lock.hold()
    lock.hold()
    lines = inhibitor.wait("start", "a test")
    assert "--what=idle:sleep" in lines[0]
    lock.release()
    lock.release()
    assert [line.split()[0] for line in inhibitor.wait("end")] == ["start", "end"]


@linux_only
@pytest.mark.real
def test_it_ends_with_a_process_that_is_killed(inhibitor: Inhibitor) -> None:
    code = (
        "import time\nfrom nbdist.awake.keeper import system_lock\n"
        "lock = system_lock('a test'); lock.hold(); print('held', flush=True); time.sleep(60)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        inhibitor.wait("start")
        process.send_signal(signal.SIGKILL)
    inhibitor.wait("end")


@linux_only
@pytest.mark.real
def test_a_program_that_does_not_help_is_not_started_again(inhibitor: Inhibitor) -> None:
    inhibitor.program.write_text(f'#!/bin/sh\necho "$$ tried" >>{inhibitor.record}\nexit 1\n')
    lock = system_lock("a test")
    assert isinstance(lock, keeper._Helper)
    lock.hold()
    assert lock._process is not None
    lock._process.wait(LIMIT_SECONDS)
    for _ in range(3):
        lock.hold()
        lock.release()
    assert inhibitor.lines() == ["start tried", "end tried"]


def test_a_system_without_a_way_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    if sys.platform != "win32":
        assert system_lock("a test") is None
        assert keeper.way() == ""
