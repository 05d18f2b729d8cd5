"""Drives one pure machine: gives it the time, sends what it says, keeps one timer.

The scheduler and the supervisor are such machines. They never read a clock and never send: they say what is to be
sent and when they want to be woken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

from nbdist.wire.frames import Payload
from nbdist.wire.messages import Message


class Send(NamedTuple):
    """One thing that a machine wants said: `message` to `peer`."""

    peer: str
    message: Message


class PureMachine(Protocol):
    """A synchronous state machine: inputs and the time in, things to send out."""

    def receive(self, peer: str, message: Message, now: float, payload_bytes: int = 0) -> Iterable[Send]:
        """Takes a message from a peer."""

    def tick(self, now: float) -> Iterable[Send]:
        """Does what is due."""

    def deadline(self) -> float | None:
        """When it wants `tick` to be called, in the driver's clock; None: not until something comes in."""


class Driver:
    """Runs one machine on an event loop's clock.

    `send(peer, message, payload)` is given the payload of the input that is being dealt with, for the messages that
    pass it on. `call_at(when, callback)` returns a function that cancels it.
    """

    def __init__(
        self,
        machine: PureMachine,
        *,
        clock: Callable[[], float],
        send: Callable[[str, Message, Payload], None],
        call_at: Callable[[float, Callable[[], None]], Callable[[], None]],
    ) -> None:
        self._machine = machine
        self._clock = clock
        self._send = send
        self._call_at = call_at
        self._armed_for: float | None = None
        self._cancel_timer: Callable[[], None] | None = None

    def receive(self, peer: str, message: Message, payload: Payload = b"") -> None:
        """Hands a message to the machine and sends what it answers."""
        for send in self._machine.receive(peer, message, self._clock(), len(payload)):
            self._send(send.peer, send.message, payload)
        self._arm()

    def stop(self) -> None:
        """Cancels the timer."""
        if self._cancel_timer is not None:
            self._cancel_timer()
        self._cancel_timer = self._armed_for = None

    def _wake(self) -> None:
        self._cancel_timer = self._armed_for = None
        for send in self._machine.tick(self._clock()):
            self._send(send.peer, send.message, b"")
        self._arm()

    def _arm(self) -> None:
        deadline = self._machine.deadline()
        if deadline == self._armed_for:
            return
        if self._cancel_timer is not None:
            if deadline is not None and self._armed_for is not None and self._armed_for <= deadline:
                return  # wakes early once, and arms itself again then: cheaper than a new timer for each message
            self._cancel_timer()
        self._armed_for = deadline
        self._cancel_timer = None if deadline is None else self._call_at(deadline, self._wake)
