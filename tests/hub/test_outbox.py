"""A peer that does not read: what waits, what is merged, when it is given up."""

from __future__ import annotations

from nbdist.hub import outbox as module
from nbdist.hub.outbox import Outbox
from nbdist.wire import frames
from nbdist.wire.messages import Acknowledge, JobProgress, Message, Output


class Wire:
    """A connection that takes frames, or does not."""

    def __init__(self) -> None:
        self.reads = True
        self.frames: list[bytes] = []
        self.given_up = False
        self.outbox = Outbox(self.write, self.give_up)

    def write(self, frame: bytes) -> bool:
        self.frames.append(frame)
        return self.reads

    def give_up(self) -> None:
        self.given_up = True

    def fill(self) -> None:
        """Stops reading, with more waiting than the soft bound."""
        self.reads = False
        while sum(map(len, self.frames)) <= module.SOFT_BYTES:
            self.outbox.send(Acknowledge(()), b"x" * 100_000)

    def drain(self) -> None:
        """Reads everything that waited."""
        self.reads = True
        waiting, self.frames = self.frames, []
        for frame in waiting:
            self.outbox.written(len(frame))

    @property
    def messages(self) -> list[Message]:
        return [frames.decode(frame)[0] for frame in self.frames]


def progress(job: str, done: int) -> JobProgress:
    return JobProgress(job, 1.0, 100, done, 0, 0, 1, 1.0)


def output(cut_bytes: int = 0) -> Output:
    return Output("j", (1, 1), 3, "stdout", "w", cut_bytes)


def test_progress_is_replaced_by_later_progress() -> None:
    wire = Wire()
    wire.fill()
    for done in range(5):
        wire.outbox.send_if_room(progress("a", done))
        wire.outbox.send_if_room(progress("b", done))
    assert not any(isinstance(message, JobProgress) for message in wire.messages)
    wire.drain()
    assert wire.messages == [progress("a", 4), progress("b", 4)]


def test_output_is_counted_instead_of_kept() -> None:
    wire = Wire()
    wire.fill()
    wire.outbox.send_if_room(output(), b"x" * 10)
    wire.outbox.send_if_room(output(cut_bytes=5), b"y" * 20)
    wire.drain()
    assert wire.messages == [output(cut_bytes=35)]


def test_while_the_peer_reads_everything_goes_at_once() -> None:
    wire = Wire()
    for number in range(3):
        wire.outbox.send_if_room(output(), bytes([number]))
    assert [bytes(frames.decode(frame)[1]) for frame in wire.frames] == [b"\0", b"\1", b"\2"]


def test_a_peer_that_never_reads_is_given_up() -> None:
    wire = Wire()
    wire.reads = False
    payload = b"x" * 1_000_000
    for _ in range(module.HARD_BYTES // len(payload)):
        wire.outbox.send(Acknowledge(()), payload)
        wire.frames.clear()
    assert not wire.given_up
    for _ in range(2):
        wire.outbox.send(Acknowledge(()), payload)
    assert wire.given_up


def test_what_is_held_back_is_bounded() -> None:
    wire = Wire()
    wire.fill()
    for number in range(module.MAX_HELD + 50):
        wire.outbox.send_if_room(progress(f"job{number}", 1))
    wire.drain()
    assert len(wire.messages) == module.MAX_HELD
