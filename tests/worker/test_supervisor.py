"""What a supervisor decides, as values: no process, no socket, no clock."""

from __future__ import annotations

from typing import Any

import pytest

from nbdist.driver import Send
from nbdist.wire import messages as m
from nbdist.worker import orders
from nbdist.worker.records import WorkerPolicy
from nbdist.worker.supervisor import Supervisor

A1, A2, A3 = (1, 1), (1, 2), (1, 3)
BLOB = m.BlobRef("ab" * 32, 300_000)


class World:
    """A supervisor with its clock, and what it has said since the last look."""

    def __init__(self, slots: int = 1, memory_bytes: int = 0) -> None:
        self.now = 100.0
        self.machine = Supervisor(slots, WorkerPolicy(), memory_bytes=memory_bytes)
        self.said: list[Send] = list(self.machine.start(self.now))

    def hear(self, peer: str, *heard: m.Message) -> World:
        for message in heard:
            self.said += self.machine.receive(peer, message, self.now)
        return self

    def pass_time(self, seconds: float) -> World:
        end = self.now + seconds
        while (due := self.machine.deadline()) is not None and due <= end:
            self.now = max(self.now, due)
            self.said += self.machine.tick(self.now)
        self.now = end
        return self

    def take(self, peer: str = "") -> list[m.Message]:
        said, self.said = self.said, []
        return [send.message for send in said if send.peer == peer or not peer]

    def of(self, *kinds: type[m.Message]) -> list[Any]:
        return [message for message in self.take() if isinstance(message, kinds)]


def welcome(hub: str = "h1", epoch: int = 1) -> m.Welcome:
    return m.Welcome(1, hub, epoch, "box", "0.1.0")


def prepare(job: str = "j") -> m.PrepareJob:
    return m.PrepareJob(job, m.JobOptions(), ranges=((0, 100, 1),))


def piece(attempt: m.Attempt = A1, start: int = 0, stop: int = 10, slot: int = 0, job: str = "j") -> m.RunSlice:
    return m.RunSlice(job, attempt, slot, start, stop)


def part(attempt: m.Attempt = A1, start: int = 0, stop: int = 10, *, final: bool = True, **more: Any) -> m.Part:
    return m.Part("j", attempt, start, stop, 0.1, final, **more)


@pytest.fixture
def world() -> World:
    """One slot, a hub, and a job that is in place; nothing said yet."""
    world = World().hear("slot:0", m.SlotReady(1)).hear("hub", welcome(), prepare())
    world.hear(orders.LOCAL, orders.JobInPlace("j"))
    world.take()
    return world


def test_each_slot_is_started() -> None:
    assert World(3).take() == [orders.StartSlot(0), orders.StartSlot(1), orders.StartSlot(2)]


def test_a_job_is_ready_once_its_data_is_there() -> None:
    world = World().hear("hub", welcome(), prepare())
    assert world.of(orders.GetReady, m.JobReady) == [orders.GetReady("j", None, (), ())]
    world.hear(orders.LOCAL, orders.JobInPlace("j"))
    assert world.take() == [m.JobReady("j")]
    world.hear("hub", prepare())
    assert world.take() == [m.JobReady("j")]


def test_a_slot_is_told_that_results_go_to_another_version_of_python() -> None:
    world = World().hear("hub", welcome(), m.PrepareJob("j", m.JobOptions(), ranges=((0, 100, 1),), portable=True))
    world.hear(orders.LOCAL, orders.JobInPlace("j"))
    world.hear("slot:0", m.SlotReady(1)).hear("hub", piece())
    (load,) = world.of(m.LoadTask)
    assert isinstance(load, m.LoadTask)
    assert load.portable


def test_a_job_whose_data_does_not_come_is_refused() -> None:
    world = World().hear("hub", welcome(), prepare())
    world.take()
    world.hear(orders.LOCAL, orders.JobNotInPlace("j", "no module named 'x'", "pip install x"))
    assert world.take("hub") == [m.JobRefused("j", "no module named 'x'", "pip install x")]


def test_a_slot_gets_task_claim_and_slice_in_this_order(world: World) -> None:
    world.hear("hub", piece())
    assert world.take() == [
        m.LoadTask("j", m.JobOptions(), ranges=((0, 100, 1),)),
        orders.BeginClaim(0, A1, 0, 10),
        piece(),
    ]


