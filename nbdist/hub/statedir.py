"""The hub's state directory: private files, a number that grows with every start, and the operating system's lock.

But for how interfaces tell their addresses (`addresses.py`), this is the only file of the hub that differs between
operating systems.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from nbdist.errors import NbdistError
from nbdist.folders import LOCK_FILE, HeldFolder, lock, sweep

EPOCH_FILE = "epoch.json"
SHARED_MEMORY = Path("/dev/shm")
DRAFT_PREFIX = ".nbdist-draft-"
"""Of files that are being written, and do not have their name yet."""
DAMAGED_PREFIX = "damaged-"
"""Of what is set aside, and never removed by a hub."""
SHARED_MEMORY_MIN_FREE_BYTES = 1024**3
SHARED_PREFIX = "nbdist-hub-"
SHARED_FILE = "shared-memory.json"
"""In the state directory: where its folder in shared memory is."""
OWNER_FILE = "state-directory"
"""In that folder: whose it is."""


log = logging.getLogger("nbdist.hub")


class StateBusyError(NbdistError):
    """Another hub runs on this state directory."""


class StateDir:
    """A directory of mode 0700 that one hub at a time holds. Raises StateBusyError if another holds it."""

    def __init__(self, path: Path) -> None:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        make_private(path)
        self.path = path
        self._damaged: set[str] = set()
        """Files that `read` has set aside, until they are written anew."""
        self._lock: int | None = os.open(path / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            lock(self._lock)
        except OSError:
            self.close()
            raise StateBusyError(
                f"another hub already runs on {path}: use that one, or give this one its own directory (--state DIR)"
            ) from None
        remove_drafts(path)

    def read(self, name: str) -> dict[str, Any]:
        """The JSON object in a file of the directory; empty if there is none. A damaged file is set aside."""
        path = self.path / name
        try:
            data = json.loads(path.read_text("utf-8"))
            if not isinstance(data, dict):
                raise ValueError("it holds no object")
        except FileNotFoundError:
            return {}
        except (IsADirectoryError, ValueError) as error:
            aside = damaged_name(path)
            path.rename(aside)
            self._damaged.add(name)
            log.warning("%s is damaged (%s): it is kept as %s, and what was in it is made anew", path, error, aside)
            return {}
        return data

    def write(self, name: str, data: dict[str, Any]) -> None:
        """Replaces a file of the directory, readable by its owner only, all at once or not at all."""
        write_private(self.path / name, json.dumps(data, indent=1).encode())
        self._damaged.discard(name)

    def next_epoch(self) -> int:
        """1 at the first start, one more at each further one; on disk before it is given out.

        If nobody knows any more which was the last one it is a number that none has reached: workers that have been
        here before must not take an attempt of this hub for one of the last.
        """
        before = self.read(EPOCH_FILE).get("epoch", 0)
        if EPOCH_FILE in self._damaged or not isinstance(before, int):
            before = int(time.time())
        epoch = before + 1
        self.write(EPOCH_FILE, {"epoch": epoch})
        return epoch

    def close(self) -> None:
        """Lets go of the lock."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def default_path() -> Path:
    """Where a hub of this user keeps its state when nobody says otherwise."""
    home = Path.home()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", home / "AppData" / "Local")) / "nbdist"
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "nbdist"
    return Path(os.environ.get("XDG_STATE_HOME") or home / ".local" / "state") / "nbdist"


def write_private(path: Path, data: bytes) -> None:
    """Replaces a file atomically; nobody but its owner can read it at any time."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f"{DRAFT_PREFIX}{path.name}-")  # it makes it 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def damaged_name(path: Path) -> Path:
    """A free name beside a damaged file, under which it is kept."""
    name = f"{DAMAGED_PREFIX}{int(time.time())}-{path.name}"
    return next(
        aside
        for number in itertools.count()
        if not (aside := path.with_name(name + f"-{number}" * bool(number))).exists()
    )


def remove_drafts(folder: Path) -> None:
    """Removes what `write_private` was writing there when its process was killed; nobody may be writing there now."""
    for draft in folder.glob(f"{DRAFT_PREFIX}*"):
        draft.unlink(missing_ok=True)


def free_bytes(path: Path) -> int:
    """What is free on the disk of a folder; nothing, if that is gone."""
    try:
        return shutil.disk_usage(path).free
    except OSError:
        return 0


def make_private(path: Path) -> None:
    """Keeps other users out of a directory. On Windows a user's own folders already do."""
    if sys.platform != "win32":
        path.chmod(0o700)


def shared_folder(state: StateDir) -> HeldFolder:
    """A folder in shared memory that belongs to a state directory: a hub that is started again finds that of the one
    before. Raises OSError if there is no room.

    What hubs have left there whose state directory is gone goes before: memory is at stake.
    """
    sweep([SHARED_MEMORY], SHARED_PREFIX, spare=_is_awaited)
    known = state.read(SHARED_FILE).get("folder")
    if isinstance(known, str) and _is_ours(Path(known), state.path):
        return HeldFolder.take_over(Path(known))
    if not SHARED_MEMORY.is_dir() or shutil.disk_usage(SHARED_MEMORY).free < SHARED_MEMORY_MIN_FREE_BYTES:
        raise OSError("no shared memory to keep blobs in")
    folder = HeldFolder(SHARED_MEMORY, SHARED_PREFIX)
    write_private(folder.path / OWNER_FILE, str(state.path.resolve()).encode())
    state.write(SHARED_FILE, {"folder": str(folder.path)})
    return folder


def _is_ours(folder: Path, state: Path) -> bool:
    """Whether the folder belongs to this state directory; nobody else could have made it so."""
    try:
        owner = (folder / OWNER_FILE).read_text()
        return folder.stat().st_uid == os.getuid() and owner == str(state.resolve())
    except OSError:
        return False


def _is_awaited(folder: Path) -> bool:
    """Whether there is a state directory whose next hub will look for this folder."""
    try:
        state = Path((folder / OWNER_FILE).read_text())
        known = json.loads((state / SHARED_FILE).read_text()).get("folder")
    except (OSError, ValueError, AttributeError):
        return False
    return bool(known == str(folder))
