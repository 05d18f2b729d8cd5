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
from nbdist.errors import FilesError, JobCancelledError, NbdistError, PackingError

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


def test_a_file_that_the_code_names_itself_goes_along(pool: nbdist.Pool) -> None:
    Path("data.csv").write_bytes(b"x" * 100_000)
    Path("more.csv").write_bytes(b"y")

    def inner() -> int:
        import nbdist as nb

        return len(nb.file("more.csv").read_bytes())

    def read(i: int) -> tuple[int, str]:
        with open(nbdist.file("data.csv"), "rb") as file:
            return len(file.read()) + inner(), nbdist.file("data.csv").name

    assert pool.map(read, range(3)).result(LIMIT_SECONDS) == [(100_001, "data.csv")] * 3
    assert pool.submit(read, 0).result(LIMIT_SECONDS) == (100_001, "data.csv")
    Path("data.csv").unlink()
    with pytest.raises(PackingError, match=r"no such file on the notebook's machine: .*data\.csv"):
        pool.map(read, range(3))


def test_a_file_named_by_an_item_says_what_to_do(pool: nbdist.Pool) -> None:
    name = "data.csv"
    with pytest.raises(NbdistError, match="call it in the notebook"):
        pool.map(lambda i: nbdist.file(name), range(1)).result(LIMIT_SECONDS)


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


# --- files that items write -------------------------------------------------------------------------------------------


def put(name: str, data: bytes | str) -> None:
    path = nbdist.files() / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())


