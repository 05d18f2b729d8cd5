"""Facts and heartbeats fit a frame, and say everything once, in order."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from nbdist.driver import Send
from nbdist.scheduler import invariants
from nbdist.scheduler.machine import Scheduler
from nbdist.scheduler.orders import Disconnect
from nbdist.wire import frames
from nbdist.wire import messages as m
from nbdist.worker import orders
from nbdist.worker.stating import state_facts, state_life
from nbdist.worker.supervisor import Supervisor

SLOTS = 2_000
LARGE = 2**63 - 1


def travelled(message: m.Message) -> m.Message:
    """As it arrives. Fails if it does not fit a frame."""
    return frames.decode(frames.encode(message))[0]


@given(busy=st.integers(0, 2 * SLOTS), jobs=st.integers(0, 1_500), size=st.integers(1, 100))
@example(busy=151, jobs=0, size=1)
@example(busy=0, jobs=300, size=3)
@example(busy=75, jobs=75, size=1)
@settings(max_examples=30, deadline=None)
def test_facts_of_any_size_fit_and_are_complete(busy: int, jobs: int, size: int) -> None:
    ready = tuple(f"{number:x}".rjust(size, "j") for number in range(jobs))
    held = [
        m.HeldAttempt("j" * size, (LARGE, LARGE - n), n // 2, LARGE - 1, LARGE, running=n % 2 == 0) for n in range(busy)
    ]
    said = [travelled(facts) for facts in state_facts(iter(held), ready)]
    assert all(isinstance(facts, m.WorkerFacts) for facts in said)
    assert [each for facts in said for each in facts.held] == held  # type: ignore[attr-defined]
    assert tuple(job for facts in said for job in facts.ready_jobs) == ready  # type: ignore[attr-defined]
    assert [facts.more for facts in said] == [True] * (len(said) - 1) + [False]  # type: ignore[attr-defined]
    if busy + jobs <= 150:
        assert len(said) == 1


@given(busy=st.integers(0, 4096))
@settings(max_examples=30, deadline=None)
def test_heartbeats_of_any_size_fit_and_are_complete(busy: int) -> None:
    running = [m.RunningItem(n, (LARGE, LARGE - n), LARGE) for n in range(busy)]
    said = [travelled(heartbeat) for heartbeat in state_life(running)]
    assert said
    assert [each for heartbeat in said for each in heartbeat.running] == running  # type: ignore[attr-defined]


def test_a_worker_of_2000_busy_slots_comes_back_to_its_hub_and_goes_on_where_it_was() -> None:
    """The real supervisor and the real scheduler, over frames."""
    scheduler, supervisor = Scheduler(1), Supervisor(SLOTS)
    machine = m.Machine("big", "linux", "x86_64", "3.11.7", "cpython", "0.1.0", cores=SLOTS)
    hello = m.Hello("worker", 1, 1, machine, "big", "big", SLOTS)
    supervisor.start(0.0)
    for slot in range(SLOTS):
        supervisor.receive(f"slot:{slot}", m.SlotReady(slot), 0.0)
    scheduler.receive("notebook", m.Hello("notebook", 1, 1, machine, "notebook"), 0.0)
    options = m.JobOptions(task_size=1)
    scheduler.receive("notebook", m.SubmitJob("j" * 100, "job", machine, options, ranges=((0, 10**6, 1),)), 0.0)
    scheduler.receive("stores", orders_ready("j" * 100), 0.0)

    def talk(said: list[Send], now: float) -> None:
        """Carries messages to and fro until there are none."""
        to_hub = [send.message for send in said if send.peer == orders.HUB]
        while to_hub:
            answers = [send for message in to_hub for send in scheduler.receive("big", travelled(message), now)]
            assert not [send for send in answers if isinstance(send.message, Disconnect)]
            heard: list[Send] = []
            for send in answers:
                if send.peer == "big":
                    heard += supervisor.receive(orders.HUB, travelled(send.message), now)
            in_place = [orders.JobInPlace(s.message.job) for s in heard if isinstance(s.message, orders.GetReady)]
            for event in in_place:
                heard += supervisor.receive(orders.LOCAL, event, now)
            to_hub = [send.message for send in heard if send.peer == orders.HUB]
        invariants.check(scheduler.state)

    scheduler.receive("big", hello, 0.0)
    talk(list(supervisor.receive(orders.HUB, m.Welcome(1, "h", 1, "big", "0.1.0"), 0.0)), 0.0)
    assert len(scheduler.state.attempts) >= SLOTS
    before = {attempt.key for attempt in scheduler.state.attempts.values()}
    talk(list(supervisor.tick(2.0)), 2.0)

    supervisor.receive(orders.LOCAL, orders.HubLost("gone"), 3.0)
    scheduler.receive("big", hello, 3.0)
    talk(list(supervisor.receive(orders.HUB, m.Welcome(1, "h", 1, "big", "0.1.0"), 3.0)), 3.0)
    assert before <= set(scheduler.state.attempts)
    assert not any(attempt.cancelled for attempt in scheduler.state.attempts.values())


def orders_ready(job: str) -> m.Message:
    from nbdist.scheduler.orders import BlobsReady

    return BlobsReady(job)


def test_more_slices_than_slots_can_hold_break_the_protocol() -> None:
    scheduler = Scheduler(1)
    machine = m.Machine("box", "linux", "x86_64", "3.11.7", "cpython", "0.1.0")
    scheduler.receive("w", m.Hello("worker", 1, 1, machine, "w", "w", 1), 0.0)
    held = tuple(m.HeldAttempt("j", (1, n), 0, 0, 5, running=True) for n in range(3))
    assert scheduler.receive("w", m.WorkerFacts(held[:2], more=True), 0.0) == []
    said = scheduler.receive("w", m.WorkerFacts(held[2:], more=True), 0.0)
    (send,) = [send for send in said if send.peer == "w"]
    assert isinstance(send.message, Disconnect)
    assert "holds 3 slices" in send.message.reason
