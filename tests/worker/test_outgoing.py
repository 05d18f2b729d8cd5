"""In which order a hub hears of attempts."""

from __future__ import annotations

from nbdist.wire.messages import BlobRef, Message, Part, SliceEnded, SlotCrashed
from nbdist.worker.orders import PlaceBlob
from nbdist.worker.outgoing import Outgoing

BLOB = BlobRef("0" * 64, 1_000_000)


def part(number: int, start: int, stop: int, blob: BlobRef | None = None, *, final: bool = False) -> Part:
    return Part("j", (1, number), start, stop, 0.1, blob=blob, final=final)


def is_open() -> Outgoing:
    queues = Outgoing()
    list(queues.open())
    return queues


def kinds(messages: list[Message]) -> list[str]:
    return [type(message).__name__ for message in messages]


def test_a_slow_blob_holds_back_what_its_slot_did_next_and_nothing_of_other_slots() -> None:
    queues = is_open()
    last = part(1, 0, 1, BLOB, final=True)
    assert kinds(queues.add(last, "file", 0)) == ["PlaceBlob"]
    assert queues.add(part(2, 1, 2), slot=0) == []
    assert queues.add(SlotCrashed((1, 2), 2, "killed", ""), slot=0) == []
    assert queues.add(part(3, 5, 6, final=True), slot=0) == []
    elsewhere, unknown = part(4, 9, 10), SliceEnded((1, 9), "not known")
    assert queues.add(elsewhere, slot=1) == [elsewhere]
    assert queues.add(unknown) == [unknown]
    assert kinds(queues.placed((1, 1), 0)) == ["Part", "Part", "SlotCrashed", "Part"]


def test_a_blob_that_never_comes_ends_its_attempt_and_lets_the_next_one_go_on() -> None:
    queues = is_open()
    queues.add(part(1, 0, 1, BLOB, final=True), "file", 0)
    following = part(2, 1, 2)
    queues.add(following, slot=0)
    assert queues.lost((1, 1), 0, "no room") == [SlotCrashed((1, 1), 0, "no room", kind="unsent"), following]


def test_after_a_reconnect_the_order_is_the_same() -> None:
    queues = is_open()
    first, second = part(1, 0, 1, BLOB, final=True), part(2, 1, 2)
    queues.add(first, "file", 0)
    queues.add(second, slot=0)
    queues.placed((1, 1), 0)
    queues.close()
    assert queues.add(part(2, 2, 3), slot=0) == []
    assert list(queues.open()) == [PlaceBlob((1, 1), 0, 1, BLOB, "file")]
    assert kinds(queues.placed((1, 1), 0)) == ["Part", "Part", "Part"]
    queues.acknowledged((1, 1), 1)
    queues.acknowledged((1, 2), 3)
    assert not queues