def test_the_next_slice_waits_for_the_final_part(world: World) -> None:
    world.hear("hub", piece(), piece(A2, 10, 20))
    assert world.of(m.RunSlice) == [piece()]
    world.hear("slot:0", part(stop=4, final=False))
    assert world.of(m.RunSlice) == []
    world.hear("slot:0", part(start=4))
    assert world.of(m.RunSlice, m.LoadTask) == [piece(A2, 10, 20)]


def test_a_slice_that_comes_twice_runs_once(world: World) -> None:
    world.hear("hub", piece(), piece())
    assert world.of(m.RunSlice) == [piece()]
    world.hear("slot:0", part())
    assert world.of(m.RunSlice) == []


def test_a_slice_of_an_unknown_job_is_given_back(world: World) -> None:
    world.hear("hub", piece(job="other"))
    (ended,) = world.of(m.SliceEnded)
    assert ended.attempt == A1


def test_parts_go_to_the_hub_and_are_kept_until_they_are_acknowledged(world: World) -> None:
    world.hear("hub", piece()).hear("slot:0", part(stop=4, final=False), part(start=4))
    assert world.of(m.Part) == [part(stop=4, final=False), part(start=4)]
    world.hear("hub", m.Acknowledge(((A1, 4),)))
    assert world.take() == [orders.DropParts(A1, 4)]
    world.hear(orders.LOCAL, orders.HubLost("gone")).hear("hub", welcome(epoch=2))
    assert world.of(m.WorkerFacts, m.Part) == [m.WorkerFacts((), ("j",)), part(start=4)]
    world.hear("hub", m.Acknowledge(((A1, 10),)))
    world.hear(orders.LOCAL, orders.HubLost("gone")).hear("hub", welcome(epoch=3))
    assert world.of(m.Part) == []


def test_a_worker_without_its_hub_keeps_running(world: World) -> None:
    world.hear("hub", piece(), piece(A2, 10, 20), piece(A3, 20, 30))
    world.hear("slot:0", part(stop=4, final=False)).hear(orders.LOCAL, orders.HubLost("gone"))
    world.take()
    world.hear("slot:0", part(start=4))
    assert world.of(m.RunSlice, m.Part) == [piece(A2, 10, 20)]
    world.hear("slot:0", part(A2, 10, 13, final=False)).hear("hub", welcome(epoch=2))
    held = (m.HeldAttempt("j", A2, 0, 13, 20, True), m.HeldAttempt("j", A3, 0, 20, 30, False))
    parts = [part(stop=4, final=False), part(start=4), part(A2, 10, 13, final=False)]
    assert world.of(m.WorkerFacts, m.Part) == [m.WorkerFacts(held, ("j",)), *parts]


def test_a_slice_that_waits_for_a_fresh_process_counts_as_running(world: World) -> None:
    world.hear("hub", piece(), piece(A2, 10, 20))
    world.hear(orders.LOCAL, orders.SlotDied(0, 3, "killed by SIGSEGV"), orders.HubLost("gone"))
    world.take()
    world.hear("hub", welcome())
    assert world.of(m.WorkerFacts)[0].held == (m.HeldAttempt("j", A2, 0, 10, 20, True),)


def test_another_hub_gets_nothing_of_the_old_one(world: World) -> None:
    world.hear("hub", piece(), piece(A2, 10, 20)).hear("slot:0", part(stop=4, final=False))
    world.hear(orders.LOCAL, orders.HubLost("gone"))
    world.take()
    world.hear("hub", welcome("h2"))
    said = world.take()
    assert m.WorkerFacts((), ()) in said
    assert not [message for message in said if isinstance(message, m.Part)]
    assert orders.InterruptSlot(0, A1) in said
    world.hear("slot:0", m.SliceEnded(A1, "cancelled"))
    assert not world.of(m.SliceEnded, m.Part)


def test_a_trim_of_a_running_slice_asks_its_claim(world: World) -> None:
    world.hear("hub", piece(), m.TrimSlice(A1, 0.5))
    assert orders.CutClaim(0, A1, 0.5) in world.take()
    world.hear(orders.LOCAL, orders.ClaimCut(0, A1, 7))
    assert world.take() == [m.SliceCut(A1, 7)]


@pytest.mark.parametrize(("give", "stop"), [(1.0, 10), (0.5, 15), (0.01, 19)])
def test_a_trim_of_a_waiting_slice_is_answered_at_once(world: World, give: float, stop: int) -> None:
    world.hear("hub", piece(), piece(A2, 10, 20), m.TrimSlice(A2, give))
    assert world.of(m.SliceCut) == [m.SliceCut(A2, stop)]
    world.hear("slot:0", part())
    assert world.of(m.RunSlice) == ([piece(A2, 10, stop)] if stop > 10 else [])


