"""The supervisor: decides what a worker's slots do. Pure: no clock, no I/O, no process.

It hears the hub, the slots and the agent (`orders.py`), and says what is to be sent to whom and done. Messages are
idempotent: what comes twice changes nothing the second time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from nbdist.driver import Send
from nbdist.wire import messages as m
from nbdist.wire.messages import Attempt, Message
from nbdist.worker import orders
from nbdist.worker.cutting import cut_at
from nbdist.worker.leaving import Departure
from nbdist.worker.limits import Limits
from nbdist.worker.orders import HUB, LOCAL, SLOT
from nbdist.worker.outgoing import Outgoing
from nbdist.worker.prepared import EVENTS, Event, PreparedJobs
from nbdist.worker.records import Slice, Slot, WorkerPolicy
from nbdist.worker.settingup import SettingUp
from nbdist.worker.starting import TODO, Starts
from nbdist.worker.stating import held_by, not_fetched, running_in, state_facts, state_life


class Supervisor:
    """A worker's decisions. A `driver.PureMachine`. What only the agent knows (paths, running items) it fills in."""

    def __init__(self, slots: int, policy: WorkerPolicy | None = None, *, memory_bytes: int = 0) -> None:
        self.policy = policy or WorkerPolicy()
        self.slots = [Slot(number) for number in range(slots)]
        self._held: dict[Attempt, Slice] = {}
        self._jobs = PreparedJobs(self.policy)
        self._outgoing = Outgoing()
        self._hub = ""
        self._is_connected = False
        self._beat_at: float | None = None
        self._starts = Starts(self.slots, self.policy)
        self._limits = Limits(self.slots, self.policy, memory_bytes)
        self._setting_up = SettingUp(self.policy)
        self._departure = Departure(self.policy)
        self._out: list[Send] = []
        self._now = 0.0

    # --- the machine ------------------------------------------------------------------------------------------------

    def start(self, now: float) -> Iterable[Send]:
        """The first orders: a process for each slot."""
        self._now = now
        for slot in self.slots:
            self._say(LOCAL, self._starts.begin(slot, now))
        return self._settle()

    def receive(self, peer: str, message: Message, now: float, payload_bytes: int = 0) -> Iterable[Send]:
        """Takes a message of the hub's, of a slot's, or an event."""
        self._now = now
        if peer.startswith(SLOT):
            if (by_slot := _FROM_SLOT.get(type(message))) is not None:
                by_slot(self, self.slots[int(peer.removeprefix(SLOT))], message)
        else:
            handle = (_FROM_HUB if peer == HUB else _EVENTS).get(type(message))
            if handle is not None:
                handle(self, message)
        return self._settle()

    def tick(self, now: float) -> Iterable[Send]:
        """Does what is due."""
        self._now = now
        for part in (self._starts, self._limits, self._jobs):
            self._say_here(part.due(now))
        if self._beat_at is not None and self._beat_at <= now:
            self._beat_at = now + self.policy.heartbeat_seconds
            for heartbeat in state_life(running_in(self.slots)):
                self._say(HUB, heartbeat)
        return self._settle()

    def deadline(self) -> float | None:
        """When `tick` is due."""
        times = [time for part in (self._starts, self._limits, self._jobs) for time in part.times()]
        times += [self._beat_at, self._departure.give_up_at()]
        return min((time for time in times if time is not None), default=None)

    def _settle(self) -> list[Send]:
        if self._departure.reason is not None:
            is_idle = not self._outgoing and not self._busy_slots()
            self._say_here(self._departure.settle(self._now, self._outgoing.results(), is_idle=is_idle))
        out, self._out = self._out, []
        return out

    def _say(self, peer: str, message: Message) -> None:
        if peer != HUB or self._is_connected:
            self._out.append(Send(peer, message))

    def _say_here(self, messages: Iterable[Message]) -> None:
        for message in messages:
            self._say(LOCAL, message)

    def _tell(self, messages: Iterable[Message]) -> None:
        """Says what the outgoing queues have ready: to the hub, or orders that concern it."""
        for message in messages:
            self._say(LOCAL if isinstance(message, orders.PlaceBlob) else HUB, message)

    # --- the hub comes and goes -------------------------------------------------------------------------------------

    def _welcome(self, message: m.Welcome) -> None:
        if self._hub not in ("", message.hub):
            self._drop_all()
        self._hub = message.hub
        self._is_connected = True
        self._departure.hub_came()
        self._beat_at = self._now + self.policy.heartbeat_seconds
        for facts in state_facts(held_by(self.slots), self._jobs.ready()):
            self._say(HUB, facts)
        self._tell(list(self._outgoing.open()))
        if self._departure.reason is not None:
            self._say(HUB, m.Leaving(self._departure.reason))

    def _hub_lost(self, message: orders.HubLost) -> None:
        was_connected, self._is_connected = self._is_connected, False
        self._departure.hub_lost(self._now, was_connected=was_connected)
        self._beat_at = None
        self._outgoing.close()
        for send in self._jobs.hub_lost():
            self._say(*send)
        if was_connected:
            self._say_here(self._departure.tell(self._outgoing.results(), self._busy_slots()))

    def _busy_slots(self) -> int:
        return sum(slot.running is not None for slot in self.slots)

    def _drop_all(self) -> None:
        """Another hub: nothing of what is held concerns it."""
        for attempt in self._outgoing.attempts():
            self._say(LOCAL, orders.DropParts(attempt, orders.EVERYTHING))
        self._outgoing = Outgoing()
        for slot in self.slots:
            for held in slot.waiting:
                self._forget_slice(held)
            slot.waiting.clear()
            if slot.running is not None:
                slot.running.is_foreign = True
                self._interrupt(slot, slot.running)
        for name in self._jobs.names():
            self._forget_job(m.ForgetJob(name))

    # --- jobs -------------------------------------------------------------------------------------------------------

    def _about_job(self, message: m.PrepareJob | m.ForgetJob | Event) -> None:
        for send in self._jobs.receive(message, self._now):
            self._say(*send)

    def _forget_job(self, message: m.ForgetJob) -> None:
        self._about_job(message)
        self._setting_up.forget(message.job)
        for slot in self.slots:
            if message.job in slot.loaded:
                slot.loaded.discard(message.job)
                self._say(f"{SLOT}{slot.number}", message)

    # --- slices -----------------------------------------------------------------------------------------------------

    def _run_slice(self, message: m.RunSlice) -> None:
        if message.attempt in self._held:
            return
        if not self._jobs.is_ready(message.job) or not 0 <= message.slot < len(self.slots):
            self._end(message.attempt, "this worker has not prepared its job")
            return
        if self._departure.reason is not None:
            self._say(LOCAL, orders.DropItems(message.attempt))
            self._say(HUB, m.SliceCut(message.attempt, message.start))
            return
        slot = self._starts.stand_in(self.slots[message.slot])
        start, stop = message.start, message.stop
        held = Slice(message.job, message.attempt, slot.number, start, stop, start, home=message.slot)
        held.time_limit = self._jobs.options(message.job).time_limit
        held.environment = self._jobs.environment(message.job)
        self._held[message.attempt] = held
        slot.waiting.append(held)
        if message.blobs:
            held.has_blobs = held.is_fetching = True
            self._say(LOCAL, orders.FetchItems(held.attempt, message.blobs))
        self._advance(slot)

    def _advance(self, slot: Slot) -> None:
        """Sends the next slice to a slot that is free for it."""
        if not slot.is_ready or slot.running is not None:
            return
        if slot.needs_another_process():
            self._renew(slot)
            return
        if not slot.waiting or slot.waiting[0].is_fetching:
            return
        held = slot.running = slot.waiting.popleft()
        slot.is_used = True
        self._limits.begun(slot, held, self._now)
        peer = f"{SLOT}{slot.number}"
        if held.job not in slot.loaded:
            slot.loaded.add(held.job)
            self._say(peer, self._jobs.load_task(held.job))
        self._say(LOCAL, orders.BeginClaim(slot.number, held.attempt, held.start, held.stop))
        self._say(peer, m.RunSlice(held.job, held.attempt, slot.number, held.start, held.stop))
        if held.has_blobs:
            self._say(HUB, m.SliceBegun(held.attempt))

    def _items_in_place(self, event: orders.ItemsInPlace) -> None:
        held = self._held.get(event.attempt)
        if held is not None:
            held.is_fetching = False
            self._advance(self.slots[held.slot])

    def _items_not_in_place(self, event: orders.ItemsNotInPlace) -> None:
        """Gives the slice back."""
        held = self._held.get(event.attempt)
        if held is None:
            return
        self.slots[held.slot].waiting.remove(held)
        self._forget_slice(held)
        for message in not_fetched(held, event):
            self._say(HUB, message)
        self._advance(self.slots[held.slot])

    def _trim(self, message: m.TrimSlice) -> None:
        held = self._held.get(message.attempt)
        if held is None or held.is_cancelled:
            return  # its end is on the way to the hub
        slot = self.slots[held.slot]
        if held is slot.running:
            self._say(LOCAL, orders.CutClaim(slot.number, held.attempt, message.give))
            return
        held.stop = cut_at(held.start, held.stop, message.give)
        if held.stop == held.start:
            slot.waiting.remove(held)
            self._forget_slice(held)
        self._say(HUB, m.SliceCut(held.attempt, held.stop))

    def _claim_cut(self, event: orders.ClaimCut) -> None:
        held = self._held.get(event.attempt)
        if held is not None:
            held.stop = event.stop
            self._say(HUB, m.SliceCut(event.attempt, event.stop))
            if held.setup and held.stop <= held.start:
                self._interrupt(self.slots[held.slot], held)  # nothing is left that its setup would be for

    def _cancel(self, message: m.CancelAttempt) -> None:
        held = self._held.get(message.attempt)
        if held is None:
            self._end(message.attempt, "not known")
            return
        slot = self.slots[held.slot]
        if held is slot.running:
            self._interrupt(slot, held)
            return
        slot.waiting.remove(held)
        self._forget_slice(held)
        self._end(held.attempt, "cancelled")

    def _interrupt(self, slot: Slot, held: Slice) -> None:
        if not held.is_cancelled:
            held.is_cancelled = True
            slot.kill_at = self._now + self.policy.grace_seconds
            self._say(LOCAL, orders.InterruptSlot(slot.number, held.attempt))

    def _forget_slice(self, held: Slice) -> None:
        del self._held[held.attempt]
        self._say(LOCAL, orders.DropItems(held.attempt))

    def _let_go(self, held: Slice) -> None:
        """Its slot is done with it, and had what came in its message."""
        del self._held[held.attempt]
        if held.has_blobs:
            self._say(LOCAL, orders.DropItems(held.attempt))

    def _end(self, attempt: Attempt, reason: str, slot: int | None = None) -> None:
        """Tells the hub that an attempt is over, behind the parts that it may still have to tell of."""
        self._say(LOCAL, orders.DropItems(attempt))
        if self._is_connected:
            self._tell(self._outgoing.add(m.SliceEnded(attempt, reason), slot=slot))

    def _acknowledge(self, message: m.Acknowledge) -> None:
        for attempt, stop in message.parts:
            self._outgoing.acknowledged(attempt, stop)
            self._say(LOCAL, orders.DropParts(attempt, stop))

    # --- slots ------------------------------------------------------------------------------------------------------

    def _slot_ready(self, slot: Slot, message: m.SlotReady) -> None:
        self._say_here(self._starts.came_up(slot))
        self._jobs.refusal = None
        self._advance(slot)

    def _running(self, slot: Slot, attempt: Attempt) -> Slice | None:
        """The slice that a slot's message is about; None if nobody wants to know of it any more."""
        held = slot.running
        return held if held is not None and held.attempt == attempt else None

    def _part(self, slot: Slot, part: m.Part, path: str = "") -> None:
        held = self._running(slot, part.attempt)
        if held is None:
            return
        held.reported = part.stop
        if not held.is_foreign:
            if not path:
                self._say(LOCAL, orders.KeepPart(part.attempt, part.start, part.stop))
            self._tell(self._outgoing.add(part, path, held.home))
        if part.final:
            self._slice_over(slot, held)

    def _slice_ended(self, slot: Slot, message: m.SliceEnded) -> None:
        held = self._running(slot, message.attempt)
        if held is not None:
            if not held.is_foreign:
                self._end(held.attempt, message.reason, held.home)
            self._slice_over(slot, held)

    def _task_refused(self, slot: Slot, message: m.TaskRefused) -> None:
        slot.loaded.discard(message.job)
        held = self._running(slot, message.attempt)
        if held is not None:
            if not held.is_foreign:
                refused = m.JobRefused(message.job, message.reason, message.todo, setup=message.setup)
                self._say(HUB, refused)
                self._end(held.attempt, message.reason, held.home)
            self._slice_over(slot, held)

    def _set_up(self, slot: Slot, message: m.SetupBegun | m.SliceBegun) -> None:
        held = self._running(slot, message.attempt)
        if held is not None and not held.is_foreign:
            self._setting_up.receive(held, message)
            self._say(HUB, message)

    def _output(self, slot: Slot, message: m.Output) -> None:
        held = self._running(slot, message.attempt)
        if held is not None and not held.is_foreign:
            self._say(HUB, message)

    def _slice_over(self, slot: Slot, held: Slice) -> None:
        self._let_go(held)
        slot.running = None
        slot.kill_at = slot.look_at = None
        self._advance(slot)

    def _slot_died(self, event: orders.SlotDied) -> None:
        slot = self.slots[event.slot]
        held, slot.running = slot.running, None
        was_up = slot.is_ready or slot.is_expected_to_end
        if held is not None:
            self._let_go(held)
            self._tell_of_death(slot, held, event)
        slot.reset()
        if self._departure.has_quit:
            return
        if was_up:
            self._say(LOCAL, self._starts.begin(slot, self._now))
            return
        self._say_here(self._starts.failed(slot, event, self._now))
        refusals = self._jobs.refuse(self._starts.problem, TODO, self._starts.take_broken())
        for send in refusals:
            self._say(*send)
        for other in self.slots if refusals else [slot]:
            self._give_back_waiting(other)

    def _give_back_waiting(self, slot: Slot) -> None:
        for held in slot.waiting:
            self._forget_slice(held)
            self._say(HUB, m.SliceCut(held.attempt, held.start))
        slot.waiting.clear()

    def _tell_of_death(self, slot: Slot, held: Slice, event: orders.SlotDied) -> None:
        if held.is_foreign:
            return
        for verdict in self._setting_up.died(held, self._limits.verdict(slot, held, event)):
            if isinstance(verdict, m.SliceEnded):
                self._end(verdict.attempt, verdict.reason, held.home)
            elif isinstance(verdict, m.JobRefused):
                self._say(HUB, verdict)
            elif self._is_connected:
                self._tell(self._outgoing.add(verdict, slot=held.home))

    def _renew_slots(self, message: m.RenewSlots) -> None:
        for slot in self.slots:
            if slot.is_used:
                slot.is_due_for_renewal = True
                self._advance(slot)

    def _renew(self, slot: Slot) -> None:
        slot.reset()
        slot.is_expected_to_end = True
        self._say(LOCAL, orders.KillSlot(slot.number))

    def _blob_not_in_place(self, event: orders.BlobNotInPlace) -> None:
        self._tell(self._outgoing.lost(event.attempt, event.start, event.reason))
        self._say(LOCAL, orders.DropParts(event.attempt, orders.EVERYTHING))

    # --- leaving ----------------------------------------------------------------------------------------------------

    def _user_leaves(self, event: orders.UserLeaves) -> None:
        if self._departure.reason is not None:
            self._say_here(self._departure.quit(event.reason, self._outgoing.results()))
        else:
            self._leave(event.reason)

    def _leave(self, reason: str) -> None:
        """Takes no more; gives back what waits and what running slices have not claimed."""
        if self._departure.reason is not None:
            return
        self._departure.begin(reason, self._now, is_connected=self._is_connected)
        self._say(HUB, m.Leaving(reason))
        for slot in self.slots:
            self._give_back_waiting(slot)
            if slot.running is not None:
                self._say(LOCAL, orders.CutClaim(slot.number, slot.running.attempt, 1.0))
        self._say_here(self._departure.tell(self._outgoing.results(), self._busy_slots()))


