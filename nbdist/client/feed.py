"""Items to blocks of the wire, as they come: nothing is held back for a full block while its items could be running.

An iterator that may block (a generator, a queue, another job) is read by a thread of its own, so that what it has given
so far is sent while it is waited for.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Any

from nbdist.client.items import Items
from nbdist.engines.base import Block
from nbdist.errors import PackingError
from nbdist.packing import pack_chunk
from nbdist.wire import blocks
from nbdist.wire.frames import MAX_FRAME_BYTES

READ_AHEAD_ITEMS = 4_096
"""A reader is at most so many items ahead of what was packed."""
MAX_ITEM_BYTES = MAX_FRAME_BYTES - 64 * 1024
"""A packed item must fit a frame, with its header."""


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


class Chunker:
    """Packs items as chunks of about `CHUNK_BYTES`, of which it learns the right number of items."""

    def __init__(self) -> None:
        self.items = 1
        """How many items the next chunk should have."""

    def pack(self, items: list[Any], first: int) -> list[tuple[int, bytes]]:
        """The chunks of these items, of which the first has index `first`. Raises PackingError."""
        data = pack_chunk(items, first)
        count, size = len(items), len(data)
        if count > 1 and size > 2 * blocks.CHUNK_BYTES:
            self.items = max(1, count * blocks.CHUNK_BYTES // size)
            middle = count // 2
            return [*self.pack(items[:middle], first), *self.pack(items[middle:], first + middle)]
        if size > MAX_ITEM_BYTES:
            raise too_large(first, size)
        fitting = count * blocks.CHUNK_BYTES // size
        self.items = max(1, min(blocks.CHUNK_ITEMS, fitting, self.items * 8))
        return [(count, data)]


def too_large(index: int, size: int) -> PackingError:
    """The error for an item that fits no frame."""
    return PackingError(
        f"item {index} has {size / 1e6:.1f} MB packed, more than {MAX_ITEM_BYTES / 1e6:.1f} MB: let the function "
        "load it, or capture the data in the function and map over its indices"
    )


def _blocks(source: _Batches | _Reader) -> Iterator[Block]:
    chunker = Chunker()
    first = 0
    while True:
        chunks: list[tuple[int, bytes]] = []
        size = count = 0
        while size < blocks.BLOCK_BYTES:
            batch = source.take(chunker.items, wait=not chunks)
            if not batch:
                break
            for number, data in chunker.pack(batch, first + count):
                if chunks and size + len(data) > MAX_ITEM_BYTES:
                    yield Block(count, blocks.join(chunks))
                    first, count, size, chunks = first + count, 0, 0, []
                chunks.append((number, data))
                count += number
                size += len(data)
        if not chunks:
            return
        yield Block(count, blocks.join(chunks))
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
        if len(items) < READ_AHEAD_ITEMS // 2 <= len(items) + len(batch):
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

    def _wait(self) -> None:
        with self._changed:
            self._consumer_waits = True
            self._changed.wait_for(lambda: self._items or self._ended)
            self._consumer_waits = False

    def _read(self) -> None:
        items = self._items
        try:
            for item in self._source:
                items.append(item)
                if self._stopped:
                    return
                if self._consumer_waits:
                    with self._changed:
                        self._changed.notify_all()
                if len(items) >= READ_AHEAD_ITEMS:
                    with self._changed:
                        self._changed.wait_for(lambda: len(items) < READ_AHEAD_ITEMS // 2 or self._stopped)
        except BaseException as error:  # noqa: BLE001 - handed to whoever takes the items
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()