def test_a_trim_of_a_slice_that_is_over_needs_no_answer(world: World) -> None:
    world.hear("hub", piece()).hear("slot:0", part())
    world.take()
    world.hear("hub", m.TrimSlice(A1, 0.5))
    assert world.take() == []


def test_a_waiting_slice_is_cancelled_at_once(world: World) -> None:
    world.hear("hub", piece(), piece(A2, 10, 20), m.CancelAttempt(A2))
    assert world.of(m.SliceEnded) == [m.SliceEnded(A2, "cancelled")]


def test_a_running_slice_is_interrupted_and_then_killed(world: World) -> None:
    world.hear("hub", piece(), piece(A2, 10, 20), m.CancelAttempt(A1), m.CancelAttempt(A1))
    assert world.of(orders.InterruptSlot, orders.KillSlot) == [orders.InterruptSlot(0, A1)]
    assert world.pass_time(1.9).of(orders.KillSlot) == []
    assert world.pass_time(0.2).of(orders.KillSlot) == [orders.KillSlot(0)]
    world.hear(orders.LOCAL, orders.SlotDied(0, 3, "killed by SIGKILL"))
    assert world.of(m.SliceEnded, m.SlotCrashed, orders.StartSlot) == [m.SliceEnded(A1, "killed"), orders.StartSlot(0)]
    world.hear("slot:0", m.SlotReady(2))
    assert world.of(m.LoadTask, m.RunSlice)[1] == piece(A2, 10, 20)


def test_a_slice_that_obeys_the_interrupt_is_not_killed(world: World) -> None:
    world.hear("hub", piece(), m.CancelAttempt(A1))
    world.hear("slot:0", part(stop=3, final=False), m.SliceEnded(A1, "cancelled"))
    assert world.of(m.Part, m.SliceEnded) == [part(stop=3, final=False), m.SliceEnded(A1, "cancelled")]
    assert world.pass_time(5).of(orders.KillSlot) == []


def test_a_crash_names_the_item_and_spares_what_waits(world: World) -> None:
    world.hear("hub", piece(), piece(A2, 10, 20)).hear("slot:0", part(stop=2, final=False))
    world.take()
    world.hear(orders.LOCAL, orders.SlotDied(0, 5, "killed by SIGSEGV", "boom"))
    assert world.take() == [m.SlotCrashed(A1, 5, "killed by SIGSEGV", "boom"), orders.StartSlot(0)]
    world.hear("slot:0", m.SlotReady(2))
    assert world.of(m.LoadTask, m.RunSlice)[1] == piece(A2, 10, 20)


@pytest.mark.parametrize("item", [-1, 0, 99])
def test_a_crash_blames_an_item_of_its_slice(world: World, item: int) -> None:
    world.hear("hub", piece()).hear("slot:0", part(stop=2, final=False))
    world.hear(orders.LOCAL, orders.SlotDied(0, item, "exit code 1"))
    (crash,) = world.of(m.SlotCrashed)
    assert 2 <= crash.item < 10


def test_a_slot_that_dies_idle_is_replaced_without_blame(world: World) -> None:
    world.hear(orders.LOCAL, orders.SlotDied(0, 5, "killed by SIGKILL"))
    assert world.take() == [orders.StartSlot(0)]


def test_a_slot_that_does_not_come_up_is_tried_more_and_more_rarely() -> None:
    world = World()
    world.take()
    tries = []
    for _ in range(10):
        world.hear(orders.LOCAL, orders.SlotDied(0, -1, "exit code 1"))
        due = world.machine.deadline()
        assert due is not None
        tries.append(due - world.now)
        assert world.pass_time(due - world.now).of(orders.StartSlot) == [orders.StartSlot(0)]
    assert tries[:3] == pytest.approx([0.5, 1, 2])
    assert tries[-1] == pytest.approx(30)


def test_a_task_that_cannot_be_loaded_is_refused(world: World) -> None:
    world.hear("hub", piece())
    world.take()
    world.hear("slot:0", m.TaskRefused("j", A1, "no module named 'x'", "pip install x"))
    assert world.take("hub") == [
        m.JobRefused("j", "no module named 'x'", "pip install x"),
        m.SliceEnded(A1, "no module named 'x'"),
    ]


