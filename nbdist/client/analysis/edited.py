"""Tells of local modules whose files were edited after this process imported them: a pool runs the file's text."""

from __future__ import annotations

import marshal
import struct
import sys
import warnings
from collections.abc import Iterable
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path

from nbdist.client.analysis.contents import File

_HEAD = struct.Struct("<4sIII")
"""Of a file of bytecode: magic number, flags, and the time and size of its source."""
_CUT = 0xFFFF_FFFF
_seen: dict[str, tuple[ModuleSpec, File]] = {}
"""Module -> its import, and the file that this was about."""
_told: dict[str, ModuleSpec] = {}
"""Module -> the import whose text is known to be old; a reload is another one."""


def tell(loaded: Iterable[str], files: Iterable[File]) -> None:
    """Warns, once for each import, of the modules among `loaded` of which the file is not what was imported."""
    by_path = {file.path: file for file in files}
    for name in loaded:
        if _is_edited(name, by_path):
            text = (
                f"the module {name!r} was edited since it was imported here: the pool runs the new text, this process "
                "still has the old one; importlib.reload brings it up to date, or restart the kernel"
            )
            warnings.warn_explicit(text, RuntimeWarning, _seen[name][1].path, 0)


def _is_edited(name: str, by_path: dict[str, File]) -> bool:
    """Whether this is news of the module."""
    module = sys.modules.get(name)
    spec = getattr(module, "__spec__", None)
    file = None if spec is None or spec.origin is None else by_path.get(spec.origin)
    if module is None or spec is None or file is None or _told.get(name) is spec:
        return False
    known = _seen.get(name)
    if known is None or known[0] is not spec:
        _seen[name] = (spec, file)
        is_edited = _differs(spec, file) is True
    else:
        is_edited = known[1][1:] != file[1:] and _differs(spec, file) is not False
    if is_edited:
        _told[name] = spec
    return is_edited


def _differs(spec: ModuleSpec, file: File) -> bool | None:
    """Whether the bytecode that Python has kept of an import is that of another text; None: nothing tells."""
    if type(spec.loader) is not SourceFileLoader or sys.dont_write_bytecode or spec.cached is None:
        return None
    try:
        with Path(spec.cached).open("rb") as bytecode:
            _, flags, mtime, size = _HEAD.unpack(bytecode.read(_HEAD.size))
            if flags or (mtime, size) == (file.mtime_ns // 1_000_000_000 & _CUT, file.size & _CUT):
                return None
            known = marshal.load(bytecode)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            now = compile(Path(file.path).read_bytes(), file.path, "exec", dont_inherit=True)
    except (SyntaxError, RecursionError):
        return True
    except (OSError, struct.error, ValueError, EOFError, TypeError):
        return None
    return bool(known != now)