def tree(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def told(job: nbdist.Job) -> list[str]:
    return [notice.text for notice in job.progress.notices]


def test_what_items_write_comes_home(pool: nbdist.Pool, folder: Path) -> None:
    def work(i: int) -> int:
        put(f"sub/out-{i}.txt", f"item {i}")
        if i == 2:
            put("empty", b"")
        return i

    job = pool.map(work, range(20), files="out")
    assert job.result(LIMIT_SECONDS) == list(range(20))
    expected = {f"sub/out-{i}.txt": f"item {i}".encode() for i in range(20)} | {"empty": b""}
    assert tree(folder / "out") == expected
    assert job.files[2] == [folder / "out" / "empty", folder / "out" / "sub" / "out-2.txt"]
    assert sorted(job.files) == list(range(20))
    assert told(job) == []


def test_names_that_clash_get_the_numbers_of_their_items(pool: nbdist.Pool, folder: Path) -> None:
    def work(i: int) -> None:
        put("plot.png", str(i))
        put(f"own-{i}.csv", "")

    job = pool.map(work, range(3), files=folder / "out")
    job.result(LIMIT_SECONDS)
    plots = {f"plot-{i}.png": str(i).encode() for i in range(3)}
    assert tree(folder / "out") == plots | {f"own-{i}.csv": b"" for i in range(3)}
    assert told(job) == ["1 name of a file was used by several items, or cannot be used here, and got the items' "
                         "numbers: plot.png"]  # fmt: skip


def test_a_folded_job_brings_its_files_too(pool: nbdist.Pool, folder: Path) -> None:
    def work(i: int) -> int:
        put(f"{i}", str(i))
        return i

    assert pool.map(work, range(50), reduce=sum, files="out").result(LIMIT_SECONDS) == 1225
    assert tree(folder / "out") == {f"{i}": str(i).encode() for i in range(50)}


def test_thousands_of_files_of_one_item(pool: nbdist.Pool, folder: Path) -> None:
    def work(i: int) -> None:
        for number in range(1500):
            (nbdist.files() / f"{i}-{number}").write_text(str(number))

    pool.map(work, range(2), files="out").result(LIMIT_SECONDS)
    assert tree(folder / "out") == {f"{i}-{n}": str(n).encode() for i in range(2) for n in range(1500)}


def test_large_files_come_home_whole(pool: nbdist.Pool, folder: Path) -> None:
    def work(i: int) -> None:
        with open(nbdist.files() / f"{i}.bin", "wb") as file:
            for piece in range(40):
                file.write(bytes([piece, i]) * 512 * 1024 if piece % 3 else bytes(1024 * 1024))
            file.write(b"end")

    pool.map(work, range(2), files="out").result(LIMIT_SECONDS)
    for i in range(2):
        data = (folder / "out" / f"{i}.bin").read_bytes()
        assert data == b"".join(
            bytes([piece, i]) * 512 * 1024 if piece % 3 else bytes(1024 * 1024) for piece in range(40)
        ) + b"end"  # fmt: skip


def test_a_sparse_file_takes_no_room(pool: nbdist.Pool, folder: Path) -> None:
    def work(i: int) -> None:
        with open(nbdist.files() / "sparse", "wb") as file:
            file.seek(300_000_000)
            file.write(b"end")

    pool.map(work, range(1), files="out").result(LIMIT_SECONDS)
    facts = (folder / "out" / "sparse").stat()
    assert facts.st_size == 300_000_003
    assert facts.st_blocks * 512 < 10_000_000


def test_an_item_that_failed_brings_nothing_and_says_so(pool: nbdist.Pool, folder: Path) -> None:
    def work(i: int) -> int:
        put(f"{i}.csv", "half")
        if i == 1:
            raise ValueError("one")
        return i

    job = pool.map(work, range(3), on_error="keep", files="out")
    job.wait(LIMIT_SECONDS)
    assert sorted(tree(folder / "out")) == ["0.csv", "2.csv"]
    (line,) = told(job)
    assert line.startswith("1 file was left on ")
    assert "removed: 1.csv; only files in nbdist.files() of items that did not fail come home" in line


def test_only_the_try_that_counts_brings_files(pool: nbdist.Pool, folder: Path, tmp_path: Path) -> None:
    mark = tmp_path / "tried"

    def work(i: int) -> None:
        put(f"{mark.exists()}-{i}", "")
        if i == 1 and not mark.exists():
            mark.write_text("")
            raise ValueError("the first time")

    pool.map(work, [1], retries=1, files="out").result(LIMIT_SECONDS)
    assert sorted(tree(folder / "out")) == ["True-1"]


def test_items_that_are_left_out_bring_their_files(pool: nbdist.Pool, folder: Path) -> None:
    def work(i: int) -> int:
        put(f"{i}", "")
        return i

    job = pool.map(work, range(4), keep_if=lambda value: value % 2, files="out")
    assert job.result(LIMIT_SECONDS) == [1, 3]
    assert sorted(tree(folder / "out")) == ["0", "1", "2", "3"]


def test_without_a_folder_what_is_left_is_named(pool: nbdist.Pool, folder: Path) -> None:
    def work(i: int) -> None:
        put(f"{i}.csv", "x")

    job = pool.map(work, range(5))
    job.result(LIMIT_SECONDS)
    (line,) = told(job)
    assert line.startswith("5 files were left on ")
    assert line.endswith("write to nbdist.files(), and --files DIR (files=) brings them home")
    assert ".csv, " in line


def test_links_are_never_followed(pool: nbdist.Pool, folder: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("secret")

    def work(i: int) -> None:
        put("real", "x")
        (nbdist.files() / "file").symlink_to(secret / "key")
        (nbdist.files() / "folder").symlink_to(secret)

    job = pool.map(work, range(1), files="out")
    job.result(LIMIT_SECONDS)
    assert tree(folder / "out") == {"real": b"x"}
    assert "2 files were left on" in told(job)[0]
    assert "file, folder" in told(job)[0]


def test_a_name_that_is_no_text_is_the_items_failure(pool: nbdist.Pool) -> None:
    def work(i: int) -> None:
        import os

        with open(os.fsencode(nbdist.files()) + b"/a\xff", "wb"):
            pass

    with pytest.raises(NbdistError, match=r"cannot come home: it is no text; give it another name"):
        pool.map(work, range(1), files="out").result(LIMIT_SECONDS)


def test_each_item_has_a_folder_of_its_own(pool: nbdist.Pool) -> None:
    def work(i: int) -> list[str]:
        first = nbdist.files()
        (first / "x").write_text("")
        return [path.name for path in nbdist.files().iterdir()]

    assert pool.map(work, range(30), files="out").result(LIMIT_SECONDS) == [["x"]] * 30


def test_folders_that_cannot_be_written_are_refused_before_anything_runs(pool: nbdist.Pool, folder: Path) -> None:
    (folder / "taken").write_text("")
    with pytest.raises(FilesError, match="which is a file: name a folder"):
        pool.map(abs, range(1), files="taken")
    with pytest.raises(FilesError, match="files cannot come home into"):
        pool.map(abs, range(1), files="taken/below")
    with pytest.raises(FilesError, match="files cannot come home into"):
        pool.map(abs, range(1), files="/proc/nbdist")
    with pytest.raises(TypeError, match="files is a folder"):
        pool.map(abs, range(1), files=7)  # type: ignore[arg-type]


def test_what_lies_in_the_folder_is_replaced(pool: nbdist.Pool, folder: Path) -> None:
    for text in ("first", "second"):
        pool.map(lambda i, text=text: put("a", text), range(1), files="out").result(LIMIT_SECONDS)  # type: ignore[misc]
        assert tree(folder / "out") == {"a": text.encode()}


def test_a_file_that_cannot_get_its_name_ends_the_job(pool: nbdist.Pool, folder: Path) -> None:
    (folder / "out" / "a").mkdir(parents=True)
    with pytest.raises(JobCancelledError, match=r"the file 'a' of item 0 cannot be written to .*out: .*--resume"):
        pool.map(lambda i: put("a", "x"), range(1), files="out").result(LIMIT_SECONDS)
    assert tree(folder / "out") == {}


def test_outside_of_items_there_is_no_folder(pool: nbdist.Pool) -> None:
    with pytest.raises(NbdistError, match="is for the code of an item"):
        nbdist.files()
