"""Files that the items of an inline job write: in a folder of this process, and from there to where they go."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Collection, Iterator, MutableSequence
from dataclasses import replace
from pathlib import Path

from nbdist.engines.base import FilesHome, JobSpec
from nbdist.errors import FilesError
from nbdist.execution.task import Task
from nbdist.filing import archive, inputs, written
from nbdist.filing.left import Left
from nbdist.filing.written import ItemFolders, Written

PREFIX = "nbdist-inline-"


class InlineFiles:
    """What the items of one job write."""

    def __init__(self, spec: JobSpec, position: MutableSequence[int]) -> None:
        self._home = spec.files
        self._given = spec.task.given
        self._root: Path | None = None
        self._position = position
        self._folders: ItemFolders = _Late(self, position, are_wanted=spec.options.files)

    def watched(self, task: Task) -> Task:
        """The task, whose items' files count once their function has returned."""
        return replace(task, function=self._folders.around(task.function))

    @contextlib.contextmanager
    def given(self) -> Iterator[None]:
        """Inside, `nbdist.files()` gives the folder of the item that runs."""
        before, given = written.enter(self._folders), inputs.give(self._given)
        try:
            yield
        finally:
            written.enter(before)
            inputs.give(given)

    def bring(self, stop: int, failed: Collection[int]) -> bytes:
        """Brings home what the items below `stop` have written; gives the tail of their part, which says what is left
        behind. Raises FilesError."""
        taken = self._folders.take(stop)
        files = [file for file in taken.files if file.item not in failed]
        lost = [file.name for file in taken.files if file.item in failed]
        try:
            if files and self._home is not None:
                _bring(files, self._home)
        finally:
            taken.remove()
        return Left.of([*taken.left, *lost]).encode()

    def root(self) -> Path:
        """The job's folder, made when it is first needed."""
        if self._root is None:
            self._root = Path(tempfile.mkdtemp(prefix=PREFIX))
        return self._root

    def close(self) -> None:
        """The job has ended."""
        if self._root is not None:
            shutil.rmtree(self._root, ignore_errors=True)
            self._root = None


class _Late(ItemFolders):
    """Makes its root when an item asks for a folder."""

    def __init__(self, files: InlineFiles, position: MutableSequence[int], *, are_wanted: bool) -> None:
        super().__init__(Path(), position, are_wanted=are_wanted)
        self._owner = files

    def folder(self) -> Path:
        """That of the item that runs."""
        self.root = self._owner.root()
        return super().folder()


def _bring(files: list[Written], home: FilesHome) -> None:
    coming = home.begin()
    try:
        for piece in archive.pieces(files):
            coming.feed(piece)
        coming.commit()
    except OSError as error:
        raise FilesError(f"the files of item {files[0].item} cannot be read: {error.strerror or error}") from error
    finally:
        coming.abandon()
