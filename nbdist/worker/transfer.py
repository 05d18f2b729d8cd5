"""Blobs between this machine and its hub: mapped from the hub's folder where that can be read, else over HTTP.

Fetched blobs stay in a folder of this worker's own for the next job that needs them, within a bound. The functions that
move bytes are called in threads.
"""

from __future__ import annotations

import http.client
import os
import secrets
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbdist.errors import AccessError, BlobError, NoRoomError
from nbdist.filing import archive
from nbdist.wire.address import Address
from nbdist.wire.blobs import BlobHasher, is_name
from nbdist.wire.messages import BlobRef
from nbdist.wire.sockets import SEND_BYTES, http_connection

PIECE_BYTES = 256 * 1024
CACHE_BYTES = 4 * 1024**3
"""Of blobs that no job needs now."""
HTTP_SECONDS = 30.0
"""Without a byte for so long, a transfer has failed."""


@dataclass(frozen=True, slots=True)
class Hub:
    """How blobs are reached: the address with the credential in force, and the hub's folder if it can be read here."""

    address: Address
    folder: Path | None = None

    def connection(self) -> http.client.HTTPConnection:
        """A connection for one request."""
        return http_connection(self.address, HTTP_SECONDS)

    def headers(self, **more: str) -> dict[str, str]:
        """The credential, and more."""
        return {"Authorization": f"Bearer {self.address.key}", **more}


def request(hub: Hub, method: str, path: str, body: bytes, **headers: str) -> tuple[int, bytes]:
    """A small request: status and body of the answer. Raises OSError and HTTPException."""
    connection = hub.connection()
    try:
        connection.request(method, path, body, hub.headers(**headers))
        answer = connection.getresponse()
        return answer.status, answer.read(PIECE_BYTES)
    finally:
        connection.close()


def put(hub: Hub, ref: BlobRef, path: Path) -> bool:
    """Brings the file of a blob to the hub. True: it lies in the hub's folder, which must be told (`BlobPlaced`).

    Raises OSError while the hub cannot be reached, and BlobError if it does not want the blob.
    """
    if hub.folder is not None:
        _place(hub.folder, ref, path)
        return True
    connection = hub.connection()
    try:
        with path.open("rb") as file:
            headers = hub.headers(**{"Content-Length": str(ref.size), "Content-Type": "application/octet-stream"})
            connection.request("PUT", f"/blobs/{ref.name}", _pieces(file), headers)
        answer = connection.getresponse()
        text = answer.read(PIECE_BYTES).decode("utf-8", "replace")
    except http.client.HTTPException as error:
        raise OSError(f"the hub did not take blob {ref.name[:12]}…: {error}") from error
    finally:
        connection.close()
    if answer.status >= 300:
        raise BlobError(f"the hub did not take blob {ref.name[:12]}…: {text.strip() or answer.reason}")
    return False


def _place(folder: Path, ref: BlobRef, path: Path) -> None:
    """Puts a file into the hub's folder, whole or not at all. It stays here too: a hub that was killed asks again."""
    target = folder / "blobs" / ref.name
    descriptor, name = tempfile.mkstemp(dir=folder / "incoming")
    os.close(descriptor)
    incoming = Path(name)
    try:
        incoming.unlink()
        try:
            os.link(path, incoming)
        except OSError:
            archive.copy(path, incoming)
        incoming.replace(target)
    finally:
        incoming.unlink(missing_ok=True)


def _pieces(file: Any) -> Iterable[bytes]:
    while piece := file.read(SEND_BYTES):
        yield piece


def fetch(
    hub: Hub,
    ref: BlobRef,
    target: Path,
    is_wanted: Callable[[], bool] = lambda: True,
    came: Callable[[int], None] = lambda count: None,
) -> None:
    """Gets a blob into a file, whole or not at all, as long as it is wanted; `came` hears of each piece's size.

    Raises OSError, BlobError (NoRoomError if this disk is full) and AccessError.
    """
    connection = hub.connection()
    part = target.with_suffix(f".{secrets.token_hex(8)}")
    hasher = BlobHasher()
    try:
        connection.request("GET", f"/blobs/{ref.name}", headers=hub.headers())
        answer = connection.getresponse()
        if answer.status != 200:
            _refuse(ref, answer)
        with part.open("wb") as file:
            while piece := answer.read(PIECE_BYTES):
                hasher.update(piece)
                _write(file, piece)
                came(len(piece))
                if not is_wanted():
                    raise OSError(f"blob {ref.name[:12]}… is not needed any more")
        if hasher.name() != ref.name:
            raise BlobError(f"blob {ref.name[:12]}… was damaged on its way from the hub")
        part.replace(target)
    except http.client.HTTPException as error:
        raise OSError(f"blob {ref.name[:12]}… did not come: {error}") from error
    finally:
        connection.close()
        part.unlink(missing_ok=True)


