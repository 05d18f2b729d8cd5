"""What the items of a job are, and how they become blocks."""

from __future__ import annotations

import itertools
import queue
import re
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbdist.client import feed as feed_module
from nbdist.client.feed import READ_AHEAD_BYTES, READ_AHEAD_ITEMS, Chunker, feed
from nbdist.client.items import MAX_REMEMBERED_ITEMS, NoItems, RangeItems, items_of
from nbdist.client.weights import size_of
from nbdist.engines.base import Block
from nbdist.errors import PackingError
from nbdist.packing import unpack_chunk
from nbdist.wire import blocks
from nbdist.wire.frames import MAX_FRAME_BYTES


def unpacked(block: Block, start: int) -> list[Any]:
    files = {f"{number:064x}": bytearray(data) for number, data in enumerate(block.large)}
    data = block.data if block.finish is None else block.finish(list(files))
    return [item for chunk in blocks.split(data, start) for item in unpack_chunk(chunk.data, files.__getitem__)]


def read_all(stream: Iterator[Block]) -> list[Any]:
    found: list[Any] = []
    for block in stream:
        items = unpacked(block, len(found))
        assert len(items) == block.count
        found += items
    return found


ranges = st.builds(range, st.integers(-5, 5), st.integers(-5, 10), st.sampled_from([-2, -1, 1, 3]))


@given(st.lists(ranges, min_size=1, max_size=3))
def test_products_of_ranges(parts: list[range]) -> None:
    items = RangeItems(parts)
    expected = list(parts[0]) if len(parts) == 1 else list(itertools.product(*parts))
    assert list(items.read()) == expected
    assert items.total == len(expected)
    assert [items.at(index) for index in range(len(expected))] == expected
    with pytest.raises(LookupError):
        items.at(len(expected))


def test_kinds_of_items() -> None:
    assert items_of([range(5)], star=False).ranges == ((0, 5, 1),)
    assert items_of([range(2**62, 2**62 + 1)], star=False).ranges == ()
    assert items_of([[1, 2], "abc"], star=True).total == 2
    assert list(items_of([[1, 2], "abc"], star=True).read()) == [(1, "a"), (2, "b")]
    assert items_of([{1: 2}], star=False).total == 1
    assert items_of([iter([1])], star=False).total is None
    assert items_of([np.arange(6).reshape(2, 3)], star=False).total == 2
    assert items_of([[1, 2], itertools.count()], star=True).total is None
    assert list(items_of([[1, 2], itertools.count()], star=True).read()) == [(1, 0), (2, 1)]
    with pytest.raises(LookupError):
        NoItems().at(0)


@pytest.mark.parametrize("wrong", [5, None, len, list, np.float64(1.0)])
def test_what_is_no_iterable_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match="iterable"):
        items_of([wrong], star=False)
    with pytest.raises(TypeError, match="argument 2"):
        items_of([[1], wrong], star=True)


def test_a_stream_remembers_what_is_not_finished() -> None:
    items = items_of([(x * 10 for x in itertools.count())], star=False)
    taken = list(itertools.islice(items.read(), 50))
    assert taken[7] == items.at(7) == 70
    items.finished(8)
    with pytest.raises(LookupError):
        items.at(7)
    assert items.at(8) == 80
    list(itertools.islice(items.read(), 2 * MAX_REMEMBERED_ITEMS))
    with pytest.raises(LookupError):
        items.at(2 * MAX_REMEMBERED_ITEMS)


@given(st.lists(st.integers() | st.text(max_size=50), max_size=300), st.booleans())
def test_blocks_hold_all_items_in_order(values: list[Any], is_stream: bool) -> None:
    items = items_of([iter(values) if is_stream else values], star=False)
    assert read_all(feed(items)) == values


def test_chunks_have_the_sizes_that_the_wire_asks_for() -> None:
    for values in (list(range(20_000)), [bytes(1_000)] * 1_000, [bytes(100), bytes(60_000)] * 40):
        for block in feed(items_of([values], star=False)):
            assert len(block.data) <= 2 * blocks.BLOCK_BYTES
            for chunk in blocks.split(block.data, 0):
                assert chunk.count <= blocks.CHUNK_ITEMS
                assert chunk.count == 1 or len(chunk.data) <= 2 * blocks.CHUNK_BYTES


def test_an_item_over_the_bound_is_named_with_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "MAX_ITEM_BYTES", 3_000_000)
    with pytest.raises(PackingError, match=r"item 2 has 3\.2 MB packed, more than 3\.0 MB: let the function"):
        list(feed(items_of([[b"", b"", np.zeros(400_000)]], star=False)))


def test_the_memory_of_large_arrays_is_not_copied() -> None:
    array = np.arange(100_000)
    values = [1, array, (2, array, "x"), np.arange(10)]
    made = list(feed(items_of([values], star=False)))
    assert [(block.count, len(block.large), block.size) for block in made[1:3]] == [(1, 1, 800_000)] * 2
    assert all(np.shares_memory(np.asarray(block.large[0]).view(array.dtype), array) for block in made[1:3])
    found = read_all(iter(made))
    assert found[0] == 1
    assert (found[1] == array).all()
    assert (found[2][1] == array).all()
    assert found[2][::2] == (2, "x")
    found[1][0] = 5  # it is the function's own


