"""Whether two processes run on one machine as one user, so that a path of one is a path of the other.

A secret lies where only this user of this machine reads it: who knows it is here. It stays until the machine starts
anew, so that a job whose notebook has gone is still at home.
"""

from __future__ import annotations

import hmac
import os
import secrets
import stat
import tempfile
from pathlib import Path
from typing import Final

SHARED_MEMORY: Final = Path("/dev/shm")
"""Of one machine, or of one container, alone."""
FILE = "machine"
MAX_SECRET_BYTES = 200

Home = tuple[str, str]
"""A notebook's folder, and the secret of its machine."""
NOWHERE: Final[Home] = ("", "")


def folder() -> Path:
    """Where the secret lies."""
    parent = SHARED_MEMORY if SHARED_MEMORY.is_dir() else Path(tempfile.gettempdir())
    return parent / f"nbdist-here-{os.getuid() if hasattr(os, 'getuid') else os.environ.get('USERNAME', '')}"


def home() -> Home:
    """This process's folder, for a task; `NOWHERE` if that is gone or there is no place for the secret."""
    try:
        return os.getcwd(), _secret() or _make()
    except OSError:
        return NOWHERE


def is_here(place: Home) -> bool:
    """Whether the folder is one of this machine's."""
    path, known = place
    return bool(path and known) and hmac.compare_digest(known.encode(), _secret().encode()) and os.path.isdir(path)


def _secret() -> str:
    """What lies there; empty if nothing does, or somebody else has put it there."""
    where = folder()
    try:
        facts = where.lstat()
        if not stat.S_ISDIR(facts.st_mode) or (hasattr(os, "getuid") and facts.st_uid != os.getuid()):
            return ""
        with open(where / FILE, "rb") as file:
            return file.read(MAX_SECRET_BYTES).decode("ascii", "replace")
    except OSError:
        return ""


def _make() -> str:
    """Puts a secret there, unless another process is faster. Raises OSError."""
    where = folder()
    where.mkdir(mode=0o700, exist_ok=True)
    draft = where / f"{FILE}-{secrets.token_hex(8)}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w", encoding="ascii") as file:
        file.write(secrets.token_hex(32))
    try:
        os.link(draft, where / FILE)
    except FileExistsError:
        pass
    except OSError:  # no links here: the last of several makers wins, for all that look later
        os.replace(draft, where / FILE)
    finally:
        draft.unlink(missing_ok=True)
    return _secret()
