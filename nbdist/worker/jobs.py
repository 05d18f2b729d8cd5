"""The jobs of a worker as files and bytes: what a slot needs to load them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from nbdist.errors import BlobError
from nbdist.wire.bundles import native_tag
from nbdist.wire.messages import BlobFile, Bundle, BundleFolder, LoadTask
from nbdist.worker.bundles import BundleFolders
from nbdist.worker.orders import GetReady
from nbdist.worker.preparing import Doings
from nbdist.worker.probe import can_import
from nbdist.worker.transfer import BlobCache, Hub


@dataclass(slots=True)
class _JobFile:
    order: GetReady
    payload: bytes
    paths: dict[str, Path] = field(default_factory=dict)
    """Name of a blob -> where it lies."""
    folders: list[BundleFolder] = field(default_factory=list)


class JobFiles:
    """What has been got for each job."""

    def __init__(self, cache: BlobCache, doings: Doings) -> None:
        self._cache = cache
        self._doings = doings
        self._bundles = BundleFolders(cache.folder / "modules")
        self._jobs: dict[str, _JobFile] = {}
        self._found: set[str] = set()
        """Modules that are known to be here."""

    def begin(self, order: GetReady, payload: bytes) -> None:
        """A job comes, with its task as payload unless that is a blob."""
        self._jobs[order.job] = _JobFile(order, payload)
        self._doings.begin(order.job)

    def lacking(self, order: GetReady) -> tuple[str, str] | None:
        """Why the job's modules are not all here, and what to do; None: they are, or they come with it."""
        for bundle in order.bundles:
            missing = self.missing_module(bundle.modules) if not _fits(bundle) else ""
            if missing:
                return (
                    f"the local module {missing!r} has compiled code for {bundle.native}, and this machine is "
                    f"{native_tag()}",
                    f"install {missing} there",
                )
        missing = self.missing_module(_not_brought(order, order.bundles))
        return (f"no module named {missing!r}", f"{sys.executable} -m pip install {missing}") if missing else None

    def installed_modules(self, job: str) -> list[str]:
        """What the job imports of what its environment must have."""
        order = self._jobs[job].order
        return _not_brought(order, (bundle for bundle in order.bundles if _fits(bundle)))

    def environments(self) -> set[str]:
        """Those that jobs need."""
        return {job.order.environment for job in self._jobs.values()}

    def missing_module(self, names: Iterable[str]) -> str:
        """The first of these modules that this Python cannot import; empty if there is none."""
        for name in names:
            if name in self._found:
                continue
            if not can_import(name):
                return name
            self._found.add(name)
        return ""

    def look_again(self) -> None:
        """Other packages are installed than before."""
        self._found.clear()

    async def fetch(self, job: str, hub: Hub) -> bool:
        """Gets the job's blobs. False: the job was dropped, or begun anew, meanwhile.

        Raises OSError, BlobError and AccessError.
        """
        known = self._jobs.get(job)
        if known is None:
            return False
        refs = [*known.order.blobs, *([known.order.task] if known.order.task is not None else [])]
        self._cache.use(job, refs)
        self._doings.fetching(job, sum(ref.size for ref in refs if not self._cache.has(hub, ref)))
        came = partial(self._doings.came, job)
        for ref in refs:
            path, is_own = await asyncio.to_thread(self._cache.get, hub, ref, came=came)
            known.paths[ref.name] = path
            if is_own:
                self._cache.came(ref)
        if self._jobs.get(job) is known:
            known.folders = await self._unpack(known)
        is_whole = self._jobs.get(job) is known
        if is_whole:
            self._doings.forget(job)
        return is_whole

    async def _unpack(self, known: _JobFile) -> list[BundleFolder]:
        fitting = [bundle for bundle in known.order.bundles if _fits(bundle)]
        if not fitting:
            return []
        self._bundles.use(known.order.job, (bundle.blob for bundle in fitting))
        self._doings.tell(known.order.job, "unpacking modules")

        def unpack(bundle: Bundle) -> BundleFolder:
            archive = known.paths.get(bundle.blob)
            if archive is None:
                raise BlobError(f"the bundle of module {bundle.modules[:1]} is none of the job's blobs")
            return BundleFolder(bundle.blob, str(self._bundles.unpack(bundle.blob, archive)), bundle.modules)

        return await asyncio.to_thread(lambda: list(map(unpack, fitting)))

    def load(self, message: LoadTask) -> tuple[LoadTask, bytes]:
        """The message with the paths of the job's blobs, and its payload."""
        job = self._jobs[message.job]
        task = job.order.task
        bundles = {bundle.blob for bundle in job.order.bundles}
        files = tuple(BlobFile(name, str(path)) for name, path in job.paths.items() if name not in bundles)
        path = str(job.paths[task.name]) if task is not None else ""
        return replace(message, task=path, files=files, bundles=tuple(job.folders)), job.payload

    def drop(self, job: str) -> None:
        """The job is over."""
        self._doings.forget(job)
        if self._jobs.pop(job, None) is not None:
            self._cache.release(job)
            self._bundles.release(job)


def _fits(bundle: Bundle) -> bool:
    return bundle.native in ("", native_tag())


def _not_brought(order: GetReady, bundles: Iterable[Bundle]) -> list[str]:
    """The job's modules, without those of bundles."""
    brought = {name for bundle in bundles for name in bundle.modules}
    return [name for name in order.modules if name not in brought]
