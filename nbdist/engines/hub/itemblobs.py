"""Brings large items to the hub: their bytes as blobs, before the hub is told of the items.

It has threads of its own, so that results do not wait behind items.
"""

from __future__ import annotations

import errno
import os
import queue
import threading
import uuid
from collections.abc import Callable
from pathlib import Path

from nbdist.engines.base import Block, Buffer, PackedBlob
from nbdist.engines.hub import transfers
from nbdist.engines.hub.items import ItemFeed, Parcel
from nbdist.errors import ConnectionFailedError, NoRoomError
from nbdist.wire.address import Address
from nbdist.wire.blobs import BlobHasher, blob_name, holder_of_items
from nbdist.wire.messages import AddItems, BlobRef

THREADS = 2
PAUSE_SECONDS = 1.0
"""Between two tries, while the hub is away or its disk is full."""
ROOM_TRIES = 5
"""For a block that finds no room although the job has nothing else at the hub."""
PIECE_BYTES = 1024 * 1024
_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
MAX_SENT = 10_000
"""Names of blobs that were sent lately: these may still be there."""

Place = Callable[[], tuple[Path | None, Address]]
"""Where the hub is: its folder, if that is on this machine, and its address. Raises ConnectionFailedError."""


class ItemBlobs:
    """The uploads of one engine."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._threads = 0
        self._closed = threading.Event()
        self._sent: dict[str, bool] = {}
        self._lock = threading.Lock()
        """Guards `_sent`."""

    def upload(self, feed: ItemFeed, parcel: Parcel, failed: Callable[[str], None]) -> None:
        """Brings the blobs of a parcel to the hub in another thread; `failed` is told why that cannot be done."""

        def work() -> None:
            try:
                self._try_often(feed, parcel)
            except Exception as error:  # noqa: BLE001 - whatever it is, the job must not wait for this item for ever
                if feed.is_wanted():
                    failed(f"item {parcel.start} ({parcel.size / 1e6:.1f} MB) cannot be sent: {error}")

        if self._threads < THREADS:  # daemons: a process that ends does not wait for a hub that is away
            self._threads += 1
            threading.Thread(target=self._run, name="nbdist-items-up", daemon=True).start()
        self._work.put(work)

    def close(self) -> None:
        """Nothing is sent any more."""
        self._closed.set()
        for _ in range(self._threads):
            self._work.put(None)

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            work()

    def _try_often(self, feed: ItemFeed, parcel: Parcel) -> None:
        block = parcel.block
        assert block is not None
        tries = ROOM_TRIES
        while feed.is_wanted() and not self._closed.is_set():
            try:
                folder, address = self._place()
                if folder is None:
                    self._put(parcel, block, address)
                else:
                    _write(parcel, block, folder)
            except ConnectionFailedError:
                self._closed.wait(PAUSE_SECONDS)  # the engine ends the job if the hub does not come back
            except NoRoomError:
                tries = ROOM_TRIES if feed.may_find_room(parcel) else tries - 1
                if not tries:
                    raise
                self._closed.wait(PAUSE_SECONDS)
            else:
                if not feed.uploaded(parcel) and folder is not None:
                    _remove(folder, parcel.files)
                return

    def _put(self, parcel: Parcel, block: Block, address: Address) -> None:
        holder = holder_of_items(parcel.job, parcel.start)
        refs = []
        for buffer in block.large:
            blob = PackedBlob(blob_name([buffer]), memoryview(buffer).nbytes, [buffer])
            if not self._note_sent(blob.name) or not transfers.hold(blob.name, address, holder):
                transfers.put(blob, address, holder)
            refs.append(BlobRef(blob.name, blob.size))
        _pack(parcel, block, refs, ())

    def _note_sent(self, name: str) -> bool:
        """Whether the blob was sent before, lately."""
        with self._lock:
            was_sent = self._sent.pop(name, False)
            self._sent[name] = True
            if len(self._sent) > MAX_SENT:
                del self._sent[next(iter(self._sent))]
        return was_sent


def _pack(parcel: Parcel, block: Block, refs: list[BlobRef], files: tuple[str, ...]) -> None:
    assert block.finish is not None
    data = block.finish([ref.name for ref in refs])
    parcel.files = files
    parcel.pack(data, AddItems(parcel.job, parcel.start, block.count, tuple(refs), files, block.native))


def _write(parcel: Parcel, block: Block, folder: Path) -> None:
    """Puts the blobs into the folder of a hub on this machine, under names that only this parcel knows."""
    refs: list[BlobRef] = []
    files: list[str] = []
    try:
        for buffer in block.large:
            files.append(uuid.uuid4().hex)
            refs.append(_copy(buffer, folder / "incoming" / files[-1]))
        _pack(parcel, block, refs, tuple(files))
    except BaseException as error:
        _remove(folder, files)
        if isinstance(error, OSError) and error.errno in _FULL:
            raise NoRoomError(f"there is no room in {folder}: {error.strerror}") from error
        raise


def _copy(buffer: Buffer, path: Path) -> BlobRef:
    """Writes a new private file and names what is in it, even if the item changes meanwhile. Raises OSError."""
    hasher = BlobHasher()
    view = memoryview(buffer).cast("B")
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    with open(descriptor, "wb", buffering=0) as file:
        for at in range(0, len(view), PIECE_BYTES):
            piece = memoryview(bytes(view[at : at + PIECE_BYTES]))
            hasher.update(piece)
            while piece:
                piece = piece[file.write(piece) :]
    return BlobRef(hasher.name(), len(view))


def _remove(folder: Path, files: tuple[str, ...] | list[str]) -> None:
    for file in files:
        (folder / "incoming" / file).unlink(missing_ok=True)
