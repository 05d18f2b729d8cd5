"""The blobs of items: got once, shared, removed at once, and not fetched on for nobody."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from nbdist.errors import NoRoomError
from nbdist.wire.address import Address
from nbdist.wire.messages import BlobRef
from nbdist.worker import transfer
from nbdist.worker.itemfiles import ItemFiles
from nbdist.worker.transfer import BlobCache, Hub

REFS = [BlobRef(f"{number:064x}", 4) for number in range(3)]
HUB = Hub(Address("127.0.0.1", 1, False, "key"))
A, B = (1, 1), (1, 2)


class Source:
    """Stands for HTTP: what was fetched, and a gate before it comes."""

    def __init__(self) -> None:
        self.fetched: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self.began = threading.Event()

    def fetch(self, hub: Hub, ref: BlobRef, target: Path, is_wanted: Any = lambda: True, *_: Any) -> None:
        self.fetched.append(ref.name)
        self.began.set()
        assert self.gate.wait(60)
        if not is_wanted():
            raise OSError("not needed any more")
        target.write_bytes(b"data")


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> Source:
    made = Source()
    monkeypatch.setattr(transfer, "fetch", made.fetch)
    return made


def test_a_blob_is_got_once_for_all_slices_and_removed_with_the_last(source: Source, tmp_path: Path) -> None:
    async def main() -> None:
        files = ItemFiles(BlobCache(tmp_path))
        for attempt in (A, B):
            files.begin(attempt, REFS[:2])
        await asyncio.gather(*(files.fetch(attempt, REFS[:2], HUB) for attempt in (A, B)))
        assert source.fetched == [ref.name for ref in REFS[:2]]
        assert [file.name for file in files.files(B)] == [ref.name for ref in REFS[:2]]
        files.drop(A)
        assert set(os.listdir(tmp_path)) == {ref.name for ref in REFS[:2]}
        files.drop(B)
        assert os.listdir(tmp_path) == []
        assert files.files(B) == ()

    asyncio.run(main())


def test_what_comes_for_a_slice_that_was_dropped_is_not_kept(source: Source, tmp_path: Path) -> None:
    async def main() -> None:
        files = ItemFiles(BlobCache(tmp_path))
        files.begin(A, REFS)
        source.gate.clear()
        work = asyncio.ensure_future(files.fetch(A, REFS, HUB))
        await asyncio.to_thread(source.began.wait, 10)
        files.drop(A)
        source.gate.set()
        with pytest.raises(OSError, match="not needed"):
            await work
        assert source.fetched == [REFS[0].name]
        assert os.listdir(tmp_path) == []

    asyncio.run(main())


def test_a_blob_that_a_job_has_captured_too_stays(source: Source, tmp_path: Path) -> None:
    async def main() -> None:
        cache = BlobCache(tmp_path)
        files = ItemFiles(cache)
        cache.use("job", REFS[:1])
        cache.get(HUB, REFS[0])
        cache.came(REFS[0])
        files.begin(A, REFS[:1])
        await files.fetch(A, REFS[:1], HUB)
        files.drop(A)
        cache.release("job")
        assert os.listdir(tmp_path) == [REFS[0].name]

    asyncio.run(main())


def test_a_full_disk_is_said_to_be_one() -> None:
    with open("/dev/full", "wb", buffering=0) as full, pytest.raises(NoRoomError, match="cannot be kept"):
        transfer._write(full, b"x")