def test_a_large_part_waits_for_its_blob_and_what_follows_waits_too(world: World) -> None:
    world.hear("hub", piece())
    world.take()
    large = part(stop=4, final=False, blob=BLOB)
    world.hear("slot:0", m.SlotPart(large, "/spool/1"), part(start=4))
    assert world.of(m.Part, orders.PlaceBlob) == [orders.PlaceBlob(A1, 0, 4, BLOB, "/spool/1")]
    world.hear(orders.LOCAL, orders.BlobInPlace(A1, 0))
    assert world.of(m.Part) == [large, part(start=4)]
    world.hear(orders.LOCAL, orders.HubLost("gone")).hear("hub", welcome(epoch=2))
    assert world.of(m.Part, orders.PlaceBlob) == [orders.PlaceBlob(A1, 0, 4, BLOB, "/spool/1")]


def test_a_large_part_that_the_hub_does_not_take_counts_against_its_item(world: World) -> None:
    world.hear("hub", piece())
    world.hear("slot:0", m.SlotPart(part(stop=4, final=False, blob=BLOB), "/spool/1"), part(start=4))
    world.take()
    world.hear(orders.LOCAL, orders.BlobNotInPlace(A1, 0, "no room"))
    assert world.take("hub") == [m.SlotCrashed(A1, 0, "no room", kind="unsent")]


def test_a_job_that_was_on_its_way_is_dropped_with_its_hub(world: World) -> None:
    world.hear("hub", prepare("late")).take()
    assert world.hear(orders.LOCAL, orders.HubLost("gone")).of(orders.DropJob) == [orders.DropJob("late")]


def test_heartbeats_tell_what_runs_while_there_is_a_hub(world: World) -> None:
    world.hear("hub", piece()).hear("slot:0", part(stop=4, final=False))
    world.take()
    beats = world.pass_time(4.1).of(m.Heartbeat)
    assert beats == [m.Heartbeat((m.RunningItem(0, A1, 4),))] * 2
    world.hear(orders.LOCAL, orders.HubLost("gone"))
    assert world.pass_time(10).of(m.Heartbeat) == []
    assert world.machine.deadline() is None


def test_output_goes_on_to_the_hub_for_slices_that_run(world: World) -> None:
    world.hear("hub", piece())
    text = m.Output("j", A1, 3, "stdout")
    assert world.hear("slot:0", text).of(m.Output) == [text]
    assert world.hear("slot:0", m.Output("j", A2, 3, "stdout")).of(m.Output) == []


def test_a_forgotten_job_is_forgotten_by_the_slots_that_have_it(world: World) -> None:
    world.hear("hub", piece()).hear("slot:0", part())
    world.take()
    world.hear("hub", m.ForgetJob("j"), m.ForgetJob("j"))
    assert world.take() == [orders.DropJob("j"), m.ForgetJob("j")]


def test_renewing_replaces_idle_slots_and_busy_ones_when_they_are_idle() -> None:
    world = World(3)
    for slot in range(3):
        world.hear(f"slot:{slot}", m.SlotReady(1))
    world.hear("hub", welcome(), prepare()).hear(orders.LOCAL, orders.JobInPlace("j"))
    world.hear("hub", piece(A1, slot=0), piece(A2, 10, 20, slot=1)).hear("slot:0", part())
    world.take()
    world.hear("hub", m.RenewSlots())
    assert world.take() == [orders.KillSlot(0)]  # slot 2 is fresh, slot 1 is busy
    world.hear("slot:1", part(A2, 10, 20))
    assert world.of(orders.KillSlot) == [orders.KillSlot(1)]
    world.hear(orders.LOCAL, orders.SlotDied(1, 10, "killed by SIGKILL"))
    assert world.take() == [orders.StartSlot(1)]


def test_leaving_gives_back_what_has_not_begun_and_ends_when_the_rest_has_arrived(world: World) -> None:
    world.hear("hub", piece(), piece(A2, 10, 20))
    world.take()
    world.hear(orders.LOCAL, orders.UserLeaves("Ctrl-C"))
    assert world.of(m.Leaving, m.SliceCut, orders.CutClaim) == [
        m.Leaving("Ctrl-C"),
        m.SliceCut(A2, 10),
        orders.CutClaim(0, A1, 1.0),
    ]
    world.hear(orders.LOCAL, orders.ClaimCut(0, A1, 6)).hear("hub", piece(A3, 20, 30))
    assert world.of(m.SliceCut, orders.Quit) == [m.SliceCut(A1, 6), m.SliceCut(A3, 20)]
    world.hear("slot:0", part(stop=6))
    assert world.of(orders.Quit) == []
    world.hear("hub", m.Acknowledge(((A1, 6),)))
    assert world.of(orders.Quit) == [orders.Quit("Ctrl-C")]