_FROM_HUB: dict[type[Message], Callable[[Supervisor, Any], None]] = {
    m.Welcome: Supervisor._welcome,
    m.PrepareJob: Supervisor._about_job,
    m.ForgetJob: Supervisor._forget_job,
    m.RunSlice: Supervisor._run_slice,
    m.TrimSlice: Supervisor._trim,
    m.CancelAttempt: Supervisor._cancel,
    m.Acknowledge: Supervisor._acknowledge,
    m.RenewSlots: Supervisor._renew_slots,
    m.LeavePool: lambda supervisor, message: supervisor._leave(message.reason),
}
_FROM_SLOT: dict[type[Message], Callable[[Supervisor, Slot, Any], None]] = {
    m.SlotReady: Supervisor._slot_ready,
    m.Part: Supervisor._part,
    m.SlotPart: lambda supervisor, slot, message: supervisor._part(slot, message.part, message.path),
    m.SetupBegun: Supervisor._set_up,
    m.SliceBegun: Supervisor._set_up,
    m.SliceEnded: Supervisor._slice_ended,
    m.TaskRefused: Supervisor._task_refused,
    m.Output: Supervisor._output,
}
_EVENTS: dict[type[Message], Callable[[Supervisor, Any], None]] = {
    orders.SlotDied: Supervisor._slot_died,
    orders.HubLost: Supervisor._hub_lost,
    **dict.fromkeys(EVENTS, Supervisor._about_job),
    orders.ClaimCut: Supervisor._claim_cut,
    orders.ItemSeen: lambda self, event: self._say_here(self._limits.item_seen(event, self._now)),
    orders.MemoryUsed: lambda self, event: self._say_here(self._limits.memory_used(event)),
    orders.ItemsInPlace: Supervisor._items_in_place,
    orders.ItemsNotInPlace: Supervisor._items_not_in_place,
    orders.BlobInPlace: lambda self, event: self._tell(self._outgoing.placed(event.attempt, event.start)),
    orders.BlobNotInPlace: Supervisor._blob_not_in_place,
    orders.UserLeaves: Supervisor._user_leaves,
}
