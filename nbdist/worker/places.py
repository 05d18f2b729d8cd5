"""Where a worker keeps its files, for as long as it lives."""

from __future__ import annotations

import tempfile
from pathlib import Path

from nbdist.folders import HeldFolder, sweep
from nbdist.worker import system

SPOOL_PREFIX = "nbdist-worker-"
BLOBS_PREFIX = "nbdist-blobs-"


def folders() -> tuple[HeldFolder, HeldFolder]:
    """For claims, output and large results, and for blobs. What workers that were killed have left goes before."""
    parents = [Path(parent) for parent in (system.SHARED_MEMORY, tempfile.gettempdir())]
    for prefix in (SPOOL_PREFIX, BLOBS_PREFIX):
        sweep(parents, prefix)
    spool = HeldFolder(Path(system.fast_folder() or tempfile.gettempdir()), SPOOL_PREFIX)
    return spool, HeldFolder(Path(tempfile.gettempdir()), BLOBS_PREFIX)


def environments() -> Path:
    """For what is installed for jobs: of all workers of this user, and kept when they end."""
    return system.cache_folder() / "nbdist" / "environments"
