"""The files of a slice's items on their way out of its slot: with the part that has the items' results."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, MutableSequence, Sequence
from dataclasses import dataclass, replace

from nbdist.execution.task import Task
from nbdist.filing import archive, written
from nbdist.filing.left import Left
from nbdist.filing.written import ItemFolders, Taken, Written
from nbdist.packing import Buffer
from nbdist.wire.messages import BlobRef, Part, SlotPart
from nbdist.wire.messages.slots import LOST
from nbdist.worker.workplace import Workplace

HEAVY_BYTES = 8 * 1024 * 1024
"""Files of so much leave at once: they take room on the disk twice while they are on their way."""
MAX_REASON_CHARS = 500


class FileParts:
    """What the items of one slice write, part by part."""

    def __init__(self, workplace: Workplace, job: str, position: MutableSequence[int], *, are_wanted: bool) -> None:
        self._workplace = workplace
        self._job = job
        self._folders = ItemFolders(workplace.slice_files(), position, are_wanted=are_wanted)

    def watched(self, task: Task) -> Task:
        """The task, whose items' files count once their function has returned."""
        return replace(task, function=self._folders.around(task.function))

    @contextlib.contextmanager
    def given(self) -> Iterator[None]:
        """Inside, `nbdist.files()` gives the folder of the item that runs."""
        before = written.enter(self._folders)
        try:
            yield
        finally:
            written.enter(before)

    @property
    def is_heavy(self) -> bool:
        """Whether what waits should leave now."""
        return self._folders.waiting_bytes >= HEAVY_BYTES

    def take(self, part: Part) -> PartFiles | None:
        """What belongs to this part, the next one; None: nothing."""
        taken = self._folders.take(part.stop)
        elsewhere = self._workplace.new_files(self._job)
        if not taken.folders and not elsewhere:
            return None
        failed = set(part.failed)
        files = [file for file in taken.files if file.item not in failed]
        lost = [file.name for file in taken.files if file.item in failed]
        tail = Left.of([*taken.left, *lost, *elsewhere]).encode()
        return PartFiles(self._workplace, files, tail, taken)


@dataclass(frozen=True, slots=True)
class PartFiles:
    """What goes with one part."""

    workplace: Workplace
    files: Sequence[Written]
    tail: bytes
    """Says what is left behind."""
    taken: Taken

    def post(self, part: Part, front: Sequence[Buffer]) -> SlotPart:
        """Writes the part's payload and the files into one file; or says why that cannot be done."""
        draft = self.workplace.root / f"part-{part.start}"
        try:
            parts = self.workplace.parts()
            draft.unlink(missing_ok=True)
            name, size, at = archive.write(draft, front, self.files)
            path = parts / f"{os.getpid()}-{part.attempt[0]}-{part.attempt[1]}-{part.start}"
            os.replace(draft, path)
        except OSError as error:
            draft.unlink(missing_ok=True)
            items = sorted({file.item for file in self.files})
            reason = f"the files of item {items[0]} cannot be sent: {error.strerror or error}"[:MAX_REASON_CHARS]
            return SlotPart(replace(part, blob=BlobRef("", 0)), f"{LOST}{reason}")
        return SlotPart(replace(part, blob=BlobRef(name, size), files_at=at), str(path))

    def remove(self) -> None:
        """It has been written: the items' folders go."""
        self.taken.remove()
