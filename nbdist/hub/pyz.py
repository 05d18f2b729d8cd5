"""worker.pyz: the worker as one file, which any Python 3.11 or later runs without installation.

Made from the sources of the installed packages: nbdist's worker rooms, websockets and cloudpickle, nothing compiled.
The same sources give the same bytes.
"""

from __future__ import annotations

import importlib.util
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

from nbdist.errors import NbdistError

NBDIST_PARTS = (
    "__init__.py",
    "errors.py",
    "driver.py",
    "embedded.py",
    "folders.py",
    "awake",
    "doctor",
    "wire",
    "execution",
    "filing",
    "packing",
    "worker",
)
"""Of nbdist: what `worker` and `doctor` import, and what that imports."""
LEFT_OUT = frozenset({"legacy", "trio", "__pycache__", "cli.py", "__main__.py"})
"""Of websockets: what only other uses of it need."""
SHEBANG = b"#!/usr/bin/env python3\n"
_DATE = (1980, 1, 1, 0, 0, 0)

MAIN = """\
import sys

if sys.version_info < (3, 11):
    sys.exit("nbdist needs Python 3.11 or later, this is %d.%d: start it with a newer one" % sys.version_info[:2])

words = sys.argv[1:]
if words[:1] == ["doctor"]:
    del words[0]
    from nbdist.doctor.main import main
else:
    from nbdist.worker.main import main

sys.exit(main(words))
"""


def build_pyz() -> bytes:
    """The file's bytes; takes a fraction of a second. Raises NbdistError if a package's sources are not there."""
    buffer = io.BytesIO()
    buffer.write(SHEBANG)
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        _add(archive, "__main__.py", MAIN.encode())
        for name, file in sorted(_sources()):
            _add(archive, name, file.read_bytes())
    return buffer.getvalue()


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    entry = zipfile.ZipInfo(name, _DATE)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    entry.create_system = 3  # or it would differ between operating systems
    archive.writestr(entry, data)


def _sources() -> Iterator[tuple[str, Path]]:
    nbdist = _folder("nbdist")
    for part in NBDIST_PARTS:
        path = nbdist / part
        yield from _files(path, nbdist.parent) if path.is_dir() else _one(path, nbdist.parent)
    for package in ("websockets", "cloudpickle"):
        folder = _folder(package)
        yield from _files(folder, folder.parent)


def _one(path: Path, root: Path) -> Iterator[tuple[str, Path]]:
    if path.exists():
        yield path.relative_to(root).as_posix(), path


def _files(folder: Path, root: Path) -> Iterator[tuple[str, Path]]:
    for path in folder.rglob("*.py"):
        relative = path.relative_to(root)
        if LEFT_OUT.isdisjoint(relative.parts) or relative.parts[0] == "nbdist":
            yield relative.as_posix(), path


def _folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise NbdistError(f"the hub cannot make worker.pyz: package {package} is not installed as files")
    return Path(spec.submodule_search_locations[0])
