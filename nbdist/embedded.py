"""The pool of this machine: finds this user's hub and worker, or starts them; and private pools for one process.

There is one embedded pool for each user, `sys.prefix`, Python and nbdist version. Its state directory (0700, in
Jupyter's runtime directory) holds:

    ready.json       written by the hub once it listens (0600): its addresses with their secrets, its process id
    lock             held by the hub for as long as it lives: a ready.json beside a free lock is stale
    starting.lock    held while somebody starts it: of two kernels that start at once, one does, both read what it wrote
    worker.lock      held by its worker for as long as that lives: there is one, however often the hub was started
    worker.left      written by the worker when it ends in order: one that was killed is started again while jobs wait
    hub.log, worker.log

Hub and worker are started at the same moment; the worker waits for `ready.json`. No secret stands in an argument or an
environment variable.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import nbdist
from nbdist.errors import AddressError, ConnectionFailedError, NbdistError
from nbdist.folders import lock
from nbdist.wire.address import Address

ALLOW_SLEEP_VARIABLE = "NBDIST_ALLOW_SLEEP"
"""Set to anything but 0: the pools that start here do not keep their machine awake."""
READY_FILE = "ready.json"
HUB_LOCK = "lock"
OWNER_LOCK = "owner.lock"
"""Of a private pool: held by the process whose pool it is."""
PRIVATE_PREFIX = "nbdist-pool-"
PRIVATE_MIN_AGE_SECONDS = 60.0
"""A younger folder may not be locked yet by the process that makes it."""
WORKER_LOCK = "worker.lock"
WORKER_LEFT = "worker.left"
"""A file: the worker has ended because it was told to."""
STARTING_LOCK = "starting.lock"
START_LIMIT_SECONDS = 15.0
STOP_LIMIT_SECONDS = 3.0
POLL_SECONDS = 0.005
DIAL_LIMIT_SECONDS = 1.0
MAX_LOG_BYTES = 1024 * 1024
"""A log that is larger is put aside, in place of the one before, when the process is started again."""
TAIL_BYTES = 2000
"""Of a log, in an error."""
MAX_SLOTS = 4096
MAX_RESTARTS = 5
RESTART_SECONDS = 30.0
"""The hub of a private pool is started again so many times within so long."""
BUSY_EXIT_CODE = 3
"""The hub's, when another hub holds the state directory."""

_detached: list[subprocess.Popen[bytes]] = []
"""What this process has started and does not own: kept, so that it is not warned about, and reaped."""


def find(urgent: bool) -> Address:
    """The embedded hub's address; starts the pool if it does not run and somebody waits for it.

    Raises ConnectionFailedError.
    """
    found = running()
    if found is not None:
        return found
    if not urgent:
        raise ConnectionFailedError("this user's embedded pool does not run")
    return ensure_hub()


def ensure_hub() -> Address:
    """The embedded hub's address, after starting hub and worker if they do not run. Any process may call it.

    Raises ConnectionFailedError with the end of the log if the hub does not come up.
    """
    folder = state_folder()
    found = running(folder)
    if found is not None and _is_locked(folder / WORKER_LOCK):
        return found
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    with _held(folder / STARTING_LOCK):
        found = running(folder)
        if found is None:
            return _start(folder)
        if not _is_locked(folder / WORKER_LOCK):  # it was killed, or stopped, or is just starting
            _start_worker(folder)
        return found


def is_worker_gone() -> bool:
    """Whether the embedded hub lives and its worker does not, though nobody has told it to leave."""
    folder = state_folder()
    is_alive = _is_locked(folder / WORKER_LOCK) or (folder / WORKER_LEFT).exists()
    return not is_alive and _is_locked(folder / HUB_LOCK)


def start_worker() -> None:
    """Starts the embedded pool's worker if it does not run."""
    with _held(state_folder() / STARTING_LOCK):
        if is_worker_gone():
            _start_worker(state_folder())


def running(folder: Path | None = None) -> Address | None:
    """The address of the embedded hub if it runs, else None; starts nothing."""
    folder = folder or state_folder()
    ready = _read_ready(folder / READY_FILE)
    if ready is None or not _is_locked(folder / HUB_LOCK):
        return None
    try:
        address = Address.parse(str(ready.get("connect")))
        with socket.create_connection((address.host, address.port), DIAL_LIMIT_SECONDS):
            return address
    except (AddressError, OSError):
        return None


def look(folder: Path) -> tuple[dict[str, Any] | None, bool, bool]:
    """What `ready.json` of a state directory says, and whether its hub and its worker live. Changes nothing."""
    return _read_ready(folder / READY_FILE), _is_locked(folder / HUB_LOCK), _is_locked(folder / WORKER_LOCK)


def end() -> None:
    """Ends this user's embedded hub, if it runs; its worker finishes its running items and follows by itself.

    Raises ConnectionFailedError if the hub does not end in time.
    """
    folder = state_folder()
    ready = _read_ready(folder / READY_FILE)
    if ready is None or running(folder) is None:
        return
    os.kill(int(ready["pid"]), signal.SIGTERM)
    deadline = time.monotonic() + STOP_LIMIT_SECONDS
    while running(folder) is not None:
        if time.monotonic() > deadline:
            raise ConnectionFailedError(f"the hub of the embedded pool (process {ready['pid']}) does not end")
        time.sleep(POLL_SECONDS)


