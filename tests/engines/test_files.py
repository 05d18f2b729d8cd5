"""Files that items are given and files that they write, on every engine."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest

import nbdist
from nbdist.errors import NbdistError, PackingError

LIMIT_SECONDS = 30


@pytest.fixture(scope="module", autouse=True)
def _by_value() -> Iterator[None]:
    module = sys.modules[__name__]
    cloudpickle.register_pickle_by_value(module)
    yield
    cloudpickle.unregister_pickle_by_value(module)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The notebook's."""
    found = tmp_path / "notebook"
    found.mkdir()
    monkeypatch.chdir(found)
    return found


def write(path: str, data: bytes) -> Any:
    """A file that items are to read."""
    Path(path).write_bytes(data)
    return nbdist.file(path)


# --- files that items are given ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1_000, 300_000, 5_000_000])
def test_a_captured_file_is_a_path(pool: nbdist.Pool, size: int) -> None:
    data = write("data.csv", b"x" * size)

    def read(i: int) -> tuple[int, str]:
        with open(data, "rb") as file:
            return len(file.read()), data.suffix

    assert pool.map(read, range(3)).result(LIMIT_SECONDS) == [(size, ".csv")] * 3


def test_a_changed_file_is_sent_again(pool: nbdist.Pool) -> None:
    data = write("data.csv", b"old" * 100_000)
    assert pool.map(lambda i: data.read_bytes()[:3], range(2)).result(LIMIT_SECONDS) == [b"old"] * 2
    Path("data.csv").write_bytes(b"new" * 100_000)
    assert pool.map(lambda i: data.read_bytes()[:3], range(2)).result(LIMIT_SECONDS) == [b"new"] * 2


def test_a_captured_file_that_went_is_named_before_anything_runs(pool: nbdist.Pool) -> None:
    data = write("data.csv", b"x")
    Path("data.csv").unlink()
    with pytest.raises(PackingError, match=r"no such file on the notebook's machine: .*data\.csv"):
        pool.map(lambda i: data.read_bytes(), range(2))


def test_a_file_comes_home_as_the_one_here(pool: nbdist.Pool) -> None:
    data = write("data.csv", b"x" * 100_000)
    assert pool.map(lambda i: data, range(2)).result(LIMIT_SECONDS) == [data, data]
    assert str(pool.map(lambda i: data, range(1)).result(LIMIT_SECONDS)[0]) == str(data)


def test_a_file_named_by_an_item_says_what_to_do(pool: nbdist.Pool) -> None:
    with pytest.raises(NbdistError, match="call it in the notebook"):
        pool.map(lambda i: nbdist.file("data.csv"), range(1)).result(LIMIT_SECONDS)


@pytest.mark.parametrize("size", [10, 300_000])
def test_files_as_items(pool: nbdist.Pool, size: int) -> None:
    files = [write(f"{i}.bin", bytes([i]) * size) for i in range(9)]

    def read(path: Any, more: int) -> tuple[str, int, int]:
        data = path.read_bytes()
        return path.name, len(data), data[0] + more

    values = pool.map(read, files, range(9)).result(LIMIT_SECONDS)
    assert values == [(f"{i}.bin", size, 2 * i) for i in range(9)]
    assert pool.map(lambda p: len(p.read_bytes()), (f for f in files)).result(LIMIT_SECONDS) == [size] * 9
    assert pool.submit(lambda p: len(p.read_bytes()), files[0]).result(LIMIT_SECONDS) == size


def test_an_item_that_takes_files_and_arrays_along(pool: nbdist.Pool) -> None:
    files = [write(f"{i}.bin", bytes([i]) * 100_000) for i in range(3)]
    item = {"files": files, "array": np.ones(100_000), "small": write("s.txt", b"s")}

    def total(item: Any) -> float:
        return float(item["array"].sum()) + sum(len(file.read_bytes()) for file in [*item["files"], item["small"]])

    assert pool.map(total, [item, item]).result(LIMIT_SECONDS) == [400_001.0] * 2


def test_an_item_that_takes_too_many_files_along(pool: nbdist.Pool) -> None:
    files = [write(f"{i}.bin", i.to_bytes(2, "big") * 50_000) for i in range(65)]
    if pool.address == "inline":
        assert pool.map(len, [files]).result(LIMIT_SECONDS) == [65]
        return
    with pytest.raises(PackingError, match="item 0 takes along 65 files, and at most 64"):
        pool.map(len, [files]).result(LIMIT_SECONDS)


def test_an_items_file_that_went_is_named(pool: nbdist.Pool) -> None:
    files = [write(f"{i}.bin", b"x" * 100_000) for i in range(3)]
    Path("1.bin").unlink()
    with pytest.raises((PackingError, OSError), match=r"1\.bin"):
        pool.map(lambda path: len(path.read_bytes()), files).result(LIMIT_SECONDS)
