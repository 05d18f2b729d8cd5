"""The jobs of a worker as files and bytes: what a slot needs to load them."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from nbdist.wire.messages import BlobFile, LoadTask
from nbdist.worker.orders import GetReady
from nbdist.worker.transfer import BlobCache, Hub


@dataclass(slots=True)
class _JobFile:
    order: GetReady
    payload: bytes
    paths: dict[str, Path] = field(default_factory=dict)
    """Name of a blob -> where it lies."""


class JobFiles:
    """What has been got for each job."""

    def __init__(self, cache: BlobCache) -> None:
        self._cache = cache
        self._jobs: dict[str, _JobFile] = {}
        self._found: set[str] = set()
        """Modules that are known to be here."""

    def begin(self, order: GetReady, payload: bytes) -> None:
        """A job comes, with its task as payload unless that is a blob."""
        self._jobs[order.job] = _JobFile(order, payload)

    def missing_module(self, names: Iterable[str]) -> str:
        """The first of these modules that this Python cannot import; empty if there is none."""
        for name in names:
            if name in self._found:
                continue
            if not _can_import(name):
                return name
            self._found.add(name)
        return ""

    async def fetch(self, job: str, hub: Hub) -> bool:
        """Gets the job's blobs. False: the job was dropped, or begun anew, meanwhile.

        Raises OSError, BlobError and AccessError.
        """
        known = self._jobs.get(job)
        if known is None:
            return False
        refs = [*known.order.blobs, *([known.order.task] if known.order.task is not None else [])]
        self._cache.use(job, refs)
        for ref in refs:
            path, is_own = await asyncio.to_thread(self._cache.get, hub, ref)
            known.paths[ref.name] = path
            if is_own:
                self._cache.came(ref)
        return self._jobs.get(job) is known

    def load(self, message: LoadTask) -> tuple[LoadTask, bytes]:
        """The message with the paths of the job's blobs, and its payload."""
        job = self._jobs[message.job]
        task = job.order.task
        files = tuple(BlobFile(name, str(path)) for name, path in job.paths.items())
        return replace(message, task=str(job.paths[task.name]) if task is not None else "", files=files), job.payload

    def drop(self, job: str) -> None:
        """The job is over."""
        if self._jobs.pop(job, None) is not None:
            self._cache.release(job)


def _can_import(name: str) -> bool:
    """Whether there is such a top-level module; it is not imported."""
    try:
        return importlib.util.find_spec(name.partition(".")[0]) is not None
    except (ImportError, ValueError):
        return True  # it is there in some odd way: let the slot find out
