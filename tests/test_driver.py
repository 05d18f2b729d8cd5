"""The driver: gives a machine the time, sends what it says, keeps one timer."""

from __future__ import annotations

from collections.abc import Callable

from nbdist.driver import Driver, Send
from nbdist.wire.messages import JobReady, Message


class Echo:
    """Answers each message, and wants to be woken when told."""

    def __init__(self) -> None:
        self.wants: float | None = None
        self.ticked: list[float] = []

    def receive(self, peer: str, message: Message, now: float, payload_bytes: int = 0) -> list[Send]:
        return [Send(peer, JobReady(f"{now} {payload_bytes}"))]

    def tick(self, now: float) -> list[Send]:
        self.ticked.append(now)
        self.wants = None
        return [Send("all", JobReady("tick"))]

    def deadline(self) -> float | None:
        return self.wants


class Clock:
    """Timers that a test fires by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[tuple[float, Callable[[], None]]] = []

    def call_at(self, when: float, callback: Callable[[], None]) -> Callable[[], None]:
        entry = (when, callback)
        self.timers.append(entry)
        return lambda: self.timers.remove(entry)

    def fire(self) -> None:
        when, callback = self.timers.pop()
        self.now = when
        callback()


def make() -> tuple[Driver, Echo, Clock, list[tuple[str, Message, bytes]]]:
    echo, clock, sent = Echo(), Clock(), []
    driver = Driver(
        echo,
        clock=lambda: clock.now,
        send=lambda peer, message, payload: sent.append((peer, message, bytes(payload))),
        call_at=clock.call_at,
    )
    return driver, echo, clock, sent


def test_answers_go_out_with_the_payload_of_what_they_answer() -> None:
    driver, _, clock, sent = make()
    clock.now = 3.5
    driver.receive("a", JobReady("x"), b"payload")
    assert sent == [("a", JobReady("3.5 7"), b"payload")]


def test_one_timer_which_moves_forward_only() -> None:
    driver, echo, clock, sent = make()
    echo.wants = 10.0
    driver.receive("a", JobReady("x"))
    assert [when for when, _ in clock.timers] == [10.0]
    echo.wants = 12.0
    driver.receive("a", JobReady("x"))
    assert [when for when, _ in clock.timers] == [10.0]
    echo.wants = 5.0
    driver.receive("a", JobReady("x"))
    assert [when for when, _ in clock.timers] == [5.0]
    clock.fire()
    assert echo.ticked == [5.0]
    assert sent[-1] == ("all", JobReady("tick"), b"")
    assert not clock.timers


def test_no_deadline_no_timer_and_stop_cancels_it() -> None:
    driver, echo, clock, _ = make()
    driver.receive("a", JobReady("x"))
    assert not clock.timers
    echo.wants = 1.0
    driver.receive("a", JobReady("x"))
    driver.stop()
    assert not clock.timers
    driver.stop()