def test_an_item_with_very_many_large_arrays_is_one_blob_at_most_sixty() -> None:
    arrays = [np.full(40_000, number) for number in range(100)]
    (block,) = feed(items_of([[arrays]], star=False))
    assert len(block.large) <= blocks.MAX_ITEM_BLOBS
    (found,) = unpacked(block, 0)
    assert [int(array[-1]) for array in found] == list(range(100))


def test_a_reader_is_not_far_ahead_of_large_items() -> None:
    given = 0
    size = READ_AHEAD_BYTES // 4

    def items() -> Iterator[bytes]:
        nonlocal given
        for number in range(1, 51):
            given = number
            yield bytes(size)

    taken = 0
    for taken, block in enumerate(feed(items_of([items()], star=False)), 1):
        assert block.size >= size
        assert given - taken <= 5
    assert taken == 50


def test_an_item_that_cannot_be_packed_is_named() -> None:
    values: list[Any] = [0] * 1_000
    values[777] = threading.Lock()
    with pytest.raises(PackingError, match="item 777 "):
        list(feed(items_of([values], star=False)))


def test_items_are_not_held_back_for_a_full_block() -> None:
    source: queue.Queue[int | None] = queue.Queue()
    stream = feed(items_of([iter(source.get, None)], star=False))
    for number in range(20):
        source.put(number)
        assert unpacked(next(stream), number) == [number]
    source.put(None)
    assert list(stream) == []


def test_what_the_iterator_raises_comes_through_after_its_items() -> None:
    def items() -> Iterator[int]:
        yield from range(10)
        raise ZeroDivisionError("here")

    stream = feed(items_of([items()], star=False))
    found: list[int] = []
    while len(found) < 10:
        found += unpacked(next(stream), len(found))
    assert found == list(range(10))
    with pytest.raises(ZeroDivisionError, match="here"):
        next(stream)


def test_a_stream_that_nobody_reads_is_not_read_ahead_for_ever() -> None:
    given_out = 0
    stopped = threading.Event()

    def items() -> Iterator[int]:
        nonlocal given_out
        try:
            for number in itertools.count():
                given_out = number
                yield number
        finally:
            stopped.set()

    source = items()
    stream = feed(items_of([source], star=False))
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    del stream, source
    assert stopped.wait(60)
    assert given_out <= 2 * READ_AHEAD_ITEMS


def test_chunks_shrink_at_once_and_grow_step_by_step() -> None:
    chunker = Chunker()
    grown = []
    for _ in range(4):
        list(chunker.pack([1] * chunker.items, 0))
        grown.append(chunker.items)
    assert grown == [8, 64, 256, 256]
    made = list(chunker.pack([bytes(range(250)) * i for i in range(32, 48)], 0))
    assert sum(chunk.count for chunk in made) == 16
    assert max(len(chunk.data) for chunk in made) <= 2 * blocks.CHUNK_BYTES
    assert chunker.items <= 4


def test_a_block_fits_a_frame_however_large_its_items_are() -> None:
    values = [bytes(120_000), bytes(950_000), bytes(10), bytes(950_000)]
    made = list(feed(items_of([values], star=False)))
    assert sum(block.count for block in made) == 4
    assert max(len(block.data) for block in made) < MAX_FRAME_BYTES - 1_000


def test_sizes_are_guessed_without_packing() -> None:
    assert size_of({"a": [np.zeros(10)], "b": np.zeros(100_000)}) > 800_000
    assert size_of((1, bytes(5_000))) > 5_000
    assert size_of(5) == 0


def test_a_list_that_is_changed_afterwards_changes_no_job() -> None:
    given = list(range(10))
    items = items_of([given], star=False)
    del given[1:]
    assert (items.total, list(items.read()), items.at(9)) == (10, list(range(10)), 9)


def test_a_stream_finds_what_it_remembers_without_a_search() -> None:
    stream = items_of([iter(range(50_000))], star=False)
    for index in stream.read():
        assert stream.at(index) == index  # each one a search: minutes
    stream.finished(49_999)
    assert stream.at(49_999) == 49_999
    with pytest.raises(LookupError):
        stream.at(49_998)


# --- for other versions of Python -------------------------------------------------------------------------------------


def native_of(items: list[Any]) -> list[str]:
    """Of each block, why only this version of Python reads it."""
    return [block.native for block in feed(items_of([items], star=False))]


def test_what_has_code_goes_as_source_for_every_version_and_plain_values_as_ever() -> None:
    stream = list(feed(items_of([[lambda x: x + 1] * 3], star=False)))
    assert [block.native for block in stream] == [""]
    assert b"CodeType" not in stream[0].data
    assert [function(1) for function in read_all(iter(stream))] == [2, 2, 2]
    assert native_of([1, "a", {"b": 2.0}]) == [""]


@pytest.mark.parametrize("count", [1, 40])
def test_items_that_are_no_source_say_so_and_go_to_this_version(count: int) -> None:
    stream = list(feed(items_of([[eval("lambda x: x + 1")] * count], star=False)))
    assert all(re.search(r"item \d+ cannot be packed|its text is not known", block.native) for block in stream)
    assert [function(1) for function in read_all(iter(stream))] == [2] * count


def test_only_the_block_with_such_an_item_is_marked() -> None:
    plain = list(range(200_000))
    marks = native_of([*plain, eval("lambda x: x"), *plain])
    assert len(marks) > 2
    assert sum(map(bool, marks)) == 1


def test_a_large_item_that_is_no_source_is_marked_too() -> None:
    (mark,) = native_of([(np.zeros(100_000), eval("lambda x: x"))])
    assert "its text is not known" in mark
