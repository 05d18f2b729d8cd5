"""Slots that do not start, and what becomes of their work: the supervisor alone, and one real worker."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from nbdist.driver import Send
from nbdist.wire import messages as m
from nbdist.worker import orders, system
from nbdist.worker.agent import Agent
from nbdist.worker.config import WorkerConfig
from nbdist.worker.records import WorkerPolicy
from nbdist.worker.supervisor import Supervisor

POLICY = WorkerPolicy()
HUNG = orders.SlotDied(0, -1, "killed by SIGKILL", "starting\nwaiting for a licence")


class World:
    """A worker with a hub and a job that is in place, whose slots are still to come."""

    def __init__(self, slots: int = 1) -> None:
        self.now = 0.0
        self.machine = Supervisor(slots, POLICY)
        self.said: list[Send] = list(self.machine.start(self.now))
        self.hear(orders.HUB, m.Welcome(1, "h", 1, "box", "0.1.0"), m.PrepareJob("j", m.JobOptions()))
        self.hear(orders.LOCAL, orders.JobInPlace("j"))
        self.said.clear()

    def hear(self, peer: str, *heard: m.Message) -> World:
        for message in heard:
            self.said += self.machine.receive(peer, message, self.now)
        return self

    def give(self, number: int, slot: int = 0) -> World:
        return self.hear(orders.HUB, m.RunSlice("j", (1, number), slot, 10 * number, 10 * number + 10))

    def until(self, kind: type[m.Message]) -> Any:
        """Lets time pass until this is said."""
        while True:
            for send in self.said:
                if isinstance(send.message, kind):
                    self.said.remove(send)
                    return send.message
            due = self.machine.deadline()
            assert due is not None
            self.now = max(self.now, due)
            self.said += self.machine.tick(self.now)

    def of(self, *kinds: type[m.Message]) -> list[Any]:
        said, self.said = self.said, []
        return [send.message for send in said if isinstance(send.message, kinds)]

    def hang(self, times: int = 1, slot: int = 0) -> World:
        for _ in range(times):
            assert self.until(orders.KillSlot).slot == slot
            self.hear(orders.LOCAL, orders.SlotDied(slot, -1, HUNG.reason, HUNG.stderr))
        return self


def test_a_slot_that_is_not_ready_in_time_is_killed_and_gives_its_slices_back() -> None:
    world = World().give(1).give(2)
    assert world.until(orders.KillSlot) == orders.KillSlot(0)
    assert world.now == POLICY.start_seconds
    assert world.of(m.SliceCut) == []
    world.hear(orders.LOCAL, HUNG)
    assert world.of(m.SliceCut, orders.DropItems, orders.StartSlot, orders.Say) == [
        orders.DropItems((1, 1)),
        m.SliceCut((1, 1), 10),
        orders.DropItems((1, 2)),
        m.SliceCut((1, 2), 20),
    ]
    assert world.until(orders.StartSlot) == orders.StartSlot(0)
    assert world.now == POLICY.start_seconds + POLICY.restart_seconds


def test_a_slot_that_was_slow_once_works() -> None:
    world = World().hang(2)
    world.said.clear()
    world.until(orders.StartSlot)
    world.hear("slot:0", m.SlotReady(1)).give(1)
    assert world.of(m.RunSlice, orders.Say, m.JobRefused) == [m.RunSlice("j", (1, 1), 0, 10, 20)]
    assert world.machine.deadline() == world.machine._beat_at, "nothing more is due of a slot that is up"


def test_slots_that_never_start_are_told_of_once_and_the_work_goes_to_others() -> None:
    world = World(2).give(1, 0).give(2, 1)
    for _ in range(POLICY.failed_starts):
        for slot in (0, 1):
            world.hang(slot=slot)
            world.give(3 + slot, slot) if world.machine.slots[slot].failed_starts < POLICY.failed_starts - 1 else None
    said = world.of(orders.Say, m.JobRefused, m.SliceCut, orders.DropJob)
    (told,) = [message.text for message in said if isinstance(message, orders.Say)]
    assert "slots cannot start on this machine: 3 in a row have failed (not ready after 30 s)" in told
    assert "sitecustomize" in told
    assert told.endswith("starting\nwaiting for a licence")
    (refused,) = [message for message in said if isinstance(message, m.JobRefused)]
    assert refused.job == "j"
    assert "waiting for a licence" in refused.reason
    assert "sitecustomize" in refused.todo
    assert refused.again_seconds > 0, "the hub asks again: slots may start by then"
    assert {message.attempt for message in said if isinstance(message, m.SliceCut)} >= {(1, 1), (1, 2)}
    assert all(not slot.waiting for slot in world.machine.slots)
    world.hear(orders.HUB, m.PrepareJob("k", m.JobOptions())).give(9)
    assert [type(message) for message in world.of(m.JobRefused, m.SliceEnded, m.JobReady)] == [
        m.JobRefused,
        m.SliceEnded,
    ]


def test_after_slots_start_again_new_jobs_run_here() -> None:
    world = World().hang(POLICY.failed_starts)
    world.said.clear()
    world.until(orders.StartSlot)
    world.hear("slot:0", m.SlotReady(1)).hear(orders.HUB, m.PrepareJob("k", m.JobOptions()))
    world.hear(orders.LOCAL, orders.JobInPlace("k"))
    assert world.of(orders.Say, m.JobReady, m.JobRefused) == [
        orders.Say("slots start again; new jobs run here"),
        m.JobReady("k"),
    ]


def test_another_slot_stands_in_for_one_that_is_down() -> None:
    world = World(2).hear("slot:1", m.SlotReady(1)).hang(POLICY.failed_starts)
    assert world.of(orders.Say, m.JobRefused) == []
    world.give(1, 1).give(2, 0).give(3, 0)
    assert [message.attempt for message in world.of(m.RunSlice)] == [(1, 1)]
    world.hear(orders.LOCAL, orders.HubLost("gone")).hear(orders.HUB, m.Welcome(1, "h", 2, "box", "0.1.0"))
    (facts,) = world.of(m.WorkerFacts)
    assert [(held.attempt, held.slot, held.running) for held in facts.held] == [
        ((1, 1), 1, True),
        ((1, 2), 0, True),
        ((1, 3), 0, False),
    ]
    world.hear("slot:1", m.Part("j", (1, 1), 10, 20, 0.1, final=True))
    world.hear("slot:1", m.Part("j", (1, 2), 20, 30, 0.1, final=True))
    assert [message.attempt for message in world.of(m.RunSlice)] == [(1, 2), (1, 3)]


def test_a_slot_that_dies_while_it_starts_gives_back_what_it_was_given() -> None:
    world = World().give(1)
    world.hear(orders.LOCAL, orders.SlotDied(0, -1, "exit code 1"))
    assert world.of(m.SliceCut) == [m.SliceCut((1, 1), 10)]


@pytest.mark.real
@pytest.mark.parametrize("fork", [True, False], ids=["fork", "spawn"])
@pytest.mark.parametrize("does", ["hangs", "ends"])
def test_a_machine_on_which_no_slot_starts(
    does: str, fork: bool, fake_hub: Any, limited: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python runs `sitecustomize` before anything else."""
    if fork and not system.CAN_FORK:
        pytest.skip("this operating system has no fork server")
    ends = "time.sleep(600)" if does == "hangs" else "os._exit(1)"
    code = f"import os, sys, time\nprint('waiting for a licence', file=sys.stderr, flush=True)\n{ends}\n"
    (tmp_path / "sitecustomize.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    async def test() -> None:
        hub = fake_hub()
        hub.open()
        notes: asyncio.Queue[str] = asyncio.Queue()
        policy = WorkerPolicy(start_seconds=0.5, restart_seconds=0.01)
        agent = Agent(WorkerConfig(slots=2, invite=hub.invite, fork=fork), notes.put_nowait, policy)
        work = asyncio.ensure_future(agent.run())
        try:
            while "slots cannot start on this machine" not in (note := await notes.get()):
                continue
            assert note.endswith("waiting for a licence")
            agent.leave("enough")
            assert await work == "enough"
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            await hub.close()

    limited(test)
