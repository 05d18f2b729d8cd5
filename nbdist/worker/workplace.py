"""Where items start: in the notebook's folder on its own machine, elsewhere in a folder that is their job's."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from nbdist.filing.here import Home, is_here
from nbdist.filing.written import files_in

JOB_PREFIX = "job-"
INPUTS_PREFIX = "inputs-"
FILES_FOLDER = "files"
MAX_SEEN = 1_000
"""So many files in a job's folder are looked at, to tell which are left there."""


@dataclass(slots=True)
class _Seen:
    changed_ns: int = 0
    names: set[str] = field(default_factory=set)


class Workplace:
    """The folders of one slot's process, all below `root`. What a process before it has left there goes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._folders: dict[str, Path] = {}
        """Of the jobs that have one here."""
        self._at_home: set[str] = set()
        """Jobs whose items start in the notebook's folder."""
        self._inputs: dict[str, Path] = {}
        self._seen: dict[str, _Seen] = {}
        self._numbers = itertools.count(1)
        shutil.rmtree(root, ignore_errors=True)

    def enter(self, job: str, home: Home) -> None:
        """Items of this job are about to run: makes its folder the current one. Raises OSError if the disk is full."""
        if job not in self._folders and (job in self._at_home or is_here(home)):
            try:
                os.chdir(home[0])
            except OSError:  # it went, or is closed to this user: as on any other machine
                self._at_home.discard(job)
            else:
                self._at_home.add(job)
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

    def slice_files(self) -> Path:
        """Where the items of the slice write what is to come home, until `end_slice`."""
        return self.root / FILES_FOLDER

    def end_slice(self) -> None:
        """What came with it goes, and what its items have left."""
        for folder in (self.slice_inputs(), self.slice_files()):
            if folder.exists():
                shutil.rmtree(folder, ignore_errors=True)

    def parts(self) -> Path:
        """Where files lie on their way home: what is there outlives the process, and is the agent's to remove."""
        folder = self.root.with_name(f"{self.root.name}-parts")
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def new_files(self, job: str) -> list[str]:
        """The names of files that its items have put into its own folder since the last call (of so many)."""
        folder = self._folders.get(job)
        if folder is None:
            return []
        known = self._seen.setdefault(job, _Seen())
        try:
            changed = folder.stat().st_mtime_ns
        except OSError:
            return []
        if changed == known.changed_ns:
            return []
        known.changed_ns = changed
        found = [name for name, _, _ in islice(files_in(folder), MAX_SEEN)]
        new = [name for name in found if name not in known.names]
        known.names.update(new)
        return new

    def own_folder(self, job: str) -> Path | None:
        """The folder that is this job's alone; None: its items start in the notebook's."""
        return self._folders.get(job)

    def leave(self, job: str) -> None:
        """The job is over: its folder goes."""
        self._at_home.discard(job)
        with contextlib.suppress(OSError):
            os.chdir(self.root.parent)  # some systems remove no folder in which a process is
        folder = self._folders.pop(job, None)
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        self._seen.pop(job, None)
        inputs = self._inputs.pop(job, None)
        if inputs is not None:
            shutil.rmtree(inputs, ignore_errors=True)

    def _own(self, job: str) -> Path:
        folder = self._folders.get(job)
        if folder is None:
            folder = self._folders[job] = self.root / f"{JOB_PREFIX}{next(self._numbers)}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder
