"""The hub's state directory: private files, a number that grows with every start, and the operating system's lock.

But for how interfaces tell their addresses (`addresses.py`), this is the only file of the hub that differs between
operating systems.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from nbdist.errors import NbdistError

LOCK_FILE = "lock"
EPOCH_FILE = "epoch.json"
SHARED_MEMORY = Path("/dev/shm")
SHARED_MEMORY_MIN_FREE_BYTES = 1024**3
SHARED_PREFIX = "nbdist-hub-"
SHARED_FILE = "shared-memory.json"
"""In the state directory: where its folder in shared memory is."""
OWNER_FILE = "state-directory"
"""In that folder: whose it is."""
SHARED_MIN_AGE_SECONDS = 60.0
"""A younger folder may not be locked yet by the hub that makes it."""


class StateBusyError(NbdistError):
    """Another hub runs on this state directory."""


class StateDir:
    """A directory of mode 0700 that one hub at a time holds. Raises StateBusyError if another holds it."""

    def __init__(self, path: Path) -> None:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        make_private(path)
        self.path = path
        self._lock: int | None = os.open(path / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _lock(self._lock)
        except OSError:
            self.close()
            raise StateBusyError(
                f"another hub already runs on {path}: use that one, or give this one its own directory (--state DIR)"
            ) from None

    def read(self, name: str) -> dict[str, Any]:
        """The JSON object in a file of the directory; empty if the file is missing or damaged."""
        try:
            data = json.loads((self.path / name).read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return data if isinstance(data, dict) else {}

    def write(self, name: str, data: dict[str, Any]) -> None:
        """Replaces a file of the directory, readable by its owner only, all at once or not at all."""
        write_private(self.path / name, json.dumps(data, indent=1).encode())

    def next_epoch(self) -> int:
        """1 at the first start, one more at each further one; on disk before it is given out."""
        before = self.read(EPOCH_FILE).get("epoch", 0)
        epoch = (before if isinstance(before, int) else 0) + 1
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
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")  # mkstemp makes it 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def make_private(path: Path) -> None:
    """Keeps other users out of a directory. On Windows a user's own folders already do."""
    if sys.platform != "win32":
        path.chmod(0o700)


class SharedFolder:
    """A folder in shared memory that belongs to a state directory, locked while a hub lives.

    A hub that is started again finds the folder of the one before. Raises OSError if there is no room.
    """

    def __init__(self, state: StateDir) -> None:
        self._state = state
        known = state.read(SHARED_FILE).get("folder")
        if isinstance(known, str) and _is_ours(Path(known), state.path):
            self.path = Path(known)
            self._lock = os.open(self.path / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
            _lock(self._lock)
            return
        if not SHARED_MEMORY.is_dir() or shutil.disk_usage(SHARED_MEMORY).free < SHARED_MEMORY_MIN_FREE_BYTES:
            raise OSError("no shared memory to keep blobs in")
        self.path = Path(tempfile.mkdtemp(prefix=SHARED_PREFIX, dir=SHARED_MEMORY))
        self._lock = os.open(self.path / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
        _lock(self._lock)
        write_private(self.path / OWNER_FILE, str(state.path.resolve()).encode())
        state.write(SHARED_FILE, {"folder": str(self.path)})

    def close(self, *, keep: bool) -> None:
        """Lets go of the folder, and removes it unless the next hub needs what is in it."""
        if not keep:
            shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


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


def sweep_shared_memory() -> None:
    """Removes the folders of this user's hubs that were killed: nobody holds their locks. Memory is at stake."""
    for folder in SHARED_MEMORY.glob(f"{SHARED_PREFIX}*"):
        with contextlib.suppress(OSError):
            facts = folder.stat()
            if facts.st_uid != os.getuid() or time.time() - facts.st_ctime < SHARED_MIN_AGE_SECONDS:
                continue
            if _is_awaited(folder):
                continue
            handle = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                _lock(handle)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(handle)


if sys.platform == "win32":
    import msvcrt

    def _lock(handle: int) -> None:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
