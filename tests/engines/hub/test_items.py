"""The feed of items: order, credit, what is sent again, and that it ends."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbdist.engines.base import Block
from nbdist.engines.hub.items import ItemFeed, Parcel
from nbdist.errors import FrameError
from nbdist.wire import frames
from nbdist.wire.messages import AddItems, CloseItems, Message

WINDOW = 100
LIMIT_SECONDS = 60.0


class Wire:
    def __init__(self) -> None:
        self.messages: list[tuple[Message, int]] = []
        self.sent = threading.Semaphore(0)

    def __call__(self, frame: bytes) -> None:
        message, payload = frames.decode(frame)
        self.messages.append((message, len(payload)))
        self.sent.release()

    @property
    def starts(self) -> list[int]:
        return [message.start for message, _ in self.messages if isinstance(message, AddItems)]

    @property
    def is_closed(self) -> bool:
        return any(isinstance(message, CloseItems) for message, _ in self.messages)


def block(size: int, count: int = 1) -> Block:
    return Block(count, bytes(size))


def test_sends_within_the_window_and_the_rest_as_it_is_granted() -> None:
    wire = Wire()
    feed = ItemFeed("j", wire, WINDOW)
    for _ in range(4):
        feed.add(block(40, count=3))
    feed.close()
    assert wire.starts == [0, 3]
    feed.grant(40)
    assert wire.starts == [0, 3, 6]
    assert not wire.is_closed
    feed.grant(40)
    assert wire.starts == [0, 3, 6, 9]
    assert wire.messages[-1][0] == CloseItems("j", 12)


def test_a_block_larger_than_the_window_goes_alone() -> None:
    wire = Wire()
    feed = ItemFeed("j", wire, WINDOW)
    feed.add(block(250))
    feed.add(block(10))
    assert wire.starts == [0]
    feed.grant(250)
    assert wire.starts == [0, 1]


def test_only_what_the_hub_has_not_given_back_is_sent_again() -> None:
    wire = Wire()
    feed = ItemFeed("j", wire, WINDOW)
    for _ in range(3):
        feed.add(block(30))
    feed.grant(30)
    feed.grant(29)  # not yet the whole second block
    again = [frames.decode(frame)[0] for frame in feed.again()]
    assert [message.start for message in again if isinstance(message, AddItems)] == [1, 2]
    feed.close()
    assert isinstance(frames.decode(feed.again()[-1])[0], CloseItems)


def test_closing_is_not_told_again_before_all_items_are_sent() -> None:
    feed = ItemFeed("j", Wire(), WINDOW)
    feed.add(block(90))
    feed.add(block(90))
    feed.close()
    assert [type(frames.decode(frame)[0]) for frame in feed.again()] == [AddItems]


def test_pump_waits_for_credit_and_reads_no_further_meanwhile() -> None:
    wire = Wire()
    feed = ItemFeed("j", wire, WINDOW)
    made = []

    def source():  # type: ignore[no-untyped-def]
        for index in range(5):
            made.append(index)
            yield block(60)

    thread = threading.Thread(target=feed.pump, args=(source(),))
    thread.start()
    for expected in range(1, 6):
        assert wire.sent.acquire(timeout=LIMIT_SECONDS)
        assert len(wire.starts) == expected
        assert len(made) <= expected + 1
        feed.grant(60)
    thread.join(LIMIT_SECONDS)
    assert not thread.is_alive()
    assert wire.is_closed


def test_stop_ends_a_pump_that_waits() -> None:
    wire = Wire()
    feed = ItemFeed("j", wire, WINDOW)
    thread = threading.Thread(target=feed.pump, args=(iter([block(90), block(90)]),))
    thread.start()
    assert wire.sent.acquire(timeout=LIMIT_SECONDS)
    feed.stop()
    thread.join(LIMIT_SECONDS)
    assert not thread.is_alive()
    assert not wire.is_closed
    assert feed.again() == []


def test_a_block_that_fits_no_frame_is_refused() -> None:
    with pytest.raises(FrameError):
        ItemFeed("j", Wire()).add(block(frames.MAX_FRAME_BYTES))


@given(st.lists(st.integers(1, 150), max_size=30), st.lists(st.integers(1, 60), max_size=60))
def test_every_item_goes_once_in_order_and_never_beyond_the_credit(sizes: list[int], grants: list[int]) -> None:
    wire = Wire()
    feed = ItemFeed("j", wire, WINDOW)
    for size in sizes:
        feed.add(block(size))
    given_back = 0
    for grant in grants:
        in_flight = sum(size for _, size in wire.messages) - given_back
        assert in_flight <= WINDOW or len(wire.messages) == 1 or max(sizes) > WINDOW
        grant = min(grant, in_flight)
        given_back += grant
        feed.grant(grant)
    feed.grant(10_000)
    assert wire.starts == list(range(len(sizes)))


# --- blocks with blobs ---


def large(size: int) -> Block:
    return Block(1, large=[bytes(size)], finish=lambda names: names[0].encode())


class Uploads:
    """Holds parcels until the test says that their blobs are at the hub."""

    def __init__(self, wire: Wire) -> None:
        self.parcels: list[Parcel] = []
        self.feed = ItemFeed("j", wire, WINDOW, self.parcels.append)

    def done(self, number: int) -> bool:
        parcel = self.parcels[number]
        assert parcel.block is not None
        assert parcel.block.finish is not None
        parcel.pack(parcel.block.finish(["name"]), AddItems("j", parcel.start, 1))
        return self.feed.uploaded(parcel)


def test_a_large_block_is_told_of_once_its_blobs_are_there_and_in_order() -> None:
    wire = Wire()
    uploads = Uploads(wire)
    for made in (large(30), large(30), block(5)):
        uploads.feed.add(made)
    uploads.feed.close()
    assert [parcel.start for parcel in uploads.parcels] == [0, 1]
    assert uploads.done(1)
    assert wire.messages == []
    assert uploads.feed.again() == []
    assert uploads.done(0)
    assert wire.starts == [0, 1, 2]
    assert wire.messages[-1][0] == CloseItems("j", 3)
    assert [type(frames.decode(frame)[0]) for frame in uploads.feed.again()] == [AddItems] * 3 + [CloseItems]
    assert all(parcel.block is None for parcel in uploads.parcels)  # its memory is not held


def test_large_blocks_are_uploaded_within_the_credit_and_one_may_be_larger() -> None:
    uploads = Uploads(Wire())
    for size in (500, 60, 60):
        uploads.feed.add(large(size))
    assert [parcel.size for parcel in uploads.parcels] == [500]
    uploads.done(0)
    assert len(uploads.parcels) == 1
    uploads.feed.grant(500)
    assert len(uploads.parcels) == 2
    uploads.feed.grant(0, wider_bytes=20)
    assert len(uploads.parcels) == 3


def test_a_wider_window_gives_nothing_back() -> None:
    wire = Wire()
    feed = ItemFeed("j", wire, WINDOW)
    feed.add(block(60))
    feed.grant(0, wider_bytes=1_000)
    assert len(feed.again()) == 1


def test_what_arrives_after_the_end_is_not_told() -> None:
    wire = Wire()
    uploads = Uploads(wire)
    uploads.feed.add(large(30))
    parcel = uploads.parcels[0]
    assert not uploads.feed.may_find_room(parcel)
    uploads.feed.stop()
    assert not uploads.feed.is_wanted()
    assert not uploads.done(0)
    assert wire.messages == []