def test_leaving_twice_is_at_once(world: World) -> None:
    world.hear("hub", piece())
    world.hear(orders.LOCAL, orders.UserLeaves("Ctrl-C"), orders.UserLeaves("Ctrl-C again"))
    assert world.of(orders.Quit) == [orders.Quit("Ctrl-C again")]


def test_a_hub_that_asks_twice_does_not_hurry_anybody(world: World) -> None:
    world.hear("hub", piece(), m.LeavePool("stopped"), m.LeavePool("stopped"))
    assert world.of(orders.Quit) == []


def test_an_idle_worker_leaves_at_once(world: World) -> None:
    assert world.hear("hub", m.LeavePool("stopped")).of(orders.Quit) == [orders.Quit("stopped")]


def test_a_worker_that_leaves_does_not_wait_for_ever_for_its_hub(world: World) -> None:
    world.hear("hub", piece()).hear("slot:0", part())
    world.hear(orders.LOCAL, orders.UserLeaves("Ctrl-C"), orders.HubLost("gone"))
    assert world.pass_time(4.9).of(orders.Quit) == []
    assert world.pass_time(0.2).of(orders.Quit) == [orders.Quit("Ctrl-C")]


def test_a_worker_that_leaves_says_what_it_waits_for_while_its_hub_is_gone(world: World) -> None:
    world.hear("hub", piece()).hear("slot:0", part()).hear("hub", piece(A2, 10, 20))
    world.hear("slot:0", part(A2, 10, 12, final=False)).hear(orders.LOCAL, orders.HubLost("gone"))
    assert world.of(orders.Say) == []
    world.hear(orders.LOCAL, orders.UserLeaves("Ctrl-C"), orders.HubLost("still gone"))
    (said,) = world.of(orders.Say)
    assert "waiting up to 5 s" in said.text
    assert "12 results kept for it and 1 item still running" in said.text
    assert "Ctrl-C again leaves at once and loses" in said.text
    world.hear("slot:0", part(A2, 12, 13))
    world.hear(orders.LOCAL, orders.UserLeaves("Ctrl-C again"))
    lost, quitting = world.of(orders.Say, orders.Quit)
    assert lost.text == "13 results did not reach the hub: those items run again"
    assert quitting == orders.Quit("Ctrl-C again")


def test_a_hub_that_goes_while_a_worker_leaves_is_told_of_too(world: World) -> None:
    world.hear("hub", piece()).hear(orders.LOCAL, orders.UserLeaves("Ctrl-C"))
    assert world.of(orders.Say) == []
    world.hear(orders.LOCAL, orders.HubLost("gone"), orders.HubLost("gone"))
    (said,) = world.of(orders.Say)
    assert "with 1 item still running" in said.text
    world.hear("hub", welcome()).hear("slot:0", part())
    assert world.of(orders.Say, orders.Quit) == []
    world.hear("hub", m.Acknowledge(((A1, 10),)))
    assert world.of(orders.Say, orders.Quit) == [orders.Quit("Ctrl-C")]


def test_a_worker_without_anything_to_hand_over_leaves_without_a_word(world: World) -> None:
    world.hear(orders.LOCAL, orders.HubLost("gone"), orders.UserLeaves("Ctrl-C"))
    assert world.of(orders.Say, orders.Quit) == [orders.Quit("Ctrl-C")]


def test_a_hub_that_comes_back_hears_of_the_leaving(world: World) -> None:
    world.hear("hub", piece()).hear(orders.LOCAL, orders.UserLeaves("Ctrl-C"), orders.HubLost("gone"))
    world.take()
    assert world.hear("hub", welcome()).of(m.Leaving) == [m.Leaving("Ctrl-C")]
    assert world.pass_time(6).of(orders.Quit) == []


def test_what_a_supervisor_does_not_know_is_ignored(world: World) -> None:
    world.hear("hub", m.TrimSlice((9, 9), 0.5), m.Acknowledge((((9, 9), 5),)), m.ForgetJob("?"), m.NeedBlobs("j", ()))
    world.hear("slot:0", part(A3), m.SliceEnded(A3))
    assert [message for message in world.take() if not isinstance(message, orders.DropParts)] == []


