"""Blobs between this process and the hub: files on the same machine, HTTP on the hub's port otherwise.

All functions block; they run on the engine's transfer threads.
"""

from __future__ import annotations

import contextlib
import http.client
import mmap
import os
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from nbdist.engines.base import Buffer, PackedBlob
from nbdist.engines.hub.drafts import write
from nbdist.errors import AccessError, BlobError, ConnectionFailedError, NoRoomError
from nbdist.wire import blobs
from nbdist.wire.address import Address
from nbdist.wire.messages import BlobRef
from nbdist.wire.sockets import SEND_BYTES, http_connection

HTTP_PIECE_BYTES = 256 * 1024
"""Larger pieces make everything else on the hub's loop wait."""
HTTP_LIMIT_SECONDS = 30.0
"""For one read or write of the socket to make progress."""
MAX_ANSWER_BYTES = 4096
"""Of an error page that is shown."""


def place(blob: PackedBlob, folder: Path) -> None:
    """Puts a blob into the folder of a hub on this machine: written apart, then renamed. Raises OSError, BlobError."""
    target = folder / "blobs" / blob.name
    if target.exists():
        return
    draft = folder / "incoming" / uuid.uuid4().hex
    try:
        write(draft, blob.pieces)
        if _name_of_file(draft) != blob.name:
            raise BlobError(f"a value of {blob.size} bytes was changed while the job that uses it was being sent")
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def put(blob: PackedBlob, address: Address, holder: str = "", sent: Callable[[int], None] = lambda count: None) -> None:
    """Sends a blob to the hub; `holder`: for which items (`wire.blobs.HOLDER_HEADER`). `sent` hears how many bytes have
    gone, as often as there is something to hear.

    Raises ConnectionFailedError (try again), AccessError, and BlobError (NoRoomError: try again later).
    """
    with _exchange(address) as connection:
        connection.putrequest("PUT", f"/blobs/{blob.name}")
        connection.putheader("Authorization", f"Bearer {address.key}")
        connection.putheader("Content-Length", str(blob.size))
        if holder:
            connection.putheader(blobs.HOLDER_HEADER, holder)
        connection.endheaders()
        count = 0
        for piece in _pieces(blob.pieces, SEND_BYTES):
            connection.send(piece)
            count += len(piece)
            sent(count)
        response = connection.getresponse()
        _check(response.status, response.read(MAX_ANSWER_BYTES), f"sending blob {blob.name[:12]}…")


def hold(name: str, address: Address, holder: str) -> bool:
    """Whether the hub has a blob already, which it keeps for these items then. Raises ConnectionFailedError."""
    with _exchange(address) as connection:
        headers = {"Authorization": f"Bearer {address.key}", blobs.HOLDER_HEADER: holder}
        connection.request("HEAD", f"/blobs/{name}", headers=headers)
        return connection.getresponse().status == http.client.OK


def map_file(ref: BlobRef, folder: Path) -> Buffer:
    """The bytes of a blob in the folder of a hub on this machine, mapped read-only. Raises BlobError."""
    try:
        with open(folder / "blobs" / ref.name, "rb") as file:
            if os.fstat(file.fileno()).st_size != ref.size:
                raise BlobError(f"blob {ref.name[:12]}… in {folder} has not the size of {ref.size} bytes")
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)) if ref.size else b""
    except FileNotFoundError:
        raise BlobError(f"blob {ref.name[:12]}… is gone from the hub's folder {folder}") from None


def get(ref: BlobRef, address: Address) -> Buffer:
    """Fetches a blob and checks its bytes. Raises ConnectionFailedError (try again), AccessError, BlobError."""
    what = f"fetching blob {ref.name[:12]}…"
    with opened(ref, address) as response:
        hasher = blobs.BlobHasher()
        target = memoryview(mmap.mmap(-1, ref.size)) if ref.size else memoryview(bytearray())
        at = 0
        while at < ref.size:
            count = response.readinto(target[at : at + HTTP_PIECE_BYTES])
            if not count:
                raise ConnectionFailedError(f"{what}: the connection ended after {at} of {ref.size} bytes")
            hasher.update(target[at : at + count])
            at += count
    if hasher.name() != ref.name:
        raise BlobError(f"{what}: its bytes do not match its name")
    return target.toreadonly()


@contextlib.contextmanager
def opened(ref: BlobRef, address: Address) -> Iterator[http.client.HTTPResponse]:
    """A blob, to be read piece by piece. Raises ConnectionFailedError (try again), AccessError, BlobError."""
    with _exchange(address) as connection:
        connection.request("GET", f"/blobs/{ref.name}", headers={"Authorization": f"Bearer {address.key}"})
        response = connection.getresponse()
        if response.status != http.client.OK:
            _check(response.status, response.read(MAX_ANSWER_BYTES), f"fetching blob {ref.name[:12]}…")
        yield response


def _name_of_file(path: Path) -> str:
    with open(path, "rb") as file:
        if not os.fstat(file.fileno()).st_size:
            return blobs.blob_name([])
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            hasher = blobs.BlobHasher()
            for at in range(0, len(mapped), blobs.PIECE_BYTES):
                hasher.update(mapped[at : at + blobs.PIECE_BYTES])
            return hasher.name()


@contextlib.contextmanager
def _exchange(address: Address) -> Iterator[http.client.HTTPConnection]:
    connection = http_connection(address, HTTP_LIMIT_SECONDS)
    try:
        yield connection
    except (OSError, http.client.HTTPException) as error:
        raise ConnectionFailedError(f"the exchange with the hub at {address.shown} broke off: {error!r}") from error
    finally:
        connection.close()


def _check(status: int, answer: bytes, what: str) -> None:
    if status < http.client.MULTIPLE_CHOICES:
        return
    text = answer.decode("utf-8", "replace").strip() or http.client.responses.get(status, "")
    if status in (http.client.UNAUTHORIZED, http.client.FORBIDDEN):
        raise AccessError(f"{what} was refused: {text}")
    if status == http.client.INSUFFICIENT_STORAGE:
        raise NoRoomError(f"{what} failed: {text}")
    if status >= http.client.INTERNAL_SERVER_ERROR:
        raise ConnectionFailedError(f"{what} failed at the hub ({status}): {text}")
    raise BlobError(f"{what} failed ({status}): {text}")


def _pieces(buffers: Iterable[Buffer], piece_bytes: int) -> Iterator[memoryview]:
    """The bytes in pieces of at most `piece_bytes`."""
    for buffer in buffers:
        view = memoryview(buffer).cast("B")
        for at in range(0, len(view), piece_bytes):
            yield view[at : at + piece_bytes]
