"""Values as bytes that are the same in every process, and the same only for values that behave the same.

A pickle will not do: it tells objects that are one from objects that are equal, and has sets in the order of their
hashes. Here numbers, text and what is made of them have forms of their own, arrays are their bytes, and any other
object is what its own pickling says of it, which is all that reaches the machine that runs the job.
"""

from __future__ import annotations

import copyreg
import hashlib
import marshal
import random
import sys
import types
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

import xxhash

MAX_DEPTH = 60
"""Values that are nested deeper have no form."""
MAX_PARTS = 100_000
"""So many values that are looked at one by one have a form together: that takes about a third of a second."""
MAX_FLAT = 10_000_000
"""… and so many numbers and texts in lists of nothing else."""
FAST_BYTES = 256 * 1024
"""Memory of this size is hashed with a hash that keeps up with it: nobody gains from a collision of his own values."""
_VERSION = 2
"""Of marshal's format: without references, so that equal values have equal bytes."""
_PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes, type(...)})
_IN_PLACE = "biufcmMSUV"
"""Kinds of NumPy's types whose elements lie in the array itself."""

_ELSEWHERE = frozenset(
    {"dask", "distributed", "fsspec", "h5py", "multiprocessing", "ray", "tensorstore", "xarray", "zarr"}
)
"""Modules whose objects say, for pickling, where their data is: not what it is now."""


class NoFormError(Exception):
    """The value has no canonical form."""