# --- time limits and memory ---

LATE = "0.5 s; its code did not end within 2 s of being interrupted"


@pytest.fixture
def timed() -> World:
    """One slot that has begun items 0 to 9 of a job with a time limit of 0.5 s; grace is 2 s."""
    world = World().hear("slot:0", m.SlotReady(1)).hear("hub", welcome())
    world.hear("hub", m.PrepareJob("j", m.JobOptions(time_limit=0.5), ranges=((0, 100, 1),)))
    world.hear(orders.LOCAL, orders.JobInPlace("j")).hear("hub", piece(), piece(A2, 10, 20))
    world.take()
    return world


def test_an_item_that_does_not_end_is_interrupted_and_killed_when_time_and_grace_are_over(timed: World) -> None:
    assert timed.pass_time(0.4).of(orders.LookAtItem) == []
    assert timed.pass_time(0.2).of(orders.LookAtItem) == [orders.LookAtItem(0, A1)]
    began = timed.now - 0.3  # it is not the slice's first
    timed.hear(orders.LOCAL, orders.ItemSeen(0, A1, 3, began))
    assert timed.of(orders.NudgeSlot, orders.KillSlot) == []
    assert timed.pass_time(0.21).of(orders.LookAtItem) == [orders.LookAtItem(0, A1)]
    timed.hear(orders.LOCAL, orders.ItemSeen(0, A1, 3, began))
    assert timed.of(orders.NudgeSlot, orders.KillSlot) == [orders.NudgeSlot(0)]
    assert timed.pass_time(1.9).of(orders.LookAtItem) == []
    assert timed.pass_time(0.1).of(orders.LookAtItem) == [orders.LookAtItem(0, A1)]
    timed.hear(orders.LOCAL, orders.ItemSeen(0, A1, 3, began))
    assert timed.of(orders.KillSlot) == [orders.KillSlot(0)]
    timed.hear(orders.LOCAL, orders.SlotDied(0, 3, "killed by SIGKILL", "words", began))
    told = timed.of(m.SlotCrashed, orders.StartSlot)
    assert told == [m.SlotCrashed(A1, 3, LATE, "words", kind="timeout"), orders.StartSlot(0)]
    timed.hear("slot:0", m.SlotReady(2))
    assert timed.of(m.RunSlice) == [piece(A2, 10, 20)]


def test_a_slot_between_two_items_has_all_of_its_time(timed: World) -> None:
    timed.pass_time(2.6).take()
    timed.hear(orders.LOCAL, orders.ItemSeen(0, A1, 3, 0.0))
    assert timed.of(orders.NudgeSlot, orders.KillSlot) == []
    assert timed.pass_time(0.4).of(orders.LookAtItem) == []
    assert timed.pass_time(0.2).of(orders.LookAtItem) == [orders.LookAtItem(0, A1)]


def test_short_time_limits_do_not_make_many_looks() -> None:
    world = World().hear("slot:0", m.SlotReady(1)).hear("hub", welcome())
    world.hear("hub", m.PrepareJob("j", m.JobOptions(time_limit=0.001), ranges=((0, 100, 1),)))
    world.hear(orders.LOCAL, orders.JobInPlace("j")).hear("hub", piece()).take()
    for _ in range(3):
        assert world.pass_time(0.09).of(orders.LookAtItem) == []
        assert world.pass_time(0.02).of(orders.LookAtItem) == [orders.LookAtItem(0, A1)]
        world.hear(orders.LOCAL, orders.ItemSeen(0, A1, 3, world.now - 0.0005))


@pytest.mark.parametrize("seen", [(4, 0.0), (4, 99.0), (3, 99.5)])
def test_the_item_behind_the_one_that_was_to_be_killed_is_not_blamed(timed: World, seen: tuple[int, float]) -> None:
    timed.pass_time(10).hear(orders.LOCAL, orders.ItemSeen(0, A1, 3, 99.0))
    assert timed.of(orders.KillSlot) == [orders.KillSlot(0)]
    timed.hear(orders.LOCAL, orders.SlotDied(0, seen[0], "killed by SIGKILL", "", seen[1]))
    assert timed.of(m.SlotCrashed, m.SliceEnded) == [m.SliceEnded(A1, "killed")]


