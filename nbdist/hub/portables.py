"""The tasks of jobs in the form for other versions of Python: what the notebook gave, until it is whole."""

from __future__ import annotations

from nbdist.errors import ProtocolError
from nbdist.hub.blobs import BlobStore
from nbdist.hub.jobs import JobRecord
from nbdist.wire.blobs import is_name
from nbdist.wire.frames import Payload
from nbdist.wire.messages import BlobRef, PortableTask

MAX_BLOBS = 512


def take(record: JobRecord, blobs: BlobStore, message: PortableTask, payload: Payload) -> bool:
    """Takes what the notebook gave; whether all of it is here. Raises ProtocolError."""
    refs = refs_of(message)
    if len(refs) > MAX_BLOBS or not all(is_name(ref.name) for ref in refs):
        raise ProtocolError(f"a task has at most {MAX_BLOBS} blobs, with names of 64 hex digits")
    record.portable, record.portable_task = message, bytes(payload)
    record.portable_missing = set(blobs.missing(refs))
    for name in {ref.name for ref in refs} - record.portable_missing:
        blobs.pin(name, record.job, keep=True)
    return not record.portable_missing


def blob_came(record: JobRecord, blobs: BlobStore, name: str) -> bool:
    """A blob is here; whether it was the last one."""
    if name not in record.portable_missing:
        return False
    record.portable_missing.discard(name)
    blobs.pin(name, record.job, keep=True)
    return not record.portable_missing


def drop_partial(record: JobRecord, blobs: BlobStore) -> None:
    """The notebook has gone, or was away, before all had come: it is asked again."""
    if not record.portable_missing or record.portable is None:
        return
    needed = {ref.name for ref in record.blobs_of_task}
    for ref in refs_of(record.portable):
        if ref.name not in needed:
            blobs.unpin(ref.name, record.job)
    record.portable, record.portable_task = None, b""
    record.portable_missing.clear()


def refs_of(message: PortableTask) -> tuple[BlobRef, ...]:
    """All blobs of it."""
    return message.blobs if message.task is None else (message.task, *message.blobs)
