"""What people also hand over: the same values, and the same words, on every engine."""

from __future__ import annotations

import functools
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import nbdist
from nbdist.errors import ItemExitError, PackingError, ResultError, WorkerCrashedError

LIMIT_SECONDS = 60.0


class Adder:
    def __init__(self, more: int) -> None:
        self.more = more

    def __call__(self, x: int) -> int:
        return x + self.more

    def add(self, x: int) -> int:
        return x + self.more


def nested(x: int) -> int:
    def inner(y: int) -> int:
        return y + 1

    return inner(x)


def factorial(n: int) -> int:
    return 1 if n < 2 else n * factorial(n - 1)


def printing(x: int) -> int:
    print("item", x)
    return x


def used_up() -> Iterator[int]:
    iterator = iter([1, 2])
    deque(iterator)
    return iterator


VALUES: dict[str, tuple[Callable[..., Any], Callable[[], Any], list[Any]]] = {
    "a method": (Adder(3).add, lambda: [1, 2], [4, 5]),
    "an object": (Adder(3), lambda: [1, 2], [4, 5]),
    "a partial": (functools.partial(pow, 2), lambda: range(4), [1, 2, 4, 8]),
    "a ufunc": (np.sqrt, lambda: [1.0, 4.0], [1.0, 2.0]),
    "a nested function": (nested, lambda: [1], [2]),
    "a recursion": (factorial, lambda: range(6), [1, 1, 2, 6, 24, 120]),
    "a function that prints": (printing, lambda: [1, 2], [1, 2]),
    "a dict": (str, lambda: {1: "a", 2: "b"}, ["1", "2"]),
    "a string": (str.upper, lambda: "ab", ["A", "B"]),
    "a set": (str, lambda: {7}, ["7"]),
    "a generator": (str, lambda: (i for i in range(3)), ["0", "1", "2"]),
    "an iterator that is used up": (str, used_up, []),
    "an array": (np.sum, lambda: np.ones((3, 2)), [2.0, 2.0, 2.0]),
}


@pytest.mark.parametrize("case", VALUES)
def test_values(pool: nbdist.Pool, case: str) -> None:
    function, items, values = VALUES[case]
    assert pool.map(function, items()).result(LIMIT_SECONDS) == values


@pytest.mark.parametrize(
    "items", [{"a": 1, "b": 2}, {"a": 1, "b": 2}.keys(), deque(["a", "b"])], ids=["dict", "keys", "deque"]
)
def test_the_items_of_a_container_are_known(pool: nbdist.Pool, items: Any) -> None:
    assert pool.map(str.upper, items).result(LIMIT_SECONDS).dict() == {"a": "A", "b": "B"}


def test_a_container_may_change_while_its_job_runs(pool: nbdist.Pool) -> None:
    items = dict.fromkeys(range(1000))
    job = pool.map(str, items)
    items.clear()
    assert job.result(LIMIT_SECONDS) == list(map(str, range(1_000)))


def test_lambdas_of_a_loop_see_its_name_as_it_is_when_they_are_sent(pool: nbdist.Pool) -> None:
    futures = [pool.submit(lambda x: x + number, 0) for number in range(3)]  # noqa: B023 - that is what is tested
    assert [future.result(LIMIT_SECONDS) for future in futures] == [0, 1, 2]


def exits(x: object) -> None:
    sys.exit("enough")


def recurses(x: int) -> Any:
    return recurses(x + 1)


async def waits(x: int) -> int:
    return x


ERRORS: dict[str, tuple[Callable[..., Any], type[BaseException], str]] = {
    "exit": (exits, ItemExitError, "raised SystemExit: enough"),
    "recursion": (recurses, RecursionError, "maximum recursion"),
    "generator": (lambda x: (y for y in [x]), ResultError, r"item 0 .* of type generator; turn it into a list"),
    "coroutine": (waits, ResultError, r"item 0 .* of type coroutine; run it inside the function: asyncio.run"),
    "lock": (lambda x: threading.Lock(), ResultError, r"item 0 .*lock; make it inside"),
    "thread": (lambda x: threading.Thread(), ResultError, r"the value cannot be packed.*Thread; start it inside"),
}


@pytest.mark.filterwarnings("ignore:coroutine")
@pytest.mark.parametrize("case", ERRORS)
def test_errors(pool: nbdist.Pool, case: str) -> None:
    function, error, text = ERRORS[case]
    with pytest.raises(error, match=text) as caught:
        pool.map(function, [1]).result(LIMIT_SECONDS)
    assert [note for note in caught.value.__notes__ if note.startswith("raised by item 0 = 1 on ")]


@pytest.mark.filterwarnings("ignore:coroutine")
@pytest.mark.parametrize("case", ERRORS)
def test_errors_of_calls_name_the_function(pool: nbdist.Pool, case: str) -> None:
    function, error, text = ERRORS[case]
    name = "lambda" if function.__name__ == "<lambda>" else function.__name__
    with pytest.raises(error, match=text.replace("item 0", f"the value of a call of {name} cannot")) as caught:
        pool.submit(function, 1).result(LIMIT_SECONDS)
    assert [note for note in caught.value.__notes__ if note.startswith(f"raised by a call of {name} on ")]


def test_a_call_that_ends_its_process_names_the_function(parallel_pool: nbdist.Pool) -> None:
    import os

    with pytest.raises(WorkerCrashedError, match=r"^a call of _exit ended the process"):
        parallel_pool.submit(os._exit, 3).result(LIMIT_SECONDS)


def test_what_a_function_has_captured_must_be_able_to_travel(pool: nbdist.Pool) -> None:
    guard, job = threading.Lock(), pool.map(abs, [1])
    job.result(LIMIT_SECONDS)
    with pytest.raises(PackingError, match=r"'guard' of the function cannot be packed.*lock"):
        pool.map(lambda x: guard.locked(), [1])
    with pytest.raises(PackingError, match=r"'pool' of the function .* nbdist.client.pool.Pool; use the pool where"):
        pool.map(lambda x: pool.map(abs, [x]), [1])
    with pytest.raises(PackingError, match=r"'job' of the function .* nbdist.client.job.Job; .*job.result\(\)"):
        pool.map(lambda x: job.values, [1])


def test_a_function_that_cannot_fold_is_named(pool: nbdist.Pool) -> None:
    def one(value: int) -> int:
        return value

    with pytest.raises(TypeError, match="takes 1 positional argument") as caught:
        pool.map(abs, range(3), reduce=one, task_size=1).result(LIMIT_SECONDS)
    assert any("reduce function, which makes one value of two" in note for note in caught.value.__notes__)


def test_running_once_names_no_item(pool: nbdist.Pool) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        pool.run(lambda: 1 / 0)
    assert any(note.startswith("raised by item 0 on ") for note in caught.value.__notes__)
