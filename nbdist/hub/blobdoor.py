"""The HTTP door for blobs: PUT and GET /blobs/NAME, in pieces, so that nothing is held whole and nothing else waits."""

from __future__ import annotations

import asyncio

from tornado.iostream import StreamClosedError
from tornado.web import HTTPError, stream_request_body

from nbdist.errors import BlobError, NoRoomError
from nbdist.hub.access import Grant
from nbdist.hub.blobs import MAX_BLOB_BYTES, Incoming
from nbdist.hub.web import Door
from nbdist.wire.blobs import HOLDER_HEADER, BlobHasher

PIECE_BYTES = 256 * 1024
"""Larger pieces do not go faster and make control messages wait."""
BATCH_BYTES = 1024 * 1024
"""So much is hashed and written at once, in a thread."""


@stream_request_body
class BlobDoor(Door):
    """One blob on its way in or out."""

    async def prepare(self) -> None:
        """Checks who it is before the first byte of a blob is read."""
        self._incoming: Incoming | None = None
        self._batch: list[bytes] = []
        self._batch_bytes = 0
        self._writing: asyncio.Future[None] | None = None
        self._error: BlobError | None = None
        self._holder = self.request.headers.get(HOLDER_HEADER, "")
        self._grant: Grant | None = None
        await super().prepare()
        if not self._finished and self.request.method == "PUT":
            self._begin()

    def _begin(self) -> None:
        self._grant = self.grant("notebook", "worker")
        if self._grant is None:
            return
        name = self.path_args[0]
        if not self._hold(name) and self._holder:
            self.refuse(409, "the job of this blob has ended, or is another's")
            return
        length = self.request.headers.get("Content-Length", "")
        assert self.request.connection is not None
        self.request.connection.set_max_body_size(MAX_BLOB_BYTES)  # type: ignore[attr-defined]
        if self.rooms.blobs.has(name):
            return  # what comes is read and thrown away
        try:
            self._incoming = self.rooms.blobs.incoming(name, int(length) if length.isdecimal() else None)
        except BlobError as error:
            self.refuse(_status(error), str(error))

    async def data_received(self, chunk: bytes) -> None:
        """Some bytes of the blob."""
        if self._incoming is None or self._error is not None:
            return
        self._batch.append(chunk)
        self._batch_bytes += len(chunk)
        if self._batch_bytes >= BATCH_BYTES:
            await self._write_batch()

    async def put(self, name: str) -> None:
        """All bytes are here."""
        if self._incoming is None:
            self._answer_known(name)
            return
        try:
            if self._writing is not None:
                await self._write_batch()
                await self._written()
            else:
                self._incoming.write(b"".join(self._batch))
            if self._error is not None:
                raise self._error
            size = self._incoming.finish()
        except BlobError as error:
            self.refuse(_status(error), str(error))
            return
        if self._holder and not self._hold(name):
            self.rooms.blobs.drop_idle(name)  # the job of these items has ended meanwhile
        self.rooms.board.blob_came(name)
        self.set_status(201)
        self.write({"size": size})

    async def head(self, name: str) -> None:
        """Holds a blob that is here for a block of items: who has sent it before need not send it again."""
        self._grant = self.grant("notebook")
        if self._grant is None:
            return
        if not self.rooms.board.stores.may_get(self._grant, name) or not self._hold(name):
            raise HTTPError(404, reason="no such blob is here")

    def _hold(self, name: str) -> bool:
        """Keeps the blob, if it is here, for the block of items that it was sent for. False: there is no such job."""
        if not self._holder or self._grant is None:
            return False
        found = self.rooms.board.stores.for_items(self._grant, self._holder)
        if found is not None:
            self.rooms.board.stores.hold_for_items(*found, name)
        return found is not None

    def _answer_known(self, name: str) -> None:
        """The blob was here when its bytes began to come."""
        if self.rooms.blobs.has(name):
            self.write({"size": self.rooms.blobs.size(name)})
        else:
            self.refuse(503, "this blob was here and has been removed meanwhile: send it again")

    async def get(self, name: str) -> None:
        """Sends a blob to whom its job allows it."""
        grant = self.grant("notebook", "worker")
        if grant is None:
            return
        blobs = self.rooms.blobs
        if not blobs.has(name):
            raise HTTPError(404, reason="no such blob is here: its job was forgotten or it was never sent")
        if not self.rooms.board.stores.may_get(grant, name):
            self.refuse(403, "this blob belongs to no job of yours")
            return
        self.set_header("Content-Type", "application/octet-stream")
        self.set_header("Content-Length", str(blobs.size(name)))
        hasher = BlobHasher()
        try:
            with blobs.open(name) as file:
                while piece := file.read(PIECE_BYTES):
                    hasher.update(piece)
                    self.write(piece)
                    await self.flush()
        except StreamClosedError:
            return
        if hasher.name() != name:  # who gets it finds that out, too, and asks again
            self.rooms.board.blob_damaged(name)

    def on_finish(self) -> None:
        """Throws away what did not become a blob."""
        self._abandon()

    def on_connection_close(self) -> None:
        """The other end has gone in the middle."""
        self._abandon()

    def _abandon(self) -> None:
        incoming, self._incoming = self._incoming, None
        if incoming is None:
            return
        if self._writing is not None and not self._writing.done():
            self._writing.add_done_callback(lambda _: incoming.abandon())
        else:
            incoming.abandon()

    async def _write_batch(self) -> None:
        """Hands what has come to a thread, while the next bytes are read."""
        await self._written()
        assert self._incoming is not None
        data, self._batch, self._batch_bytes = b"".join(self._batch), [], 0
        loop = asyncio.get_running_loop()
        self._writing = loop.run_in_executor(None, self._incoming.write, data)

    async def _written(self) -> None:
        if self._writing is not None:
            try:
                await asyncio.shield(self._writing)
            except BlobError as error:
                self._error = error


def _status(error: BlobError) -> int:
    """507: there may be room later."""
    return 507 if isinstance(error, NoRoomError) else 422
