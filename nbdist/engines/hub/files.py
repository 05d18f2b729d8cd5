"""Results with files behind them: the payload to memory, the files to where they go, piece by piece."""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Callable, Iterator
from pathlib import Path

from nbdist.engines.base import Buffer, FilesHome
from nbdist.engines.hub import transfers
from nbdist.errors import BlobError, ConnectionFailedError
from nbdist.wire.address import Address
from nbdist.wire.blobs import BlobHasher
from nbdist.wire.messages import BlobRef, Result

Read = Callable[[int], bytes]


def bring(result: Result, folder: Path | None, address: Address, home: FilesHome | None) -> Buffer:
    """Gives the payload of a result, and brings its files home. Raises ConnectionFailedError (try again), AccessError,
    BlobError and what `home` raises."""
    ref = result.blob
    assert ref is not None
    coming = home.begin() if home is not None else None
    front = bytearray()
    hasher = BlobHasher()
    try:
        with _reading(ref, folder, address) as read:
            while piece := read(transfers.HTTP_PIECE_BYTES):
                hasher.update(piece)
                own = max(0, result.files_at - len(front))
                front += piece[:own]
                if coming is not None and len(piece) > own:
                    coming.feed(memoryview(piece)[own:])
        _check(ref, hasher)
        if coming is not None:
            coming.commit()
    finally:
        if coming is not None:
            coming.abandon()
    return memoryview(front).toreadonly()


def _check(ref: BlobRef, hasher: BlobHasher) -> None:
    if hasher.size < ref.size:
        raise ConnectionFailedError(f"fetching blob {ref.name[:12]}…: {hasher.size} of {ref.size} bytes have come")
    if hasher.name() != ref.name:
        raise BlobError(f"fetching blob {ref.name[:12]}…: its bytes do not match its name")


@contextlib.contextmanager
def _reading(ref: BlobRef, folder: Path | None, address: Address) -> Iterator[Read]:
    if folder is None:
        with transfers.opened(ref, address) as response:
            yield lambda size: _read(ref, response, size)
        return
    try:
        file = open(folder / "blobs" / ref.name, "rb", buffering=0)  # noqa: SIM115 - closed below
    except FileNotFoundError:
        raise BlobError(f"blob {ref.name[:12]}… is gone from the hub's folder {folder}") from None
    with file:
        yield file.read


def _read(ref: BlobRef, response: http.client.HTTPResponse, size: int) -> bytes:
    try:
        return response.read(size)
    except (OSError, http.client.HTTPException) as error:
        raise ConnectionFailedError(f"fetching blob {ref.name[:12]}… broke off: {error!r}") from error
