"""Results wait for credit, spill when they are many, and come again after a reconnect."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbdist.hub.results import ENTRY_BYTES, JobResults
from nbdist.hub.spool import SpoolFile
from nbdist.wire.messages import BlobRef, Result


class MemorySpool:
    def __init__(self) -> None:
        self.data = b""
        self.closed = False

    def append(self, data: bytes) -> None:
        self.data += data

    def read(self, offset: int, size: int) -> bytes:
        return self.data[offset : offset + size]

    def clear(self) -> None:
        self.data = b""

    def close(self) -> None:
        self.closed = True


def result(seq: int, blob: BlobRef | None = None) -> Result:
    return Result("j", seq, seq, seq + 1, "w", blob=blob)


def make(memory_bytes: int = 1 << 20) -> tuple[JobResults, MemorySpool]:
    spool = MemorySpool()
    return JobResults(lambda: spool, memory_bytes), spool


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
    assert [message.seq for message in results.take(1, 10_000)] == [1]
    assert seqs(results) == [2]
    assert [message.seq for message in results.close()] == [2, 3]


def test_what_is_too_much_for_memory_is_spooled_and_comes_back() -> None:
    results, spool = make(memory_bytes=2 * (ENTRY_BYTES + 10))
    payloads = [bytes([seq]) * 10 for seq in range(6)]
    for seq, payload in enumerate(payloads, 1):
        results.add(result(seq), memoryview(payload))
    assert [payload in spool.data for payload in payloads] == [False, False, True, True, True, True]
    results.take(0, 3 * (ENTRY_BYTES + 10))
    assert seqs(results) == [1, 2, 3]
    results.add(result(7), b"late")
    assert b"late" in spool.data, "behind those that are there already"
    results.take(3, 1 << 20)
    assert [bytes(payload) for _, payload in results.sendable()] == [*payloads[3:], b"late"]
    assert spool.data == b""
    results.close()
    assert spool.closed


def test_after_a_reconnect_everything_unconsumed_comes_again() -> None:
    results, _ = make()
    for seq in range(1, 6):
        results.add(result(seq), b"abc")
    assert seqs(results) == [1, 2, 3, 4, 5]
    results.take(2, 1 << 20)
    results.rewind()
    assert seqs(results) == [3, 4, 5]


@given(st.lists(st.tuples(st.sampled_from(["add", "send", "take", "rewind"]), st.integers(0, 2_000)), max_size=60))
def test_every_result_arrives_in_order_whatever_happens(steps: list[tuple[str, int]]) -> None:
    results, spool = make(memory_bytes=3_000)
    added = consumed = 0
    received: dict[int, bytes] = {}
    next_seq = 1
    for step, size in steps:
        if step == "add":
            added += 1
            results.add(result(added), added.to_bytes(2, "big") * size)
        elif step == "take":
            consumed = next_seq - 1
            results.take(consumed, size)
        elif step == "rewind":
            results.rewind()
            next_seq = consumed + 1
        for message, payload in results.sendable() if step == "send" else ():
            assert message.seq == next_seq
            next_seq += 1
            received[message.seq] = bytes(payload)
    results.rewind()
    results.take(consumed, 1 << 40)
    for message, payload in results.sendable():
        received[message.seq] = bytes(payload)
    assert sorted(received) == list(range(1, added + 1))
    assert all(data[:2] in (b"", seq.to_bytes(2, "big")) for seq, data in received.items())
    results.take(added, 0)
    assert spool.data == b""


def test_memory_does_not_grow_with_the_number_of_results() -> None:
    results, spool = make(memory_bytes=5_000)
    for seq in range(1, 1_001):
        results.add(result(seq), b"")
    assert len(results._entries) < 10
    assert not results.is_consumed
    results.close()
    assert spool.closed


def test_the_spool_file_keeps_empties_and_goes(tmp_path: Path) -> None:
    spool = SpoolFile(tmp_path)
    spool.append(b"one")
    spool.append(b"two!")
    assert spool.read(3, 4) == b"two!"
    assert spool.read(0, 3) == b"one"
    spool.append(b"x")
    spool.clear()
    spool.append(b"y")
    assert spool.read(0, 10) == b"y"
    spool.close()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError):
        spool.read(0, 1)


def test_closing_gives_blobs_back_without_reading_the_spool(monkeypatch: pytest.MonkeyPatch) -> None:
    results, spool = make(memory_bytes=5_000)
    refs = {seq: BlobRef(f"{seq:064x}", 9) for seq in (3, 50, 60)}
    for seq in range(1, 101):
        results.add(result(seq, refs.get(seq)), b"")
    results.take(50, 1 << 20)
    monkeypatch.setattr(spool, "read", lambda offset, size: pytest.fail("a long spool takes long to read"))
    assert [message.seq for message in results.close() if message.blob is not None] == [60]
    assert spool.closed


def test_a_full_disk_loses_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    results, spool = make(memory_bytes=3 * (ENTRY_BYTES + 10))
    for seq in range(1, 6):
        results.add(result(seq), b"x" * 10)

    def full(data: bytes) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(spool, "append", full)
    with pytest.raises(OSError, match="no space"):
        results.add(result(6), b"x" * 10)
    results.add(result(7), b"x" * 10)
    assert seqs(results) == [1, 2, 3, 4, 5, 6, 7]
    results.take(7, 1 << 20)
    assert results.is_consumed


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
