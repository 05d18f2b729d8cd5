"""Runs of results, packed and joined."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbdist.errors import ItemError, PackingError, ResultError
from nbdist.execution.run import Run
from nbdist.packing import Failure, pack_part, pack_run, pack_runs, unpack_part
from nbdist.packing.failures import MAX_TRACEBACK_CHARS, cut, pack_failure
from nbdist.packing.parts import JOIN_BYTES


def there_and_back(*runs: Run) -> list[Any]:
    return unpack_part(b"".join(pack_part([pack_run(run) for run in runs])))


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:  # noqa: BLE001 - whatever it is
        return caught


@given(st.lists(st.lists(st.integers() | st.text(), max_size=5), max_size=6))
def test_runs_come_back_in_order(lists: list[list[Any]]) -> None:
    start, runs = 0, []
    for values in lists:
        runs.append(Run(start, start + len(values), 0.5, values))
        start += len(values)
    found = there_and_back(*runs)
    assert [(one.start, one.stop, one.seconds, one.values, one.kept) for one in found] == [
        (one.start, one.stop, 0.5, one.values, None) for one in runs
    ]


def test_kept_items_and_the_end_come_along() -> None:
    (found,) = there_and_back(Run(10, 15, 1.0, ["a", "b"], kept=[11, 14], stopped_at=14))
    assert (list(found.kept), found.values, found.stopped_at) == ([11, 14], ["a", "b"], 14)


def test_small_runs_are_copied_and_large_ones_are_not() -> None:
    small, large = np.zeros(10), np.zeros(JOIN_BYTES)
    packed = [pack_run(Run(0, 1, 0.0, [small])), pack_run(Run(1, 2, 0.0, [large]))]
    small[0] = large[0] = 7.0
    found = unpack_part(b"".join(pack_part(packed)))
    assert (found[0].values[0][0], found[1].values[0][0]) == (0.0, 7.0)
    assert all(run.values[0].flags.writeable for run in found)


def test_the_size_is_what_a_run_adds_at_most() -> None:
    packed = pack_run(Run(0, 3, 0.0, [np.zeros(5), "x", 1]))
    assert len(b"".join(pack_part([packed, packed]))) <= 2 * packed.size + 8


def test_an_item_that_cannot_be_sent_fails_alone() -> None:
    run = Run(5, 9, 0.0, [5, threading.Lock(), 7, 8])
    packed = pack_run(run)
    assert packed.failed == (6,)
    (found,) = unpack_part(b"".join(pack_part([packed])))
    assert (found.values, list(found.kept or ())) == ([5, 7, 8], [5, 7, 8])
    error = found.failures[0].exception()
    assert isinstance(error, ResultError)
    assert "item 6" in str(error)
    assert "lock" in str(error)


def test_an_item_that_cannot_be_sent_can_be_a_run_of_its_own() -> None:
    run = Run(5, 11, 6.0, [5, threading.Lock(), 8, 10], kept=[5, 6, 8, 10], stopped_at=10)
    packed = pack_runs(run)
    assert [(one.start, one.stop) for one in packed if one.failed] == [(6, 8)]
    assert [one.start for one in packed[1:]] == [one.stop for one in packed[:-1]]
    assert (packed[0].start, packed[-1].stop, packed[-1].stopped_at) == (5, 11, 10)
    assert sum(one.seconds for one in packed) == pytest.approx(6.0)


def test_a_fold_that_cannot_be_sent_says_so() -> None:
    packed = pack_run(Run(0, 100, 0.0, [threading.Lock()]))
    (found,) = unpack_part(b"".join(pack_part([packed])))
    assert found.values == []
    assert "items 0 to 99" in str(found.failures[0].exception())


@given(st.binary(max_size=300))
def test_other_bytes_are_refused(data: bytes) -> None:
    try:
        assert unpack_part(data) == []
    except PackingError:
        pass
    else:
        assert data[:4] == bytes(4)


class Odd(Exception):
    def __init__(self, number: int, *, where: str) -> None:
        super().__init__(f"{number} is odd")
        self.number, self.where = number, where


class Silent(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def unpacked(error: BaseException) -> Failure:
    return Failure(*pack_failure(3, raised(error)))


def test_exceptions_come_back_as_themselves() -> None:
    error = unpacked(Odd(5, where="here")).exception()
    assert isinstance(error, Odd)
    assert (str(error), error.number, error.where) == ("5 is odd", 5, "here")
    assert type(unpacked(KeyboardInterrupt()).exception()) is KeyboardInterrupt
    assert unpacked(OSError(2, "none", "file")).exception().filename == "file"  # type: ignore[attr-defined]


def test_exceptions_that_cannot_travel_are_described() -> None:
    error = RuntimeError("holds a lock")
    error.lock = threading.Lock()  # type: ignore[attr-defined]
    found = unpacked(error)
    assert found.packed is None
    assert isinstance(found.exception(), ItemError)
    assert str(found.exception()) == "RuntimeError: holds a lock"
    assert "Silent" in str(unpacked(Silent()).type_name)
    assert "cannot be shown" in unpacked(Silent()).message


def test_tracebacks_show_lines_and_are_bounded() -> None:
    found = unpacked(Odd(5, where="here"))
    assert "raise error" in found.traceback
    assert len(cut("x" * 10**6, MAX_TRACEBACK_CHARS)) < MAX_TRACEBACK_CHARS + 100
    assert "characters left out" in cut("x" * 10**6, MAX_TRACEBACK_CHARS)