def test_an_item_that_was_reported_meanwhile_is_not_blamed(timed: World) -> None:
    timed.pass_time(10).hear(orders.LOCAL, orders.ItemSeen(0, A1, 3, 99.0))
    timed.hear("slot:0", part(stop=4, final=False)).hear(orders.LOCAL, orders.SlotDied(0, 3, "killed", "", 99.0))
    assert timed.of(m.SlotCrashed, m.SliceEnded) == [m.SliceEnded(A1, "killed")]


def test_a_slot_that_is_being_killed_is_given_nothing_even_if_its_slice_ends_well(timed: World) -> None:
    timed.pass_time(10).hear(orders.LOCAL, orders.ItemSeen(0, A1, 9, 99.0)).hear("slot:0", part())
    assert timed.of(m.RunSlice) == []
    timed.hear(orders.LOCAL, orders.SlotDied(0, 9, "killed by SIGKILL"))
    assert timed.of(m.SlotCrashed, m.SliceEnded, orders.StartSlot) == [orders.StartSlot(0)]
    timed.hear("slot:0", m.SlotReady(2))
    assert timed.of(m.RunSlice) == [piece(A2, 10, 20)]


def test_a_slot_that_is_killed_after_an_interrupt_is_given_nothing_either(world: World) -> None:
    world.hear("hub", piece(), piece(A2, 10, 20), m.CancelAttempt(A1))
    assert world.pass_time(2.1).of(orders.KillSlot) == [orders.KillSlot(0)]
    world.hear("slot:0", part(stop=3, final=False), m.SliceEnded(A1, "cancelled"))
    assert world.of(m.RunSlice) == []
    world.hear(orders.LOCAL, orders.SlotDied(0, 3, "killed by SIGKILL"))
    assert world.of(m.SlotCrashed, orders.StartSlot) == [orders.StartSlot(0)]


def test_what_has_ended_or_is_cancelled_is_not_killed_for_its_time(timed: World) -> None:
    timed.hear("hub", m.CancelAttempt(A1)).take()
    timed.hear(orders.LOCAL, orders.ItemSeen(0, A1, 3, 1.0))
    assert timed.of(orders.KillSlot) == []
    timed.hear("slot:0", m.SliceEnded(A1, "cancelled"))
    timed.hear(orders.LOCAL, orders.ItemSeen(0, A1, 3, 1.0))
    assert timed.of(orders.KillSlot) == []


def test_slots_without_a_time_limit_are_not_looked_at(world: World) -> None:
    world.hear("hub", piece())
    assert world.pass_time(100).of(orders.LookAtItem, orders.LookAtMemory) == []


def test_a_slot_that_uses_too_much_memory_is_killed_and_says_how_much() -> None:
    world = World(2, memory_bytes=8_000_000_000)
    world.hear("slot:0", m.SlotReady(1)).hear("slot:1", m.SlotReady(2)).hear("hub", welcome(), prepare())
    world.hear(orders.LOCAL, orders.JobInPlace("j"))
    assert world.pass_time(10).of(orders.LookAtMemory) == []
    world.hear("hub", piece(slot=0), piece(A2, 10, 20, slot=1)).take()
    assert world.pass_time(0.26).of(orders.LookAtMemory) == [orders.LookAtMemory((0, 1))]
    world.hear(orders.LOCAL, orders.MemoryUsed(((0, 8_000_000_000), (1, 8_260_000_000))))
    assert world.of(orders.KillSlot) == [orders.KillSlot(1)]
    assert world.pass_time(0.26).of(orders.LookAtMemory) == [orders.LookAtMemory((0,))]
    world.hear("slot:0", part()).hear(orders.LOCAL, orders.SlotDied(1, 12, "killed by SIGKILL", "last words"))
    crashed = m.SlotCrashed(A2, 12, "used 8.3 GB of 8.0 GB of memory", "last words")
    assert world.of(m.SlotCrashed, orders.StartSlot) == [crashed, orders.StartSlot(1)]
    assert world.pass_time(10).of(orders.LookAtMemory) == []


def test_small_amounts_of_memory_are_told_in_small_units() -> None:
    world = World(memory_bytes=300_000_000).hear("slot:0", m.SlotReady(1)).hear("hub", welcome(), prepare())
    world.hear(orders.LOCAL, orders.JobInPlace("j")).hear("hub", piece())
    world.hear(orders.LOCAL, orders.MemoryUsed(((0, 1_300_000_000),)), orders.SlotDied(0, 2, "killed by SIGKILL"))
    assert [crash.reason for crash in world.of(m.SlotCrashed)] == ["used 1300 MB of 300 MB of memory"]


# --- items whose data lies in blobs ---