class Form:
    """Takes values, and gives one hash for all of them, in this order."""

    def __init__(self, *, is_element: bool = False, depth: int = 0) -> None:
        self._hash = hashlib.sha256()
        self._is_element = is_element
        """It is one of a set, for itself: which other values are the same object is not known."""
        self._depth = depth
        self._parts = self._flat = 0
        self._seen: dict[int, tuple[int, Any]] = {}
        """Id -> its number, and the object itself, which must live as long as its id is known here."""
        self._open: set[int] = set()
        """Ids of what is being taken: a value that holds itself has no form."""

    def hexdigest(self) -> str:
        """64 hex digits."""
        return self._hash.hexdigest()

    def put(self, tag: str, data: bytes | memoryview = b"") -> None:
        """Takes bytes as they are; the tag says what they are."""
        self._hash.update(b"%b %d:" % (tag.encode(), len(data)))
        self._hash.update(data)

    def add(self, value: Any) -> None:
        """Takes a value. Raises NoFormError, and whatever the value's own pickling raises."""
        kind = type(value)
        if kind in _PLAIN and kind is not bytes:
            self.put("plain", marshal.dumps(value, _VERSION))
            return
        self._parts += 1
        self._depth += 1
        if self._depth > MAX_DEPTH or self._parts > MAX_PARTS:
            raise NoFormError
        take = _BY_TYPE.get(kind)
        if take is not None:
            take(self, value)
        elif not self.special(value):
            self._other(value)
        self._depth -= 1
        self._open.discard(id(value))

    def add_all(self, tag: str, *values: Any) -> None:
        """Takes several values as one."""
        self.put(tag, b"%d" % len(values))
        for value in values:
            self.add(value)

    def begin(self, value: Any, *, may_hold_itself: bool = False) -> bool:
        """Whether an object that others may refer to is a new one; else its number is taken.

        That tells `[a, a]` from `[a, b]`: to change one of them changes the other.
        """
        if self._is_element and _is_itself_only(type(value)):
            raise NoFormError  # as it is equal to itself only, it matters which one it is
        known = self._seen.get(id(value))
        if known is None:
            self._seen[id(value)] = (len(self._seen), value)
            if not may_hold_itself:
                self._open.add(id(value))
            return True
        if id(value) in self._open:
            raise NoFormError
        self.put("again", b"%d" % known[0])
        return False

    def special(self, value: Any) -> bool:
        """Takes a value that is more than its content, a function, say; False: it is not one of these."""
        return False

    def named(self, value: Any, name: str) -> None:
        """Takes an object that is pickled as the name of a global."""
        raise NoFormError

    def element(self) -> Form:
        """A form for one of a set."""
        return Form(is_element=True, depth=self._depth)

    # --- inside -----------------------------------------------------------------------------------------------------

    def _sequence(self, tag: str, value: list[Any] | tuple[Any, ...]) -> None:
        kinds = set(map(type, value))
        is_flat = kinds <= _PLAIN
        size = len(value)
        if kinds == {tuple}:
            size = sum(map(len, value))
            is_flat = set(map(type, chain.from_iterable(value))) <= _PLAIN
        if is_flat:
            self._put_flat(f"flat {tag}", value, size)
        else:
            self.add_all(tag, *value)

    def _put_flat(self, tag: str, value: Any, size: int) -> None:
        self._flat += size
        if self._flat > MAX_FLAT:
            raise NoFormError
        self.put(tag, marshal.dumps(value, _VERSION))

    def _list(self, value: list[Any]) -> None:
        if self.begin(value):
            self._sequence("list", value)

    def _tuple(self, value: tuple[Any, ...]) -> None:
        self._sequence("tuple", value)

    def _dict(self, value: dict[Any, Any]) -> None:
        if not self.begin(value):
            return
        if set(map(type, value)) <= _PLAIN and set(map(type, value.values())) <= _PLAIN:
            self._put_flat("flat dict", value, 2 * len(value))
        else:
            self.add_all("dict", *chain.from_iterable(value.items()))

    def _set(self, value: set[Any] | frozenset[Any]) -> None:
        if isinstance(value, set) and not self.begin(value):
            return
        if set(map(type, value)) <= _PLAIN:
            self._put_flat(type(value).__name__, sorted(marshal.dumps(each, _VERSION) for each in value), len(value))
        else:
            self.put(type(value).__name__, "".join(sorted(map(self._element, value))).encode())

    def _element(self, value: Any) -> str:
        form = self.element()
        form._parts, form._flat = self._parts, self._flat
        form.add(value)
        self._parts, self._flat = form._parts, form._flat
        return form.hexdigest()

    def _bytes(self, value: bytes) -> None:
        self._memory("bytes", memoryview(value))

    def _bytearray(self, value: bytearray) -> None:
        if self.begin(value):
            self._memory("bytearray", memoryview(value))

    def _memory(self, tag: str, view: memoryview) -> None:
        if len(view) < FAST_BYTES:
            self.put(tag, view)
        else:
            self.put(f"fast {tag}", b"%d %b" % (len(view), xxhash.xxh3_128_digest(view)))

    def _mapping(self, value: types.MappingProxyType[Any, Any]) -> None:
        self.add_all("mapping", *chain.from_iterable(value.items()))

    def _other(self, value: Any) -> None:
        kind = type(value)
        if hasattr(kind, "__next__") or isinstance(value, random.Random) or kind.__module__.startswith("numpy.random"):
            raise NoFormError  # it gives something else each time
        if any(base.__module__.partition(".")[0] in _ELSEWHERE for base in kind.__mro__):
            raise NoFormError
        if not self.begin(value):
            return
        numpy = sys.modules.get("numpy")
        if numpy is not None and kind is numpy.ndarray:
            self._array(value)
            return
        reducer: Callable[[Any], Any] | None = copyreg.dispatch_table.get(kind)
        reduced = value.__reduce_ex__(4) if reducer is None else reducer(value)
        if isinstance(reduced, str):
            self.named(value, reduced)
            return
        function, arguments, state, elements, pairs, setter = (*reduced, None, None, None, None)[:6]
        self.add_all("object", function, arguments, state, _listed(elements), _listed(pairs), setter)

    def _array(self, array: Any) -> None:
        is_fortran = bool(array.flags.f_contiguous and not array.flags.c_contiguous)  # sums depend on the order
        self.add_all("array", array.dtype, array.shape, is_fortran)
        flat = (array.T if is_fortran else array).reshape(-1)
        if array.dtype.kind == "O":
            self._sequence("objects", flat.tolist())
        elif array.dtype.kind not in _IN_PLACE or array.dtype.hasobject:
            raise NoFormError
        elif flat.nbytes:
            self._memory("bytes", memoryview((flat if flat.flags.c_contiguous else flat.copy()).view("u1")))


def _is_itself_only(kind: Any) -> bool:
    return kind.__eq__ is object.__eq__


def _listed(values: Iterable[Any] | None) -> list[Any] | None:
    return None if values is None else list(values)


_BY_TYPE: dict[type, Callable[[Any, Any], None]] = {
    list: Form._list,
    tuple: Form._tuple,
    dict: Form._dict,
    set: Form._set,
    frozenset: Form._set,
    bytes: Form._bytes,
    bytearray: Form._bytearray,
    types.MappingProxyType: Form._mapping,
    range: lambda form, value: form.add_all("range", value.start, value.stop, value.step),
    slice: lambda form, value: form.add_all("slice", value.start, value.stop, value.step),
    type(NotImplemented): lambda form, value: form.put("not implemented"),
}
