"""The tasks of jobs in the form for other versions of Python: what the notebooks give, until it is whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from nbdist.errors import ProtocolError
from nbdist.hub.access import Grant
from nbdist.hub.blobs import BlobStore
from nbdist.hub.bounds import check_size, need_blobs
from nbdist.hub.jobs import JobRecord
from nbdist.hub.peers import Peer
from nbdist.wire.blobs import is_name
from nbdist.wire.frames import Payload
from nbdist.wire.messages import BlobRef, Message, PortableTask

MAX_BLOBS = 512


class JobStores(Protocol):
    """What is needed of the stores."""

    blobs: BlobStore

    def owned(self, job: str, peer: str, grant: Grant) -> JobRecord | None:
        """The job, if it is this notebook's."""

    def without_blob(self, name: str) -> list[JobRecord]:
        """The jobs whose portable form waits for this blob."""


class Portables:
    """On the way from the notebooks to the scheduler, which `receive(peer, message)` tells."""

    def __init__(self, stores: JobStores, receive: Callable[[str, Message], None]) -> None:
        self._stores = stores
        self._receive = receive

    def taken(self, peer: Peer, message: PortableTask, payload: Payload) -> None:
        """A notebook has answered. Only the first answer counts. Raises ProtocolError."""
        check_size(payload)
        record = self._stores.owned(message.job, peer.id, peer.grant)
        if record is None or record.finished is not None or record.portable is not None:
            return
        if take(record, self._stores.blobs, message, payload):
            self._receive(peer.id, message)
            return
        for need in need_blobs(record.job, record.portable_missing):
            peer.link.send(need)

    def blob_came(self, name: str) -> None:
        """A blob is here: the scheduler hears of what is whole with it."""
        for record in self._stores.without_blob(name):
            record.portable_missing.discard(name)
            self._stores.blobs.pin(name, record.job, keep=True)
            if not record.portable_missing and record.portable is not None:
                self._receive(record.peer, record.portable)

    def attached(self, record: JobRecord) -> None:
        """Its notebook was away, or is another one now: if it had not sent everything, it is asked again."""
        drop_partial(record, self._stores.blobs)


def take(record: JobRecord, blobs: BlobStore, message: PortableTask, payload: Payload) -> bool:
    """Keeps what the notebook gave; whether all of it is here. Raises ProtocolError."""
    refs = _refs(message)
    if len(refs) > MAX_BLOBS or not all(is_name(ref.name) for ref in refs):
        raise ProtocolError(f"a task has at most {MAX_BLOBS} blobs, with names of 64 hex digits")
    record.portable, record.portable_task = message, bytes(payload)
    record.portable_missing = set(blobs.missing(refs))
    for name in {ref.name for ref in refs} - record.portable_missing:
        blobs.pin(name, record.job, keep=True)
    return not record.portable_missing


def drop_partial(record: JobRecord, blobs: BlobStore) -> None:
    """Forgets what is not whole."""
    if record.portable is None or not record.portable_missing:
        return
    needed = {ref.name for ref in record.blobs_of_task}
    for ref in _refs(record.portable):
        if ref.name not in needed:
            blobs.unpin(ref.name, record.job)
    record.portable, record.portable_task = None, b""
    record.portable_missing.clear()


def _refs(message: PortableTask) -> tuple[BlobRef, ...]:
    return message.blobs if message.task is None else (message.task, *message.blobs)
