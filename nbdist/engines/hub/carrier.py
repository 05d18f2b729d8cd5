"""What jobs take along to the hub and bring home from it: through the hub's folder on this machine, or by HTTP."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from nbdist.engines.base import Buffer, FilesHome, PackedBlob
from nbdist.engines.hub import files, transfers
from nbdist.engines.hub.connection import Connection
from nbdist.engines.hub.drafts import Draft, Drafts
from nbdist.engines.hub.itemblobs import ItemBlobs
from nbdist.engines.hub.items import Parcel
from nbdist.engines.hub.run import HubRun
from nbdist.engines.hub.sending import paced
from nbdist.errors import ConnectionFailedError, NbdistError
from nbdist.wire import frames
from nbdist.wire.address import Address
from nbdist.wire.messages import BlobPlaced, BlobRef, Result, SubmitJob

TRANSFER_THREADS = 2
TRANSFER_TRIES = 5
TRANSFER_PAUSE_SECONDS = 1.0


class Carrier:
    """Moves data for the runs of one engine, on threads of its own; what comes of it is told on the connection's.

    `is_ended` says whether the connection has gone for good.
    """

    def __init__(self, connection: Connection, is_ended: Callable[[], bool]) -> None:
        self._connection = connection
        self._is_ended = is_ended
        self._drafts = Drafts()
        self._transfers = ThreadPoolExecutor(TRANSFER_THREADS, "nbdist-transfer")
        self._item_blobs = ItemBlobs(self._place)

    def stage(self, view: memoryview) -> Callable[[str], None]:
        """Begins to copy a large value that a job will need, if the hub is on this machine."""
        folder = self._connection.folder
        if folder is None:
            return lambda name: None
        draft = Draft(view, folder)

        def named(name: str) -> None:
            draft.wait()
            self._drafts.add(name, draft)

        return named

    def upload(self, run: HubRun, blobs: Sequence[PackedBlob]) -> None:
        """Gets blobs to the hub on the transfer threads."""
        for blob in blobs:
            self._transfer(run, lambda blob=blob: self._upload(run, blob))  # type: ignore[misc]

    def upload_items(self, run: HubRun, parcel: Parcel) -> None:
        """Gets the blobs of items to the hub, on threads of their own."""
        assert run.feed is not None
        fail = lambda reason: self._connection.call_soon(lambda: run.fail(reason))  # noqa: E731
        self._item_blobs.upload(run.feed, parcel, fail)

    def discard(self, names: Iterable[str]) -> None:
        """The hub has these blobs already."""
        for name in names:
            draft = self._drafts.take(name)
            if draft is not None:
                draft.discard()

    def fetch(self, run: HubRun, ref: BlobRef, came: Callable[[Buffer], None]) -> None:
        """Gets a blob from the hub on a transfer thread."""

        def get() -> None:
            data = self._get_result(ref)
            self._connection.call_soon(lambda: came(data))

        self._transfer(run, get)

    def fetch_files(self, run: HubRun, result: Result, came: Callable[[Buffer], None]) -> None:
        """Gets a result with files on a transfer thread."""

        def get() -> None:
            data = self.get_with_files(result, run.files)
            self._connection.call_soon(lambda: came(data))

        self._transfer(run, get)

    def get_with_files(self, result: Result, home: FilesHome | None) -> Buffer:
        """A result's payload; the files that came with it go home."""
        assert result.blob is not None
        return files.bring(result, *self._place(), home) if result.files_at else self._get_result(result.blob)

    def _get_result(self, ref: BlobRef) -> Buffer:
        folder, address = self._place()
        return transfers.get(ref, address) if folder is None else transfers.map_file(ref, folder)

    def get_task(self, spec: SubmitJob, task: Buffer, folder: Path) -> tuple[Buffer, dict[str, str]]:
        """The packed task of a job, and where its blobs lie in `folder` by now."""
        _, address = self._place()
        paths = {}
        for ref in (*spec.blobs, *([] if spec.task is None else [spec.task])):
            path = folder / ref.name
            path.write_bytes(transfers.get(ref, address))
            paths[ref.name] = str(path)
        return task if spec.task is None else (folder / spec.task.name).read_bytes(), paths

    def close(self) -> None:
        """Ends what is on its way."""
        self._transfers.shutdown(wait=False, cancel_futures=True)
        self._item_blobs.close()
        self._drafts.discard_all()

    # --- inside -----------------------------------------------------------------------------------------------------

    def _place(self) -> tuple[Any, Address]:
        address = self._connection.address
        if address is None:
            raise ConnectionFailedError("there is no connection to the hub")
        return self._connection.folder, address

    def _upload(self, run: HubRun, blob: PackedBlob) -> None:
        folder, address = self._place()
        if folder is None:
            soon, uploading = self._connection.call_soon, partial(run.uploading, blob.name)
            tell = lambda count, now: soon(partial(uploading, count, now))  # noqa: E731
            transfers.put(blob, address, sent=paced(tell, time.monotonic))
        else:
            self._place_blob(blob, folder)
            self._connection.send(frames.encode(BlobPlaced(BlobRef(blob.name, blob.size))))
        self._connection.call_soon(lambda: run.uploaded(blob.name, time.monotonic()))

    def _place_blob(self, blob: PackedBlob, folder: Path) -> None:
        draft = self._drafts.take(blob.name)
        if draft is None:
            transfers.place(blob, folder)
        else:
            draft.place(folder / "blobs" / blob.name)

    def _transfer(self, run: HubRun, work: Callable[[], None]) -> None:
        def try_often() -> None:
            for left in reversed(range(TRANSFER_TRIES)):
                try:
                    work()
                    return
                except ConnectionFailedError as error:
                    reason = str(error)
                    if not left or self._is_ended():
                        break
                    time.sleep(TRANSFER_PAUSE_SECONDS)
                except (OSError, NbdistError) as error:
                    reason = str(error)
                    break
            self._connection.call_soon(lambda: run.fail(reason))

        with contextlib.suppress(RuntimeError):  # closed meanwhile
            self._transfers.submit(try_often)
