"""Results wait for credit, are read from the log when they are many, and come again to who asks for them again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbdist.hub.resultlog import ENTRY_BYTES, Spot, weight
from nbdist.hub.results import JobResults
from nbdist.wire.frames import Payload
from nbdist.wire.messages import BlobRef, Result


class MemoryLog:
    """A log in memory; `full` makes it refuse."""

    def __init__(self) -> None:
        self.records: list[tuple[Result, bytes]] = []
        self.first = 0
        self.full = False
        self.reads = 0

    @property
    def end(self) -> Spot:
        return Spot(0, len(self.records))

    def append(self, message: Result, payload: Payload) -> None:
        if self.full:
            raise OSError("no space left on device")
        self.records.append((message, bytes(payload)))

    def read(self, spot: Spot) -> tuple[Result, Payload, Spot]:
        self.reads += 1
        return *self.records[spot.offset], Spot(0, spot.offset + 1)

    def seek(self, seq: int) -> tuple[Spot, int]:
        behind = [place for place in range(self.first, len(self.records)) if self.records[place][0].seq > seq]
        size = sum(weight(self.records[place][0], len(self.records[place][1])) for place in behind)
        return Spot(0, behind[0] if behind else len(self.records)), size


def result(seq: int, blob: BlobRef | None = None) -> Result:
    return Result("j", seq, seq, seq + 1, "w", blob=blob)


def make(memory_bytes: int = 1 << 20) -> tuple[JobResults, MemoryLog]:
    log = MemoryLog()
    return JobResults(log, memory_bytes), log


def seqs(results: JobResults) -> list[int]:
    return [message.seq for message, _ in results.sendable()]


def test_credit_bounds_what_is_in_flight() -> None:
    results, _ = make()
    results.take(0, 3 * (ENTRY_BYTES + 100))
    for seq in range(1, 9):
        results.add(result(seq), b"x" * 100)
    assert seqs(results) == [1, 2, 3]
    assert seqs(results) == []
    results.take(2, 3 * (ENTRY_BYTES + 100))
    assert seqs(results) == [4, 5]
    results.take(5, 0)
    assert seqs(results) == [6], "one always goes, however small the window"


def test_a_blob_counts_with_its_size() -> None:
    results, _ = make()
    results.take(0, 10_000)
    for seq in range(1, 4):
        results.add(result(seq, BlobRef("0" * 64, 9_000)), b"")
    assert seqs(results) == [1]
    results.take(1, 10_000)
    assert seqs(results) == [2]


def test_what_is_too_much_for_memory_comes_back_from_the_log() -> None:
    results, log = make(memory_bytes=2 * (ENTRY_BYTES + 10))
    payloads = [bytes([seq]) * 10 for seq in range(6)]
    for seq, payload in enumerate(payloads, 1):
        results.add(result(seq), memoryview(payload))
    assert len(results._entries) == 2
    results.take(0, 3 * (ENTRY_BYTES + 10))
    assert seqs(results) == [1, 2, 3]
    results.add(result(7), b"late")
    results.take(3, 1 << 20)
    assert [bytes(payload) for _, payload in results.sendable()] == [*payloads[3:], b"late"]
    assert log.reads == 5


def test_what_fits_in_memory_is_not_read() -> None:
    results, log = make()
    for seq in range(1, 100):
        results.add(result(seq), b"x")
        assert seqs(results) == [seq]
        results.take(seq, 1 << 20)
    assert log.reads == 0
    assert len(log.records) == 99


def test_after_a_reconnect_everything_unconsumed_comes_again() -> None:
    results, _ = make()
    for seq in range(1, 6):
        results.add(result(seq), b"abc")
    assert seqs(results) == [1, 2, 3, 4, 5]
    results.take(2, 1 << 20)
    results.attach(3, 1 << 20)
    assert seqs(results) == [4, 5]


def test_a_new_notebook_gets_everything_from_the_beginning_and_then_what_comes() -> None:
    results, _ = make(memory_bytes=2 * ENTRY_BYTES)
    for seq in range(1, 6):
        results.add(result(seq), b"")
    assert seqs(results) == [1, 2, 3, 4, 5]
    results.take(5, 1 << 20)
    assert results.is_consumed
    results.attach(0, 1 << 20)
    assert not results.is_consumed
    assert seqs(results) == [1, 2, 3, 4, 5]
    results.add(result(6), b"")
    assert seqs(results) == [6]


def test_what_was_dropped_does_not_come_again() -> None:
    results, log = make()
    for seq in range(1, 6):
        results.add(result(seq), b"")
    assert len(seqs(results)) == 5
    results.take(4, 1 << 20)
    log.first = 2
    results.dropped(2)
    results.attach(0, 1 << 20)
    assert seqs(results) == [3, 4, 5]


def test_after_a_restart_the_notebook_gets_what_it_does_not_have() -> None:
    results, log = make()
    for seq in range(1, 6):
        results.add(result(seq), b"")
    again = JobResults(log)
    again.restore(last=5, dropped=0, consumed=0)
    again.attach(3, 1 << 20)
    again.add(result(6), b"")
    assert seqs(again) == [4, 5, 6]


def test_a_hub_that_is_started_anew_knows_what_was_consumed_and_gives_it_again_to_who_asks() -> None:
    results, log = make()
    for seq in range(1, 6):
        results.add(result(seq), b"abc")
    again = JobResults(log)
    again.restore(last=5, dropped=1, consumed=4)
    assert (again.consumed, again.waiting_bytes) == (4, ENTRY_BYTES + 3)
    assert seqs(again) == [5]
    again.attach(0, 1 << 20)
    assert seqs(again) == [2, 3, 4, 5]
    again.restore(last=5, dropped=0, consumed=9)
    assert again.is_consumed


@given(
    st.lists(st.tuples(st.sampled_from(["add", "send", "take", "attach", "full"]), st.integers(0, 2_000)), max_size=60)
)
def test_every_result_arrives_in_order_whatever_happens(steps: list[tuple[str, int]]) -> None:
    results, log = make(memory_bytes=3_000)
    added = consumed = 0
    received: dict[int, bytes] = {}
    next_seq = 1
    for step, size in steps:
        if step == "add":
            added += 1
            try:
                results.add(result(added), added.to_bytes(2, "big") * size)
            except OSError:
                assert log.full
        elif step == "full":
            log.full = not log.full
            if not log.full:
                results.write_unlogged()
        elif step == "take":
            consumed = next_seq - 1
            results.take(consumed, size)
        elif step == "attach":
            consumed = size % next_seq
            results.attach(consumed, size)
            next_seq = consumed + 1
        behind = [*log.records, *((entry.message, entry.payload) for entry in results._unlogged)][results.consumed :]
        assert results.waiting_bytes == sum(weight(message, len(payload)) for message, payload in behind)
        for message, payload in results.sendable() if step == "send" else ():
            assert message.seq == next_seq <= len(log.records), "it was not in the log"
            next_seq += 1
            received[message.seq] = bytes(payload)
    log.full = False
    results.write_unlogged()
    results.attach(consumed, 1 << 40)
    for message, payload in results.sendable():
        received[message.seq] = bytes(payload)
    assert sorted(received) == list(range(1, added + 1))
    assert all(data[:2] in (b"", seq.to_bytes(2, "big")) for seq, data in received.items())
    results.take(added, 0)
    assert results.is_consumed


def test_memory_does_not_grow_with_the_number_of_results() -> None:
    results, _ = make(memory_bytes=5_000)
    for seq in range(1, 1_001):
        results.add(result(seq), b"")
    assert len(results._entries) < 10
    assert not results.is_consumed


def test_nothing_is_sent_that_a_full_disk_did_not_take() -> None:
    results, log = make()
    results.add(result(1), b"x")
    log.full = True
    with pytest.raises(OSError, match="no space"):
        results.add(result(2), b"y")
    results.add(result(3), b"z")
    assert seqs(results) == [1]
    with pytest.raises(OSError, match="no space"):
        results.write_unlogged()
    log.full = False
    results.write_unlogged()
    assert seqs(results) == [2, 3]
    assert [bytes(payload) for _, payload in log.records] == [b"x", b"y", b"z"]


@given(sizes=st.lists(st.integers(0, 40), max_size=30), window=st.integers(1, 20))
def test_a_notebook_that_speaks_at_half_a_window_gets_everything(sizes: list[int], window: int) -> None:
    results, _ = make()
    unit = 10 * ENTRY_BYTES
    results.take(0, window * unit)
    for seq, size in enumerate(sizes, 1):
        results.add(result(seq, BlobRef("0" * 64, size * unit)), b"")
    received = unsaid = 0
    while came := seqs(results):
        for seq in came:
            received, unsaid = seq, unsaid + sizes[seq - 1] * unit + ENTRY_BYTES
            if unsaid >= window * unit // 2:
                unsaid = 0
                results.take(received, window * unit)
    assert received == len(sizes)