def large(attempt: m.Attempt = A1, start: int = 0, stop: int = 10, slot: int = 0) -> m.RunSlice:
    return m.RunSlice("j", attempt, slot, start, stop, (BLOB,))


def test_a_slice_is_run_once_its_blobs_are_here(world: World) -> None:
    world.hear("hub", large())
    assert world.take() == [orders.FetchItems(A1, (BLOB,))]
    world.hear(orders.LOCAL, orders.ItemsInPlace(A1))
    said = world.take()
    assert said[1:] == [orders.BeginClaim(0, A1, 0, 10), piece(), m.SliceBegun(A1)]
    world.hear("slot:0", part())
    assert orders.DropItems(A1) in world.take()


def test_blobs_are_got_while_the_slice_before_runs_and_order_is_kept(world: World) -> None:
    world.hear("hub", piece(), large(A2, 10, 20))
    assert world.of(orders.FetchItems) == [orders.FetchItems(A2, (BLOB,))]
    world.hear(orders.LOCAL, orders.ItemsInPlace(A2))
    assert world.take() == []
    world.hear("slot:0", part())
    assert world.of(m.RunSlice, m.SliceBegun) == [piece(A2, 10, 20), m.SliceBegun(A2)]


def test_nothing_overtakes_a_slice_that_waits_for_its_blobs(world: World) -> None:
    world.hear("hub", large(), piece(A2, 10, 20))
    assert world.of(m.RunSlice) == []
    world.hear(orders.LOCAL, orders.ItemsInPlace(A1))
    assert world.of(m.RunSlice) == [piece()]


def test_a_slice_whose_blobs_cannot_be_kept_here_goes_back_and_the_machine_is_left_out(world: World) -> None:
    world.hear("hub", large())
    world.take()
    world.hear(orders.LOCAL, orders.ItemsNotInPlace(A1, "no room", "make some"))
    assert world.take("hub") == [m.JobRefused("j", "no room", "make some"), m.SliceEnded(A1, "no room")]
    world.hear("hub", piece(A2))
    assert world.of(m.RunSlice) == [piece(A2)]


def test_data_that_the_hub_does_not_have_counts_against_the_item(world: World) -> None:
    world.hear("hub", large(start=3))
    world.take()
    world.hear(orders.LOCAL, orders.ItemsNotInPlace(A1, "gone", is_gone=True))
    assert world.of(m.SlotCrashed) == [m.SlotCrashed(A1, 3, "gone", kind="unfetched")]


@pytest.mark.parametrize(
    ("order", "answer"),
    [(m.CancelAttempt(A1), m.SliceEnded(A1, "cancelled")), (m.TrimSlice(A1, 1.0), m.SliceCut(A1, 0))],
)
def test_a_slice_that_is_not_wanted_any_more_is_not_fetched_on(
    world: World, order: m.Message, answer: m.Message
) -> None:
    world.hear("hub", large(), order)
    said = world.take()
    assert answer in said
    assert orders.DropItems(A1) in said
    world.hear(orders.LOCAL, orders.ItemsInPlace(A1), orders.ItemsNotInPlace(A1, "late"))
    assert world.take() == []


def test_a_worker_that_comes_back_says_what_it_still_fetches(world: World) -> None:
    world.hear("hub", large())
    world.hear(orders.LOCAL, orders.HubLost("cut"))
    world.take()
    world.hear("hub", welcome())
    assert world.of(m.WorkerFacts)[0].held == (m.HeldAttempt("j", A1, 0, 0, 10, True, True),)
    world.hear(orders.LOCAL, orders.ItemsInPlace(A1))
    assert m.SliceBegun(A1) in world.take()


def test_a_slice_that_cannot_be_fetched_while_the_hub_is_away_is_simply_not_held(world: World) -> None:
    world.hear("hub", large())
    world.hear(orders.LOCAL, orders.HubLost("cut"), orders.ItemsNotInPlace(A1, "gone", is_gone=True))
    world.take()
    world.hear("hub", welcome())
    assert world.take("hub") == [m.WorkerFacts((), ("j",))]


def test_a_slot_that_dies_leaves_no_blobs(world: World) -> None:
    world.hear("hub", large())
    world.hear(orders.LOCAL, orders.ItemsInPlace(A1), orders.SlotDied(0, 0, "killed"))
    said = world.take()
    assert orders.DropItems(A1) in said
    assert [message for message in said if isinstance(message, m.SlotCrashed)]
