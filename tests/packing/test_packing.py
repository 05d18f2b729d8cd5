"""Values there and back; what cannot travel is named."""

from __future__ import annotations

import gc
import io
import linecache
import queue
import socket
import sqlite3
import sys
import threading
import weakref
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbdist.errors import PackingError
from nbdist.execution.task import Task
from nbdist.packing import container, decode, encode, load_task, pack_chunk, pack_item, pack_task, unpack_chunk
from nbdist.packing.container import ALIGN_BYTES

NAME = "ab" * 32

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def packed(value: Any) -> bytes:
    return b"".join(encode(value))


@given(plain)
def test_plain_values_come_back(value: Any) -> None:
    assert decode(packed(value)) == value
    assert unpack_chunk(pack_chunk([value, value])) == [value, value]


@given(st.lists(st.binary(max_size=100), min_size=1, max_size=5), st.integers(0, 31))
def test_entries_are_aligned_and_whole(entries: list[bytes], named: int) -> None:
    names = [None, *[f"{i:064x}" if named >> i & 1 else None for i in range(len(entries) - 1)]]
    data = b"".join(container.assemble(entries, names))
    found = container.parse(data, lambda name: entries[names.index(name)])
    assert [bytes(view) for view in found] == entries
    inside = [entry for entry, name in list(zip(entries, names, strict=True))[1:] if name is None]
    aligned = [data[at:] for at in range(0, len(data), ALIGN_BYTES)]
    assert all(any(rest.startswith(entry) for rest in aligned) for entry in inside)


@given(st.binary(max_size=200))
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(PackingError):
        container.parse(data)


@given(st.integers(0, 400))
def test_cut_bytes_are_refused(size: int) -> None:
    data = packed([np.arange(20), "text"])
    if size < len(data):
        with pytest.raises(PackingError):
            container.parse(data[:size])


def test_arrays_are_aligned_views_and_read_only() -> None:
    arrays = [np.arange(5, dtype=np.int8), np.arange(200_000.0), np.arange(3, dtype=np.complex128)]
    data = bytearray(packed(arrays))
    found = decode(data)
    assert [one.tolist() for one in found] == [one.tolist() for one in arrays]
    assert not any(one.flags.writeable for one in found)
    assert all(one.flags.aligned for one in found)
    data[-16 - 3 * 16 : -3 * 16] = bytes(16)
    assert np.shares_memory(np.frombuffer(data, np.uint8), found[1])


def test_writable_arrays_do_not_share_memory_that_is_not_theirs() -> None:
    data = packed([np.zeros(200_000)])
    (found,) = decode(data, writable=True)
    found[0] = 1.0
    assert decode(data)[0][0] == 0.0
    mapped = bytearray(data)
    (view,) = decode(mapped, writable=True)
    view[0] = 1.0
    assert decode(mapped)[0][0] == 1.0


def test_what_is_defined_here_travels_by_value() -> None:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec("class Local:\n    def __init__(self): self.x = 5\n\ndef f(a): return a + 1", namespace)
    for data in (packed([namespace["Local"](), namespace["f"]]), pack_chunk([namespace["Local"](), namespace["f"]])):
        assert b"make_class" in data
    instance, function = decode(packed([namespace["Local"](), namespace["f"]]))
    assert (instance.x, function(1)) == (5, 2)


def test_large_captured_values_are_blobs_and_mapped(tmp_path: Path) -> None:
    table, small = np.arange(100_000.0), np.arange(4)
    pieces, blobs = pack_task(Task(lambda i: float(table[i]) + int(small[1])), lambda view: NAME)
    assert [(name, len(view)) for name, view in blobs] == [(NAME, table.nbytes)]
    assert sum(map(len, pieces)) < 10_000
    path = tmp_path / NAME
    path.write_bytes(blobs[0][1])
    task = load_task(b"".join(pieces), {NAME: str(path)})
    assert task.function(7) == 8.0
    with pytest.raises(PackingError, match="not at hand"):
        load_task(b"".join(pieces), {})
    path.write_bytes(b"short")
    with pytest.raises(PackingError, match="5 bytes"):
        load_task(b"".join(pieces), {NAME: str(path)})


def test_one_array_twice_is_one_blob() -> None:
    table = np.arange(100_000.0)
    other = table.copy()
    _, blobs = pack_task(Task(lambda: (table, other)), lambda view: NAME)
    assert len(blobs) == 1


def test_sources_are_known_where_a_task_is_loaded() -> None:
    source = "def f():\n    return 1\n"
    pieces, _ = pack_task(Task(len, sources={"<cell 1>": source}), lambda view: NAME)
    linecache.cache.pop("<cell 1>", None)
    load_task(b"".join(pieces), {})
    assert linecache.getline("<cell 1>", 2) == "    return 1\n"


