"""Time limits on engines with processes: what ignores an interrupt, and who is not to suffer for it."""

from __future__ import annotations

import contextlib
import hashlib
import re
import sys
import time
from typing import Any

import cloudpickle
import pytest

import nbdist
from nbdist.errors import ItemTimeoutError

LIMIT_SECONDS = 60
pytestmark = pytest.mark.real


@pytest.fixture(scope="module", autouse=True)
def _by_value() -> Any:
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def stay(how: str) -> str:
    """Never ends, in its own way."""
    if how == "catch":
        while True:
            with contextlib.suppress(BaseException):
                time.sleep(1)
    elif how == "regex":
        re.match(r"(a+)+$", "a" * 60 + "b")
    elif how == "hash":
        hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)
    elif how == "sum":
        sum(range(10**14))
    return how


STUBBORN = ["catch", "regex", "hash", "sum"]


def test_what_ignores_the_interrupt_is_killed_and_the_other_items_have_their_values(
    parallel_pool: nbdist.Pool,
) -> None:
    items = ["a", "catch", "b", "regex", "c", "hash", "d", "sum", "e"]
    job = parallel_pool.map(stay, items, time_limit=1, on_error="keep")
    values = job.result(LIMIT_SECONDS)
    assert [value for value in values if isinstance(value, str)] == list("abcde")
    errors = {failure.item: failure.error for failure in job.failures}
    assert {item: type(error) for item, error in errors.items()} == dict.fromkeys(STUBBORN, ItemTimeoutError)
    for item, error in errors.items():
        assert f"item {items.index(item)} = {item!r} took longer than its time limit" in str(error)
        assert "1 s" in str(error)
        assert "larger time_limit, or retries=" in str(error)
    assert "did not end within 2 s of being interrupted" in str(errors["catch"])
    assert "did not end" not in str(errors["regex"])  # it holds the interpreter, but looks for signals
    machine = job.failures[0].machine
    assert machine in {worker.name for worker in parallel_pool.workers}
    assert all(machine in str(error) for error in errors.values())
    assert parallel_pool.map(stay, "xyz").result(LIMIT_SECONDS) == ["x", "y", "z"]


def test_items_before_and_behind_one_that_is_killed_run_once(parallel_pool: nbdist.Pool, tmp_path: Any) -> None:
    def work(item: int) -> int:
        with open(tmp_path / str(item), "a") as file:
            file.write("ran ")
        time.sleep(0.3 if item < 3 else 0)
        if item == 3:
            stay("hash")
        return item

    job = parallel_pool.map(work, range(8), time_limit=2, task_size=8, on_error="keep")
    assert [value for value in job.result(LIMIT_SECONDS) if isinstance(value, int)] == [0, 1, 2, 4, 5, 6, 7]
    assert {(tmp_path / str(item)).read_text() for item in range(8)} == {"ran "}


def test_what_was_killed_for_its_time_is_retried(parallel_pool: nbdist.Pool, tmp_path: Any) -> None:
    def work(item: int) -> int:
        tried = tmp_path / str(item)
        is_first = not tried.exists()
        tried.touch()
        if is_first and item == 1:
            stay("hash")
        return item

    assert parallel_pool.map(work, range(3), time_limit=1, retries=1).result(LIMIT_SECONDS) == [0, 1, 2]
    with pytest.raises(ItemTimeoutError, match="given up after 2 attempts"):
        parallel_pool.map(stay, ["hash"], time_limit=0.1, retries=1).result(LIMIT_SECONDS)


def test_a_cancelled_job_with_a_time_limit_ends_as_cancelled(parallel_pool: nbdist.Pool) -> None:
    job = parallel_pool.map(stay, ["catch"] * 2, time_limit=5)
    job.cancel("enough")
    assert job.wait(LIMIT_SECONDS)
    assert (job.outcome, job.failures) == ("cancelled", [])
