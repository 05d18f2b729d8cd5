"""The files that items write, on their way into a folder of the notebook's machine.

Each is written under a name that nobody uses, and gets its own once all of its result has come and is what was sent. A
name that several items have used gets the item's number, for each of them: so the names do not depend on which came
first.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from nbdist.engines.base import JobSpec
from nbdist.errors import FilesError, NbdistError
from nbdist.filing import names
from nbdist.filing.archive import Entry, Unpacker

DRAFT_PREFIX = ".nbdist-coming-"
OLD_SECONDS = 24 * 3600.0
"""A draft that is older is nobody's any more."""
NAMED = 3


class Homecoming:
    """A folder for files (`engines.base.FilesHome`). Raises FilesError if nothing can be written there."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(os.path.abspath(os.path.expanduser(os.fspath(folder))))
        self._lock = threading.Lock()
        self._paths: dict[tuple[int, str], Path] = {}
        """(item, its name there) -> where it is now."""
        self._claims: dict[str, set[tuple[int, str]]] = defaultdict(set)
        """Key of a path in the folder -> the files that would have that name if nobody else had."""
        self._folders: set[str] = set()
        """Keys of the folders in it that files need."""
        self._renamed: dict[str, None] = {}
        """Names that were changed."""
        self._prepare()

    @property
    def paths(self) -> dict[int, list[Path]]:
        """Item -> the files that it has written, so far, by name."""
        with self._lock:
            found: dict[int, list[Path]] = {}
            for (item, _), path in sorted(self._paths.items()):
                found.setdefault(item, []).append(path)
            return found

    def begin(self) -> Coming:
        """The files of one result come."""
        return Coming(self)

    def stories(self) -> list[str]:
        """What there is to say of names."""
        with self._lock:
            if not self._renamed:
                return []
            count = len(self._renamed)
            named = ", ".join(list(self._renamed)[:NAMED]) + (", …" if count > NAMED else "")
            what = "1 name of a file was" if count == 1 else f"{count:,} names of files were"
            return [f"{what} used by several items, or cannot be used here, and got the items' numbers: {named}"]

    # --- for those that come ----------------------------------------------------------------------------------------

    def draft(self) -> Path:
        """A path that nobody uses."""
        return self.folder / f"{DRAFT_PREFIX}{secrets.token_hex(8)}"

    def take(self, entry: Entry, draft: Path) -> None:
        """A file has come: it gets its name. Raises FilesError."""
        with self._lock:
            file = (entry.item, entry.name)
            name = names.usable_here(entry.name)
            if name != entry.name:
                self._renamed[entry.name] = None
            try:
                self._need_folders(name)
                self._claim(file, name, draft)
            except OSError as error:
                raise self._error(error, entry) from error

    def error(self, error: OSError, entry: Entry | None = None) -> FilesError:
        """What went wrong, with what to do."""
        return self._error(error, entry)

    # --- inside -----------------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        if self.folder.exists() and not self.folder.is_dir():
            raise FilesError(f"files are to come home into {self.folder}, which is a file: name a folder")
        probe = self.draft()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            raise FilesError(f"files cannot come home into {self.folder}: {error.strerror or error}") from error
        for draft in self.folder.glob(f"{DRAFT_PREFIX}*"):
            with contextlib.suppress(OSError):
                if time.time() - draft.stat().st_mtime > OLD_SECONDS:
                    draft.unlink()

    def _need_folders(self, name: str) -> None:
        """Makes the folders of a file; files of their names make room."""
        parent = name.rpartition("/")[0]
        while parent:
            key = names.key(parent)
            if key not in self._folders:
                self._folders.add(key)
                for other in sorted(self._claims.get(key, ())):
                    self._move_on(other, parent)
            parent = parent.rpartition("/")[0]

    def _claim(self, file: tuple[int, str], name: str, draft: Path) -> None:
        """Gives a file that lies at `draft` this name, or the next one if others want it too."""
        key = names.key(name)
        claims = self._claims[key]
        claims.add(file)
        if key in self._folders or len(claims) > 1:
            self._renamed[file[1]] = None
            for other in sorted(claims - {file}):
                self._move_on(other, name)
            self._claim(file, names.numbered(name, file[0]), draft)
            return
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        os.replace(draft, path)
        self._paths[file] = path

    def _move_on(self, file: tuple[int, str], name: str) -> None:
        """A file that has this name, and no longer alone, gets the next one; it may have gone on before."""
        path = self._paths.get(file)
        if path is None or names.key(path.relative_to(self.folder).as_posix()) != names.key(name):
            return
        self._renamed[file[1]] = None
        if path.exists():
            draft = self.draft()
            os.replace(path, draft)
            self._claim(file, names.numbered(path.relative_to(self.folder).as_posix(), file[0]), draft)

    def _error(self, error: OSError, entry: Entry | None) -> FilesError:
        which = "files" if entry is None else f"the file {entry.name!r} of item {entry.item}"
        return FilesError(
            f"{which} cannot be written to {self.folder}: {error.strerror or error}. Make room or choose another "
            "folder, and run it with --resume (resume=job.id)"
        )


class Coming:
    """The files of one result (`engines.base.FilesComing`)."""

    def __init__(self, home: Homecoming) -> None:
        self._home = home
        self._unpacker = Unpacker(self._open)
        self._drafts: list[Path] = []

    def feed(self, data: bytes | memoryview) -> None:
        """The next bytes. Raises FilesError and PackingError."""
        try:
            self._unpacker.feed(data)
        except OSError as error:
            raise self._home.error(error) from error

    def commit(self) -> None:
        """All have come. Raises FilesError and PackingError."""
        for entry, draft in zip(self._unpacker.finish(), self._drafts, strict=True):
            self._home.take(entry, draft)
        self._drafts.clear()

    def abandon(self) -> None:
        """They do not come."""
        self._unpacker.close()
        for draft in self._drafts:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)
        self._drafts.clear()

    def _open(self, entry: Entry) -> Any:
        draft = self._home.draft()
        self._drafts.append(draft)
        return open(draft, "xb", buffering=0)


def checked(folder: Any) -> Homecoming | None:
    """The folder that `files=` names. Raises TypeError, and FilesError if nothing can be written there."""
    if folder is None:
        return None
    if not isinstance(folder, str | os.PathLike) or not isinstance(os.fspath(folder), str):
        raise TypeError(f"files is a folder for what items write to nbdist.files(), not {folder!r}")
    if not os.fspath(folder):
        raise NbdistError("files is a folder, not an empty text: files='.' is the notebook's own")
    return Homecoming(folder)


def home_of(spec: JobSpec) -> Homecoming | None:
    """Where the files of a job go."""
    return spec.files if isinstance(spec.files, Homecoming) else None