def _write(file: Any, piece: bytes) -> None:
    try:
        file.write(piece)
        file.flush()
    except OSError as error:
        raise NoRoomError(f"the data of a job cannot be kept in {file.name}: {error}") from error


def _refuse(ref: BlobRef, answer: http.client.HTTPResponse) -> None:
    text = answer.read(PIECE_BYTES).decode("utf-8", "replace").strip() or answer.reason
    error = AccessError if answer.status in (401, 403) else OSError if answer.status >= 500 else BlobError
    raise error(f"the hub did not give blob {ref.name[:12]}…: {text}")


class BlobCache:
    """Blobs in this worker's folder, with who needs them. For one thread; `get` is called in others."""

    def __init__(self, folder: Path, limit_bytes: int = CACHE_BYTES) -> None:
        self.folder = folder
        self._limit_bytes = limit_bytes
        self._sizes: dict[str, int] = {}
        self._users: dict[str, set[str]] = {}
        self._passing: set[str] = set()
        """Blobs of items: removed as soon as nobody needs them."""

    def use(self, job: str, refs: Iterable[BlobRef]) -> None:
        """The job needs these blobs, until `release`."""
        for ref in refs:
            self._users.setdefault(ref.name, set()).add(job)

    def has(self, hub: Hub, ref: BlobRef) -> bool:
        """Whether the blob need not be fetched."""
        folders = [self.folder, *([] if hub.folder is None else [hub.folder / "blobs"])]
        return is_name(ref.name) and any((folder / ref.name).exists() for folder in folders)

    def get(
        self,
        hub: Hub,
        ref: BlobRef,
        *,
        only_if_used: bool = False,
        came: Callable[[int], None] = lambda count: None,
    ) -> tuple[Path, bool]:
        """Where the blob lies, after getting it if need be, and whether that is in this cache.

        `only_if_used`: it is given up with an OSError once nobody needs it. `came` hears of the size of each piece that
        comes over the network.
        """
        if not is_name(ref.name):
            raise BlobError(f"{ref.name[:80]!r} is no name of a blob")
        own = self.folder / ref.name
        if own.exists():
            return own, True
        if hub.folder is not None and (mapped := hub.folder / "blobs" / ref.name).exists():
            return mapped, False
        fetch(hub, ref, own, (lambda: ref.name in self._users) if only_if_used else lambda: True, came)
        return own, True

    def came(self, ref: BlobRef, *, is_item: bool = False) -> None:
        """The blob is in this cache and was just used."""
        if not is_item:
            self._passing.discard(ref.name)
        elif ref.name not in self._sizes:
            self._passing.add(ref.name)
        self._sizes.pop(ref.name, None)
        self._sizes[ref.name] = ref.size
        self._shrink()

    def release(self, job: str) -> None:
        """The job is over."""
        for name in [name for name, jobs in self._users.items() if job in jobs]:
            self._users[name].discard(job)
            if not self._users[name]:
                del self._users[name]
        self._shrink()

    def _shrink(self) -> None:
        """Removes the blobs that were not used for longest and that no job needs."""
        unused = [name for name in self._sizes if name not in self._users]
        unused.sort(key=lambda name: name not in self._passing)
        over = sum(self._sizes[name] for name in unused) - self._limit_bytes
        for name in unused:
            if over <= 0 and name not in self._passing:
                return
            if self._remove(name):
                over -= self._sizes.pop(name)
                self._passing.discard(name)

    def _remove(self, name: str) -> bool:
        try:
            (self.folder / name).unlink(missing_ok=True)
        except OSError:  # Windows, while a slot maps it: it is tried again the next time
            return False
        return True
