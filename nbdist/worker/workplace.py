"""Where a slot's items start: in the notebook's folder on its own machine, elsewhere in a folder that is their job's."""

from __future__ import annotations

import itertools
import os
import shutil
from pathlib import Path

from nbdist.filing.here import Home, is_here

JOB_PREFIX = "job-"


class Workplace:
    """The folders of one slot's process, all below `root`. What a process before it has left there goes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._folders: dict[str, Path] = {}
        """Of the jobs that have one here."""
        self._numbers = itertools.count(1)
        shutil.rmtree(root, ignore_errors=True)

    def enter(self, job: str, home: Home) -> None:
        """Items of this job are about to run: makes its folder the current one. Raises OSError if the disk is full."""
        if job not in self._folders and is_here(home):
            try:
                os.chdir(home[0])
            except OSError:  # it went, or is closed to this user: as on any other machine
                pass
            else:
                return
        os.chdir(self._own(job))

    def own_folder(self, job: str) -> Path | None:
        """The folder that is this job's alone; None: its items start in the notebook's."""
        return self._folders.get(job)

    def leave(self, job: str) -> None:
        """The job is over: its folder goes."""
        folder = self._folders.pop(job, None)
        if folder is not None:
            os.chdir(self.root.parent)  # Windows removes no folder in which a process is
            shutil.rmtree(folder, ignore_errors=True)

    def _own(self, job: str) -> Path:
        folder = self._folders.get(job)
        if folder is None:
            folder = self._folders[job] = self.root / f"{JOB_PREFIX}{next(self._numbers)}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder
