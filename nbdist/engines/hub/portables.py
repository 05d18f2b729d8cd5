"""The answer to a hub that asks for a job's task in the form for other versions of Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nbdist.engines.base import Buffer, PackedBlob, PackedTask, Repack
from nbdist.errors import NbdistError
from nbdist.wire import blobs, frames
from nbdist.wire.messages import BlobRef, PortableTask, SubmitJob

MAX_REFUSAL_CHARACTERS = 1_500
"""Of why there is none: it is shown beside a machine."""
GONE = "the notebook that submitted the job has gone, and only it could give the code as source"


@dataclass(frozen=True)
class Answer:
    """What the hub is told, and the blobs that it may ask for then."""

    frame: bytes
    blobs: Sequence[PackedBlob] = ()


def refusal(job: str, reason: str) -> Answer:
    """There is no such form."""
    if len(reason) > MAX_REFUSAL_CHARACTERS:
        reason = f"{reason[:MAX_REFUSAL_CHARACTERS]} …"
    return Answer(frames.encode(PortableTask(job, reason)))


class Portable:
    """What is needed to answer for one job. It keeps the job's frame, and so the task as it was submitted."""

    def __init__(self, submit: SubmitJob, frame: bytes, repack: Repack | None) -> None:
        self._submit = submit
        self._frame = frame
        self._repack = repack
        self._answer: Answer | None = None

    def answer(self, sent: Mapping[str, PackedBlob]) -> Answer:
        """Packs the task once; for any thread. `sent`: the blobs that belong to the job, by name."""
        answer = self._answer
        if answer is None:
            answer = self._make(sent)
            if self._repack is not None:
                self._answer = answer
        return answer

    def release(self) -> None:
        """The job has ended: what it captured is kept no longer."""
        self._repack = self._answer = None

    def _make(self, sent: Mapping[str, PackedBlob]) -> Answer:
        repack = self._repack
        if repack is None:
            return refusal(self._submit.job, GONE)
        try:
            data = self._task(sent)
            captured = {blob.name: blob for blob in sent.values() if blob.name in self._captured()}
            packed = repack(data, {name: _joined(blob.pieces) for name, blob in captured.items()})
            return self._packed(packed)
        except NbdistError as error:
            return refusal(self._submit.job, str(error))
        except Exception as error:  # noqa: BLE001 - packing runs user code, which may raise anything
            return refusal(self._submit.job, f"its code cannot be packed as source: {type(error).__name__}: {error}")

    def _captured(self) -> set[str]:
        return {ref.name for ref in self._submit.blobs} - {bundle.blob for bundle in self._submit.bundles}

    def _task(self, sent: Mapping[str, PackedBlob]) -> Buffer:
        """The packed task as it was submitted."""
        task = self._submit.task
        if task is None:
            return frames.decode(self._frame)[1]
        data = _joined(sent[task.name].pieces) if task.name in sent else b""
        if blobs.blob_name([data]) != task.name:
            raise NbdistError("what it has captured has changed in the notebook since the job was submitted")
        return data

    def _packed(self, packed: PackedTask) -> Answer:
        bundled = {bundle.blob for bundle in self._submit.bundles}
        refs = [BlobRef(blob.name, blob.size) for blob in packed.blobs]
        refs += [ref for ref in self._submit.blobs if ref.name in bundled]
        message = PortableTask(self._submit.job, blobs=tuple(refs))
        if packed.size <= frames.MAX_INLINE_PAYLOAD_BYTES:
            return Answer(frames.encode(message, b"".join(packed.pieces)), packed.blobs)
        task = as_blob(packed)
        message = PortableTask(self._submit.job, "", BlobRef(task.name, task.size), tuple(refs))
        return Answer(frames.encode(message), [*packed.blobs, task])


def as_blob(packed: PackedTask) -> PackedBlob:
    """A packed task that is too large for a frame."""
    return PackedBlob(blobs.blob_name(packed.pieces), packed.size, packed.pieces)


def _joined(pieces: Sequence[Buffer]) -> Buffer:
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
