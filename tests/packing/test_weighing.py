"""Whose bytes they are that a task takes along."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from nbdist.execution.task import Setup, Task
from nbdist.packing import pack_task, weigh
from nbdist.wire.blobs import blob_name

BYTES = 800_000


def array(fill: float = 1.0) -> Any:
    return np.full(BYTES // 8, fill)


def weights(function: Any, *more: Any, **fields: Any) -> dict[str, tuple[int, int]]:
    """Name -> how many blobs it is, and how many bytes in the task itself."""
    task = Task(function, **fields)
    _, blobs = pack_task(task, lambda view: blob_name([view]))
    found = weigh(task, [function, *more], blobs)
    names = {name for name, _ in blobs}
    assert all(set(apart) <= names for _, apart, _ in found)
    return {called: (len(apart), inside) for called, apart, inside in found}


def test_arrays_are_known_by_the_captured_name_wherever_they_are() -> None:
    class Box:
        def __init__(self) -> None:
            self.deep = {"one": [array(2.0), array(3.0)]}

    images, box = array(), Box()

    def inner() -> Any:
        return box

    def outer(default: Any = array(4.0)) -> Any:  # noqa: B008
        return images, inner, default

    found = weights(outer)
    assert {name: count for name, (count, _) in found.items()} == {
        "'images'": 1,
        "'box'": 2,
        "the default of 'default'": 1,
    }
    assert all(inside < 10_000 for _, inside in found.values())


def test_what_is_no_array_is_in_the_task_itself() -> None:
    numbers, text = list(range(100_000)), "x" * 300_000
    found = weights(lambda: (numbers, text))
    assert found["'numbers'"][1] > 200_000
    assert 300_000 <= found["'text'"][1] < 310_000


def test_what_two_names_share_counts_once() -> None:
    images = array()
    both = {"again": images}
    assert sum(count for count, _ in weights(lambda: (images, both)).values()) == 1


def test_partial_functions_and_methods() -> None:
    class Model:
        def __init__(self) -> None:
            self.weights = array()

        def predict(self, x: Any) -> Any:
            return x

    assert [count for count, _ in weights(Model().predict).values()] == [1]
    assert sum(count for count, _ in weights(partial(lambda a, x: x, array())).values()) == 1


def test_what_setups_define_stays_here_and_is_not_weighed() -> None:
    namespace: dict[str, Any] = {"__name__": "__main__", "model": array(), "own": array(2.0)}
    exec("def f(x): return model, own\ndef s(): pass", namespace)
    task = Task(namespace["f"], setups=(Setup("s", namespace["s"], ("model",), "", "session"),))
    _, blobs = pack_task(task, lambda view: blob_name([view]))
    assert [called for called, _, _ in weigh(task, [task.function], blobs)] == ["'own'"]


def test_functions_of_modules_do_not_take_theirs_along() -> None:
    assert weights(lambda x: np.linalg.norm(x)).keys() <= {"'np'"}
