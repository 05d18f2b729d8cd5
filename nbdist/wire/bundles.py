"""Bundles: local modules as archives that a notebook makes and workers unpack.

A bundle is a zip file of the modules as they are to be imported (`package/module.py`), and of one file that says where
each of them lies on the notebook's machine. The same files give the same bytes.
"""

from __future__ import annotations

import io
import json
import platform
import sys
import sysconfig
import zipfile
import zlib
from collections.abc import Iterator, Mapping

from nbdist.errors import BlobError

ORIGINS = "nbdist-origins.json"
"""Path in the archive -> path on the notebook's machine."""
MAX_FILES = 5_000
MAX_BYTES = 64 * 1024 * 1024
"""Of the unpacked files of a bundle."""
MAX_BUNDLES = 32
"""Of one job. Of more modules than that, all are in one bundle."""
_DATE = (1980, 1, 1, 0, 0, 0)
_LEVEL = 6
_FORBIDDEN = frozenset("\\:\0")
_ODD = (zipfile.BadZipFile, ValueError, NotImplementedError, RuntimeError, EOFError, zlib.error)
"""What reading an archive raises that is none."""


def native_tag() -> str:
    """For which machines this one compiles: compiled modules run where it is the same."""
    suffix = (
        sysconfig.get_config_var("SOABI") or f"{sys.implementation.name}-{sys.version_info[0]}{sys.version_info[1]}"
    )
    return f"{sys.platform} {platform.machine()} {suffix}"


def pack(files: Mapping[str, bytes], origins: Mapping[str, str]) -> bytes:
    """The archive of these files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        _add(archive, ORIGINS, json.dumps(origins, sort_keys=True, ensure_ascii=True).encode("ascii"))
        for name in sorted(files):
            _add(archive, name, files[name])
    return buffer.getvalue()


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    entry = zipfile.ZipInfo(name, _DATE)
    entry.create_system = 3  # or it would differ between operating systems
    entry.external_attr = 0o600 << 16
    archive.writestr(entry, data, zipfile.ZIP_DEFLATED, _LEVEL)


def read(data: bytes) -> Iterator[tuple[tuple[str, ...], bytes]]:
    """The files of an archive: the parts of each path, and its bytes.

    Raises BlobError, and nothing else, for what is no archive, or has a file that would lie elsewhere, or is too large.
    """
    left = MAX_BYTES + MAX_FILES * 1024  # of what says where they come from
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            if len(entries) > MAX_FILES + 1:
                raise BlobError(f"a bundle of modules has {len(entries)} files, {MAX_FILES} are allowed")
            for entry in entries:
                parts = _parts(entry.filename)
                left -= entry.file_size
                if left < 0:
                    raise BlobError(f"the files of a bundle of modules have more than {MAX_BYTES} bytes")
                yield parts, archive.read(entry)
    except _ODD as error:
        raise BlobError(f"a bundle of modules cannot be read: {error}") from error


def _parts(name: str) -> tuple[str, ...]:
    parts = tuple(name.split("/"))
    if not _FORBIDDEN.isdisjoint(name) or any(part in ("", ".", "..") for part in parts):
        raise BlobError(f"a bundle of modules has a file named {name[:80]!r}, which would lie outside its folder")
    return parts
