"""Packed tasks to portable ones, later: of the task as it was packed, whatever has changed in this process since.

If packing the task again gives the same bytes, it is as it was, and goes as source. Otherwise the bytes are loaded, and
this copy goes. That is not done with classes that travel by value: where they are at home, loading would give them the
attributes of back then, and their methods the globals; and the bytes do not have all of them that other versions need.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from nbdist.errors import PackingError
from nbdist.packing.container import Buffer, parse
from nbdist.packing.tasks import pack_portable, pack_task

NameBlob: TypeAlias = Callable[[memoryview], str]
CHANGED = "{} has changed in the notebook since the job was submitted"
_MAKER = "make_class"


def repack(
    task: Any, data: Buffer, blobs: Mapping[str, Buffer], name_blob: NameBlob
) -> tuple[list[Buffer], list[tuple[str, memoryview]]]:
    """As `pack_portable`, of a task that `pack_task` has packed to `data` and `blobs` (by name).

    Raises PackingError, which names what cannot go as source, or says that what it was cannot be had any more.
    """
    if _is_same(task, data, name_blob):
        try:
            packed = pack_portable(task, name_blob)
        except PackingError:
            if _is_same(task, data, name_blob):
                raise
        else:
            if _is_same(task, data, name_blob):  # nobody has changed it meanwhile: the notebook's cells go on
                return packed
    for name, blob in blobs.items():
        if name_blob(memoryview(blob)) != name:
            raise PackingError(CHANGED.format(f"a captured value of {len(blob):,} bytes"))
    return pack_portable(_copy(data, blobs), name_blob)


def _is_same(task: Any, data: Buffer, name_blob: NameBlob) -> bool:
    try:
        pieces, _ = pack_task(task, name_blob)
    except PackingError:
        return False  # it could be packed once
    return b"".join(pieces) == data


def _copy(data: Buffer, blobs: Mapping[str, Buffer]) -> Any:
    try:
        first, *buffers = parse(data, lambda name: blobs[name])
        return _Copier(io.BytesIO(first), buffers=[buffer.toreadonly() for buffer in buffers]).load()
    except PackingError:
        raise
    except Exception as error:  # unpickling runs user code
        raise PackingError(f"{CHANGED.format('what it uses')} ({type(error).__name__}: {error})") from error


class _Copier(pickle.Unpickler):
    """Makes no classes."""

    def find_class(self, module: str, name: str) -> Any:
        return _refuse if name == _MAKER else super().find_class(module, name)


def _refuse(identity: Any, maker: Any, arguments: tuple[Any, ...]) -> Any:
    names = [each for each in arguments if isinstance(each, str)]
    raise PackingError(CHANGED.format(f"the class {names[0]!r}, or something else that it uses,"))
