"""Values: a list that knows more."""

from __future__ import annotations

import copy
import pickle
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest

from nbdist.client.assembly import Segment
from nbdist.client.values import Values
from nbdist.errors import NbdistError


@dataclass
class Row:
    a: int
    b: str


class Pair(NamedTuple):
    left: int
    right: int


class Origin:
    """A job of items 10, 11, … in two parts."""

    def __init__(self, count: int, names: tuple[str, ...] = (), items: Any = None) -> None:
        half = count // 2
        self.segments = [
            Segment(0, half, 0, half, None, "m1", 1.0),
            Segment(half, count, half, count - half, None, "m2", 1.0),
        ]
        self.loop_names = names
        self._items = items or (lambda index: index + 10)

    def item(self, index: int) -> Any:
        return self._items(index)


def values_of(*values: Any, **origin: Any) -> Values:
    made = Values(values)
    made.job = Origin(len(values), **origin)  # type: ignore[assignment]
    return made


def test_they_are_a_list_and_travel_as_one() -> None:
    values = values_of(1, 2, 3)
    assert values == [1, 2, 3]
    assert type(pickle.loads(pickle.dumps(values))) is list
    assert type(copy.copy(values)) is list
    assert type(values[:2]) is list


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([], "<Values: 0 items []>"),
        ([1], "<Values: 1 item [1]>"),
        (list(range(6)), "<Values: 6 items [0, 1, 2, 3, 4, 5]>"),
        (list(range(10_000)), "<Values: 10,000 items [0, 1, 2, …, 9997, 9998, 9999]>"),
        (["x" * 100], f"<Values: 1 item ['{'x' * 58}…]>"),
        (["two\nlines"], "<Values: 1 item ['two\\nlines']>"),
    ],
)
def test_they_are_shown_in_one_line(values: list[Any], text: str) -> None:
    assert repr(Values(values)) == text


def test_dict_and_array() -> None:
    values = values_of(1.5, 2.5)
    assert values.dict() == {10: 1.5, 11: 2.5}
    assert values.array().tolist() == [1.5, 2.5]


def test_a_changed_list_no_longer_knows() -> None:
    values = values_of(1, 2)
    list.append(values, 3)
    with pytest.raises(NbdistError, match="no longer"):
        values.dict()
    with pytest.raises(NbdistError, match="no longer"):
        Values([1]).frame()


CHANGES: list[Callable[[Values], object]] = [
    lambda values: values.sort(),
    lambda values: values.reverse(),
    random.shuffle,
    lambda values: values.insert(0, values.pop()),
    lambda values: values.__setitem__(0, 7),
    lambda values: values.__iadd__([1]),
    lambda values: values.append(1) or values.pop(),
]


@pytest.mark.parametrize("change", CHANGES)
def test_values_that_were_moved_are_not_paired_with_the_wrong_items(change: Callable[[Values], object]) -> None:
    values = values_of(3, 1, 2)
    plain = list(values)
    random.seed(1)
    change(values)
    random.seed(1)
    change(plain)  # type: ignore[arg-type]
    assert values == plain
    for ask in (values.dict, values.frame):
        with pytest.raises(NbdistError, match=r"changed in place.*sorted\(values\)"):
            ask()


def test_a_sorted_copy_changes_nothing() -> None:
    values = values_of(3, 1, 2)
    assert sorted(values) == [1, 2, 3]
    assert values.dict() == {10: 3, 11: 1, 12: 2}


@pytest.mark.parametrize(
    ("values", "columns"),
    [
        ((1, 2), {"value": [1, 2]}),
        ((1, "x"), {"value": [1, "x"]}),
        (({"a": 1}, {"a": 2, "b": 3}), {"a": [1, 2], "b": [None, 3]}),
        (((1, 2), (3, 4)), {"value_0": [1, 3], "value_1": [2, 4]}),
        (((1,), (3, 4)), {"value": [(1,), (3, 4)]}),
        ((Pair(1, 2), Pair(3, 4)), {"left": [1, 3], "right": [2, 4]}),
        ((Row(1, "x"), Row(2, "y")), {"a": [1, 2], "b": ["x", "y"]}),
    ],
)
def test_frames_have_the_fields_of_the_values(values: Any, columns: dict[str, Any]) -> None:
    frame = values_of(*values).frame()
    assert list(frame.columns) == ["index", "item", *columns, "seconds", "machine"]
    for name, column in columns.items():
        assert [None if cell != cell else cell for cell in frame[name]] == column
    assert list(frame["machine"]) == ["m1", "m2"]
    assert list(frame["seconds"]) == [1.0, 1.0]


def test_frames_have_the_names_of_the_loop() -> None:
    assert list(values_of(1, 2, names=("n",)).frame()["n"]) == [10, 11]
    frame = values_of(1, 2, names=("a", "b"), items=lambda index: (index, -index)).frame()
    assert (list(frame["a"]), list(frame["b"])) == ([0, 1], [0, -1])


def test_frames_of_items_that_are_no_longer_known() -> None:
    def gone(index: int) -> Any:
        raise NbdistError("gone")

    assert list(values_of(1, 2, items=gone).frame()["item"]) == [None, None]
