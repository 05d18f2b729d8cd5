"""The blobs of the items that slots have or wait for: each is got once, for all slices that need it, and removed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from nbdist.errors import NoRoomError
from nbdist.wire.messages import Attempt, BlobFile, BlobRef
from nbdist.worker.orders import ItemsNotInPlace
from nbdist.worker.transfer import BlobCache, Hub


class ItemFiles:
    """What has been got for each slice. For one event loop."""

    def __init__(self, cache: BlobCache) -> None:
        self._cache = cache
        self._paths: dict[Attempt, dict[str, Path]] = {}
        self._coming: dict[str, asyncio.Task[Path]] = {}

    def begin(self, attempt: Attempt, blobs: Sequence[BlobRef]) -> None:
        """A slice needs these blobs, until `drop`."""
        self._paths[attempt] = {}
        self._cache.use(_user(attempt), blobs)

    def is_wanted(self, attempt: Attempt) -> bool:
        """Whether the slice has not been dropped."""
        return attempt in self._paths

    async def fetch(self, attempt: Attempt, blobs: Sequence[BlobRef], hub: Hub) -> None:
        """Gets the blobs that are not here. Raises OSError, BlobError and AccessError."""
        for ref in blobs:
            task = self._coming.get(ref.name)
            if task is None:
                task = self._coming[ref.name] = asyncio.ensure_future(self._get(ref, hub))
                task.add_done_callback(lambda done, name=ref.name: self._came(name, done))  # type: ignore[misc]
            path = await asyncio.shield(task)
            if attempt not in self._paths:
                return
            self._paths[attempt][ref.name] = path

    def files(self, attempt: Attempt) -> tuple[BlobFile, ...]:
        """Where the blobs of the slice lie."""
        return tuple(BlobFile(name, str(path)) for name, path in self._paths.get(attempt, {}).items())

    def drop(self, attempt: Attempt) -> None:
        """The slice is over: what no other needs is removed."""
        if self._paths.pop(attempt, None) is not None:
            self._cache.release(_user(attempt))

    async def _get(self, ref: BlobRef, hub: Hub) -> Path:
        path, is_own = await asyncio.to_thread(self._cache.get, hub, ref, only_if_used=True)
        if is_own:
            self._cache.came(ref, is_item=True)
        return path

    def _came(self, name: str, done: asyncio.Task[Path]) -> None:
        del self._coming[name]
        if not done.cancelled():
            done.exception()  # nobody may be left to hear of it


def _user(attempt: Attempt) -> str:
    return f"{attempt[0]}/{attempt[1]}"


def not_in_place(attempt: Attempt, error: Exception, folder: Path) -> ItemsNotInPlace:
    """This machine cannot get the blobs of a slice, which were to lie in this folder."""
    todo = f"make room on the disk of {folder}" if isinstance(error, NoRoomError) else ""
    return ItemsNotInPlace(attempt, f"the data of its items did not come: {error}", todo)
