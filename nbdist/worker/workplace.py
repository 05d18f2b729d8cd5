"""Where items start: in the notebook's folder on its own machine, elsewhere in a folder that is their job's."""

from __future__ import annotations

import itertools
import os
import shutil
from pathlib import Path

from nbdist.filing.here import Home, is_here

JOB_PREFIX = "job-"
INPUTS_PREFIX = "inputs-"


class Workplace:
    """The folders of one slot's process, all below `root`. What a process before it has left there goes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._folders: dict[str, Path] = {}
        """Of the jobs that have one here."""
        self._inputs: dict[str, Path] = {}
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

    def inputs(self, job: str) -> Path:
        """Where the files lie that its task takes along."""
        if job not in self._inputs:
            self._inputs[job] = self.root / f"{INPUTS_PREFIX}{next(self._numbers)}"
        return self._inputs[job]

    def slice_inputs(self) -> Path:
        """Where the files lie that the items of the slice are given, until `end_slice`."""
        return self.root / f"{INPUTS_PREFIX}slice"

    def end_slice(self) -> None:
        """What came with it goes."""
        given = self.slice_inputs()
        if given.exists():
            shutil.rmtree(given, ignore_errors=True)

    def own_folder(self, job: str) -> Path | None:
        """The folder that is this job's alone; None: its items start in the notebook's."""
        return self._folders.get(job)

    def leave(self, job: str) -> None:
        """The job is over: its folder goes."""
        folder = self._folders.pop(job, None)
        if folder is not None:
            os.chdir(self.root.parent)  # Windows removes no folder in which a process is
            shutil.rmtree(folder, ignore_errors=True)
        inputs = self._inputs.pop(job, None)
        if inputs is not None:
            shutil.rmtree(inputs, ignore_errors=True)

    def _own(self, job: str) -> Path:
        folder = self._folders.get(job)
        if folder is None:
            folder = self._folders[job] = self.root / f"{JOB_PREFIX}{next(self._numbers)}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder
