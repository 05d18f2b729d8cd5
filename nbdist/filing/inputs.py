"""`nbdist.file(path)`: a file of the notebook's machine that is a path wherever its items run.

Packed with a task or an item it is a name: of a blob with what is in it, which is read from its disk piece by piece
when it is sent. Where it is unpacked that name becomes a path to a file of the same name and content. Small files ride
along.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, overload

from nbdist.errors import BlobError, NbdistError, PackingError
from nbdist.filing import names
from nbdist.wire.blobs import PIECE_BYTES, BlobHasher

SMALL_BYTES = 64 * 1024
"""A file of less rides in the pickle of what refers to it."""
MAX_KNOWN = 10_000
"""So many files are remembered, and not hashed again as long as they do not change."""
MAX_CAPTURED = 200
"""So many large files go with a task: a message has room for the names of so many."""
SETTLED_NS = 2_000_000_000
"""A file that was changed less long ago than this may change again without looking changed: clocks are coarse."""


class Look(NamedTuple):
    """What tells whether a file has changed."""

    size: int
    mtime_ns: int
    inode: int
    device: int

    @classmethod
    def at(cls, descriptor_or_path: int | str) -> Look:
        """Raises OSError."""
        facts = os.stat(descriptor_or_path)
        return cls(facts.st_size, facts.st_mtime_ns, facts.st_ino, facts.st_dev)


class FilePieces(Sequence[bytes]):
    """What is in a file, read when it is iterated over: never more than one piece of it is in memory."""

    def __init__(self, path: str, name: str, look: Look) -> None:
        self.path = path
        self.name = name
        """Of the blob."""
        self.size = look.size
        self._look = look

    def __len__(self) -> int:
        return -(-self.size // PIECE_BYTES)

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | Sequence[bytes]:
        return list(self)[index]

    def __iter__(self) -> Iterator[bytes]:
        """Raises BlobError if the file has changed since it got its name."""
        try:
            with open(self.path, "rb", buffering=0) as file:
                left = self.size
                while left and (piece := file.read(min(left, PIECE_BYTES))):
                    left -= len(piece)
                    if not left and Look.at(file.fileno()) != self._look:
                        break
                    yield piece
        except OSError as error:
            raise BlobError(f"the file {self.path} can no longer be read: {error.strerror or error}") from error
        if left or Look.at(self.path) != self._look:
            raise BlobError(f"the file {self.path} was changed while it was being sent: run the job again")


@dataclass
class Collected:
    """The files that were packed as names."""

    by_name: dict[str, FilePieces] = field(default_factory=dict)


def check_number(files: Collected) -> None:
    """Raises PackingError if a task takes along too many."""
    if len(files.by_name) > MAX_CAPTURED:
        raise PackingError(
            f"the function takes along {len(files.by_name)} files, and at most {MAX_CAPTURED} go with it: give each to "
            "the item that needs it, pool.map(f, [nbdist.file(p) for p in paths]), or put them into one archive"
        )


class _Placed(NamedTuple):
    paths: Mapping[str, str]
    folder: Path


_collected: ContextVar[Collected | None] = ContextVar("nbdist_collected", default=None)
_placed: ContextVar[_Placed | None] = ContextVar("nbdist_placed", default=None)


@contextlib.contextmanager
def collecting() -> Iterator[Collected]:
    """What is packed inside takes files along as blobs: these."""
    found = Collected()
    token = _collected.set(found)
    try:
        yield found
    finally:
        _collected.reset(token)


@contextlib.contextmanager
def placed(paths: Mapping[str, str], folder: Path) -> Iterator[None]:
    """What is unpacked inside finds its files: `paths` of their blobs by name, and they get their names in `folder`."""
    token = _placed.set(_Placed(paths, folder))
    try:
        yield
    finally:
        _placed.reset(token)


class InputFile(os.PathLike[str]):
    """A file that travels to where it is needed. It is a path: for `open`, pandas, NumPy and all that take paths.

    It has the attributes and methods of `pathlib.Path` (`read_text`, `stem`, …), and is read-only where it has come to.
    """

    def __init__(self, path: str, origin: str | None = None) -> None:
        self._path = path
        self._origin = origin or path

    def __fspath__(self) -> str:
        return self._path

    def __str__(self) -> str:
        return self._path

    def __repr__(self) -> str:
        return f"nbdist.file({self._origin!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, InputFile) and other._origin == self._origin

    def __hash__(self) -> int:
        return hash(self._origin)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(Path(self._path), name)

    def __reduce__(self) -> tuple[Any, ...]:
        into = _collected.get()
        if into is None:  # a result on its way home, a copy, a key: it says which file it is
            return _known, (self._origin, *_signature(self._origin))
        file = _pieces(self._origin)
        if file.size < SMALL_BYTES:
            return _carried, (self._origin, file.name, b"".join(file))
        into.by_name[file.name] = file
        return _arrived, (self._origin, file.name)


def file(path: str | os.PathLike[str]) -> InputFile:
    """A file that the code of items may read: captured by it, or an item itself, it is a path wherever they run.

    Call it outside the distributed code. The file is sent once for all machines and cells, as long as it does not
    change. Raises FileNotFoundError, IsADirectoryError, PermissionError and TypeError.
    """
    given = os.fspath(path)
    if not isinstance(given, str):
        raise TypeError(f"nbdist.file takes the path of one file as text or pathlib.Path, not {path!r}")
    if _is_elsewhere():
        if given in _given:
            return _given[given]
        raise NbdistError(
            f"nbdist.file({given!r}) was called by distributed code, with a path that does not stand there as it is: "
            f"call it in the notebook, in a cell of its own (data = nbdist.file({given!r})), and use its value here"
        )
    whole = os.path.abspath(given)
    _check(whole)
    return InputFile(whole)


_given: Mapping[str, InputFile] = {}


def give(files: Mapping[str, InputFile]) -> Mapping[str, InputFile]:
    """The files that distributed code names itself, by their paths as they stand in it; gives those that were."""
    global _given
    before, _given = _given, files
    return before


def _is_elsewhere() -> bool:
    from nbdist.filing import written

    return written.is_at_work()


def _check(path: str) -> None:
    """Raises OSError for what cannot be sent."""
    try:
        if os.path.isdir(path):
            raise IsADirectoryError(
                21, "nbdist.file takes one file, and this is a folder: [nbdist.file(p) for p in folder.iterdir()]", path
            )
        if os.path.exists(path) and not os.path.isfile(path):
            raise OSError(22, "nbdist.file takes a file with data on a disk, and this is none", path)
        with open(path, "rb"):
            pass
    except FileNotFoundError:
        raise FileNotFoundError(2, "nbdist.file finds no such file on the notebook's machine", path) from None
    except PermissionError:
        raise PermissionError(13, "nbdist.file may not read this file", path) from None


_known_names: dict[tuple[str, Look], str] = {}


def _pieces(path: str) -> FilePieces:
    """The file as it is now, named by what is in it. Raises PackingError."""
    try:
        _check(path)
        with open(path, "rb", buffering=0) as opened:
            look = Look.at(opened.fileno())
            name = _known_names.get((path, look))
            if name is None:
                hasher = BlobHasher()
                while piece := opened.read(PIECE_BYTES):
                    hasher.update(piece)
                name = hasher.name()
                if Look.at(opened.fileno()) != look or hasher.size != look.size:
                    raise PackingError(f"the file {path} is being changed by somebody: run the job when it is complete")
                _remember(path, look, name)
    except OSError as error:
        raise PackingError(f"{error.strerror}: {path}") from error
    return FilePieces(path, name, look)


def _remember(path: str, look: Look, name: str) -> None:
    import time

    if time.time_ns() - look.mtime_ns < SETTLED_NS:
        return
    _known_names[path, look] = name
    while len(_known_names) > MAX_KNOWN:
        del _known_names[next(iter(_known_names))]


def _signature(path: str) -> tuple[int, int]:
    """What tells two versions of a file apart, in keys."""
    with contextlib.suppress(OSError):
        look = Look.at(path)
        return look.size, look.mtime_ns
    return -1, -1


# --- where it is unpacked; these names stand in pickles -----------------------------------------------------------


def _known(origin: str, size: int, mtime_ns: int) -> InputFile:
    return InputFile(origin)


def _carried(origin: str, name: str, data: bytes) -> InputFile:
    """A small file: written where it is unpacked."""
    where = _placed.get()
    if where is None:
        return InputFile(origin)
    path = _path_for(where.folder, origin, name)
    if not path.exists():
        draft = path.with_name(f".{os.getpid()}.draft")
        draft.write_bytes(data)
        _seal(draft)
        os.replace(draft, path)
    return InputFile(str(path), origin)


def _arrived(origin: str, name: str) -> InputFile:
    """A file whose blob is here: it gets its own name beside it."""
    where = _placed.get()
    if where is None:
        return InputFile(origin)
    blob = where.paths.get(name)
    if blob is None:
        raise NbdistError(f"the file {origin} did not come with what refers to it: report this as a bug")
    path = _path_for(where.folder, origin, name)
    if not path.exists():
        _seal(Path(blob))
        try:
            os.link(blob, path)
        except OSError:
            _point_at(Path(blob), path)
    return InputFile(str(path), origin)


def _path_for(folder: Path, origin: str, name: str) -> Path:
    """In a folder of its own for each content and name, so that no two files meet."""
    base = names.usable_here(origin.replace("\\", "/").rpartition("/")[2]) or "file"
    key = hashlib.sha256(f"{name} {base}".encode("utf-8", "surrogatepass")).hexdigest()[:24]
    made = folder / key
    made.mkdir(parents=True, exist_ok=True)
    return made / base


def _seal(path: Path) -> None:
    """Others read it too: nobody writes into it by mistake. (Windows removes no file that is read-only.)"""
    if sys.platform != "win32":
        with contextlib.suppress(OSError):
            path.chmod(0o400)


def _point_at(blob: Path, path: Path) -> None:
    """On another file system than the blob: a link by name, or a copy where there are none."""
    try:
        path.symlink_to(blob)
    except OSError:
        import shutil

        shutil.copyfile(blob, path)
