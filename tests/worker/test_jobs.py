"""The files of jobs: a fetch that was overtaken changes nothing."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from nbdist.wire.address import Address
from nbdist.wire.messages import BlobRef
from nbdist.worker.jobs import JobFiles
from nbdist.worker.orders import GetReady
from nbdist.worker.preparing import Doings
from nbdist.worker.transfer import BlobCache, Hub

REF = BlobRef("ab" * 32, 1)
HUB = Hub(Address("127.0.0.1", 1, tls=False))


@pytest.mark.parametrize("again", [True, False])
def test_a_fetch_for_a_job_that_was_dropped_or_begun_anew_says_so(
    tmp_path: Path, monkeypatch: Any, again: bool
) -> None:
    fetching, go_on = threading.Event(), threading.Event()

    def get(self: BlobCache, hub: Hub, ref: BlobRef, **_: Any) -> tuple[Path, bool]:
        fetching.set()
        assert go_on.wait(60)
        return tmp_path / ref.name, True

    monkeypatch.setattr(BlobCache, "get", get)

    async def test() -> None:
        files = JobFiles(BlobCache(tmp_path), Doings())
        files.begin(GetReady("j", REF, (), ()), b"")
        work = asyncio.ensure_future(files.fetch("j", HUB))
        await asyncio.to_thread(fetching.wait, 5)
        files.drop("j")
        if again:
            files.begin(GetReady("j", REF, (), ()), b"")
        go_on.set()
        assert await work is False
        assert await files.fetch("j", HUB) is again

    asyncio.run(test())