def make_generator() -> Any:
    return (i for i in range(3))


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (threading.Lock, "lock.*inside the function"),
        (socket.socket, "socket.*inside the function"),
        (lambda: io.TextIOWrapper(io.BytesIO()), "TextIOWrapper.*open the file inside"),
        (lambda: sqlite3.connect(":memory:"), "Connection.*database inside"),
        (make_generator, "generator.*list"),
    ],
)
def test_what_cannot_travel_is_named(make: Any, text: str) -> None:
    culprit = make()

    def inner() -> Any:
        return culprit

    def outer() -> Any:
        return inner()

    with pytest.raises(PackingError, match=rf"captured name 'culprit' .*{text}"):
        pack_task(Task(outer), lambda view: NAME)
    with pytest.raises(PackingError, match=rf"'key' .*item 12 .*{text}"):
        pack_chunk([1, 2, {"key": culprit}], 10)
    with pytest.raises(PackingError, match=rf"element 1 of .*value.*{text}"):
        encode([1, culprit])
    if hasattr(culprit, "close"):
        culprit.close()


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (threading.Event, "type threading.Event; make it inside"),
        (queue.Queue, "type queue.Queue; "),
        (Future, r"type concurrent.futures._base.Future; its value can travel: future.result\(\)"),
    ],
)
def test_what_the_reader_knows_is_named_and_not_what_it_is_made_of(make: Any, text: str) -> None:
    culprit = {"inside": make()}
    with pytest.raises(PackingError, match=rf"^the value at 'inside' of the captured name 'culprit' .*{text}"):
        pack_task(Task(lambda: culprit), lambda view: NAME)


def chain(length: int, last: Any = None) -> Any:
    for _ in range(length):
        last = [last]
    return last


def test_what_is_nested_too_deeply_is_named_in_few_words() -> None:
    held = {"list": chain(100_000)}
    with pytest.raises(PackingError, match=r"captured name 'held' of the function .* nested too deeply") as caught:
        pack_task(Task(lambda: held), lambda view: NAME)
    assert len(str(caught.value)) < 200


def test_the_way_to_a_value_far_inside_is_not_told_in_full() -> None:
    held = chain(50, threading.Lock())
    with pytest.raises(PackingError, match=r"^element 0 of .* of … of the captured name 'held' of .*lock") as caught:
        pack_task(Task(lambda: held), lambda view: NAME)
    assert len(str(caught.value)) < 300


def test_a_default_value_is_named_by_its_parameter() -> None:
    def function(x: int, y: int = 3, held: Any = threading.Lock()) -> Any:  # noqa: B008
        return x, y, held

    with pytest.raises(PackingError, match="the default of 'held' of the function cannot be packed: it is of typ"):
        pack_task(Task(function), lambda view: NAME)


def test_an_object_that_fails_with_its_own_error_is_named() -> None:
    class Stubborn:
        def __reduce__(self) -> Any:
            raise ZeroDivisionError("no")

    class Holder:
        def __init__(self) -> None:
            self.inner = Stubborn()

    with pytest.raises(PackingError, match=r"attribute 'inner' .*Stubborn.*ZeroDivisionError: no"):
        encode(Holder())


def test_deep_values_are_refused_and_not_crashed_on() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(PackingError):
        encode(deep)


def test_modules_registered_by_value_are_respected() -> None:
    import tests_packing_by_value as module  # type: ignore[import-not-found]

    cloudpickle.register_pickle_by_value(module)
    try:
        assert b"make_function" in packed(module.function)
    finally:
        cloudpickle.unregister_pickle_by_value(module)


@pytest.fixture(autouse=True)
def _module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tests_packing_by_value.py").write_text("def function(): return 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))


def test_what_plain_pickle_would_only_name_travels_by_value(monkeypatch: pytest.MonkeyPatch) -> None:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec("class Here:\n    pass", namespace)
    monkeypatch.setattr(sys.modules["__main__"], "Here", namespace["Here"], raising=False)
    assert b"make_class" in packed(namespace["Here"]())
    assert b"make_class" in pack_chunk([namespace["Here"]()])


@pytest.mark.parametrize("portable", [False, True])
def test_what_cannot_be_packed_is_not_kept(portable: bool) -> None:
    class Locked:
        def __init__(self) -> None:
            self.lock = threading.Lock()

    value = Locked()
    gone = weakref.ref(value)
    gc.collect()
    gc.disable()
    try:
        try:
            pack_item([value], portable=portable)
        except PackingError:
            del value
        assert gone() is None
    finally:
        gc.enable()