def state_folder() -> Path:
    """Where the embedded pool of this user, environment, Python and nbdist keeps its files."""
    kind = f"{sys.prefix}|{sys.version}|{sys.implementation.name}|{nbdist.__version__}"
    return _runtime_folder() / f"nbdist-{hashlib.sha256(kind.encode()).hexdigest()[:16]}"


class PrivatePool:
    """A hub and one worker that end with `close`, and with this process however it ends.

    They are being started when the constructor returns; `wait` returns once the hub is there.
    """

    def __init__(self, slots: int) -> None:
        self._pid = os.getpid()
        self._folder = Path(tempfile.mkdtemp(prefix=PRIVATE_PREFIX))
        self._lock = os.open(self._folder / OWNER_LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        _try_lock(self._lock)
        self._processes: list[subprocess.Popen[bytes]] = []
        atexit.register(self.close)
        self._hub_options = ("--embedded", "--state", str(self._folder))
        self._restarts: list[float] = []
        self._restarting = threading.Lock()
        try:
            self._hub = self._spawn("hub", *self._hub_options)
            self._worker_options = ("--quiet", "--slots", str(slots))
            self._worker = self._spawn("worker", *self._worker_options)
        except BaseException:
            self.close()
            raise

    def wait(self) -> Address:
        """The hub's address once it listens; a hub that has ended is started again, and takes its jobs up.

        Raises ConnectionFailedError if it does not come up or the pool was closed, and NbdistError if it ends again and
        again.
        """
        with self._restarting:
            if not self._processes:
                raise ConnectionFailedError("this private pool was closed")
            if self._hub.poll() is not None:
                self._restart()
            return _wait_ready(self._folder, self._hub)

    def is_worker_gone(self) -> bool:
        """Whether the worker has ended though nobody has told it to leave."""
        return bool(self._processes) and self._worker.poll() not in (None, 0)

    def start_worker(self) -> None:
        """Starts the worker again."""
        with self._restarting:
            if self.is_worker_gone():
                self._processes.remove(self._worker)
                self._worker = self._spawn("worker", *self._worker_options)

    def _restart(self) -> None:
        now = time.monotonic()
        self._restarts = [when for when in self._restarts if now - when < RESTART_SECONDS]
        if len(self._restarts) >= MAX_RESTARTS:
            raise NbdistError(
                f"the hub of this private pool has ended {MAX_RESTARTS} times within {RESTART_SECONDS:.0f} s (code "
                f"{self._hub.returncode}), and its jobs with it: nbdist.connect(workers=…) makes a new pool; its log "
                f"ends with:\n{_tail(self._folder / 'hub.log')}"
            )
        self._restarts.append(now)
        self._processes.remove(self._hub)
        (self._folder / READY_FILE).unlink(missing_ok=True)
        self._hub = self._spawn("hub", *self._hub_options)

    def close(self) -> None:
        """Ends hub and worker and removes their files. Idempotent."""
        if self._pid != os.getpid():
            return  # a forked copy: they belong to the parent
        atexit.unregister(self.close)
        processes, self._processes = self._processes, []
        for process in processes:
            assert process.stdin is not None
            with contextlib.suppress(OSError):
                process.stdin.close()  # they end when they read its end
        deadline = time.monotonic() + STOP_LIMIT_SECONDS
        for process in processes:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
        shutil.rmtree(self._folder, ignore_errors=True)

    def _spawn(self, role: str, *options: str) -> subprocess.Popen[bytes]:
        ready = str(self._folder / READY_FILE)
        with _log(self._folder, role) as log:
            process = subprocess.Popen(
                [*_command(role), *options, "--ready-file", ready, "--die-with-parent"],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=log,
                env=_environment(),
                **_own_session(),
            )
        self._processes.append(process)
        return process


def start_private(workers: int) -> PrivatePool:
    """A pool of its own on this machine with so many slots. Raises AddressError for a number that makes no sense."""
    if isinstance(workers, bool) or not isinstance(workers, int) or not 1 <= workers <= MAX_SLOTS:
        raise AddressError(f"workers= is the number of slots, 1 to {MAX_SLOTS}, not {workers!r}")
    pool = PrivatePool(workers)
    sweep_private()  # now, while hub and worker start
    return pool


def sweep_private() -> None:
    """Removes the folders of this user's private pools whose process was killed: nobody holds their locks."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PRIVATE_PREFIX}*"):
        with contextlib.suppress(OSError):
            facts = folder.lstat()
            is_ours = stat.S_ISDIR(facts.st_mode) and (sys.platform == "win32" or facts.st_uid == os.getuid())
            if not is_ours or time.time() - facts.st_mtime < PRIVATE_MIN_AGE_SECONDS:
                continue
            if not _is_locked(folder / OWNER_LOCK) and not _is_locked(folder / HUB_LOCK):
                shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def only_one(path: Path) -> Iterator[bool]:
    """Holds the lock on a file: True; or False, at once, if another process holds it."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        is_ours = _try_lock(handle)
        if not is_ours:
            time.sleep(POLL_SECONDS)  # somebody may have looked at it just now
            is_ours = _try_lock(handle)
        yield is_ours
    finally:
        os.close(handle)


def _is_locked(path: Path) -> bool:
    """Whether a process holds the lock on a file."""
    try:
        handle = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        return not _try_lock(handle, is_shared=True)  # shared: two that look at once do not see each other
    finally:
        os.close(handle)


# --- starting ---------------------------------------------------------------------------------------------------------


def _start(folder: Path) -> Address:
    deadline = time.monotonic() + START_LIMIT_SECONDS
    ready = folder / READY_FILE
    ready.unlink(missing_ok=True)
    _start_worker(folder)
    while True:
        hub = _detach(folder, "hub", "--embedded", "--state", str(folder), "--ready-file", str(ready))
        try:
            return _wait_ready(folder, hub)
        except ConnectionFailedError:
            # the one before may still be ending, with its lock on the directory
            if hub.poll() != BUSY_EXIT_CODE or time.monotonic() > deadline:
                raise
            time.sleep(POLL_SECONDS)


def _start_worker(folder: Path) -> None:
    (folder / WORKER_LEFT).unlink(missing_ok=True)
    ready = str(folder / READY_FILE)
    _detach(folder, "worker", "--only-one", str(folder / WORKER_LOCK), "--quiet", "--ready-file", ready)


def _detach(folder: Path, role: str, *options: str) -> subprocess.Popen[bytes]:
    with _log(folder, role) as log:
        process = subprocess.Popen(
            [*_command(role), *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            env=_environment(),
            **_own_session(),
        )
    _detached[:] = [one for one in _detached if one.poll() is None] + [process]
    return process


def _wait_ready(folder: Path, hub: subprocess.Popen[bytes]) -> Address:
    """The hub's address once it has written it."""
    deadline = time.monotonic() + START_LIMIT_SECONDS
    while time.monotonic() < deadline:
        ready = _read_ready(folder / READY_FILE)
        if ready is not None:
            return Address.parse(str(ready.get("connect")))
        if hub.poll() is not None:
            break
        time.sleep(POLL_SECONDS)
    state = "did not get ready in time" if hub.poll() is None else f"ended with code {hub.returncode}"
    raise ConnectionFailedError(
        f"the hub of the embedded pool {state}; its log ends with:\n{_tail(folder / 'hub.log')}"
    )


def _command(role: str) -> list[str]:
    # -P: a random.py beside the notebook must not take the place of the standard library's in hub and worker
    sleeps = os.environ.get(ALLOW_SLEEP_VARIABLE, "") not in ("", "0")
    return [sys.executable, "-P", "-m", "nbdist", role, *(["--allow-sleep"] if sleeps else [])]


def _environment() -> dict[str, str]:
    """This process's, so that nbdist is found where it was found here, and without what slows the children down."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    home = str(Path(nbdist.__file__).resolve().parent.parent)
    if home not in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        before = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = home if not before else os.pathsep.join((home, before))
    return environment


def _read_ready(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _log(folder: Path, role: str) -> IO[bytes]:
    path = folder / f"{role}.log"
    with contextlib.suppress(OSError):
        if path.stat().st_size > MAX_LOG_BYTES:
            path.replace(folder / f"{role}.log.old")
    return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")


def _tail(path: Path) -> str:
    try:
        return path.read_bytes()[-TAIL_BYTES:].decode("utf-8", "replace").strip() or "(nothing)"
    except OSError as error:
        return f"({error})"


def _runtime_folder() -> Path:
    """What `jupyter --runtime-dir` says, without the time that importing jupyter_core takes."""
    named = os.environ.get("JUPYTER_RUNTIME_DIR")
    if named:
        return Path(named)
    data = os.environ.get("JUPYTER_DATA_DIR")
    if data:
        return Path(data) / "runtime"
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA") or Path.home()) / "jupyter" / "runtime"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Jupyter" / "runtime"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "jupyter" / "runtime"


@contextlib.contextmanager
def _held(path: Path) -> Iterator[None]:
    """Waits for the lock on a file and holds it."""
    deadline = time.monotonic() + 2 * START_LIMIT_SECONDS
    while True:
        with only_one(path) as is_ours:
            if is_ours:
                yield
                return
        if time.monotonic() > deadline:
            raise ConnectionFailedError(f"another process has been starting the embedded pool for too long ({path})")
        time.sleep(POLL_SECONDS)


def _try_lock(handle: int, *, is_shared: bool = False) -> bool:
    try:
        lock(handle, is_shared=is_shared)
    except OSError:
        return False
    return True


# --- what differs between operating systems ---------------------------------------------------------------------------

if sys.platform == "win32":

    def _own_session() -> dict[str, Any]:
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
else:

    def _own_session() -> dict[str, Any]:
        return {"start_new_session": True}
