"""Items to blocks of the wire, as they come: nothing is held back for a full block while its items could be running.

An iterator that may block (a generator, a queue, another job) is read by a thread of its own, so that what it has given
so far is sent while it is waited for.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol, TypeVar

from nbdist.client.items import Items
from nbdist.client.weights import size_of
from nbdist.engines.base import Block, Buffer
from nbdist.errors import PackingError
from nbdist.packing import item_chunk, pack_chunk, pack_item
from nbdist.wire import blocks

READ_AHEAD_ITEMS = 4_096
"""A reader is at most so many items ahead of what was packed."""
READ_AHEAD_BYTES = 16 * 1024 * 1024
"""… and has read so many bytes ahead, or one item."""
HEAVY_BYTES = 4 * 1024
"""Smaller items are not counted for that …"""
WEIGH_ALL = 64
"""… and after so many of them in a row only each `WEIGH_SOME`th item is weighed, which takes as long as packing it."""
WEIGH_SOME = 16
MAX_NATIVE_CHARACTERS = 500
"""Of why an item cannot go to other versions of Python: it travels with the block."""
MAX_ITEM_BYTES = 4 * 1024**3
"""A packed item. Each process that it passes through needs the address space for it, and a disk the room."""

_Items = TypeVar("_Items", contravariant=True)
_Packed = TypeVar("_Packed", covariant=True)


def feed(items: Items) -> Iterator[Block]:
    """The items as blocks.

    Raises PackingError for an item that cannot be packed, and whatever the items' own iterator raises.
    """
    if not items.is_stream:
        yield from _blocks(_Batches(items.read()))
        return
    reader = _Reader(items.read())
    try:
        yield from _blocks(reader)
    finally:
        reader.stop()


@dataclass(frozen=True, slots=True)
class PackedChunk:
    """Some consecutive items, packed."""

    count: int
    data: Buffer = b""
    entries: Sequence[Buffer] = ()
    """Instead of `data`: of one item, of which some are so large that they travel as blobs."""
    native: str = ""
    """Set: why only this version of Python reads it."""

    def as_block(self) -> Block:
        """The block of one large item."""
        entries = self.entries
        large = [memoryview(entry) for entry in entries if _is_large(entry)]

        def finish(names: Sequence[str]) -> bytes:
            given = iter(names)
            named = [next(given) if _is_large(entry) else None for entry in entries]
            return blocks.join([(1, item_chunk(entries, named))])

        return Block(1, large=large, finish=finish, native=self.native)


class Chunker:
    """Packs items as chunks of about `CHUNK_BYTES`, of which it learns the right number of items."""

    def __init__(self) -> None:
        self.items = 1
        """How many items the next chunk should have."""

    def pack(self, items: Sequence[Any], first: int) -> Iterator[PackedChunk]:
        """The chunks of these items, of which the first has index `first`. Raises PackingError."""
        count = len(items)
        if count < 2:
            yield from (self._pack_one(item, first) for item in items)
            return
        # what a few do not show costs a copy of the item at worst, and not even that if it is an array
        looks_large = any(size_of(items[at]) >= blocks.LARGE_BYTES for at in (0, count // 2, -1))
        data, native = (None, "") if looks_large else _portably(pack_chunk, items, first)
        if data is not None and len(data) <= 2 * blocks.CHUNK_BYTES:
            self._learn(count, len(data))
            yield PackedChunk(count, data, native=native)
            return
        if data is not None:
            self.items = max(1, count * blocks.CHUNK_BYTES // len(data))
            del data
        middle = count // 2
        yield from self.pack(items[:middle], first)
        yield from self.pack(items[middle:], first + middle)

    def _pack_one(self, item: Any, index: int) -> PackedChunk:
        entries, native = _portably(pack_item, item, index)
        size = sum(memoryview(entry).nbytes for entry in entries)
        if size > MAX_ITEM_BYTES:
            raise too_large(index, size)
        self._learn(1, size)
        if len(entries) == 1 and not _is_large(entries[0]):
            return PackedChunk(1, entries[0], native=native)
        return PackedChunk(1, entries=entries, native=native)

    def _learn(self, count: int, size: int) -> None:
        fitting = count * blocks.CHUNK_BYTES // size
        self.items = max(1, min(blocks.CHUNK_ITEMS, fitting, self.items * 8))


class _Pack(Protocol[_Items, _Packed]):
    def __call__(self, items: _Items, first: int, /, *, portable: bool = False) -> _Packed: ...


def _portably(pack: _Pack[_Items, _Packed], items: _Items, first: int) -> tuple[_Packed, str]:
    """Items for all versions of Python: functions and classes in them go as source. If that cannot be, for this one,
    with the reason. Plain values are the same either way. Raises PackingError."""
    try:
        return pack(items, first, portable=True), ""
    except PackingError as error:
        return pack(items, first), str(error)[:MAX_NATIVE_CHARACTERS]


def too_large(index: int, size: int) -> PackingError:
    """The error for an item that is too large to be sent."""
    return PackingError(
        f"item {index} has {size / 1e6:.1f} MB packed, more than {MAX_ITEM_BYTES / 1e6:.1f} MB: let the function "
        "load it from where it lies, or cut it into several items"
    )


def _is_large(entry: Buffer) -> bool:
    return memoryview(entry).nbytes >= blocks.LARGE_BYTES


def _blocks(source: _Batches | _Reader) -> Iterator[Block]:
    chunker = Chunker()
    first = 0
    while True:
        chunks: list[tuple[int, Buffer]] = []
        size = count = 0
        native = ""
        while size < blocks.BLOCK_BYTES:
            batch = source.take(chunker.items, wait=not chunks)
            if not batch:
                break
            for chunk in chunker.pack(batch, first + count):
                if not chunk.entries:
                    chunks.append((chunk.count, chunk.data))
                    count += chunk.count
                    size += len(chunk.data)
                    native = native or chunk.native
                    continue
                if chunks:
                    yield Block(count, blocks.join(chunks), native=native)
                yield chunk.as_block()
                first, count, size, chunks, native = first + count + 1, 0, 0, [], ""
        if not chunks and not batch:
            return
        if chunks:
            yield Block(count, blocks.join(chunks), native=native)
            first += count


class _Batches:
    """Items that are all at hand."""

    def __init__(self, source: Iterator[Any]) -> None:
        self._source = source

    def take(self, count: int, *, wait: bool) -> list[Any]:
        """The next items, at most `count`; none at the end."""
        return list(islice(self._source, count))


class _Reader:
    """Reads an iterator in a thread; gives what has come."""

    def __init__(self, source: Iterator[Any]) -> None:
        self._source = source
        self._items: deque[Any] = deque()
        self._heavy: deque[tuple[int, int]] = deque()
        """Of items in `_items` that are large: the number and the size of each."""
        self._taken = 0
        self._read_bytes = self._taken_bytes = 0
        """Of large items: each is written by one thread."""
        self._changed = threading.Condition()
        self._consumer_waits = False
        self._ended = self._stopped = False
        self._error: BaseException | None = None
        threading.Thread(target=self._read, name="nbdist-items", daemon=True).start()

    def take(self, count: int, *, wait: bool) -> list[Any]:
        """The next items, at most `count`. None at the end, and, unless `wait`, when none has come yet."""
        items = self._items
        if not items:
            if not wait:
                return []
            self._wait()
        batch = [items.popleft() for _ in range(min(count, len(items)))]
        if self._weigh(len(batch)) or len(items) < READ_AHEAD_ITEMS // 2 <= len(items) + len(batch):
            with self._changed:
                self._changed.notify_all()
        if not batch and self._error is not None:
            raise self._error
        return batch

    def stop(self) -> None:
        """Lets the thread end with its next item."""
        self._stopped = True
        with self._changed:
            self._changed.notify_all()

    def _weigh(self, count: int) -> bool:
        """So many items were taken; whether large ones are among them."""
        self._taken += count
        before = self._taken_bytes
        while self._heavy and self._heavy[0][0] < self._taken:
            self._taken_bytes += self._heavy.popleft()[1]
        return self._taken_bytes > before

    def _may_go_on(self) -> bool:
        return len(self._items) < READ_AHEAD_ITEMS // 2 and self._read_bytes - self._taken_bytes < READ_AHEAD_BYTES

    def _wait(self) -> None:
        with self._changed:
            self._consumer_waits = True
            self._changed.wait_for(lambda: self._items or self._ended)
            self._consumer_waits = False

    def _read(self) -> None:
        items = self._items
        try:
            weigh_from, weigh_all_to = 0, WEIGH_ALL
            for number, item in enumerate(self._source):
                is_full = len(items) >= READ_AHEAD_ITEMS - 1
                if number >= weigh_from:
                    if (size := size_of(item)) >= HEAVY_BYTES:
                        self._heavy.append((number, size))
                        self._read_bytes += size
                        weigh_all_to = number + WEIGH_ALL
                        is_full = is_full or self._read_bytes - self._taken_bytes >= READ_AHEAD_BYTES
                    weigh_from = number + (1 if number < weigh_all_to else WEIGH_SOME)
                items.append(item)
                del item  # it may be large
                if self._stopped:
                    return
                if self._consumer_waits:
                    with self._changed:
                        self._changed.notify_all()
                if is_full:
                    with self._changed:
                        self._changed.wait_for(lambda: self._stopped or self._may_go_on())
        except BaseException as error:  # noqa: BLE001 - handed to whoever takes the items
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()
